// mrpool for programs in C: devices, memory regions, pools of them, queue pairs and rw contexts, in
// one header. It reads as C11 and as C++11.
//
// What it is: handles for the objects of the library's C++ interface, with the names of the
// kernel's ib_mr_pool and rdma_rw and of libibverbs. include/mrpool/ describes each object in
// detail, and docs/reference/library.md compares the names. This header is the library's C ABI. It
// depends on neither Abseil nor a C++ compiler, and within one soname it only grows.
//
// Errors: a call that can fail returns 0, a count, or a negative errno value, which the comment of
// the call describes. mrpool_error() is the text of the thread's last failed set-up call. No
// exception leaves the library.
//   -ENOMEM      memory, or a limit of the device: the text has the limit and what was asked for
//   -EINVAL      an argument, which the text names; also NULL, of a call that returns an int
//   -E2BIG       a struct that is larger than the library knows and not 0 in the unknown part, or
//                that has more than 4 KiB
//   -EOPNOTSUPP  the device does not have the function
//   -EPERM       an object in the wrong state
//   -EIO         any other error of the system; see the text
// Misuse: breaking a rule of use is a bug of the program. Much of it is reported, with
// mrpool_set_log_sink(), and aborts: an object destroyed while others need it, most calls from
// another thread than the reactor's (all with MRPOOL_CHECK_THREADS=1 in the environment). A
// lease that is used after its put, or put twice, is not noticed. Calls that return no int do not
// check for NULL. Every function that the library calls must be set.
// fork(): a child must not touch what its parent made, not even destroy it; it may exit, exec, or
// create new objects.
// Ownership: objects belong to the caller, who destroys them in the reverse order of creation:
//   first                                         then
//   a Qp's rw, after mrpool_rw_stop()             the Qp, and the rw's pool
//   Qps                                           their Cqs
//   everything that was made from a Pd            the Pd
//   armed timers, Cqs, listeners and devices      the reactor
// Destroying NULL does nothing. Structs are borrowed for the call, except embedded ones
// (mrpool_cqe, mrpool_rw_ctx, mrpool_timer, mrpool_task). An embedded struct must stay in its place
// until the library has called it.
// Thread safety: reactors, timers, Cqs, listeners, Qps, rw objects: the thread that runs their
// reactor, or made it while nothing runs it. Devices, Pds, Mrs, pools, mrpool_reactor_stop(),
// mrpool_task_post(), mrpool_error(): any thread.
// Data path: mrpool_mr_pool_get() and _put(), mrpool_post_send(), mrpool_post_recv(),
// mrpool_rw_ctx_init(), _post() and _destroy(), and everything with a lease take no lock and no
// heap beyond what the C++ calls do, which is none. Units: bytes, nanoseconds. Structs that carry
// `size`: set it to sizeof of the struct and everything else that is not needed to 0, which stands
// for the default.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "mrpool/version.h"

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MRPOOL_MUST_CHECK __attribute__((warn_unused_result))
#define MRPOOL_STORAGE __attribute__((aligned(16)))
#else
#define MRPOOL_MUST_CHECK
#define MRPOOL_STORAGE
#endif

struct mrpool_reactor;
struct mrpool_device;
struct mrpool_pd;
struct mrpool_mr;
struct mrpool_mr_pool;
struct mrpool_lease;  // one MR of a pool, taken: the ib_mr that ib_mr_pool_get() returns
struct mrpool_cq;
struct mrpool_qp;
struct mrpool_listener;
struct mrpool_connect_request;
struct mrpool_rw;
struct mrpool_cqe;
struct mrpool_rw_ctx;

// ---------------------------------------------------------------------------------------- Errors

// The text of the calling thread's last set-up call that failed: never NULL, valid until its next
// call that fails.
const char* mrpool_error(void);

// How much a message matters. After a fatal one the library aborts.
enum mrpool_log_level { MRPOOL_LOG_INFO = 0, MRPOOL_LOG_ERROR = 1, MRPOOL_LOG_FATAL = 2 };
// Receives the library's own messages: a rule that the program has broken, and errors that no call
// can return. They are few, and none is on a data path. `line`, of `length` bytes, has no line feed
// and no NUL and is valid during the call, which may come from any thread. NULL: to stderr, as at
// the start.
typedef void (*mrpool_log_sink)(void* context, enum mrpool_log_level level, const char* line,
                                size_t length);
// From now on messages go to `sink`, with `context`. Any thread.
void mrpool_set_log_sink(mrpool_log_sink sink, void* context);

