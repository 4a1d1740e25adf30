// An iSCSI target: its units, who may log in, and its sessions.
//
// A session belongs to one worker, and so does its place in sessions(). What concerns sessions of
// other workers goes there by message (Site::on_workers). Two logins of one initiator port may be
// under way on two workers: the session that was admitted later stays, because every message to end
// its predecessors names its number.
//
// Thread safety: shared objects: safe, except that sessions(worker) is that worker's thread's.
// Ownership: shared by the site and the sessions; a target that is no longer served lives until the
// last of them has ended.
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

  // Another alias, other secrets, another access list, for logins to come; other units for all.
  void serve(const TargetConfig& config, std::map<uint16_t, std::shared_ptr<Unit>> units);
  std::shared_ptr<const TargetConfig> config() const;
  // TargetConfig::account of the configuration that is served.
  std::optional<iscsi::Authentication> account(std::string_view initiator) const;
  bool admits(std::string_view initiator) const { return account(initiator).has_value(); }

  std::shared_ptr<const UnitTable> units() const;
  // Of the table that is served: one load for each command says whether the session's is it.
  // Acquire, after the release in serve(): who sees the number finds that table or a later one.
  uint64_t version() const { return version_.load(std::memory_order_acquire); }

  // What initiator ports that were lost without a logout took the LUNs for; the oldest is forgotten
  // when there are too many.
  void lose(const std::string& port, SeenUnits seen);
  void forget(const std::string& port);
  std::optional<SeenUnits> lost(const std::string& port) const;

  struct alignas(64) Sessions {
    std::vector<Connection*> open;
    std::vector<Connection*> ending;  // closed, with tasks that the storage has not finished
    bool empty() const { return open.empty() && ending.empty(); }
  };
  Sessions& sessions(uint32_t worker) { return sessions_[worker]; }
  // Numbers the sessions in the order of their admission, from 1. Relaxed: uniqueness and the order
  // of this one number are all that is asked of it.
  uint64_t next_admission() { return admissions_.fetch_add(1, std::memory_order_relaxed) + 1; }

 private:
  const std::string name_;
  const uint16_t portal_group_tag_;
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
