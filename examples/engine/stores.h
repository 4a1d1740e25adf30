// Reports stores that hang, fail or are slow. A store is reported by name when a request has waited
// too long, and again when it responds. Failed and slow requests are reported together, at most
// once in kStoreReport.
//
// Thread safety: shared objects: safe (one mutex; checks do not take it while all stores respond).
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

// Visits one worker's channel to a store.
using StoreVisitor = std::function<void(const storage::Volume& store, storage::Channel& way)>;

class Stores {
 public:
  // Checks all stores of a worker, which `visit` enumerates, at its reactor's time `now`. Reports
  // stores with a request older than `limit`, and stores with requests that took longer than
  // `slow`.
  void look(uint32_t worker, Nanoseconds now, Nanoseconds limit, Nanoseconds slow,
            const std::function<void(const StoreVisitor&)>& visit);

  // Records the trouble of a store since its last check; for a store that is being closed and is
  // not checked again.
  void note(const storage::Volume& store, const storage::Trouble& trouble, Nanoseconds now,
            Nanoseconds slow);

  // The names of stores that do not respond.
  std::vector<std::string> hung() const;

 private:
  struct Hung {
    std::string name;
    std::set<uint32_t> workers;  // the workers whose requests wait
    Nanoseconds longest{};
  };

  static constexpr size_t kMostNoted = 1024;
  // A store's failed and slow requests that are not reported yet.
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
  // True if noted_ has something to report. Memory order as for count_.
  std::atomic<bool> pending_{false};
  // The size of hung_; only used to test for zero. Relaxed: a check that misses a change is
  // followed by another check.
  std::atomic<size_t> count_{0};
};

}  // namespace mrpool::engine