// ---------------------------------------------------------------------------------- Access flags

// The kernel's polarity: relaxed ordering is part of every set of flags unless
// MRPOOL_ACCESS_DISABLE_RELAXED_ORDERING is among them. Bits 0 to 19 are mandatory: a device
// refuses one that it does not know. Bits 20 to 29 are optional: granted where the device honors
// them.
#define MRPOOL_ACCESS_LOCAL_WRITE (UINT32_C(1) << 0)
#define MRPOOL_ACCESS_REMOTE_WRITE (UINT32_C(1) << 1)  // needs local write
#define MRPOOL_ACCESS_REMOTE_READ (UINT32_C(1) << 2)
#define MRPOOL_ACCESS_REMOTE_ATOMIC (UINT32_C(1) << 3)  // needs local write
#define MRPOOL_ACCESS_MW_BIND (UINT32_C(1) << 4)
#define MRPOOL_ACCESS_ZERO_BASED (UINT32_C(1) << 5)
#define MRPOOL_ACCESS_ON_DEMAND (UINT32_C(1) << 6)
#define MRPOOL_ACCESS_HUGE_PAGES (UINT32_C(1) << 7)
#define MRPOOL_ACCESS_FLUSH_GLOBAL (UINT32_C(1) << 8)
#define MRPOOL_ACCESS_FLUSH_PERSISTENT (UINT32_C(1) << 9)
#define MRPOOL_ACCESS_DISABLE_RELAXED_ORDERING (UINT32_C(1) << 20)

// Flags for ibv_reg_mr(). Bit 20 changes its value: it relaxes the ordering there
// (IBV_ACCESS_RELAXED_ORDERING) and is the one that does not here. The two are inverse to each
// other.
uint32_t mrpool_access_to_ibv(uint32_t access);
// Flags that a program wrote for ibv_reg_mr(), which keep their meaning: strict ordering unless
// IBV_ACCESS_RELAXED_ORDERING is among them.
uint32_t mrpool_access_from_ibv(uint32_t ibv_access_flags);

// What became of a request for access: requested == effective | ignored | unknown.
struct mrpool_granted {
  uint32_t requested;
  uint32_t effective;  // in force
  uint32_t ignored;    // optional flags the device does not have
  uint32_t unknown;    // optional flags nobody can tell about
};

// -------------------------------------------------------------------------------------- Reactors

// The loop that Qps, Cqs and listeners live on: one thread's. A program without a loop calls
// mrpool_reactor_run(). One that has its own watches mrpool_reactor_fd() for reading:
//
//   while (mrpool_reactor_poll(reactor) > 0) continue;
//   if (mrpool_reactor_arm(reactor)) epoll_wait(...);   // the descriptor is among those watched
struct mrpool_reactor_attr {
  size_t size;
  uint64_t spin;  // nanoseconds of polling without work before run() sleeps; UINT64_MAX: never
};

// `attr` may be NULL. -EMFILE, -ENFILE, -ENOMEM: no descriptors or memory.
MRPOOL_MUST_CHECK int mrpool_reactor_create(const struct mrpool_reactor_attr* attr,
                                            struct mrpool_reactor** reactor);
// Everything that lives on it has to be gone.
void mrpool_reactor_destroy(struct mrpool_reactor* reactor);
// Runs until mrpool_reactor_stop(); a stop before it is not lost. Not from inside a callback.
void mrpool_reactor_run(struct mrpool_reactor* reactor);
// Any thread, signal handlers too.
void mrpool_reactor_stop(struct mrpool_reactor* reactor);
// One round without blocking; returns how many sources had work.
size_t mrpool_reactor_poll(struct mrpool_reactor* reactor);
// 1: the descriptor will be readable when poll has something to do; 0: there is already.
int mrpool_reactor_arm(struct mrpool_reactor* reactor);
// The descriptor, which stays the reactor's; -1 where /proc is not mounted.
int mrpool_reactor_fd(struct mrpool_reactor* reactor);
// The loop's monotonic clock in nanoseconds, read once a round.
uint64_t mrpool_reactor_now(const struct mrpool_reactor* reactor);

// A call for the loop, from any thread; embedded, set to zero but for `run` before its first use.
// It runs once, in the order of posting from each thread, and may be posted again or freed from
// then on.
struct mrpool_task {
  // Called once for each post.
  void (*run)(struct mrpool_task* task);
  void* opaque[7];
};
// Queues the task. Any thread; no lock, no heap. Posting one that is queued aborts with a message.
void mrpool_task_post(struct mrpool_reactor* reactor, struct mrpool_task* task);

