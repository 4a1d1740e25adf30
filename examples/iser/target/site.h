// What the daemon serves: its targets with their units and sessions. The connections ask it who may
// log in and find each other through it.
//
// apply() makes a running site serve another configuration. Commands under way end as they would
// have; units and targets that went stay in memory until the last of them has, and sweep() frees
// them then.
//
// Thread safety: the reactor's thread. Ownership: outlives the connections; connections leave
// before they end.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/iser/target/config.h"
#include "examples/iser/target/environment.h"
#include "examples/iser/target/execution.h"
#include "examples/protocol/iscsi/discovery.h"
#include "examples/protocol/iscsi/login.h"
#include "examples/protocol/scsi/target_device.h"
#include "examples/storage/storage.h"

namespace mrpool::iser_target {

class Connection;

// A target with its units' storage.
class Target {
 public:
  Target(const TargetConfig& config, uint16_t portal_group_tag)
      : config_(config), portal_group_tag_(portal_group_tag) {}

  const TargetConfig& config() const { return config_; }
  uint16_t portal_group_tag() const { return portal_group_tag_; }
  bool admits(std::string_view initiator) const;

  // A unit that is ready to be served, with what it needs of storage.
  struct Unit {
    std::shared_ptr<storage::Volume> volume;
    std::unique_ptr<storage::Channel> channel;
    std::unique_ptr<scsi::Store> store;
    std::unique_ptr<scsi::LogicalUnit> unit;
  };
  // `state` is where reservations are kept ("" = nowhere).
  absl::StatusOr<Unit> make_unit(uint16_t lun, std::shared_ptr<storage::Volume> volume,
                                 Reactor& reactor, const std::string& state);
  // Sessions hear of units that come and go.
  void add_unit(uint16_t lun, Unit unit);
  void remove_unit(uint16_t lun);

  // Another alias, other secrets, another access list, for logins to come; sessions of initiators
  // that are no longer admitted end.
  void change(const TargetConfig& config);
  // Ends every session and removes every unit.
  void retire();
  // Frees removed units that no command uses any more. True: nothing is left that anybody uses.
  bool sweep();

  scsi::TargetDevice& device() { return device_; }
  scsi::Store& store(scsi::LogicalUnit& unit) { return *stores_.at(&unit).store; }
  const std::string& spec(scsi::LogicalUnit& unit) { return stores_.at(&unit).volume->spec(); }

  std::vector<Connection*>& connections() { return connections_; }
  // Closed, with tasks that the storage has not finished.
  std::vector<Connection*>& ending() { return ending_; }

 private:
  struct Backing {
    std::shared_ptr<storage::Volume> volume;
    std::unique_ptr<storage::Channel> channel;
    std::unique_ptr<scsi::Store> store;
  };
  TargetConfig config_;
  uint16_t portal_group_tag_;
  // Units end before the storage they use.
  std::map<scsi::LogicalUnit*, Backing> stores_;
  scsi::TargetDevice device_;
  std::vector<std::unique_ptr<scsi::LogicalUnit>> removed_;
  std::vector<Connection*> connections_;
  std::vector<Connection*> ending_;
};

struct Counters {
  uint64_t connections = 0;  // accepted since the start
  uint64_t logins = 0;
  uint64_t refused_logins = 0;
  uint64_t commands = 0;
  uint64_t reads = 0;
  uint64_t writes = 0;
  uint64_t bytes_read = 0;
  uint64_t bytes_written = 0;
  uint64_t check_conditions = 0;
  uint64_t aborted = 0;
  uint64_t rejects = 0;
  uint64_t protocol_errors = 0;
};

class Site {
 public:
  // Opens every volume of the configuration; the error names the target and the LUN.
  static absl::StatusOr<std::unique_ptr<Site>> create(const Config& config, Reactor& reactor,
                                                      Environment environment = {});

  // Serves the targets of `config` from now on: all of it, or nothing when the status is not OK.
  // What has not changed is not touched. Portals and what is the whole daemon's stay as they are.
  absl::Status apply(const Config& config, Reactor& reactor);
  // Frees what apply() removed and nobody uses any more; from time to time, from the loop.
  void sweep();

  Target* find(std::string_view name);
  std::vector<std::unique_ptr<Target>>& targets() { return targets_; }
  const iscsi::Authentication& discovery() const { return discovery_; }
  // The targets an initiator may see, with the portals they are reached by; `local` is the address
  // it came to.
  std::vector<iscsi::TargetRecord> visible(std::string_view initiator, const std::string& local);
  uint16_t next_tsih();
  const Environment& environment() const { return environment_; }

  // Addresses that are served, for SendTargets.
  std::vector<std::string> portals;
  Counters counters;
  std::function<void(std::string_view line)> log = [](std::string_view) {};

 private:
  explicit Site(Environment environment) : environment_(std::move(environment)) {}

  const Environment environment_;
  iscsi::Authentication discovery_;
  std::vector<std::unique_ptr<Target>> targets_;
  std::vector<std::unique_ptr<Target>> removed_;
  uint16_t last_portal_group_tag_ = 0;
  uint16_t last_tsih_ = 0;
};

// The name of an initiator port: "iqn...,i,0x<ISID>" (RFC 7143 §4.2.7.1).
std::string port_name(std::string_view initiator, const iscsi::Isid& isid);

}  // namespace mrpool::iser_target
