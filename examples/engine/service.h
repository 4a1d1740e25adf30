// The engine as a whole: workers, devices and listening ports.
//
// Service is independent of threads: a daemon gives it one reactor per thread, a test or the
// simulation gives it one reactor for all. Worker 0 runs all listeners; connections are assigned to
// the workers in turn.
//
// Ports change in two steps, so that a configuration is served as a whole or not at all: prepare()
// opens the new ports; commit() cannot fail and closes the removed ones. A change that is destroyed
// without commit() closes what it opened. With Options::retry_listen a port whose address is not up
// yet is not an error: it waits, and retry_ports() opens it later.
//
// Thread safety: add_worker: before anything runs; prepare, commit, retry_ports, stop and
// add_statistics: one thread, which may differ from the workers' threads. connections(): any
// thread.
// observe(): another thread, from the last add_worker() to stop().
// Ownership: owns everything but the reactors and the protocol. Destroy it while no reactor runs.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/engine/device_context.h"
#include "examples/engine/io_accounts.h"
#include "examples/engine/options.h"
#include "examples/engine/port.h"
#include "examples/engine/portals.h"
#include "examples/engine/protocol.h"
#include "examples/engine/statistics_tree.h"
#include "examples/engine/worker.h"
#include "examples/metrics/snapshot.h"
#include "mrpool/device.h"

namespace mrpool::engine {

// Opens the device of an address; replaced in tests.
using OpenDevice = std::function<absl::StatusOr<std::shared_ptr<Device>>(const Address&)>;

// Ports by the address that requested them.
using Ports = std::map<std::string, std::unique_ptr<Port>>;

class Service {
 public:
  Service(const Options& options, Protocol& protocol, OpenDevice open_device = &Device::open);
  ~Service();

  absl::Status add_worker(Reactor& reactor);

  // A port that could not be opened yet.
  struct WaitingPort {
    std::string address;
    std::string key;  // in ports_
    std::string why;
  };
  class [[nodiscard]] PortChange {
   public:
    PortChange(PortChange&& other) noexcept;
    ~PortChange();

   private:
    friend class Service;
    explicit PortChange(Service& service) : service_(&service) {}
    std::string want(const std::string& text);
    Service* service_;
    std::vector<std::string> wanted_;
    Ports added_;
    std::vector<WaitingPort> waiting_;
  };
  // Hosts that are missing in `resolved` are looked up by the resolver, which may block.
  absl::StatusOr<PortChange> prepare(std::span<const std::string> addresses,
                                     const ResolvedHosts& resolved = {});
  // The hosts that prepare() would look up, and those of waiting_ports().
  std::vector<std::string> new_hosts(std::span<const std::string> addresses) const;
  std::vector<std::string> waiting_hosts() const;
  void commit(PortChange change);
  const std::vector<WaitingPort>& waiting_ports() const { return waiting_; }
  // Tries again to open the waiting ports; true when one was opened. `resolved` as for prepare().
  bool retry_ports(const ResolvedHosts& resolved = {});

  // Stops listening and ends all connections. `stopped` runs, on any worker's thread, when all have
  // ended. The workers' reactors must run meanwhile.
  void stop(std::function<void()> stopped);
  // Reads the keys and certificates of all devices again; new connections use them.
  // InvalidArgument: a file is wrong, and its device keeps what it has. Any thread; may block on a
  // file system.
  absl::Status reload_tls() const;
  // Destroys a worker; call it on the worker's own thread, after its loop ended.
  void destroy_worker(uint32_t index);

  const Options& options() const { return options_; }
  // Stores that do not respond; may outlive the service.
  std::shared_ptr<const Stores> stores() const { return stores_; }
  uint32_t workers() const { return uint32_t(workers_.size()); }
  Worker& worker(uint32_t index) { return *workers_[index]; }
  // The worker with that index; null if it does not exist or was destroyed.
  Worker* find_worker(uint32_t index) {
    return index < workers_.size() ? workers_[index].get() : nullptr;
  }

  // The listening ports, in the order of the addresses that requested them.
  struct Listening {
    Address address;  // with the assigned port if 0 was requested
    Portal portal;
  };
  std::vector<Listening> listening() const;
  std::vector<Portal> portals() const;  // theirs
  std::vector<const DeviceContext*> devices() const;
  size_t connections() const;
  // MRs and staging chunks that are in use: 0 after a stop.
  size_t held() const;
  // The I/O accounting; sessions count into it.
  IoAccounts& accounts() { return accounts_; }
  const IoAccounts& accounts() const { return accounts_; }
  // Adds the engine's part of a snapshot: one thread at a time, while the service is not being
  // stopped.
  void observe(metrics::Snapshot& to) const;
  // Adds devices with their pools, and workers with their staging memory. A worker's data is read
  // on its thread; a destroyed worker's last state is kept.
  void add_statistics(Statistics& to);

 private:
  friend class Port;
  // A worker's state, kept after the worker is destroyed.
  struct WorkerState {
    size_t links = 0;
    uint64_t accepted = 0;
    uint64_t refused = 0;
    uint64_t evicted = 0;
    size_t chunks = 0;
    size_t chunks_in_use = 0;
    size_t chunks_high_water = 0;
    uint64_t waits = 0;
    uint64_t wait_ns = 0;
  };
  static WorkerState state_of(const Worker& worker);

  absl::StatusOr<DeviceContext*> device(const Address& address);
  absl::StatusOr<std::unique_ptr<Port>> open_port(const Address& address,
                                                  const ResolvedHosts& resolved);
  void close_ports(Ports ports);
  void dispatch(DeviceContext& device, std::unique_ptr<ConnectRequest> request);

  const Options options_;
  Protocol& protocol_;
  const OpenDevice open_device_;
  const std::shared_ptr<Stores> stores_ = std::make_shared<Stores>();
  IoAccounts accounts_;
  // Held by the one thread that changes devices_ and ports_, and by other threads that read them.
  mutable std::mutex shape_;
  std::map<std::string, std::unique_ptr<DeviceContext>> devices_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<WorkerState> ended_;
  Ports ports_;  // by address; for several with port 0, the text has a number appended
  std::vector<WaitingPort> waiting_;
  std::atomic<uint32_t> next_worker_{0};
  std::atomic<uint64_t> rejected_{0};
  std::atomic<uint32_t> stopping_{0};
  std::function<void()> stopped_;
};

}  // namespace mrpool::engine