// A one-shot timer; embedded, set to zero but for `expired` before its first use. Arming an armed
// timer moves it. It may be freed once it has expired or is cancelled.
struct mrpool_timer {
  // Called from the loop; may arm the timer again.
  void (*expired)(struct mrpool_timer* timer);
  void* opaque[11];
};
// It expires `delay` nanoseconds from now, on the loop. To be cancelled before the reactor ends.
void mrpool_timer_arm(struct mrpool_reactor* reactor, struct mrpool_timer* timer, uint64_t delay);
// It does not expire any more. Of one that is not armed: nothing.
void mrpool_timer_cancel(struct mrpool_timer* timer);

// --------------------------------------------------------------------------------------- Devices

// Opens the device of an address: "uiwarp://127.0.0.1:4420", "verbs://10.0.0.1:4420", with options
// after '?' (docs/internals/uiwarp.md). -EINVAL: the text shows a right address, or lists what
// there is.
MRPOOL_MUST_CHECK int mrpool_device_open(const char* address, struct mrpool_device** device);
// Everything made from the device has to be gone.
void mrpool_device_close(struct mrpool_device* device);
// Reads again the files of keys and certificates that the address names (docs/operate/tls.md). New
// connections use them; others keep what they began with. -EINVAL: a file is wrong, and the keys of
// before stay. May block on a file system.
MRPOOL_MUST_CHECK int mrpool_device_reload_tls(struct mrpool_device* device);

// How a device binds the keys of a pool to memory.
enum mrpool_registration {
  MRPOOL_FAST_REG = 1,        // a work request binds a key: any ranges, any rights
  MRPOOL_MEMORY_WINDOW = 2,   // type-2B windows: one range of one Mr, for the peer only
  MRPOOL_PRE_REGISTERED = 3,  // the base Mr's own key
};

// What a device is and has: mrpool_device_query(). Flags are 0 or 1.
struct mrpool_device_attr {
  size_t size;
  const char* name;         // the device's
  uint32_t registration;    // enum mrpool_registration
  uint32_t known_access;    // mandatory flags the device implements
  uint32_t honored_access;  // optional flags it acts on
  uint8_t iwarp;
  uint8_t read_sink_needs_remote_write;
  uint8_t sg_gaps;  // pools of MRPOOL_SG_GAPS
  uint8_t send_with_inv;
  uint8_t read_with_inv;
  uint8_t immediate_data;
  uint8_t atomics;  // 0: none, 1: among this device's, 2: and with the CPUs'
  uint8_t keys_bound_to_qp;
  uint32_t max_qp_wr;
  uint32_t max_cqe;
  uint32_t max_sge;
  uint32_t max_read_sge;
  uint32_t max_mr;
  uint32_t max_fast_reg_segments;
  uint64_t max_message;
  uint16_t max_ord;
  uint16_t max_ird;
  uint16_t max_connect_data;  // private data of the connection set-up
  uint16_t max_accept_data;
  uint16_t max_reject_data;
};
// ibv_query_device. Fills `attr` as far as attr->size goes.
MRPOOL_MUST_CHECK int mrpool_device_query(const struct mrpool_device* device,
                                          struct mrpool_device_attr* attr);

// Calls visit() for every counter that the device counts, with its name and value.
void mrpool_device_statistics(const struct mrpool_device* device,
                              void (*visit)(void* context, const char* name, uint64_t value),
                              void* context);

// ------------------------------------------------------------------------------ Pds, Mrs and Cqs

// Makes a protection domain: keys and Qps of one work together, and with no other's.
MRPOOL_MUST_CHECK int mrpool_pd_alloc(struct mrpool_device* device, struct mrpool_pd** pd);
// Everything made from the Pd has to be gone.
void mrpool_pd_dealloc(struct mrpool_pd* pd);

// Registers memory, which must stay mapped while the Mr lives. -EINVAL: refused flags, or memory
// that is not mapped with the rights it takes. -ENOMEM: max_mr, or locked memory (`ulimit -l`).
MRPOOL_MUST_CHECK int mrpool_reg_mr(struct mrpool_pd* pd, void* addr, size_t length,
                                    uint32_t access, struct mrpool_mr** mr);
