// NVMe over RDMA as a protocol of the engine: what is served, and the messages between controllers
// and queues on all workers.
//
// Thread safety: add_worker, before anything runs; apply and stop from one thread, which may differ
// from the workers' threads. Protocol, ControllerHost and AbortRouter: any thread.
// Ownership: owns everything but the reactors. Destroy it while no reactor runs.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/base/job_thread.h"
#include "examples/engine/options.h"
#include "examples/engine/protocol.h"
#include "examples/engine/service.h"
#include "examples/gateway/daemon/group.h"
#include "examples/nvmf/target/config.h"
#include "examples/nvmf/target/queue.h"
#include "examples/nvmf/target/target.h"
#include "examples/storage/state_directory.h"
#include "examples/storage/stores.h"
#include "mrpool/device.h"

namespace mrpool::nvmf_target {

class Service final : public engine::Protocol,
                      public ControllerHost,
                      public AbortRouter,
                      public ProofRouter,
                      public Aside {
 public:
  struct Options {
    engine::Options engine;
    uint32_t in_capsule = kDefaultInCapsule;
    // Opens devices and volumes; replaced in tests.
    engine::OpenDevice open_device = &Device::open;
    storage::OpenVolume open_volume = storage::open;
    // Reservations are kept by the thread of the caller: for tests in one thread.
    bool keep_state_at_once = false;
  };
  // A store that a configuration names.
  struct Named {
    std::string name;
    std::shared_ptr<storage::Volume> volume;
    Uuid uuid{};
  };
  explicit Service(const Options& options);
  ~Service();

  // One of a group of gateways: `group` keeps the reservations, and no ANA group is accessible
  // until its set_ownership(). Before anything is served; `group` outlives the service.
  void join(gateway::Group& group);

  // Call it once for each of options.engine.threads.
  absl::Status add_worker(Reactor& reactor);

  // Serves `config` from now on; unchanged parts are not touched. Opens everything new first: on an
  // error nothing has changed.
  absl::Status apply(const Config& config);
  // The same in steps, so that a store that does not respond does not block the main loop. One
  // change at a time, and no apply() meanwhile.
  class Change {
   public:
    Change(Service& service, const Config& config)
        : service_(service),
          config_(config),
          new_hosts_(service.engine_.new_hosts(ports_of(config))) {}
    void resolve();         // any thread; may wait for the resolver; optional
    absl::Status listen();  // the thread of apply()
    absl::Status open();    // any thread; may wait for a file system
    void commit();          // the thread of apply(); after both steps succeeded

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
  // Passes the listening ports to discovery.
  void ports_changed() { target_.set_portals(engine_.portals()); }
  // As engine::Service::stop.
  void stop(std::function<void()> stopped) { engine_.stop(std::move(stopped)); }

  // The open ones of Config::stores, used by a namespace or not. Any thread.
  std::vector<Named> named_stores() const;
  // The stores that are served now, and the named stores.
  std::vector<std::shared_ptr<storage::Volume>> stores() const;

  // service_gateway.cc: the state of an ANA group in the group of gateways. Main loop's thread.
  void set_ownership(uint32_t ana_group, AnaState state);
  // Commands for namespaces of the group that have begun: end with the status as soon as possible,
  // or call `done`, on any thread, when they have ended.
  void take_away(uint32_t ana_group, nvme::Status status);
  void drain(uint32_t ana_group, std::function<void()> done);
  // The namespaces of the group.
  std::vector<Namespace> namespaces_of(uint32_t ana_group) const;
  // For the owner of the group: replaces the reservations of its namespaces by those that the
  // gateways keep. FailedPrecondition: a namespace is in another group there. Blocks.
  absl::Status take_over(uint32_t ana_group);

  Target& target() { return target_; }
  uint32_t in_capsule() const { return options_.in_capsule; }
  engine::Service& engine() { return engine_; }
  const engine::Service& engine() const { return engine_; }
  // Adds the service's part of a snapshot; any thread.
  void observe(metrics::Snapshot& to) const;
  // Adds the counters of subsystems.
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
  // Aside.
  void reserve(ReservationJob job) override;
  void protect(const CommandRef& from, std::shared_ptr<Controller> controller, uint32_t nsid,
               bool on) override;
  void change_marks(const CommandRef& from, std::function<storage::Error()> change) override;
  void run_aside(const CommandRef& from, std::function<nvme::Status()> job) override;
  // ProofRouter.
  void route_proof(std::shared_ptr<nvme::auth::ControllerSide> prover,
                   const AbortWaiter& waiter) override;

 private:
  absl::Status open(Change& change);
  // Locks the state directory for this process, if one is configured.
  absl::Status own_state();
  std::vector<storage::ServedStore> served() const;
  // service_reserve.cc
  absl::Status add_kept_state(Namespace& ns) const;
  absl::Status add_shared_state(Namespace& ns) const;
  absl::Status claim_for_group(const Namespace& ns, const gateway::Records& records);
  static absl::Status take_over(const Namespace& ns, const gateway::Records& records);
  template <typename Call>
  void with_queues_of(uint32_t ana_group, Call call);
  absl::Status add_kept_state(std::vector<Target::Served>& all) const;
  void where_it_may_block(std::function<void()> job);
  void answer_aside(const CommandRef& to, nvme::Status status);
  void carry_out(const ReservationJob& job);
  // Runs `call` with the queue on its worker, or with null if the queue has ended. False: the
  // worker does not exist.
  bool with_queue(QueueRef ref, std::function<void(Queue*)> call);

  const Options options_;
  std::unique_ptr<storage::StateDirectory> state_;
  gateway::Group* group_ = nullptr;
  AnaStates ownership_{};  // with `group_`
  // Null without a state directory and a group of gateways.
  std::unique_ptr<base::JobThread> state_thread_;
  std::atomic<bool> over_{false};  // only ~Service() sets it; Fences may go on other threads
  Target target_;
  mutable std::mutex named_mutex_;
  std::vector<Named> named_;
  std::vector<std::unique_ptr<QueueContext>> contexts_;  // by worker
  Nanoseconds power_on_{};                               // read before the reactors have threads
  engine::Service engine_;
  // For the computations of authentications. It ends before what its jobs use.
  base::JobThread proofs_{base::JobThread::AtEnd::kDropJobs};
};

}  // namespace mrpool::nvmf_target
