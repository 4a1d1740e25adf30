// Queue pairs and the connections they are made with.
//
// A Qp is one connection: it is made by Device::connect or by ConnectRequest::accept, and its life
// is connecting → connected → closing → closed. While it is connecting, receives can be posted;
// from on_connected on, everything. When it leaves the connected state all outstanding requests
// complete as kFlushed, in the order they were posted per queue. A request that caused the end
// completes with its error. on_disconnected is called after the last completion, and is the last
// call for the Qp.
//
// Where caps.moves_qps is true, a connected Qp can move to another reactor: detach() on the thread
// of the old one, attach() on the thread of the new one.
//
// Thread safety: all calls on the thread of the Reactor of the Qp's Cqs. A call from another one
// aborts with a message; post_send and post_recv check it in debug builds and with
// MRPOOL_CHECK_THREADS=1 in the environment.
// Ownership: the caller owns the Qp. Destroying it earlier than on_disconnected drops the
// connection and flushes what is outstanding, from inside the destructor.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "mrpool/reactor.h"
#include "mrpool/statistics.h"
#include "mrpool/work.h"

namespace mrpool {

class Pd;

// What a Cq is made of.
struct CqOptions {
  // Entries, 1 to caps.max_cqe: the sum over its Qps of max_send_wr + max_recv_wr, and max_wr of
  // each Srq that they take from. A Qp that does not fit is refused with ResourceExhausted. Never
  // resized (iWARP cannot).
  uint32_t depth = 0;
};

// A completion queue, of Qps of one reactor; completions run on its loop.
class Cq {
 public:
  virtual ~Cq() = default;
  // The reactor whose loop delivers its completions.
  virtual Reactor& reactor() = 0;
};

class Srq;

// What a shared receive queue reports, on its reactor's loop.
class SrqEvents {
 public:
  // Fewer receives are posted than the limit of arm_limit(). Called from the loop, never from
  // inside a call, once for each arm_limit(). The Srq may be destroyed from here.
  virtual void on_srq_limit(Srq& srq) = 0;