// Returns once no byte can be placed through it any more.
void mrpool_dereg_mr(struct mrpool_mr* mr);
// The key that local Sges name.
uint32_t mrpool_mr_lkey(const struct mrpool_mr* mr);
// The key that a peer names. It is useful to a peer only if `access` has remote rights.
uint32_t mrpool_mr_rkey(const struct mrpool_mr* mr);
// The address by which a peer names the first byte.
uint64_t mrpool_mr_remote_addr(const struct mrpool_mr* mr);
// What became of the `access` that was asked for.
struct mrpool_granted mrpool_mr_granted(const struct mrpool_mr* mr);
// What the registration of memory must allow so that keys of a pool over it can carry `rights`.
uint32_t mrpool_base_access(const struct mrpool_device* device, uint32_t rights);

// `depth`: the sum over its Qps of max_send_wr + max_recv_wr, 1 to max_cqe.
MRPOOL_MUST_CHECK int mrpool_cq_create(struct mrpool_device* device, struct mrpool_reactor* reactor,
                                       uint32_t depth, struct mrpool_cq** cq);
// Its Qps have to be gone.
void mrpool_cq_destroy(struct mrpool_cq* cq);

// ------------------------------------------------------------------ Work requests, completions

// One local range (ibv_sge). `lkey` names a live registration of the same Pd that covers it.
struct mrpool_sge {
  void* addr;
  uint32_t length;
  uint32_t lkey;
};

// What a work request does, and what a completion is of.
enum mrpool_wr_opcode {
  MRPOOL_WR_SEND = 0,
  MRPOOL_WR_SEND_WITH_INV = 1,  // and invalidates `rkey` at the peer
  MRPOOL_WR_RDMA_WRITE = 2,
  MRPOOL_WR_RDMA_READ = 3,
  MRPOOL_WR_RDMA_READ_WITH_INV = 4,  // and invalidates the local sink's key
  MRPOOL_WR_REG_MR = 5,              // mrpool_mr_prepare_reg() fills it
  MRPOOL_WR_LOCAL_INV = 6,           // ends the life of the local key `rkey`
  MRPOOL_WR_SEND_WITH_IMM = 7,
  MRPOOL_WR_RDMA_WRITE_WITH_IMM = 8,
  MRPOOL_WR_ATOMIC_CMP_AND_SWP = 9,
  MRPOOL_WR_ATOMIC_FETCH_AND_ADD = 10,
  // In completions only.
  MRPOOL_WC_RECV = 11,
  MRPOOL_WC_RECV_WITH_IMM = 12,
  MRPOOL_WC_RECV_RDMA_WITH_IMM = 13,
};

// How a work request ended.
enum mrpool_wc_status {
  MRPOOL_WC_SUCCESS = 0,
  MRPOOL_WC_LOC_LEN_ERR = 1,
  MRPOOL_WC_LOC_PROT_ERR = 2,
  MRPOOL_WC_WR_FLUSH_ERR = 3,  // the Qp left the connected state before the request was done
  MRPOOL_WC_MW_BIND_ERR = 4,
  MRPOOL_WC_REM_INV_REQ_ERR = 5,
  MRPOOL_WC_REM_ACCESS_ERR = 6,
  MRPOOL_WC_REM_OP_ERR = 7,
  MRPOOL_WC_TRANSPORT_ERR = 8,  // the connection broke while the request was under way
  MRPOOL_WC_CANCELLED = 9,      // rw contexts only
};
// "remote access"; of a number without a meaning "unknown". Static strings.
const char* mrpool_wc_status_str(int status);

// With a status other than success only `status`, `opcode` and `qp` mean something.
struct mrpool_wc {
  int32_t status;   // enum mrpool_wc_status
  uint32_t opcode;  // enum mrpool_wr_opcode
  struct mrpool_qp* qp;
  uint32_t byte_len;          // receives: bytes received
  uint32_t imm;               // in the machine's byte order
  uint32_t invalidated_rkey;  // where `invalidated`: the peer's SEND ended the life of this key
  uint8_t invalidated;
  uint8_t solicited;
  uint8_t reserved[2];
};

// A completion's owner: the kernel's ib_cqe. Embedded in the request that it finishes; done() is
// called once for every signalled request that was accepted, flushes included, never from inside a
// post, and for an unsignalled one that fails. Requests of one Qp may share it.
struct mrpool_cqe {
  // The request has ended. `wc` is valid during the call.
  void (*done)(struct mrpool_cqe* cqe, const struct mrpool_wc* wc);
  void* opaque[3];
};

