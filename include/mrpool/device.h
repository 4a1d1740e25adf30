// Devices: where protection domains, completion queues and connections come from.
//
// A device is named by an address, written alike everywhere:
//   uiwarp://127.0.0.1:4420[?crc=off&placement=adversarial&seed=7...]   iWARP in userspace over TCP
//   verbs://10.0.0.1:4420                                               an RDMA device (rdma-core)
// The host and port choose where to listen or connect; for verbs the host also chooses the device.
// Options choose how the device works, so they are given to Device::open. listen() and connect()
// take the options that are in force, and refuse another one by name.
//
// Ownership: a Device outlives everything made from it; it is shared. Pd outlives its Mrs, FastMrs,
// Srqs and Qps; a Cq outlives the Qps that use it. All are the caller's to destroy.
// Thread safety: Device, Pd and Mr registration: any thread. Cq, Qp, Srq, Listener: the thread of
// the Reactor they were made with (checked, see docs/reference/ownership.md).
// Errors: set-up calls return absl::Status and do not throw. InvalidArgument names what is wrong: a
// size beyond the caps, an object of another Device or Pd, an address of another transport.
// ResourceExhausted names the limit that was hit, what was asked for and what there is.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "mrpool/access.h"
#include "mrpool/dmabuf.h"
#include "mrpool/mr.h"
#include "mrpool/qp.h"
#include "mrpool/reactor.h"
#include "mrpool/statistics.h"

namespace mrpool {

// A parsed device address. Errors name the part that is wrong and show a right one.
struct Address {
  std::string transport;  // "uiwarp", "verbs"
  std::string host;       // "127.0.0.1", "::1" (written [::1]); may be empty for "uiwarp://"
  uint16_t port = 0;      // 0 when not given
  std::string options;    // the part after '?'

  // "uiwarp://127.0.0.1:4420". InvalidArgument names the part that is wrong.
  static absl::StatusOr<Address> parse(std::string_view uri);
  // As parse() takes it.
  std::string to_string() const;
};

// Among whom an atomic is atomic.
enum class AtomicScope : uint8_t {
  kNone,     // the device has no atomics
  kDevice,   // among the atomics of this device
  kMachine,  // and with std::atomic accesses of programs on its machine
};
// The scope's name, for people.
std::string_view to_string(AtomicScope scope);

// What a device can do, and its limits.
struct DeviceCaps {
  std::string name;    // "uiwarp", "rxe0"
  bool iwarp = false;  // iWARP, not InfiniBand or RoCE
  Registration registration = Registration::kFastReg;
  AccessSupport access;                       // the flags that it honours
  bool read_sink_needs_remote_write = false;  // an Mr that READs fill; RwQueueNeeds::sink_access
  bool sg_gaps = false;                       // FastMr::map takes ranges with gaps
  bool send_with_inv = false;  // kSendWithInv, and a peer's may end keys of this side
  bool read_with_inv = false;  // kRdmaReadWithInv
  bool srq = false;            // shared receive queues
  bool moves_qps = false;      // Qp::detach() and attach()
  // kSendWithImm, kRdmaWriteWithImm and atomics, as this device has them. Whether a connection has
  // them is for both sides: Qp::supports().
  bool immediate_data = false;
  AtomicScope atomics = AtomicScope::kNone;
  bool keys_bound_to_qp =
      false;  // a fast-registered key is valid only on the Qp that registered it

