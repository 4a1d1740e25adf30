// iSER as a protocol of the engine: the site that is served, and a session for each connection.
//
// Thread safety: start, apply and stop: one thread, which may differ from the workers' threads.
// Protocol: the workers' threads. Ownership: owns everything but the reactors. Destroy it while no
// reactor runs.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "examples/engine/protocol.h"
#include "examples/engine/service.h"
#include "examples/engine/statistics_tree.h"
#include "examples/iser/target/config.h"
#include "examples/iser/target/environment.h"
#include "examples/iser/target/site.h"
#include "examples/protocol/iscsi/negotiation.h"

namespace mrpool::iser_target {

class Service final : public engine::Protocol {
 public:
  // Options of the whole daemon come from `config` and do not change later.
  explicit Service(const Config& config, Environment environment = {});

  // Creates one worker for each reactor, then serves the configuration.
  absl::Status start(std::span<Reactor* const> reactors);
  // Serves the portals and targets of `config` from now on: all of them, or no change on an error.
  // Unchanged parts are not touched.
  absl::Status apply(const Config& config);
  // The same in steps, so that a store that does not respond does not block the caller's thread.
  // One change at a time, and no apply() meanwhile.
  class Change {
   public:
    Change(Service& service, Config config)
        : config_(std::move(config)),
          service_(service),
          hosts_(service.engine_.new_hosts(config_.listen)) {}
    // Any thread; may wait for the resolver. Optional.
    void resolve();
    // The thread of apply().
    absl::Status listen();
    // Any thread; may wait for a file system.
    absl::Status open();
    // The thread of apply(). Requires that both steps before it succeeded.
    void commit();

   private:
    const Config config_;
    Service& service_;
    const std::vector<std::string> hosts_;
    std::shared_ptr<Site::Next> next_;
    engine::ResolvedHosts resolved_;
    std::optional<engine::Service::PortChange> ports_;
  };
  std::shared_ptr<Change> change(const Config& config) {
    return std::make_shared<Change>(*this, config);
  }
  // Passes the listening ports to discovery.
  void ports_changed() { site_->set_portals(engine_.portals()); }
  // As engine::Service::stop.
  void stop(std::function<void()> stopped) { engine_.stop(std::move(stopped)); }

  engine::Service& engine() { return engine_; }
  const engine::Service& engine() const { return engine_; }
  Site& site() { return *site_; }  // since start()
  // Adds the service's part of a snapshot; any thread, since start().
  void observe(metrics::Snapshot& to) const;
  void add_statistics(engine::Statistics& to) const;

  // Receives the site's log entries; set it before start().
  std::function<void(const base::LogEntry&)> log = [](const base::LogEntry&) {};

  // Protocol.
  engine::Verdict look(const ConnectionInfo& request, const DeviceCaps& caps) override;
  std::unique_ptr<engine::Session> make_session(engine::Worker& worker, engine::Link& link,
                                                const ConnectionInfo& request) override;
  void visit_stores(engine::Worker& worker, const engine::StoreVisitor& each) override;

 private:
  const Config config_;
  const Environment environment_;
  const iscsi::Limits limits_;
  std::unique_ptr<Site> site_;
  engine::Service engine_;  // its sessions end before the site does
};

}  // namespace mrpool::iser_target