 protected:
  ~SrqEvents() = default;
};

// What a shared receive queue is made of.
struct SrqOptions {
  uint32_t max_wr = 0;
  uint32_t max_sge = 1;
  SrqEvents* events = nullptr;  // borrowed until the Srq is destroyed; null: no limit can be armed
};

// Receives shared by Qps of one Pd and one reactor, in the order of posting. Its end flushes them.
class Srq {
 public:
  virtual ~Srq() = default;
  // As Qp::post_recv.
  virtual PostStatus post_recv(const RecvRequest& chain) = 0;
  // The number of receives that no message has taken. On verbs a receive counts until its message
  // is complete.
  virtual uint32_t posted() const = 0;
  // Asks for one on_srq_limit() when posted() is below `limit`, now or later; 0 takes the request
  // back. (ibv_modify_srq with IBV_SRQ_LIMIT; counted here on every device, so that a device
  // without that event has it too.) InvalidArgument: more than max_wr. FailedPrecondition:
  // SrqOptions::events is null.
  virtual absl::Status arm_limit(uint32_t limit) = 0;
};

// How a connection detects that its peer has disappeared. uiwarp: TCP keep-alive (RFC 9293 §3.8.4).
// verbs ignores these values; the device's own time-outs apply.
// Whole seconds on Linux, from 1 to 32767; probes from 1 to 127.
struct KeepAlive {
  Nanoseconds idle = std::chrono::seconds(10);     // silence before the first probe
  Nanoseconds interval = std::chrono::seconds(5);  // between probes
  uint32_t probes = 4;                             // unanswered ones that end the connection
  friend bool operator==(const KeepAlive&, const KeepAlive&) = default;
};

// What a Qp is made of: its queues, and what it asks of the peer.
struct QpOptions {
  Cq* send_cq = nullptr;  // borrowed; both of the same reactor
  Cq* recv_cq = nullptr;
  Srq* srq = nullptr;  // borrowed; post_recv is not used then
  uint32_t max_send_wr = 128;
  uint32_t max_recv_wr = 128;
  uint32_t max_send_sge = 4;
  uint32_t max_recv_sge = 1;
  // READs and atomics this side may have outstanding; lowered to caps.max_ord and the peer's ird.
  uint16_t ord = 16;
  uint16_t ird = 16;  // READs the peer may have outstanding here; lowered to caps.max_ird
  // A hint: SENDs and WRITEs up to so many bytes may be copied when they are posted, which spares
  // the device a read of host memory. What a device cannot do it lowers without an error. It
  // changes nothing for the program: memory is the device's until the completion. uiwarp copies
  // small payloads by itself and does not look at it.
  uint32_t max_inline = 0;
  KeepAlive keep_alive = {};
  // How long a message of the peer that finds no receive posted waits for one. What the peer sent
  // after it waits too, answers to this side's READs included. Zero: it does not wait and the
  // connection ends, as in iWARP. uiwarp only: on verbs the sender's device counts its retries.
  Nanoseconds receive_wait = Nanoseconds::zero();
};

// What goes to the peer with a connection request or its acceptance.
struct ConnectParams {
  std::span<const std::byte> private_data;  // copied; at most caps.max_private_data
  Nanoseconds timeout = std::chrono::seconds(5);
};

// A connection as it was made.
struct ConnectionInfo {
  std::string local;  // "127.0.0.1:4420"
  std::string peer;
  uint16_t ord = 0;  // as negotiated: READs this side may have outstanding
  uint16_t ird = 0;
  std::span<const std::byte> private_data;  // the peer's; valid during the call
};

// Why a connection ended.
enum class DisconnectReason : uint8_t {
  kLocal,        // this side asked for it, whatever became of the connection meanwhile
  kPeer,         // the peer closed in good order
  kReset,        // the established connection broke, or keepalive gave it up
  kTerminated,   // the peer sent a Terminate: it found an error of this side
  kProtocol,     // this side found an error of the peer, and sent a Terminate where it could
  kRejected,     // the peer refused the connection: ConnectionInfo-less on_rejected came before
  kTimeout,      // no answer within ConnectParams::timeout
  kRefused,      // nobody listens there
  kUnresolved,   // the host has no address
  kUnreachable,  // no way leads there
  kFault,        // this side could not go on: a request that could not be carried out, registered
                 // memory that is not mapped, no descriptors; `detail` has the cause
};
// The reason's name, for people.
std::string_view to_string(DisconnectReason reason);

// The end of a connection.
struct Disconnect {
  DisconnectReason reason = DisconnectReason::kLocal;
  // kTerminated, kProtocol: the Terminate's layer, error type and error code (RFC 5040 §4.8), else
  // 0. `detail` is for people and valid during the call.
  uint8_t layer = 0;
  uint8_t error_type = 0;
  uint8_t error_code = 0;
  std::string_view detail;
};

// What a Qp reports of its connection: called by its reactor's loop, never from inside a call of
// the program such as disconnect() or abort().
class QpEvents {
 public:
  // The connection is there: everything may be posted.
  virtual void on_connected(Qp& qp, const ConnectionInfo& info) = 0;
  // Only for connect(): the peer rejected the connection, with private data of its own.
  // on_disconnected follows.
  virtual void on_rejected(Qp& qp, std::span<const std::byte> private_data) = 0;
  // The last call; the Qp may be destroyed from here.
  virtual void on_disconnected(Qp& qp, const Disconnect& why) = 0;
  // Only with QpOptions::receive_wait: a message of the peer has found no receive. Returns how long
  // it may wait for one from now on. The Qp must not be destroyed from here.
  virtual Nanoseconds on_receive_wait(Qp& qp);

 protected:
  ~QpEvents() = default;
};

// What can be done with a Qp.
enum class ConnectionState : uint8_t {
  kConnecting,  // receives may be posted
  kConnected,   // everything may be posted
  kClosing,     // disconnect() was called; what was posted goes out
  kClosed,      // everything completes as kFlushed; on_disconnected follows or was called
  kDetached,    // between two reactors: nothing may be posted
};
// The state's name, for people.
std::string_view to_string(ConnectionState state);

// A queue pair: one connection, its requests and receives.
class Qp {
 public:
  virtual ~Qp() = default;

  // Queues the chain in order. Work begins at once or at the end of the reactor's round, whichever
  // batches better; no flush call exists.
  virtual PostResult post_send(const WorkRequest& chain) = 0;
  // Queues memory for messages of the peer, in order; each takes one. Not with QpOptions::srq.
  virtual PostStatus post_recv(const RecvRequest& chain) = 0;

