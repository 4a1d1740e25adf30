#include "examples/nvmf/target/service.h"

#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/base/peer_log.h"

namespace mrpool::nvmf_target {
namespace {

absl::StatusOr<std::shared_ptr<storage::Volume>> open_volume(const NamespaceConfig& ns) {
  return storage::open(ns.storage, {.block_size = ns.block_size});
}

// One device serves all addresses of a transport that differ in nothing but where to listen; an
// RDMA device is chosen by its host.
std::string device_key(const Address& address) {
  std::string key = absl::StrCat(address.transport, "?", address.options);
  if (address.transport != "uiwarp") absl::StrAppend(&key, "@", address.host);
  return key;
}

}  // namespace

Service::Service(const Options& options)
    : options_(options),
      target_({.workers = options.workers, .in_capsule = options.worker.in_capsule}, *this) {}

Service::~Service() {
  ports_.clear();
  workers_.clear();
}

absl::Status Service::add_worker(Reactor& reactor) {
  auto worker = Worker::create(uint32_t(workers_.size()), reactor, target_, *this, options_.worker);
  if (!worker.ok()) return worker.status();
  if (workers_.empty()) power_on_ = reactor.now();
  workers_.push_back(std::move(*worker));
  return absl::OkStatus();
}

void Service::on_listener_thread(const std::function<void()>& call) {
  if (workers_[0]->reactor().in_thread()) return call();
  std::mutex mutex;
  std::condition_variable done_changed;
  bool done = false;
  workers_[0]->post([&] {
    call();
    const std::lock_guard lock(mutex);
    done = true;
    done_changed.notify_one();
  });
  std::unique_lock lock(mutex);
  done_changed.wait(lock, [&] { return done; });
}

absl::StatusOr<DeviceContext*> Service::device(const Address& address) {
  const std::string key = device_key(address);
  if (const auto at = devices_.find(key); at != devices_.end()) return at->second.get();
  auto opened = options_.open_device(address);
  if (!opened.ok()) return opened.status();
  auto context = DeviceContext::create(std::move(*opened), options_.device);
  if (!context.ok()) return context.status();
  return devices_.emplace(key, std::move(*context)).first->second.get();
}

absl::StatusOr<std::unique_ptr<Service::Port>> Service::open_port(const Address& address) {
  auto where = device(address);
  if (!where.ok()) return where.status();
  auto port = std::make_unique<Port>(*this, **where, address);
  absl::Status status;
  on_listener_thread([&] {
    auto listener = (*where)->device().listen(workers_[0]->reactor(), address, *port);
    if (!listener.ok()) {
      status = listener.status();
      return;
    }
    port->listener = std::move(*listener);
    port->port = port->listener->port();
  });
  if (!status.ok()) return status;
  return port;
}

void Service::close_ports(std::vector<std::unique_ptr<Port>> ports) {
  if (ports.empty()) return;
  on_listener_thread([&] { ports.clear(); });
}

// New volumes are opened, those that are served already are taken over: the same storage under the
// same subsystem and nsid keeps its data and its users.
absl::StatusOr<std::vector<Target::Served>> Service::open_namespaces(const Config& config) {
  std::vector<Target::Served> all;
  for (const SubsystemConfig& subsystem : config.subsystems) {
    Target::Served served;
    served.options.nqn = subsystem.nqn;
    served.options.serial = subsystem.serial;
    served.options.allow_any_host = !subsystem.hosts.has_value();
    if (subsystem.hosts.has_value()) served.options.hosts = *subsystem.hosts;
    served.options.traffic_keep_alive = subsystem.traffic_keep_alive;
    served.options.power_on = power_on_;
    const std::shared_ptr<Subsystem> before = target_.find(subsystem.nqn);
    const auto table = before == nullptr ? nullptr : before->namespaces();
    for (const NamespaceConfig& ns : subsystem.namespaces) {
      const Namespace* same = nullptr;
      if (table != nullptr) {
        same = table->find(ns.nsid);
        if (same != nullptr && (same->volume->spec() != ns.storage ||
                                same->volume->geometry().block_size != ns.block_size)) {
          same = nullptr;
        }
      }
      Namespace entry{.nsid = ns.nsid, .volume = nullptr, .uuid = ns.uuid};
      if (same != nullptr) {
        entry.volume = same->volume;
      } else {
        auto volume = options_.open_volume ? options_.open_volume(ns) : open_volume(ns);
        if (!volume.ok()) return volume.status();
        entry.volume = std::move(*volume);
      }
      served.namespaces.push_back(std::move(entry));
    }
    all.push_back(std::move(served));
  }
  return all;
}

absl::Status Service::apply(const Config& config) {
  auto served = open_namespaces(config);
  if (!served.ok()) return served.status();
  Ports added;
  absl::Status failed;
  for (const std::string& text : config.listen) {
    if (ports_.contains(text)) continue;
    const auto address = Address::parse(text);
    if (!address.ok()) {
      failed = address.status();
      break;
    }
    auto port = open_port(*address);
    if (!port.ok()) {
      failed =
          absl::Status(port.status().code(), absl::StrCat(text, ": ", port.status().message()));
      break;
    }
    added.emplace(text, std::move(*port));
  }
  std::vector<std::unique_ptr<Port>> gone;
  if (!failed.ok()) {
    for (auto& [text, port] : added) gone.push_back(std::move(port));
    close_ports(std::move(gone));
    return failed;
  }
  for (auto at = ports_.begin(); at != ports_.end();) {
    if (std::find(config.listen.begin(), config.listen.end(), at->first) == config.listen.end()) {
      gone.push_back(std::move(at->second));
      at = ports_.erase(at);
    } else {
      ++at;
    }
  }
  ports_.merge(added);
  close_ports(std::move(gone));
  std::vector<Portal> portals;
  for (const auto& [text, port] : ports_) {
    Portal portal;
    portal.address = port->address.host;
    portal.port = port->port;
    portal.ipv6 = port->address.host.find(':') != std::string::npos;
    portal.iwarp = port->device().caps().iwarp;
    portal.id = uint16_t(portals.size() + 1);
    portals.push_back(std::move(portal));
  }
  target_.apply(std::move(*served), std::move(portals));
  return absl::OkStatus();
}

void Service::Port::on_connect_request(std::unique_ptr<ConnectRequest> request) {
  QueueRequest wanted;
  nvme::RdmaStatus why{};
  if (request->info().ord == 0) {
    // Nothing could be fetched from that host.
    why = nvme::RdmaStatus::kInvalidIrd;
  } else if (parse_request(request->info().private_data, wanted, why)) {
    const uint32_t next = service_.next_worker_.fetch_add(1, std::memory_order_relaxed);
    Worker& worker = *service_.workers_[next % service_.workers_.size()];
    // std::function wants copies; the request has one owner.
    auto held = std::make_shared<std::unique_ptr<ConnectRequest>>(std::move(request));
    worker.post([&worker, &device = device_, held, wanted] {
      worker.accept(device, std::move(*held), wanted);
    });
    return;
  }
  daemon::say_of_peers(absl::StrCat(request->info().peer, ": connection refused, ",
                                    std::string(nvme::to_string(why))));
  nvme::RdmaReject reject;
  reject.status = uint16_t(why);
  request->reject(nvme::bytes_of(reject));
}

void Service::stop(std::function<void()> stopped) {
  std::vector<std::unique_ptr<Port>> gone;
  for (auto& [text, port] : ports_) gone.push_back(std::move(port));
  ports_.clear();
  close_ports(std::move(gone));
  stopped_ = std::move(stopped);
  stopping_.store(uint32_t(workers_.size()));
  for (const auto& worker : workers_) {
    worker->post([this, &worker = *worker] {
      worker.stop([this] {
        if (stopping_.fetch_sub(1) == 1) stopped_();
      });
    });
  }
}

std::vector<std::string> Service::listening() const {
  std::vector<std::string> all;
  for (const auto& [text, port] : ports_) {
    Address address = port->address;
    address.port = port->port;
    all.push_back(address.to_string());
  }
  return all;
}

std::vector<Service::PoolFigures> Service::pools() const {
  std::vector<PoolFigures> all;
  for (const auto& [key, context] : devices_) {
    PoolFigures figures;
    figures.device = context->caps().name;
    figures.has_pool = context->pool() != nullptr;
    if (figures.has_pool) figures.stats = context->pool()->stats();
    all.push_back(std::move(figures));
  }
  return all;
}

size_t Service::connections() const {
  size_t n = 0;
  for (const auto& worker : workers_) {
    if (worker != nullptr) n += worker->queue_count();
  }
  return n;
}

void Service::events_ready(QueueRef admin_queue) {
  Worker* worker = worker_of(admin_queue);
  if (worker == nullptr) return;
  worker->post([worker, admin_queue] {
    if (Queue* queue = worker->find(admin_queue.id)) queue->deliver_events();
  });
}

void Service::drop_queue(QueueRef ref) {
  Worker* worker = worker_of(ref);
  if (worker == nullptr) return;
  worker->post([worker, ref] {
    if (Queue* queue = worker->find(ref.id)) queue->drop("the association has ended");
  });
}

void Service::connect_again(QueueRef ref) {
  Worker* worker = worker_of(ref);
  if (worker == nullptr) return;
  worker->post([worker, ref] {
    if (Queue* queue = worker->find(ref.id)) queue->connect_again();
  });
}

void Service::route_abort(QueueRef victim, uint16_t command_id, const AbortWaiter& waiter) {
  Worker* worker = worker_of(victim);
  if (worker == nullptr) return route_answer(waiter, false);
  worker->post([this, worker, victim, command_id, waiter] {
    Queue* queue = worker->find(victim.id);
    const auto result = queue == nullptr ? Queue::AbortResult::kNotAborted
                                         : queue->abort_command(command_id, waiter);
    if (result != Queue::AbortResult::kLater) {
      route_answer(waiter, result == Queue::AbortResult::kAborted);
    }
  });
}

void Service::route_answer(const AbortWaiter& waiter, bool aborted) {
  Worker* worker = worker_of(waiter.queue);
  if (worker == nullptr) return;
  worker->post([worker, waiter, aborted] {
    if (Queue* queue = worker->find(waiter.queue.id)) {
      queue->abort_answered(waiter.slot, waiter.serial, aborted);
    }
  });
}

}  // namespace mrpool::nvmf_target
