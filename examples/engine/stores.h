// Stores that do not answer: each is reported once by name when a request has waited for too long,
// and once more when it answers again.
//
// Thread safety: shared objects: safe (one mutex, not taken by looks while all stores answer).
// Ownership: keeps names, not stores.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "examples/storage/storage.h"
#include "mrpool/reactor.h"

namespace mrpool::engine {

// One worker's way to a store.
using StoreVisitor = std::function<void(const storage::Volume& store, const storage::Channel& way)>;

class Stores {
 public:
  // A worker's look at all its stores, which `visit` shows, at its reactor's time `now`. One with a
  // request older than `limit` is reported.
  void look(uint32_t worker, Nanoseconds now, Nanoseconds limit,
            const std::function<void(const StoreVisitor&)>& visit);

  // Those that do not answer.
  std::vector<std::string> hung() const;

 private:
  struct Hung {
    std::string name;
    std::set<uint32_t> workers;  // whose requests wait
    Nanoseconds longest{};
  };

  std::string note(uint32_t worker, const storage::Volume& store, const storage::Channel& way,
                   Nanoseconds age);
  std::string forget(uint32_t worker, const std::set<const storage::Volume*>& waited_for);

  mutable std::mutex mutex_;
  std::map<const storage::Volume*, Hung> hung_;
  // Of hung_; only whether it is zero counts, and a look that comes too late for a change is
  // followed by another. Relaxed.
  std::atomic<size_t> count_{0};
};

}  // namespace mrpool::engine