#define MRPOOL_SEND_SIGNALED (UINT32_C(1) << 0)
#define MRPOOL_SEND_SOLICITED (UINT32_C(1) << 1)
#define MRPOOL_SEND_FENCE (UINT32_C(1) << 2)  // start when all earlier READs and atomics are done

// ib_send_wr. Everything, the list included, is copied by the post.
struct mrpool_send_wr {
  const struct mrpool_send_wr* next;
  struct mrpool_cqe* cqe;  // may be NULL where it is not signalled
  const struct mrpool_sge* sg_list;
  uint32_t num_sge;
  uint32_t opcode;      // enum mrpool_wr_opcode
  uint32_t send_flags;  // MRPOOL_SEND_*
  uint32_t rkey;
  uint64_t remote_addr;
  uint32_t imm;             // a number; both sides see the same one
  uint32_t access;          // REG_MR
  struct mrpool_lease* mr;  // REG_MR
  uint64_t compare_add;
  uint64_t swap;
};

// ibv_recv_wr. Everything, the list included, is copied by the post.
struct mrpool_recv_wr {
  const struct mrpool_recv_wr* next;
  struct mrpool_cqe* cqe;
  const struct mrpool_sge* sg_list;
  uint32_t num_sge;
  uint32_t reserved;
};

// ------------------------------------------------------------------------------------------ Qps

enum mrpool_disconnect_reason {
  MRPOOL_DISCONNECT_LOCAL = 0,        // this side asked for it
  MRPOOL_DISCONNECT_PEER = 1,         // the peer closed in good order
  MRPOOL_DISCONNECT_RESET = 2,        // the connection broke, or keep-alive gave it up
  MRPOOL_DISCONNECT_TERMINATED = 3,   // the peer sent a Terminate
  MRPOOL_DISCONNECT_PROTOCOL = 4,     // this side found the peer in the wrong
  MRPOOL_DISCONNECT_REJECTED = 5,     // the peer refused the connection
  MRPOOL_DISCONNECT_TIMEOUT = 6,      // no answer in time
  MRPOOL_DISCONNECT_REFUSED = 7,      // nobody listens there
  MRPOOL_DISCONNECT_UNRESOLVED = 8,   // the host has no address
  MRPOOL_DISCONNECT_UNREACHABLE = 9,  // no way leads there
  MRPOOL_DISCONNECT_FAULT = 10,       // this side could not go on
};

// A connection, as each side sees it.
struct mrpool_connection {
  const char* local;  // "127.0.0.1:4420"
  const char* peer;
  uint16_t ord;  // as negotiated
  uint16_t ird;
  uint32_t private_data_length;
  const void* private_data;  // the peer's; it and the strings are valid during the call
};

// Why a connection ended.
struct mrpool_disconnect {
  uint32_t reason;  // enum mrpool_disconnect_reason
  uint8_t layer;    // TERMINATED, PROTOCOL: the Terminate's codes (RFC 5040 section 4.8)
  uint8_t error_type;
  uint8_t error_code;
  uint8_t reserved;
  const char* detail;  // for people; valid during the call
};

// What a Qp calls, each with the `context` of its mrpool_qp_attr. A NULL function is not called.
struct mrpool_qp_events {
  size_t size;
  // The connection is there: everything may be posted.
  void (*connected)(struct mrpool_qp* qp, void* context, const struct mrpool_connection* info);
  // Of mrpool_connect() only; disconnected() follows.
  void (*rejected)(struct mrpool_qp* qp, void* context, const void* private_data, size_t length);
  // The last call; the Qp may be destroyed from here. Everything outstanding has been flushed.
  void (*disconnected)(struct mrpool_qp* qp, void* context, const struct mrpool_disconnect* why);
};

// What a Qp is made with.
struct mrpool_qp_attr {
  size_t size;
  struct mrpool_cq* send_cq;  // both of one reactor
  struct mrpool_cq* recv_cq;
  const struct mrpool_qp_events* events;  // copied; NULL: nothing is called
  void* context;
  uint32_t max_send_wr;   // 0: 128
  uint32_t max_recv_wr;   // 0: 128
  uint32_t max_send_sge;  // 0: 4
  uint32_t max_recv_sge;  // 0: 1
  uint32_t ord;           // 0: 16; lowered to the device's and to the peer's ird
  uint32_t ird;           // 0: 16
  // Of the connection set-up.
  const void* private_data;  // copied
  uint32_t private_data_length;
  uint32_t reserved;
  uint64_t timeout;  // nanoseconds; 0: five seconds
};