  uint32_t max_qp_wr = 0;              // per queue
  uint32_t max_cqe = 0;                // CqOptions::depth
  uint32_t max_sge = 0;                // SENDs, WRITEs, receives
  uint32_t max_read_sge = 0;           // sinks of one READ
  uint32_t max_mr = 0;                 // MRs of both kinds
  uint32_t max_fast_reg_segments = 0;  // FastMrOptions::max_segments
  // Blocks of one registration with protection (mrpool/integrity.h); 0: no integrity MRs.
  uint32_t max_integrity_blocks = 0;
  uint64_t max_message = 0;  // bytes in one SEND, WRITE or READ
  uint16_t max_ord = 0;      // READs and atomics outstanding that a Qp may start
  uint16_t max_ird = 0;      // READs and atomics outstanding that a Qp may serve
  // Bytes of private data in each message of the connection set-up.
  struct PrivateData {
    uint16_t connect = 0;
    uint16_t accept = 0;
    uint16_t reject = 0;
  } max_private_data;
};

// The access flags with which memory must be registered, so that pool keys over it can have
// `rights`. With fast registration: no remote rights. With memory windows: kMwBind, no remote
// rights. With pre-registered keys: the rights themselves, which the peer then has as long as the
// Mr lives.
constexpr Access base_access(const DeviceCaps& caps, Access rights) {
  switch (caps.registration) {
    case Registration::kFastReg:
      return rights & ~kRemoteRights;
    case Registration::kMemoryWindow:
      return (rights & ~kRemoteRights) | Access::kMwBind;
    case Registration::kPreRegistered:
      break;
  }
  return rights;
}

// What a fast-registration MR is made for.
struct FastMrOptions {
  uint32_t max_segments = 256;
  bool sg_gaps = false;  // needs caps.sg_gaps
  // The flags no registration of it may exceed.
  Access ceiling = Access::kLocalWrite;
  IntegrityCapacity integrity{};  // needs caps.max_integrity_blocks
};

// A protection domain: keys and Qps of one Pd work together, and with no other's.
class Pd {
 public:
  virtual ~Pd() = default;
  // Registers memory until the Mr is destroyed. `access`: for memory that RwContext fills
  // RwQueueNeeds::sink_access, for memory that is lent to peers base_access(caps, rights), for
  // buffers of messages kLocalWrite where they are received into and kNone where they are sent
  // from. InvalidArgument: refused flags; or memory that is null, empty, not mapped, not readable,
  // not writable although `access` lets the device write it, or that wraps (EFAULT of ibv_reg_mr).
  // The message names the first such byte. Without /proc, uiwarp checks only for null, empty and
  // wrapping. With kOnDemand nothing has to be mapped yet.
  // ResourceExhausted: max_mr, or locked memory (the message names `ulimit -l`).
  // The memory must stay mapped, with its protection, while the Mr lives. It is not checked again.
  // On uiwarp a later munmap() ends the connection with kFault where the kernel copies the bytes,
  // and the process with SIGSEGV where this library does (CRC, small messages). On verbs the pages
  // are pinned and stay.
  virtual absl::StatusOr<std::unique_ptr<Mr>> reg_mr(std::span<std::byte> memory,
                                                     Access access) = 0;
  // Registers memory of another device (ibv_reg_dmabuf_mr). Its Mr::memory() is the range as Sges
  // name it, from `range.iova` on; this process cannot read it. Unimplemented: the device cannot.
  // InvalidArgument: refused flags, no dma-buf, or a range that it does not have.
  virtual absl::StatusOr<std::unique_ptr<Mr>> reg_dmabuf_mr(const DmabufRange& range,
                                                            Access access);
  // Unimplemented: integrity on a device that has none.
  virtual absl::StatusOr<std::unique_ptr<FastMr>> alloc_fast_mr(const FastMrOptions& options) = 0;
  // A shared receive queue. ResourceExhausted: beyond the caps, which the message names.
  virtual absl::StatusOr<std::unique_ptr<Srq>> create_srq(Reactor& reactor,
                                                          const SrqOptions& options) = 0;
  // The caps of its device.
  virtual const DeviceCaps& caps() const = 0;

  // What was made from this Pd so far. Any thread. A device that counts nothing returns
  // not_counted.
  virtual PdStatistics statistics() const { return PdStatistics::not_counted(); }
};

inline absl::Status Qp::detach() {
  return absl::UnimplementedError(pd().caps().name + " cannot move a Qp to other Cqs");
}

inline absl::Status Qp::attach(Cq&, Cq&) { return Qp::detach(); }

inline absl::StatusOr<std::unique_ptr<Mr>> Pd::reg_dmabuf_mr(const DmabufRange&, Access) {
  return absl::UnimplementedError(
      caps().name +
      " does not register dma-bufs; where the exporter allows mmap(), map it and use reg_mr()");
}

// An RDMA device, of whatever transport.
class Device {
 public:
  // Opens the device `address` names. InvalidArgument: the transport is unknown, the message lists
  // those there are; or its options are wrong.
  static absl::StatusOr<std::shared_ptr<Device>> open(const Address& address);
  virtual ~Device() = default;

  // What the device can do.
  virtual const DeviceCaps& caps() const = 0;
  // A new Pd, which must not outlive the device.
  virtual absl::StatusOr<std::unique_ptr<Pd>> alloc_pd() = 0;
  // A Cq whose completions run on `reactor`, which outlives it. InvalidArgument: the depth.
  virtual absl::StatusOr<std::unique_ptr<Cq>> create_cq(Reactor& reactor,
                                                        const CqOptions& options) = 0;

  // Accepts connections on the address's host and port. `handler` must outlive the listener.
  // InvalidArgument: the host cannot be resolved, or belongs to another device; AlreadyExists: the
  // port is taken.
  virtual absl::StatusOr<std::unique_ptr<Listener>> listen(Reactor& reactor, const Address& address,
                                                           ListenHandler& handler) = 0;
  // Starts a connection; `events` is called with the outcome and must outlive the Qp. Receives may
  // be posted to the Qp at once. A host that cannot be resolved is NotFound here on verbs, which
  // resolves in the call, and kUnresolved in on_disconnected on uiwarp.
  virtual absl::StatusOr<std::unique_ptr<Qp>> connect(const Address& address, Pd& pd,
                                                      const QpOptions& options,
                                                      const ConnectParams& params,
                                                      QpEvents& events) = 0;

  // What happened on this device since it was opened, Qps that ended included. Any thread; it takes
  // locks, and no data path waits for them. A device that counts nothing returns not_counted().
  virtual TransportStatistics statistics() const { return not_counted(); }
};

}  // namespace mrpool
