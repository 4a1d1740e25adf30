// Work requests and their completions.
//
// What it is: the two structs a data path exchanges with a Qp. Requests are plain descriptions that
// may live on the stack: everything, the scatter list included, is copied by post. A Completion is
// intrusive: embed it in the request of yours that it finishes.
//
// Ownership: a Completion must outlive the work request that names it, that is until done() ran.
// Exactly once: done() runs once for every signalled request that post accepted, flushes included,
// never from inside a post. An unsignalled request that succeeds is silent; one that fails is not.
// What success means:
//   receive, RDMA READ  the data is in this side's memory
//   SEND, RDMA WRITE    the device no longer needs the local memory
//   atomic              the peer's memory has the new value, and the sink the original one
// The success of a SEND or WRITE does not mean that the peer has the data. On iWARP the bytes may
// still be in the TCP connection. On InfiniBand and RoCE the peer's device has acknowledged them.
// The peer's program may read what was written once it has received a later SEND of this Qp, or
// this side has completed a later READ.
// Memory ordering: when done() runs with kSuccess, all data that this and earlier operations of the
// same Qp placed is visible to the calling thread. Under relaxed ordering none of it need be
// visible before that. Thread safety: the owning Reactor's thread calls done().
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "mrpool/access.h"
#include "mrpool/types.h"

namespace mrpool {

class FastMr;
class Qp;

// What a work request asks for, and what a completion is of.
enum class Opcode : uint8_t {
  kSend,
  kSendWithInv,  // and invalidates `rkey` at the peer
  kRdmaWrite,
  kRdmaRead,
  kRdmaReadWithInv,   // and invalidates the local sink's key when the data is there
  kRegMr,             // makes `mr`'s mapped memory reachable by its key
  kLocalInv,          // ends the life of the local key `rkey`
  kSendWithImm,       // a SEND that carries `imm` into the receive's completion
  kRdmaWriteWithImm,  // an RDMA WRITE that then completes a receive of the peer with `imm`
  // Atomics on the 8 bytes at `remote_addr`: they return what was there before, into the sink.
  kCompareSwap,  // stores `swap` if the value equals `compare_add`
  kFetchAdd,     // adds `compare_add`, modulo 2^64
  // In completions only.
  kRecv,             // a SEND came
  kRecvWithImm,      // a SEND with immediate data came: `imm`
  kRecvRdmaWithImm,  // an RDMA WRITE with immediate data came: `imm`; no byte is in the receive
};
// Of a receive, whatever came.
constexpr bool is_receive(Opcode opcode) { return opcode >= Opcode::kRecv; }
// Whether a completion carries `imm`.
constexpr bool has_immediate(Opcode opcode) {
  return opcode == Opcode::kRecvWithImm || opcode == Opcode::kRecvRdmaWithImm;
}
// Whether a request is an atomic.
constexpr bool is_atomic(Opcode opcode) {
  return opcode == Opcode::kCompareSwap || opcode == Opcode::kFetchAdd;
}

// How a request ended.
enum class WcStatus : uint8_t {
  kSuccess,
  kLocalLength,      // a message longer than the receive, or longer than the device allows
  kLocalProtection,  // an Sge's lkey does not cover its range with the rights it needs
  kFlushed,          // the Qp left the connected state before this request was done
  kBind,             // kRegMr or kLocalInv refused
  kRemoteInvalidRequest,
  kRemoteAccess,     // the peer's key did not allow it
  kRemoteOperation,  // the peer could not do it for a reason of its own
  kTransport,        // the connection broke while this request was under way
  kCancelled,        // RwOperations only: RwContext::cancel() took the rest of it back
  kIntegrity,        // RwOperations only: the data is there, and RwOperation::integrity_error()
                     // has the fault
};
// The name, for people.
std::string_view to_string(Opcode opcode);
// The name, for people.
std::string_view to_string(WcStatus status);

// With a status other than kSuccess only `status`, `opcode` and `qp` mean something.
struct WorkCompletion {
  WcStatus status = WcStatus::kSuccess;
  Opcode opcode = Opcode::kSend;
  bool invalidated = false;  // kRecv: the peer's SEND ended the life of `invalidated_rkey` here
  bool solicited = false;    // receives: the peer asked for an event
  Rkey invalidated_rkey{};
  uint32_t byte_len = 0;  // receives: bytes received; kRecvRdmaWithImm: bytes of the WRITE
  uint32_t imm = 0;       // where has_immediate(opcode): the peer's WorkRequest::imm
  Qp* qp = nullptr;
};

// The callback of a request, run when the request has ended.
class Completion {
 public:
  // What a completion calls, once for each signalled request.
  using Done = void (*)(Completion& self, const WorkCompletion& wc);