// Starts a connection; an event reports the outcome. Receives may be posted at once. -ENXIO: the
// host cannot be resolved (verbs; uiwarp reports that by disconnected()).
MRPOOL_MUST_CHECK int mrpool_connect(struct mrpool_device* device, const char* address,
                                     struct mrpool_pd* pd, const struct mrpool_qp_attr* attr,
                                     struct mrpool_qp** qp);
// Before disconnected() it drops the connection and flushes what is outstanding, from inside.
void mrpool_qp_destroy(struct mrpool_qp* qp);
// Closes in good order, after what was posted went out. In any state; disconnected() follows.
void mrpool_disconnect_qp(struct mrpool_qp* qp);
// Drops the connection at once. In any state; disconnected() follows.
void mrpool_abort_qp(struct mrpool_qp* qp);
// Whether requests may be posted now: 1 or 0.
int mrpool_qp_connected(const struct mrpool_qp* qp);
// The `context` of its mrpool_qp_attr.
void* mrpool_qp_context(const struct mrpool_qp* qp);
// The number of requests that mrpool_post_send() takes now before it returns -EAGAIN.
uint32_t mrpool_qp_send_room(const struct mrpool_qp* qp);

// Queues the chain in order. On an error `bad_wr`, where not NULL, is the first request that was
// not taken; those before it were.
//   -EAGAIN           the queue is full
//   -EFAULT           an lkey that does not cover its range
//   -EKEYREJECTED     a key that is not one of this Pd in the right state
//   -EINVAL           too many Sges, an unaligned atomic, or `qp` is NULL
//   -EMSGSIZE         longer than the device allows
//   -EACCES           REG_MR with refused flags
//   -EOPNOTSUPP       an opcode that the device does not have, or an unknown flag
//   -EPROTONOSUPPORT  an opcode that the peer does not have
//   -ENOTCONN         the Qp is not connected
MRPOOL_MUST_CHECK int mrpool_post_send(struct mrpool_qp* qp, const struct mrpool_send_wr* wr,
                                       const struct mrpool_send_wr** bad_wr);
// The same for receives, which may be posted before the Qp is connected.
MRPOOL_MUST_CHECK int mrpool_post_recv(struct mrpool_qp* qp, const struct mrpool_recv_wr* wr,
                                       const struct mrpool_recv_wr** bad_wr);

// What a listener calls, with the `context` of mrpool_listen().
struct mrpool_listen_events {
  size_t size;
  // A peer wants to connect; `request` is the callee's, to accept or to reject, now or later.
  // `info`, valid during the call, has what the peer offers.
  void (*connect_request)(void* context, struct mrpool_connect_request* request,
                          const struct mrpool_connection* info);
  // The listener cannot accept. -ENOMEM: it tries again; any other code: it has failed
  // permanently. NULL: to the log.
  void (*error)(void* context, int error, const char* text);
};

// Accepts connections on the address's host and port (0: any free one, mrpool_listener_port()).
// `events` is copied. -EINVAL: the host is not this machine's.
// -EADDRINUSE: the port is taken.
MRPOOL_MUST_CHECK int mrpool_listen(struct mrpool_device* device, struct mrpool_reactor* reactor,
                                    const char* address, const struct mrpool_listen_events* events,
                                    void* context, struct mrpool_listener** listener);
void mrpool_listener_destroy(struct mrpool_listener* listener);  // its connections live on
// The port that it listens on.
uint16_t mrpool_listener_port(const struct mrpool_listener* listener);

// Ends `request` in every case: on an error it is rejected. Receives should be posted before
// connect_request() returns: the peer may send at once.
MRPOOL_MUST_CHECK int mrpool_accept(struct mrpool_connect_request* request, struct mrpool_pd* pd,
                                    const struct mrpool_qp_attr* attr, struct mrpool_qp** qp);
// Ends `request`. -EINVAL: more than max_reject_data; rejected without it then.
int mrpool_reject(struct mrpool_connect_request* request, const void* private_data, size_t length);

// ------------------------------------------------------------------------------ Pools and leases

enum mrpool_mr_pool_type {
  MRPOOL_POOL_FAST_REG = 0,  // segments without gaps, as ib_map_mr_sg() takes them
  MRPOOL_POOL_SG_GAPS = 1,   // any segments, where the device can
};