  // Closes in good order after what was posted went out; abort() drops the connection at once.
  // on_disconnected follows both. They may be called in any state.
  virtual void disconnect() = 0;
  // Drops the connection at once; see disconnect().
  virtual void abort() = 0;

  // Whether everything may be posted.
  virtual bool connected() const = 0;
  // A device with more states overrides it.
  virtual ConnectionState state() const {
    return connected() ? ConnectionState::kConnected : ConnectionState::kClosed;
  }
  // Whether this connection has the operation: the device has it, and its peer agreed to it. False
  // before the connection is established, and of what is in completions only.
  virtual bool supports([[maybe_unused]] Opcode opcode) const { return false; }
  // The Pd it was created on.
  virtual Pd& pd() = 0;
  // The reactor it lives on.
  virtual Reactor& reactor() = 0;
  // What it was created with. The pointers are those that were given, or given to attach().
  virtual const QpOptions& options() const = 0;
  // The number of requests that post_send takes now before it returns kQueueFull.
  virtual uint32_t send_room() const = 0;
  // As negotiated; 0 before the connection is established.
  virtual uint16_t ord() const = 0;
  // Removes the Qp from its Cqs and their reactor. From the return until attach() nothing is
  // called, received or sent; completions that have not been delivered wait too. Then attach() the
  // Qp on another thread, or destroy it there, which flushes what is outstanding. Until then only
  // options(), pd(), connected() (false), state(), statistics() and posts (kNotConnected) may be
  // called. Objects that use the Qp (RwContext, Lender, mrpool/asio.h) belong to the old reactor:
  // destroy them first. The caller passes the Qp to the other thread, for instance by
  // Reactor::post().
  // FailedPrecondition: it is not connected, or takes its receives from an Srq, which belongs to
  // one reactor. Unimplemented: !caps.moves_qps.
  virtual absl::Status detach();
  // Goes on with a detached Qp on the reactor of these Cqs, from its thread; options() names them
  // from now on. Completions come in the order of posting, those that waited first.
  // FailedPrecondition: it is not detached. InvalidArgument: Cqs of another Device or of two
  // reactors. ResourceExhausted: a Cq has no room for it. It stays detached then.
  virtual absl::Status attach(Cq& send_cq, Cq& recv_cq);
  // Bytes of memory this Qp holds, buffers of its connection included.
  virtual size_t memory_bytes() const = 0;
  // What happened on this connection so far. Any thread, as long as the Qp lives; merge() adds the
  // statistics of several Qps up (mrpool/statistics.h).
  virtual TransportStatistics statistics() const { return not_counted(); }
};

// A peer that wants to connect. Destroying it without an answer rejects it. May be moved to another
// reactor's thread and accepted there: the Qp then lives on the reactor of its Cqs.
class ConnectRequest {
 public:
  virtual ~ConnectRequest() = default;
  virtual const ConnectionInfo& info() const = 0;  // ord, ird: what the peer offers, seen from here
  // on_connected follows, from the Qp's reactor. Receives should be posted before the callback that
  // got the request returns to the loop: the peer may send at once.
  virtual absl::StatusOr<std::unique_ptr<Qp>> accept(Pd& pd, const QpOptions& options,
                                                     const ConnectParams& params,
                                                     QpEvents& events) = 0;
  // InvalidArgument: more than caps.max_private_data.reject; the request is still unanswered.
  // FailedPrecondition: it was answered before.
  virtual absl::Status reject(std::span<const std::byte> private_data) = 0;
};

// What a listener reports, on its reactor's loop.
class ListenHandler {
 public:
  // A peer wants to connect; `request` is the handler's, and waits for accept() or reject().
  virtual void on_connect_request(std::unique_ptr<ConnectRequest> request) = 0;
  // The listener cannot accept. ResourceExhausted: for now, out of descriptors or memory;
  // connections wait in the kernel's queue and accepting is tried again until it works; called once
  // an episode. Any other code: the listener has failed permanently. The listener may be destroyed
  // from inside. The default writes a line to the log (mrpool/log.h).
  virtual void on_listen_error(const absl::Status& error);

 protected:
  ~ListenHandler() = default;
};

// An address that is listened on, until it is destroyed.
class Listener {
 public:
  virtual ~Listener() = default;  // stops listening; connections made live on
  // The port that is listened on, where the address had 0 too.
  virtual uint16_t port() const = 0;
};

}  // namespace mrpool
