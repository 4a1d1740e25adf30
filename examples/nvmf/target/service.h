// NVMe over RDMA, plugged into the engine: what is served, and the ways between controllers and
// queues on all workers.
//
// Thread safety: add_worker, before anything runs; apply and stop from one thread, which may be
// another than the workers'. Protocol, ControllerHost and AbortRouter: any thread.
// Ownership: owns everything but the reactors. Destroy it with no reactor running.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/engine/options.h"
#include "examples/engine/protocol.h"
#include "examples/engine/service.h"
#include "examples/nvmf/target/config.h"
#include "examples/nvmf/target/queue.h"
#include "examples/nvmf/target/target.h"
#include "examples/storage/state_directory.h"
#include "examples/storage/stores.h"
#include "mrpool/device.h"

namespace mrpool::nvmf_target {

class Service final : public engine::Protocol, public ControllerHost, public AbortRouter {
 public:
  struct Options {
    engine::Options engine;
    uint32_t in_capsule = kDefaultInCapsule;
    // How addresses become devices and specs become volumes; replaced in tests.
    engine::OpenDevice open_device = &Device::open;
    storage::OpenVolume open_volume = storage::open;
  };
  // A store that a configuration names.
  struct Named {
    std::string name;
    std::shared_ptr<storage::Volume> volume;
    Uuid uuid{};
  };
  explicit Service(const Options& options);

  // One for each of options.engine.threads.
  absl::Status add_worker(Reactor& reactor);

  // Serves `config` from now on; what is the same as before stays as it is. Everything new is
  // opened first: on an error nothing has changed.
  absl::Status apply(const Config& config);
  // The same in steps, for whom a store that does not answer must not hold up. One at a time, and
  // no apply() meanwhile.
  class Change {
   public:
    Change(Service& service, const Config& config)
        : service_(service),
          config_(config),
          new_hosts_(service.engine_.new_hosts(ports_of(config))) {}
    void resolve();         // any thread; may wait for the resolver; may be left out
    absl::Status listen();  // the thread of apply()
    absl::Status open();    // any thread; may wait for a file system
    void commit();          // the thread of apply(); both steps before it were OK

   private:
    friend class Service;
    Service& service_;
    const Config config_;
    const std::vector<std::string> new_hosts_;
    engine::ResolvedHosts resolved_;
    std::optional<engine::Service::PortChange> ports_;
    storage::Growth growth_;
    std::vector<Target::Served> served_;
    std::vector<Named> named_;
  };
  std::shared_ptr<Change> change(const Config& config) {
    return std::make_shared<Change>(*this, config);
  }
  // Tells discovery of the ports that are listened on.
  void ports_changed() { target_.set_portals(engine_.portals()); }
  // As engine::Service::stop.
  void stop(std::function<void()> stopped) { engine_.stop(std::move(stopped)); }

  // Config::stores that are open, whether a namespace has them or not. Any thread.
  std::vector<Named> named_stores() const;
  // What is served now, and named stores.
  std::vector<std::shared_ptr<storage::Volume>> stores() const;

  Target& target() { return target_; }
  uint32_t in_capsule() const { return options_.in_capsule; }
  engine::Service& engine() { return engine_; }
  const engine::Service& engine() const { return engine_; }
  // Adds what there is to show; any thread.
  void observe(metrics::Snapshot& to) const;
  // What subsystems have counted.
  void add_statistics(engine::Statistics& to) const;

  // Protocol.
  engine::Verdict look(const ConnectionInfo& request, const DeviceCaps& caps) override;
  std::vector<std::byte> no_resources() const override;
  std::string name(const ConnectionInfo& request) const override;
  std::unique_ptr<engine::Session> make_session(engine::Worker& worker, engine::Link& link,
                                                const ConnectionInfo& request) override;
  // ControllerHost.
  void events_ready(QueueRef admin_queue) override;
  void drop_queue(QueueRef queue) override;
  void connect_again(QueueRef queue) override;
  // AbortRouter.
  void route_abort(QueueRef victim, uint16_t command_id, const AbortWaiter& waiter) override;
  void route_answer(const AbortWaiter& waiter, bool aborted) override;

 private:
  absl::Status open(Change& change);
  // The state directory becomes this process's, where one is given.
  absl::Status own_state();
  std::vector<storage::ServedStore> served() const;
  // Runs `call` with the queue on its worker, when it is still there. False: there is no such
  // worker.
  bool with_queue(QueueRef ref, std::function<void(Queue*)> call);

  const Options options_;
  std::unique_ptr<storage::StateDirectory> state_;
  Target target_;
  mutable std::mutex named_mutex_;
  std::vector<Named> named_;
  std::vector<std::unique_ptr<QueueContext>> contexts_;  // by worker
  Nanoseconds power_on_{};  // read before the reactors have threads, which alone may ask them later
  engine::Service engine_;
};

}  // namespace mrpool::nvmf_target