// What a pool is made with.
struct mrpool_mr_pool_attr {
  size_t size;
  uint32_t count;           // MRs, 1 to 2^24 - 2; all are allocated at creation
  uint32_t type;            // enum mrpool_mr_pool_type
  uint32_t max_segments;    // of each MR; 0: 256
  uint32_t access;          // the ceiling: no registration may exceed it; 0: local write
  uint32_t at_least;        // enum mrpool_registration: the weakest kind that will do; 0: any
  uint32_t cached_threads;  // threads with a cache of their own; 0: 32
};

// ib_mr_pool_init. -EPERM: the device has a weaker kind of registration than at_least.
MRPOOL_MUST_CHECK int mrpool_mr_pool_init(struct mrpool_pd* pd,
                                          const struct mrpool_mr_pool_attr* attr,
                                          struct mrpool_mr_pool** pool);
// Aborts with a message where leases are out.
void mrpool_mr_pool_destroy(struct mrpool_mr_pool* pool);
// ib_mr_pool_get: an MR, or NULL when there was a moment in the call at which none was free.
struct mrpool_lease* mrpool_mr_pool_get(struct mrpool_mr_pool* pool);
// ib_mr_pool_put, of an MR of any pool. NULL: nothing. One whose key may be live goes to repair:
// until then **the peer can still use the key**. Repair comes when a get finds the pool empty, when
// somebody waits, or by mrpool_mr_pool_repair(). Before its memory is used for something else, end
// the key (an invalidation, the Qp's end) or call mrpool_mr_pool_repair().
void mrpool_mr_pool_put(struct mrpool_lease* lease);
// Re-creates the keys of MRs under repair; returns how many became free. Not for the data path.
size_t mrpool_mr_pool_repair(struct mrpool_mr_pool* pool);

// Counters since creation. Each is exact when no call is under way; the set is not one snapshot.
struct mrpool_mr_pool_stats {
  size_t size;
  uint32_t mrs;
  uint32_t in_use;
  uint32_t high_water;  // how many different MRs were ever leased
  uint32_t in_repair;
  uint64_t gets;
  uint64_t exhaustions;  // gets that returned NULL
  uint64_t waits;
  uint64_t repairs;
  uint64_t wait_ns;  // of the waits that ended, until the MR was passed on or the wait cancelled
};
// Fills `stats` as far as stats->size goes.
MRPOOL_MUST_CHECK int mrpool_mr_pool_query(const struct mrpool_mr_pool* pool,
                                           struct mrpool_mr_pool_stats* stats);

// ib_map_mr_sg: the memory of the next registration. Returns how many segments it takes, from the
// front; 0: not even the first. The key must not be live.
size_t mrpool_map_mr_sg(struct mrpool_lease* lease, const struct mrpool_sge* sg_list,
                        size_t num_sge);
// 0: keys of this device are the base Mr's; there is nothing to register or to invalidate.
int mrpool_mr_needs_reg(const struct mrpool_lease* lease);
// Fills `wr` with the registration of the mapped memory under a new key, unsignalled, and returns
// 0; post it, or take it back with mrpool_mr_not_posted(). 1: nothing has to be registered
// (mrpool_mr_needs_reg()). -EACCES: `access` exceeds the pool's ceiling, or is forbidden; nothing
// changed.
MRPOOL_MUST_CHECK int mrpool_mr_prepare_reg(struct mrpool_lease* lease, uint32_t access,
                                            struct mrpool_send_wr* wr);
// Takes mrpool_mr_prepare_reg() back: its request was not posted, and the key is dead.
void mrpool_mr_not_posted(struct mrpool_lease* lease);
// Fills `wr` with the local invalidation, signalled and without a cqe; call mrpool_mr_invalidated()
// when it is done.
void mrpool_mr_prepare_inv(struct mrpool_lease* lease, struct mrpool_send_wr* wr);
// The key is dead: by an invalidation of the peer, a READ with invalidate, or a local one.
void mrpool_mr_invalidated(struct mrpool_lease* lease);
// The key that local Sges name, where the device lets them.
uint32_t mrpool_lease_lkey(const struct mrpool_lease* lease);
// The key that goes to the peer. It changes with every mrpool_mr_prepare_reg().
uint32_t mrpool_lease_rkey(const struct mrpool_lease* lease);
// What the peer calls the first byte of the mapped memory.
uint64_t mrpool_lease_remote_addr(const struct mrpool_lease* lease);
// Bytes of the mapped memory.
uint64_t mrpool_lease_length(const struct mrpool_lease* lease);
// The mapped memory in local work requests; not of memory windows.
struct mrpool_sge mrpool_lease_sge(const struct mrpool_lease* lease);

// ---------------------------------------------------------------------------- rw: RDMA transfers

