// The target put together: workers, devices, listeners and the configuration they serve.
//
// Service knows nothing of threads: the daemon gives it one reactor per thread, a test or the
// simulation gives it one for all.
//
// Thread safety: add_worker, before anything runs; apply and stop from one thread, which may be
// another than the workers'. ControllerHost and AbortRouter: any thread.
// Ownership: owns everything but the reactors. Destroy it with no reactor running.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/nvmf/target/config.h"
#include "examples/engine/device_context.h"
#include "examples/nvmf/target/target.h"
#include "examples/engine/worker.h"
#include "mrpool/device.h"

namespace mrpool::nvmf_target {

class Service final : public ControllerHost, public AbortRouter {
 public:
  struct Options {
    uint32_t workers = 1;
    WorkerOptions worker;
    DeviceContext::Options device;
    // How addresses become devices and specs become volumes; replaced in tests.
    std::function<absl::StatusOr<std::shared_ptr<Device>>(const Address&)> open_device =
        &Device::open;
    std::function<absl::StatusOr<std::shared_ptr<storage::Volume>>(const NamespaceConfig&)>
        open_volume;
  };
  explicit Service(const Options& options);
  ~Service();

  // One for each of options.workers.
  absl::Status add_worker(Reactor& reactor);

  // Serves `config` from now on; what is the same as before stays as it is. Everything new is
  // opened first: on an error nothing has changed.
  absl::Status apply(const Config& config);
  // Stops listening and drops all connections; `stopped` runs, on any worker's thread, when all is
  // quiet. Call the workers' reactors' loops meanwhile.
  void stop(std::function<void()> stopped);
  // What has to be destroyed on the worker's own thread, after its loop ended.
  void destroy_worker(uint32_t index) { workers_[index].reset(); }

  Target& target() { return target_; }
  Worker& worker(uint32_t index) { return *workers_[index]; }
  // The ports listened on, as in Config::listen; for port 0 the one that was given.
  std::vector<std::string> listening() const;

  struct PoolFigures {
    std::string device;
    bool has_pool = false;
    MrPoolStats stats;
  };
  std::vector<PoolFigures> pools() const;
  size_t connections() const;

  // ControllerHost.
  void events_ready(QueueRef admin_queue) override;
  void drop_queue(QueueRef queue) override;
  void connect_again(QueueRef queue) override;
  // AbortRouter.
  void route_abort(QueueRef victim, uint16_t command_id, const AbortWaiter& waiter) override;
  void route_answer(const AbortWaiter& waiter, bool aborted) override;

 private:
  // Runs on worker 0, where all listeners live.
  class Port final : public ListenHandler {
   public:
    Port(Service& service, DeviceContext& device, Address where)
        : address(std::move(where)), service_(service), device_(device) {}
    void on_connect_request(std::unique_ptr<ConnectRequest> request) override;
    DeviceContext& device() { return device_; }

    const Address address;
    std::unique_ptr<Listener> listener;
    uint16_t port = 0;

   private:
    Service& service_;
    DeviceContext& device_;
  };
  using Ports = std::map<std::string, std::unique_ptr<Port>>;

  absl::StatusOr<DeviceContext*> device(const Address& address);
  absl::StatusOr<std::unique_ptr<Port>> open_port(const Address& address);
  void close_ports(std::vector<std::unique_ptr<Port>> ports);
  absl::StatusOr<std::vector<Target::Served>> open_namespaces(const Config& config);
  // Runs `call` on worker 0 and waits for it; at once when this is its thread or nobody's.
  void on_listener_thread(const std::function<void()>& call);
  Worker* worker_of(QueueRef queue) {
    return queue.worker < workers_.size() ? workers_[queue.worker].get() : nullptr;
  }

  const Options options_;
  Target target_;
  std::map<std::string, std::unique_ptr<DeviceContext>> devices_;
  std::vector<std::unique_ptr<Worker>> workers_;
  Nanoseconds power_on_{};  // read before the reactors have threads, which alone may ask them later
  Ports ports_;
  std::atomic<uint32_t> next_worker_{0};
  std::atomic<uint32_t> stopping_{0};
  std::function<void()> stopped_;
};

}  // namespace mrpool::nvmf_target
