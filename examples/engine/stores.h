// Stores in trouble. One that does not answer is reported once by name when a request has waited
// for too long, and once more when it answers again. Requests that failed or were slow are reported
// together, every kStoreReport at most.
//
// Thread safety: shared objects: safe (one mutex, not taken by looks while all stores answer).
// Ownership: keeps names, not stores.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "examples/storage/storage.h"
#include "mrpool/reactor.h"

namespace mrpool::engine {

// One worker's way to a store.
using StoreVisitor = std::function<void(const storage::Volume& store, storage::Channel& way)>;

class Stores {
 public:
  // A worker's look at all its stores, which `visit` shows, at its reactor's time `now`. One with a
  // request older than `limit` is reported, and so is one whose request took longer than `slow`.
  void look(uint32_t worker, Nanoseconds now, Nanoseconds limit, Nanoseconds slow,
            const std::function<void(const StoreVisitor&)>& visit);

  // What went wrong at a store since the last look at it; after it there is no other look.
  void note(const storage::Volume& store, const storage::Trouble& trouble, Nanoseconds now,
            Nanoseconds slow);

  // Those that do not answer.
  std::vector<std::string> hung() const;

 private:
  struct Hung {
    std::string name;
    std::set<uint32_t> workers;  // whose requests wait
    Nanoseconds longest{};
  };

  static constexpr size_t kMostNoted = 1024;
  // What is kept of a store's failed and slow requests until it is reported.
  struct Noted {
    storage::Trouble trouble;
    std::optional<Nanoseconds> reported{};
  };

  void note_hung(uint32_t worker, const storage::Volume& store, const storage::Channel& way,
                 Nanoseconds age);
  void forget(uint32_t worker, const std::set<const storage::Volume*>& waited_for);
  void note_trouble(const storage::Volume& store, const storage::Trouble& trouble);
  void report_trouble(Nanoseconds now, Nanoseconds slow);

  mutable std::mutex mutex_;
  std::map<const storage::Volume*, Hung> hung_;
  std::map<std::string, Noted> noted_;  // by name
  // Something of noted_ is to be reported. As count_.
  std::atomic<bool> pending_{false};
  // Of hung_; only whether it is zero counts, and a look that comes too late for a change is
  // followed by another. Relaxed.
  std::atomic<size_t> count_{0};
};

}  // namespace mrpool::engine
