// An NVM subsystem: its namespaces, who may use it, and what it has done so far.
//
// The namespaces are an immutable table that is replaced whole. I/O queues keep the table they last
// saw and compare version(), one relaxed load, for each command; nothing on the I/O path locks.
//
// Thread safety: shared objects: safe, except that counters(worker) is written by one thread.
// Ownership: shared; controllers and queues keep their subsystem alive.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "examples/nvmf/target/counters.h"
#include "examples/storage/storage.h"
#include "examples/storage/uuid.h"

namespace mrpool::nvmf_target {

using storage::Uuid;

inline constexpr uint64_t kNoStore = 0;  // the mark of none

struct Namespace {
  uint32_t nsid = 0;
  std::shared_ptr<storage::Volume> volume;
  Uuid uuid{};
  uint64_t blocks = 0;       // when hosts were told of it last; the table's
  uint64_t mark = kNoStore;  // of what a host takes for one store; the table sets it
};

struct NamespaceTable {
  uint64_t version = 0;
  std::vector<Namespace> namespaces;  // sorted by nsid

  const Namespace* find(uint32_t nsid) const;
  bool volatile_cache() const;
};

struct SubsystemOptions {
  std::string nqn;
  std::string serial;
  std::string model = "mrpool NVMe-oF target";
  bool allow_any_host = true;
  std::set<std::string, std::less<>> hosts;  // NQNs, when not any
  bool traffic_keep_alive = true;            // CTRATT.TBKAS
  Nanoseconds power_on{};                    // when the target came to life, for SMART
};

class Subsystem {
 public:
  Subsystem(SubsystemOptions options, uint32_t workers);

  const std::string nqn;
  const std::string serial;
  const std::string model;
  const bool traffic_keep_alive;
  const Nanoseconds power_on;

  std::shared_ptr<const NamespaceTable> namespaces() const;
  uint64_t version() const { return version_.load(std::memory_order_acquire); }
  // Replaces the table; returns the nsids that appeared, vanished, are another volume now, or have
  // another size.
  std::vector<uint32_t> set_namespaces(std::vector<Namespace> namespaces);
  // The same namespaces, with the sizes that they have by now.
  std::vector<uint32_t> refresh_sizes();

  bool allows(std::string_view host_nqn) const;
  bool allows_any_host() const;
  void set_hosts(bool any, std::set<std::string, std::less<>> hosts);

  WorkerCounters& counters(uint32_t worker) { return counters_[worker]; }
  Totals totals() const;

 private:
  std::vector<uint32_t> set_namespaces_locked(std::vector<Namespace> namespaces);

  mutable std::mutex mutex_;
  std::shared_ptr<const NamespaceTable> table_;
  bool allow_any_host_;
  std::set<std::string, std::less<>> hosts_;
  std::atomic<uint64_t> version_{0};
  std::vector<WorkerCounters> counters_;
};

}  // namespace mrpool::nvmf_target
