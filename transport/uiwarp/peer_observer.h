// The calls by which a checker of programs follows the peer's work: the memory it reaches through
// keys, and the moments at which its data begins to enter memory. Nobody listens unless observe()
// was called.
//
// Thread safety: observe() before there is a Qp; the calls come from the Qps' reactors.
// Ownership: the observer outlives all devices.
#pragma once

#include <cstdint>

#include "mrpool/access.h"
#include "transport/uiwarp/key_table.h"

namespace mrpool {
class Completion;
class Qp;
}  // namespace mrpool

namespace mrpool::uiwarp {

// By an RDMA WRITE, an RDMA READ or an atomic of the peer; `right` is the one that it needs.
struct PeerAccess {
  uint32_t stag = 0;
  uint64_t offset = 0;
  uint64_t bytes = 0;
  Access right = Access::kNone;
};

class PeerObserver {
 public:
  virtual void accessed(const PeerAccess& access, bool admitted) = 0;
  // The first byte for that receive, or for the oldest READ of that Qp, is about to be placed.
  virtual void receive_begins(const Completion* completion) = 0;
  virtual void response_begins(const Qp& qp) = 0;

  static void observe(PeerObserver& observer) { current_ = &observer; }
  // Null: nobody listens.
  static PeerObserver* get() { return current_; }

 protected:
  ~PeerObserver() = default;

 private:
  static inline PeerObserver* current_ = nullptr;
};

// `error`, which that access led to.
inline KeyError observed(KeyError error, const PeerAccess& access) {
  if (PeerObserver* observer = PeerObserver::get()) [[unlikely]] {
    observer->accessed(access, error == KeyError::kNone);
  }
  return error;
}

}  // namespace mrpool::uiwarp