  // `done_fn` is called with the completion itself: a base class of what the program keeps.
  explicit constexpr Completion(Done done_fn) : done_(done_fn) {}
  Completion(const Completion&) = delete;
  Completion& operator=(const Completion&) = delete;

  // For devices: calls the function.
  void done(const WorkCompletion& wc) { done_(*this, wc); }

 protected:
  ~Completion() = default;

 private:
  Done done_;
};

// A request of a send queue; `next` makes a chain of several.
struct WorkRequest {
  WorkRequest* next = nullptr;
  // Null: nothing is called for this request, not even when it fails; the end of the Qp then shows
  // the failure.
  Completion* completion = nullptr;
  Opcode opcode = Opcode::kSend;
  bool signalled = true;
  bool solicited = false;       // SENDs, kRdmaWriteWithImm: ask for an event at the peer
  bool fence = false;           // start only when all earlier READs and atomics of this Qp have
                                // completed
  std::span<const Sge> sges{};  // SENDs, WRITEs: gathered; READ: the sink; atomics: the sink, one
                                // Sge of 8 bytes under kLocalWrite
  RemoteAddr remote_addr{};     // WRITEs, READs; atomics: a multiple of 8
  Rkey rkey{};                  // WRITEs, READs, atomics: the peer's, with the right; kSendWithInv:
                                // the peer's key to invalidate; kLocalInv: the local one
  FastMr* mr = nullptr;         // kRegMr
  Access access = Access::kNone;  // kRegMr
  // Immediate data, a number: both sides see the same one whatever their byte orders. (The field of
  // ibv_send_wr holds it in network order.)
  uint32_t imm = 0;
  // Atomics, numbers in the byte order of the peer's machine.
  uint64_t compare_add = 0;
  uint64_t swap = 0;
};

// Memory for a message of the peer; `next` makes a chain of several.
struct RecvRequest {
  RecvRequest* next = nullptr;
  Completion* completion = nullptr;  // null: nothing is called for the message
  std::span<const Sge> sges{};
};

// Why a post refused a request. That request and all later ones of the chain were not taken.
enum class [[nodiscard]] PostStatus : uint8_t{
    kOk,
    kQueueFull,  // more requests outstanding than the Qp was created for
    kTooManySges,
    kBadSge,           // an lkey that does not cover its range, or lacks a right it needs
    kTooLong,          // message or READ longer than the caps allow
    kBadKey,           // kLocalInv, kRegMr: not a key of this Pd in the right state
    kAccessDenied,     // kRegMr: refused access flags; PostResult::denied says which
    kUnsupported,      // opcode the device does not have (see DeviceCaps)
    kNotConnected,     // a send request before the connection is established or after it ended
    kBadAtomic,        // not one Sge of 8 bytes, or remote_addr is no multiple of 8
    kPeerUnsupported,  // opcode the peer did not agree to (Qp::supports)
    kBadIntegrity,     // attributes that are not valid, lists that do not fit them, or kRegMr with
                       // rights that do not fit where the data goes (FastMr::map_integrity)
};
// The name, for people.
std::string_view to_string(PostStatus status);

// Whether a chain was taken, and else which request was refused, and why.
struct [[nodiscard]] PostResult {
  constexpr PostResult() = default;
  // For devices: what post_send returns.
  constexpr PostResult(PostStatus status_in, const WorkRequest* refused_in,
                       Access denied_in = Access::kNone)
      : status(status_in), denied(denied_in), refused(refused_in) {}

  PostStatus status = PostStatus::kOk;
  Access denied;                         // kAccessDenied: the flags that were refused; one at least
  const WorkRequest* refused = nullptr;  // first request of the chain that was not taken
  // Whether the whole chain was taken.
  bool ok() const { return status == PostStatus::kOk; }
};

}  // namespace mrpool
