// Who uses staging memory, and how much of it: hosts, stores, and the flows between them. The rules
// by which they share it are in staging.h.
//
// A flow is one host's way to one store (or to none: what the target answers by itself), for all
// its connections. Its claims wait in order; flows of one host take turns.
//
// Thread safety: the worker's thread. Ownership: shared by whoever asks for claims through it, and
// kept until none of them waits or holds.
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
  uint32_t urgent = 0;  // of them, for what is urgent

  // Staging's.
  List<StagingFlow> flows;        // that wait
  bool short_of_memory = false;   // its next claim fits neither its share nor what is free
  StagingHost** place = nullptr;  // in the round that is served
};

// A store as this worker reaches it, whoever uses it.
struct StagingStore {
  uint32_t inside = 0;  // chunks that it works on, between enter_store() and leave_store()
};

class StagingFlow : public ListHook {
 public:
  // Without a store its claims are urgent: they are small, and somebody administers the target or
  // makes a connection by them.
  StagingFlow(std::shared_ptr<StagingHost> host, std::shared_ptr<StagingStore> store)
      : host_(std::move(host)), store_(std::move(store)) {}
  StagingFlow(const StagingFlow&) = delete;
  StagingFlow& operator=(const StagingFlow&) = delete;

  const StagingHost& host() const { return *host_; }
  bool urgent() const { return store_ == nullptr; }
  // Claims that wait or hold memory.
  uint32_t users() const { return users_; }

 private:
  friend class Staging;
  const std::shared_ptr<StagingHost> host_;
  const std::shared_ptr<StagingStore> store_;
  uint32_t outside_ = 0;  // chunks that the store does not work on: they wait for the host
  uint32_t users_ = 0;
  List<StagingClaim> claims_;  // that wait, oldest first
};

}  // namespace mrpool::engine
