// Work requests and their completions.
//
// What it is: the two structs a data path exchanges with a Qp. Requests are plain descriptions that
// may live on the stack: everything, the scatter list included, is copied by post. A Completion is
// intrusive: embed it in the request of yours that it finishes.
//
// Ownership: a Completion must outlive the work request that names it, that is until done() ran.
// Exactly once: done() runs once for every signalled request that post accepted, flushes included,
// never from inside a post. An unsignalled request that succeeds is silent; one that fails is not.
// Memory ordering: when done() runs with kSuccess, all data that the operation and earlier
// operations of the same Qp placed is visible to the calling thread. Before that, under relaxed
// ordering, none of it need be.
// Thread safety: the owning Reactor's thread calls done().
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "mrpool/access.h"
#include "mrpool/types.h"

namespace mrpool {

class FastMr;
class Qp;

enum class Opcode : uint8_t {
  kSend,
  kSendWithInv,  // and invalidates `rkey` at the peer
  kRdmaWrite,
  kRdmaRead,
  kRdmaReadWithInv,  // and invalidates the local sink's key when the data is there
  kRegMr,            // makes `mr`'s mapped memory reachable by its key
  kLocalInv,         // ends the life of the local key `rkey`
  kRecv,             // in completions only
};

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
};
std::string_view to_string(Opcode opcode);
std::string_view to_string(WcStatus status);

// With a status other than kSuccess only `status`, `opcode` and `qp` mean something.
struct WorkCompletion {
  WcStatus status = WcStatus::kSuccess;
  Opcode opcode = Opcode::kSend;
  bool invalidated = false;  // kRecv: the peer's SEND ended the life of `invalidated_rkey` here
  bool solicited = false;    // kRecv: the peer asked for an event
  Rkey invalidated_rkey{};
  uint32_t byte_len = 0;  // kRecv: bytes received
  Qp* qp = nullptr;
};

class Completion {
 public:
  using Done = void (*)(Completion& self, const WorkCompletion& wc);

  explicit constexpr Completion(Done done_fn) : done_(done_fn) {}
  Completion(const Completion&) = delete;
  Completion& operator=(const Completion&) = delete;

  void done(const WorkCompletion& wc) { done_(*this, wc); }

 protected:
  ~Completion() = default;

 private:
  Done done_;
};

struct WorkRequest {
  WorkRequest* next = nullptr;
  Completion* completion = nullptr;  // may be null when unsignalled
  Opcode opcode = Opcode::kSend;
  bool signalled = true;
  bool solicited = false;         // SENDs: ask for an event at the peer
  bool fence = false;             // start only when all earlier READs of this Qp have completed
  std::span<const Sge> sges{};    // SENDs, WRITE: gathered; READ: the sink
  RemoteAddr remote_addr{};       // WRITE, READ
  Rkey rkey{};                    // WRITE, READ: the peer's; kSendWithInv: the peer's key to
                                  // invalidate; kLocalInv: the local key to invalidate
  FastMr* mr = nullptr;           // kRegMr
  Access access = Access::kNone;  // kRegMr
};

struct RecvRequest {
  RecvRequest* next = nullptr;
  Completion* completion = nullptr;
  std::span<const Sge> sges{};
};

// Why a post refused a request. The refused one and all behind it in the chain were not taken.
enum class [[nodiscard]] PostStatus : uint8_t{
    kOk,
    kQueueFull,  // more requests outstanding than the Qp was created for
    kTooManySges,
    kBadSge,        // an lkey that does not cover its range, or lacks a right it needs
    kTooLong,       // message or READ longer than the caps allow
    kBadKey,        // kLocalInv, kRegMr: not a key of this Pd in the right state
    kAccessDenied,  // kRegMr: refused access flags
    kUnsupported,   // opcode the device does not have (see DeviceCaps)
    kNotConnected,  // SENDs before the connection is established or after it ended
};
std::string_view to_string(PostStatus status);

struct [[nodiscard]] PostResult {
  PostStatus status = PostStatus::kOk;
  const WorkRequest* refused = nullptr;  // first request of the chain that was not taken
  bool ok() const { return status == PostStatus::kOk; }
};

}  // namespace mrpool
