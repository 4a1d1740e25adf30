// An NVM subsystem: its namespaces, the hosts that may use it, and its counters.
//
// The namespaces are an immutable table that is replaced as a whole. I/O queues keep their last
// table and compare its version with version() for each command; the I/O path takes no locks.
//
// A namespace may be visible to some hosts only. All code that acts for a host uses that host's
// table, which lacks the other namespaces. So no command, list, log page or event can reach or name
// them.
//
// Thread safety: shared objects: safe, except that counters(worker) is written by one thread.
// Ownership: shared; controllers and queues keep their subsystem alive.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "examples/engine/host_limits.h"
#include "examples/engine/limiter.h"
#include "examples/nvmf/target/ana.h"
#include "examples/nvmf/target/counters.h"
#include "examples/nvmf/target/reservations.h"
#include "examples/nvmf/target/write_protection.h"
#include "examples/protocol/nvme/auth/controller_side.h"
#include "examples/storage/storage.h"
#include "examples/storage/uuid.h"

namespace mrpool::nvmf_target {

using storage::Uuid;

inline constexpr uint64_t kNoStore = 0;  // the mark of no store

using HostSet = std::set<std::string, std::less<>>;  // NQNs
using HostKeyMap =
    std::map<std::string, std::shared_ptr<const nvme::auth::HostKeys>, std::less<>>;  // by NQN

struct Namespace {
  bool visible_to(std::string_view host_nqn) const {
    return hosts == nullptr || hosts->contains(host_nqn);
  }

  uint32_t nsid = 0;
  std::shared_ptr<storage::Volume> volume;
  Uuid uuid{};
  uint64_t blocks = 0;                     // as last reported to hosts; set by the table
  uint64_t mark = kNoStore;                // identifies the store to a host; set by the table
  std::shared_ptr<const HostSet> hosts{};  // null: all that the subsystem admits
  // Null in what is to be served: those of the table before, or new ones. Never null in a table.
  std::shared_ptr<Reservations> reservations{};
  std::shared_ptr<WriteProtection> protection{};  // likewise
  uint32_t ana_group = 1;                         // 1 to kMaxAnaGroups
  engine::RateLimits limits{};
  std::shared_ptr<engine::Limiter> limiter{};  // set by the table; null: never had limits

  bool write_protected() const { return volume->geometry().read_only || protection->on(); }
};

struct NamespaceTable {
  uint64_t version = 0;
  std::vector<Namespace> namespaces;  // sorted by nsid
  Ana ana{};

  const Namespace* find(uint32_t nsid) const;
  bool volatile_cache() const;
  // Whether blocks of any namespace, or of the first one to come, can be marked as uncorrectable.
  bool offers_marks() const;
};

// The replacement of one table by another.
struct TableChange {
  std::shared_ptr<const NamespaceTable> before;
  std::shared_ptr<const NamespaceTable> after;

  // The changed nsids to report to the host, of those that it sees: added, removed, with another
  // volume, or with another size.
  std::vector<uint32_t> nsids_for(std::string_view host_nqn) const;
  // True if a namespace that the host sees, before and after, has another state at the port of
  // `local`, or another group.
  bool changes_access(std::string_view host_nqn, std::string_view local) const;
};

struct SubsystemOptions {
  std::string nqn;
  std::string serial;
  std::string model = "mrpool NVMe-oF target";
  bool allow_any_host = true;
  HostSet hosts;    // if not any host
  HostKeyMap keys;  // of hosts that must authenticate
  engine::HostLimitMap host_limits{};
  bool traffic_keep_alive = true;  // CTRATT.TBKAS
  bool ana_reporting = true;       // CMIC.ANA
  std::vector<AnaRule> ana{};
  // The ids of controllers. Daemons that serve one subsystem together have ranges of their own.
  uint16_t min_cntlid = 1;
  uint16_t max_cntlid = kMaxControllerId;
  Nanoseconds power_on{};  // the start of the target, for SMART
};

class Subsystem {
 public:
  Subsystem(SubsystemOptions options, uint32_t workers);

  const std::string nqn;
  const std::string serial;
  const std::string model;
  const bool traffic_keep_alive;
  const bool ana_reporting;
  const Nanoseconds power_on;

  // All namespaces; for code that does not act for a host.
  std::shared_ptr<const NamespaceTable> namespaces() const;
  // The namespaces that the host sees; with the same version.
  std::shared_ptr<const NamespaceTable> namespaces(std::string_view host_nqn) const;
  uint64_t version() const { return version_.load(std::memory_order_acquire); }
  TableChange set_namespaces(std::vector<Namespace> namespaces, std::vector<AnaRule> ana = {});
  // Keeps the namespaces and what they report (Ana::ownership).
  TableChange set_ownership(std::shared_ptr<const AnaStates> ownership);
  // Keeps the namespaces and updates their sizes.
  TableChange refresh_sizes();

  bool allows(std::string_view host_nqn) const;
  bool allows_any_host() const;
  void set_hosts(bool any, HostSet hosts, HostKeyMap keys = {});
  // Null: the host need not prove itself.
  std::shared_ptr<const nvme::auth::HostKeys> keys(std::string_view host_nqn) const;

  engine::HostLimits& host_limits() { return host_limits_; }

  WorkerCounters& counters(uint32_t worker) { return counters_[worker]; }
  Totals totals() const;

 private:
  TableChange set_namespaces_locked(std::vector<Namespace> namespaces, std::vector<AnaRule> ana);
  TableChange install_locked(std::shared_ptr<NamespaceTable> table);

  mutable std::mutex mutex_;
  std::shared_ptr<const NamespaceTable> table_;
  bool allow_any_host_;
  HostSet hosts_;
  HostKeyMap keys_;
  engine::HostLimits host_limits_;
  std::atomic<uint64_t> version_{0};
  std::vector<WorkerCounters> counters_;
};

}  // namespace mrpool::nvmf_target
