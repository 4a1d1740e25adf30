// An iSCSI target: its units, its access list, and its sessions.
//
// A session belongs to one worker, and so does its entry in sessions(). Operations on sessions of
// other workers are sent there by message (Site::on_workers). Two logins of one initiator port may
// run on two workers: the session that was admitted later stays, because the message that ends its
// predecessors has its admission number.
//
// Thread safety: shared objects: safe, except that sessions(worker) is for that worker's thread.
// Ownership: shared by the site and the sessions; a removed target lives until its last session has
// ended.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "examples/iser/target/config.h"
#include "examples/iser/target/unit.h"

namespace mrpool::iser_target {

class Connection;

class Target {
 public:
  Target(std::string name, uint16_t portal_group_tag, uint32_t workers);

  const std::string& name() const { return name_; }
  uint16_t portal_group_tag() const { return portal_group_tag_; }

  // Replaces alias, secrets and access list for later logins, and the units for all sessions.
  void serve(const TargetConfig& config, std::map<uint16_t, std::shared_ptr<Unit>> units);
  std::shared_ptr<const TargetConfig> config() const;
  // TargetConfig::account of the configuration that is served.
  std::optional<iscsi::Authentication> account(std::string_view initiator) const;
  bool admits(std::string_view initiator) const { return account(initiator).has_value(); }

  engine::HostLimits& initiator_limits() { return initiator_limits_; }

  std::shared_ptr<const UnitTable> units() const;
  // The version of the table that is served. Each command loads it once to check whether the
  // session's table is current. Acquire, pairs with the release in serve(): a thread that sees the
  // version finds that table or a later one.
  uint64_t version() const { return version_.load(std::memory_order_acquire); }

  // What initiator ports that were lost without a logout know about the LUNs; at the limit the
  // oldest is removed.
  void lose(const std::string& port, SeenUnits seen);
  void forget(const std::string& port);
  std::optional<SeenUnits> lost(const std::string& port) const;

  struct alignas(64) Sessions {
    std::vector<Connection*> open;
    std::vector<Connection*> ending;  // closed, with tasks still in storage
    bool empty() const { return open.empty() && ending.empty(); }
  };
  Sessions& sessions(uint32_t worker) { return sessions_[worker]; }
  // Numbers the sessions in the order of their admission, from 1. Relaxed: only uniqueness and the
  // order of the numbers matter.
  uint64_t next_admission() { return admissions_.fetch_add(1, std::memory_order_relaxed) + 1; }

 private:
  const std::string name_;
  const uint16_t portal_group_tag_;
  engine::HostLimits initiator_limits_;
  mutable std::mutex mutex_;
  std::shared_ptr<const TargetConfig> config_;
  std::shared_ptr<const UnitTable> table_;
  std::map<std::string, SeenUnits> lost_;
  std::deque<std::string> lost_in_order_;
  std::atomic<uint64_t> version_{0};
  std::atomic<uint64_t> admissions_{0};
  std::vector<Sessions> sessions_;  // by worker
};

}  // namespace mrpool::iser_target
