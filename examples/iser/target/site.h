// What the daemon serves: its targets with their units and sessions, and the workers of the
// sessions. Connections use it for access control and to find other sessions.
//
// apply() makes a running site serve another configuration. Active commands complete normally;
// removed units and targets stay in memory until the last session has released them.
//
// How sessions on several threads share a site:
//  - A session, its tasks, its nexuses and its channels to storage belong to one worker.
//  - Targets and tables of units are replaced as a whole under a mutex. The data path compares one
//    version number (target.h) and uses its own copy.
//  - A mutex protects a logical unit's state, and commands check a copy of it
//    (examples/protocol/scsi/logical_unit.h). Writes of all threads pass one gate
//    (storage/range_gate.h).
//  - An operation on other sessions is sent as messages to their workers, and the requester waits
//    for all answers (drain.h). A message finds every session and every task that existed before
//    its cause, because the call that admits a session or a task also enters it into the lists of
//    its worker.
//  - Durable state is written by a separate thread (base/job_thread.h).
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
#include "examples/base/job_thread.h"
#include "examples/base/log.h"
#include "examples/engine/portals.h"
#include "examples/iser/target/config.h"
#include "examples/iser/target/counters.h"
#include "examples/iser/target/environment.h"
#include "examples/iser/target/guess_limit.h"
#include "examples/iser/target/site_worker.h"
#include "examples/iser/target/target.h"
#include "examples/protocol/iscsi/discovery.h"
#include "examples/protocol/iscsi/login.h"
#include "examples/storage/growth.h"
#include "examples/storage/state_directory.h"
#include "examples/storage/stores.h"
#include "examples/storage/uuid.h"

namespace mrpool::iser_target {

class Site {
 public:
  // Opens every volume of the configuration; an error names the target and the LUN. Creates one
  // worker for each of `reactors`.
  static absl::StatusOr<std::unique_ptr<Site>> create(const Config& config,
                                                      const std::vector<Reactor*>& reactors,
                                                      Environment environment = {});
  ~Site();

  // Serves the targets of `config` from now on: all of them, or no change on an error. Unchanged
  // parts are not touched. Portals and options of the whole daemon do not change. One call at a
  // time.
  absl::Status apply(const Config& config);
  // The same in steps. prepare() opens new stores; it may wait for a file system and runs on any
  // thread. serve() starts to serve the result. One change at a time.
  struct Next;
  absl::StatusOr<std::shared_ptr<Next>> prepare(Config config);
  void serve(Next& next);

  // A named store, whether or not a LUN uses it.
  struct Named {
    std::string name;
    std::shared_ptr<storage::Volume> volume;
    storage::Uuid uuid;
  };
  std::vector<Named> named_stores() const;
  // The stores that are served now, and the named stores.
  std::vector<std::shared_ptr<storage::Volume>> stores() const;
  // Notifies initiators of units whose size has changed.
  void refresh_sizes();

  uint32_t workers() const { return uint32_t(workers_.size()); }
  SiteWorker& worker(uint32_t index) { return *workers_[index]; }
  // Runs `each` on every worker: directly on `from`, which must be this thread's worker, and by
  // message on the others. Without `from`, directly on the worker of this thread.
  void on_workers(const std::function<void(SiteWorker&)>& each, const SiteWorker* from = nullptr);

  std::shared_ptr<Target> find(std::string_view name) const;
  std::vector<std::shared_ptr<Target>> targets() const;
  // The account for discovery by an initiator: discovery's own if there is one. Otherwise, if some
  // target requires a secret from this initiator, one of these accounts.
  iscsi::LoginHost::Found discovery_for(std::string_view initiator) const;
  // The targets that an initiator may see after it proved `proven`, with their portals; `local` is
  // the address it connected to. If discovery has no account of its own, targets that require
  // another secret are omitted.
  std::vector<iscsi::TargetRecord> visible(std::string_view initiator,
                                           const std::optional<iscsi::Credentials>& proven,
                                           const std::string& local) const;
  void set_portals(std::vector<engine::Portal> portals);

  // The handles of active sessions (RFC 7143 §11.12.6); 0: none is free.
  uint16_t take_tsih();
  void give_tsih(uint16_t tsih);
  bool has_tsih(uint16_t tsih) const;

  const Environment& environment() const { return environment_; }
  GuessLimit& guesses() { return guesses_; }
  // Null without a state directory.
  base::JobThread* state_thread() { return state_thread_.get(); }
  Totals totals() const;

  // Called on any worker's thread; set it before there are connections.
  std::function<void(const base::LogEntry&)> log = [](const base::LogEntry&) {};

 private:
  struct Part;
  explicit Site(Environment environment);
  std::vector<storage::ServedStore> served() const;
  struct Opened;
  std::vector<storage::Uuid> derive_uuids(const Config& config,
                                          std::vector<std::shared_ptr<storage::Volume>> volumes);
  // Of each LUN, in order; adds the named stores to `next`.
  absl::StatusOr<std::vector<Opened>> open_stores(Next& next, storage::Growth& growth);
  std::shared_ptr<Unit> find_unit(const UnitNames& names, std::string_view target) const;
  struct Place;
  absl::Status prepare_unit(const Config& config, const Place& place, Part& part);
  // `stores` are the stores of its LUNs, in order; adds the UUIDs of its units to `named`.
  absl::StatusOr<Part> prepare(const Config& config, const TargetConfig& wanted,
                               std::span<const Opened> stores, std::set<storage::Uuid>& named);
  absl::Status prepare_all(Next& next);
  // site_limits.cc
  void set_limits(const Next& next);

  const Environment environment_;
  std::vector<std::unique_ptr<SiteWorker>> workers_;
  std::unique_ptr<storage::StateDirectory> state_;  // null: none
  std::unique_ptr<base::JobThread> state_thread_;
  GuessLimit guesses_;
  mutable std::mutex mutex_;
  iscsi::Authentication discovery_;
  bool open_discovery_ = false;
  std::vector<std::shared_ptr<Target>> targets_;
  std::vector<Named> named_;
  std::vector<engine::Portal> portals_;  // for SendTargets
  std::set<uint16_t> tsihs_;
  uint16_t last_tsih_ = 0;
  uint16_t last_portal_group_tag_ = 0;  // prepare()'s
};

// The name of an initiator port: "iqn...,i,0x<ISID>" (RFC 7143 §4.2.7.1).
std::string port_name(std::string_view initiator, const iscsi::Isid& isid);

}  // namespace mrpool::iser_target
