// The users of staging memory and their use of it: hosts, stores, and the flows between them.
// staging.h has the rules by which they share it.
//
// A flow is the I/O of one host to one store, over all its connections. A flow without a store has
// the commands that the target answers itself. The claims of a flow wait in order; the flows of one
// host take turns.
//
// Thread safety: the worker's thread. Ownership: shared by the users of its claims; lives until
// none of its claims waits or holds chunks.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "examples/engine/list.h"

namespace mrpool::engine {

class StagingClaim;
class StagingFlow;

// A host with all its connections to this worker.
struct StagingHost : ListHook {
  uint32_t held = 0;    // chunks
  uint32_t urgent = 0;  // of them, for urgent claims

  // Used by Staging only.
  List<StagingFlow> flows;        // that wait
  bool short_of_memory = false;   // its next claim exceeds its share or the free chunks
  StagingHost** place = nullptr;  // in Staging::round_
};

// A store as seen by this worker, for all its hosts.
struct StagingStore {
  uint32_t inside = 0;  // chunks between enter_store() and leave_store()
};

class StagingFlow : public ListHook {
 public:
  // Without a store its claims are urgent: they are small, and needed to connect or to administer
  // the target.
  StagingFlow(std::shared_ptr<StagingHost> host, std::shared_ptr<StagingStore> store)
      : host_(std::move(host)), store_(std::move(store)) {}
  StagingFlow(const StagingFlow&) = delete;
  StagingFlow& operator=(const StagingFlow&) = delete;

  const StagingHost& host() const { return *host_; }
  bool urgent() const { return store_ == nullptr; }
  // The number of claims that wait or hold memory.
  uint32_t users() const { return users_; }

 private:
  friend class Staging;
  const std::shared_ptr<StagingHost> host_;
  const std::shared_ptr<StagingStore> store_;
  uint32_t outside_ = 0;  // chunks outside the store, in transfer to or from the host
  uint32_t users_ = 0;
  List<StagingClaim> claims_;  // waiting claims, the oldest first
};

}  // namespace mrpool::engine