enum mrpool_rw_direction {
  MRPOOL_RW_READ = 0,   // the peer's buffer to local memory: DMA_FROM_DEVICE
  MRPOOL_RW_WRITE = 1,  // local memory to the peer's buffer: DMA_TO_DEVICE
};

// The limits of the transfers of one Qp.
struct mrpool_rw_attr {
  size_t size;
  uint32_t max_operations;  // in flight at once, further ones wait; 0: 128
  uint32_t max_transfer;    // bytes of one; 0: 1 MiB
  uint32_t max_segments;    // local segments of one; 0: 16
  uint32_t force_mr;        // 1: take MRs where the device needs none, too
};

// What a Qp and a pool need to carry them: rdma_rw_init_qp() and rdma_rw_mr_factor().
struct mrpool_rw_needs {
  size_t size;
  uint32_t send_wr;  // to add to max_send_wr
  uint32_t send_sge;
  uint32_t pool_mrs;  // for all operations at once; fewer make operations wait; 0: no pool
  uint32_t pool_segments;
  uint32_t pool_access;
  uint32_t sink_access;  // of the registration of memory that READs fill
};
// Fills `needs` for transfers with these limits on this device. `attr` may be NULL: the defaults.
MRPOOL_MUST_CHECK int mrpool_rw_query_needs(const struct mrpool_device* device,
                                            const struct mrpool_rw_attr* attr,
                                            struct mrpool_rw_needs* needs);

// The transfers of one Qp. `pool` may be NULL where pool_mrs is 0. -EPERM: the pool or the Qp has
// less than mrpool_rw_query_needs() requires.
MRPOOL_MUST_CHECK int mrpool_rw_create(struct mrpool_qp* qp, struct mrpool_mr_pool* pool,
                                       const struct mrpool_rw_attr* attr, struct mrpool_rw** rw);
// Frees it. Aborts with a message where operations are under way: after disconnected() call
// mrpool_rw_stop(), destroy the Qp, or wait for every done().
void mrpool_rw_destroy(struct mrpool_rw* rw);
// The Qp is disconnected: waiting operations are done with WR_FLUSH_ERR before this returns. Call
// it from disconnected(), or destroy the rw there.
void mrpool_rw_stop(struct mrpool_rw* rw);

// One transfer: the kernel's rdma_rw_ctx. Embedded in the request that it belongs to; `done` is set
// before the post.
struct MRPOOL_STORAGE mrpool_rw_ctx {
  // Success: every key is dead, and every byte that was read is in its place. Of a write it means
  // only that local memory is free again. Otherwise `status` is the first failure
  // (enum mrpool_wc_status). The ctx may be destroyed or used again from here.
  void (*done)(struct mrpool_rw_ctx* ctx, int status);
  void* opaque[127];
};

// Describes the transfer of `length` bytes between the list, from byte `offset` of it on, and the
// peer's buffer. The list must stay until done(). `done` is kept. Not for a ctx that is under
// way. -EINVAL: the list is shorter.
MRPOOL_MUST_CHECK int mrpool_rw_ctx_init(struct mrpool_rw_ctx* ctx, struct mrpool_rw* rw,
                                         const struct mrpool_sge* sg_list, uint32_t num_sge,
                                         uint64_t offset, uint64_t remote_addr, uint32_t rkey,
                                         uint64_t length, enum mrpool_rw_direction direction);
// Starts or queues it; done() runs once, from the loop. `last` may be NULL. For writes it may be
// one request, such as a response, that is posted after the data in the same batch. It completes by
// its own cqe, and must stay with its list until done(). On an error nothing was started, and
// done() does not run. -EMSGSIZE: beyond max_transfer; -EINVAL: beyond max_segments, or a bad Sge;
// else as mrpool_post_send().
MRPOOL_MUST_CHECK int mrpool_rw_ctx_post(struct mrpool_rw_ctx* ctx,
                                         const struct mrpool_send_wr* last);
// From done(): 1 where `last` was posted, so that its cqe is called; 0 where it was not.
int mrpool_rw_ctx_last_posted(const struct mrpool_rw_ctx* ctx);
// 1: nothing was posted, done() does not run. 0: done() runs, or nothing is under way.
int mrpool_rw_ctx_cancel(struct mrpool_rw_ctx* ctx);
// Between done(), or a post that failed, and the next init.
void mrpool_rw_ctx_destroy(struct mrpool_rw_ctx* ctx);

#ifdef __cplusplus
}
#endif
