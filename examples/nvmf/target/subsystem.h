// An NVM subsystem: its namespaces, who may use it, and what it has done so far.
//
// The namespaces are an immutable table that is replaced whole. I/O queues keep the table they last
// saw and compare version(), one relaxed load, for each command; nothing on the I/O path locks.
//
// A namespace may be for some hosts alone. Everything that acts for a host takes that host's table,
// where the others are not: so no command, list, log page or event can reach or name them.
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

using HostSet = std::set<std::string, std::less<>>;  // NQNs

struct Namespace {
  bool visible_to(std::string_view host_nqn) const {
    return hosts == nullptr || hosts->contains(host_nqn);
  }

  uint32_t nsid = 0;
  std::shared_ptr<storage::Volume> volume;
  Uuid uuid{};
  uint64_t blocks = 0;                     // when hosts were told of it last; the table's
  uint64_t mark = kNoStore;                // of what a host takes for one store; the table sets it
  std::shared_ptr<const HostSet> hosts{};  // null: all that the subsystem admits
};

struct NamespaceTable {
  uint64_t version = 0;
  std::vector<Namespace> namespaces;  // sorted by nsid

  const Namespace* find(uint32_t nsid) const;
  bool volatile_cache() const;
};

// A table that took the place of another.
struct TableChange {
  std::shared_ptr<const NamespaceTable> before;
  std::shared_ptr<const NamespaceTable> after;

  // What the host hears of: the nsids that appeared, vanished, are another volume now, or have
  // another size, of those that it sees.
  std::vector<uint32_t> nsids_for(std::string_view host_nqn) const;
};

struct SubsystemOptions {
  std::string nqn;
  std::string serial;
  std::string model = "mrpool NVMe-oF target";
  bool allow_any_host = true;
  HostSet hosts;                   // when not any
  bool traffic_keep_alive = true;  // CTRATT.TBKAS
  Nanoseconds power_on{};          // when the target came to life, for SMART
};

class Subsystem {
 public:
  Subsystem(SubsystemOptions options, uint32_t workers);

  const std::string nqn;
  const std::string serial;
  const std::string model;
  const bool traffic_keep_alive;
  const Nanoseconds power_on;

  // All of them; for whom acts for no host.
  std::shared_ptr<const NamespaceTable> namespaces() const;
  // Those that the host sees. Of the same version.
  std::shared_ptr<const NamespaceTable> namespaces(std::string_view host_nqn) const;
  uint64_t version() const { return version_.load(std::memory_order_acquire); }
  TableChange set_namespaces(std::vector<Namespace> namespaces);
  // The same namespaces, with the sizes that they have by now.
  TableChange refresh_sizes();

  bool allows(std::string_view host_nqn) const;
  bool allows_any_host() const;
  void set_hosts(bool any, HostSet hosts);

  WorkerCounters& counters(uint32_t worker) { return counters_[worker]; }
  Totals totals() const;

 private:
  TableChange set_namespaces_locked(std::vector<Namespace> namespaces);

  mutable std::mutex mutex_;
  std::shared_ptr<const NamespaceTable> table_;
  bool allow_any_host_;
  HostSet hosts_;
  std::atomic<uint64_t> version_{0};
  std::vector<WorkerCounters> counters_;
};

}  // namespace mrpool::nvmf_target
