// What the daemon serves: its targets with their units and sessions, and the workers that the
// sessions live on. The connections ask it who may log in and find each other through it.
//
// apply() makes a running site serve another configuration. Commands under way end as they would
// have; units and targets that went stay in memory until the last session has let go of them.
//
// How sessions of several threads share a site:
//  - A session, its tasks, its nexuses and its ways to storage belong to one worker.
//  - Targets and tables of units are replaced whole under a mutex; the data path compares one
//    version number (target.h) and looks at its own copy.
//  - A logical unit's state is under its own mutex, and commands decide by a copy
//    (examples/protocol/scsi/logical_unit.h); writes of all threads pass one gate (range_gate.h).
//  - What concerns other sessions goes by message to the workers that own them, and whoever asked
//    waits for all answers (drain.h). A message finds every session that was admitted, and every
//    task that was begun, before whatever led to it: each is entered into its worker's lists by the
//    call that let it in.
//  - What has to be durable is written by a thread of its own (state_thread.h).
//
// Thread safety: shared objects: safe, once create() has returned. Ownership: outlives the
// connections; the reactors outlive it. Connections end before it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/base/log.h"
#include "examples/engine/portals.h"
#include "examples/iser/target/config.h"
#include "examples/iser/target/counters.h"
#include "examples/iser/target/environment.h"
#include "examples/iser/target/guess_limit.h"
#include "examples/iser/target/site_worker.h"
#include "examples/iser/target/state_thread.h"
#include "examples/iser/target/target.h"
#include "examples/protocol/iscsi/discovery.h"
#include "examples/protocol/iscsi/login.h"
#include "examples/storage/growth.h"
#include "examples/storage/state_directory.h"

namespace mrpool::iser_target {

class Site {
 public:
  // Opens every volume of the configuration; the error names the target and the LUN. One worker for
  // each of `reactors`.
  static absl::StatusOr<std::unique_ptr<Site>> create(const Config& config,
                                                      const std::vector<Reactor*>& reactors,
                                                      Environment environment = {});
  ~Site();

  // Serves the targets of `config` from now on: all of it, or nothing when the status is not OK.
  // What has not changed is not touched. Portals and what is the whole daemon's stay as they are.
  // One call at a time.
  absl::Status apply(const Config& config);
  // The same in steps. prepare() opens what is new; it may wait for a file system, and runs on any
  // thread. serve() makes the result the one that is served. One change at a time.
  struct Next;
  absl::StatusOr<std::shared_ptr<Next>> prepare(Config config);
  void serve(Next& next);

  // What is served now.
  std::vector<std::shared_ptr<storage::Volume>> stores() const;
  // Initiators hear of the units whose storage has another size than they were told.
  void refresh_sizes();

  uint32_t workers() const { return uint32_t(workers_.size()); }
  SiteWorker& worker(uint32_t index) { return *workers_[index]; }
  // Runs `each` on every worker: at once on `from`, whose thread this is, by message on the others.
  // Without `from`, at once where this is the worker's thread.
  void on_workers(const std::function<void(SiteWorker&)>& each, const SiteWorker* from = nullptr);

  std::shared_ptr<Target> find(std::string_view name) const;
  std::vector<std::shared_ptr<Target>> targets() const;
  // What discovery asks of an initiator: its own account where there is one, else, where a target
  // asks this initiator for a proof, one of those.
  iscsi::LoginHost::Found discovery_for(std::string_view initiator) const;
  // The targets an initiator that has proven `proven` may see, with the portals they are reached
  // by; `local` is the address it came to. Without an account of discovery's own those that ask for
  // another proof are left out.
  std::vector<iscsi::TargetRecord> visible(std::string_view initiator,
                                           const std::optional<iscsi::Credentials>& proven,
                                           const std::string& local) const;
  void set_portals(std::vector<engine::Portal> portals);

  // The handles of sessions under way (RFC 7143 §11.12.6); 0: none is free.
  uint16_t take_tsih();
  void give_tsih(uint16_t tsih);
  bool has_tsih(uint16_t tsih) const;

  const Environment& environment() const { return environment_; }
  GuessLimit& guesses() { return guesses_; }
  // Null without a place to keep state.
  StateThread* state_thread() { return state_thread_.get(); }
  Totals totals() const;

  // From any worker's thread; to be set before there are connections.
  std::function<void(const base::LogEntry&)> log = [](const base::LogEntry&) {};

 private:
  struct Part;
  explicit Site(Environment environment);
  struct Opened;
  absl::StatusOr<std::vector<Opened>> open_stores(const Config& config, storage::Growth& growth);
  std::shared_ptr<Unit> find_unit(const UnitNames& names, std::string_view target) const;
  struct Place;
  absl::Status prepare_unit(const Config& config, const Place& place, Part& part);
  // `stores` are those of its LUNs, in order; `named` gains the UUIDs of its units.
  absl::StatusOr<Part> prepare(const Config& config, const TargetConfig& wanted,
                               std::span<const Opened> stores, std::set<storage::Uuid>& named);
  absl::StatusOr<std::vector<Part>> prepare_all(const Config& config);

  const Environment environment_;
  std::vector<std::unique_ptr<SiteWorker>> workers_;
  std::unique_ptr<storage::StateDirectory> state_;  // null: there is none
  std::unique_ptr<StateThread> state_thread_;
  GuessLimit guesses_;
  mutable std::mutex mutex_;
  iscsi::Authentication discovery_;
  bool open_discovery_ = false;
  std::vector<std::shared_ptr<Target>> targets_;
  std::vector<engine::Portal> portals_;  // for SendTargets
  std::set<uint16_t> tsihs_;
  uint16_t last_tsih_ = 0;
  uint16_t last_portal_group_tag_ = 0;  // prepare()'s
};

// The name of an initiator port: "iqn...,i,0x<ISID>" (RFC 7143 §4.2.7.1).
std::string port_name(std::string_view initiator, const iscsi::Isid& isid);

}  // namespace mrpool::iser_target
