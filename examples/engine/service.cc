#include "examples/engine/service.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/base/log.h"
#include "mrpool/tls.h"

namespace mrpool::engine {
namespace {

// Addresses of a transport share a device if they differ only in the address to listen on; an RDMA
// device is selected by its host.
std::string device_key(const Address& address) {
  std::string key = absl::StrCat(address.transport, "?", address.options);
  if (address.transport != "uiwarp") absl::StrAppend(&key, "@", address.host);
  return key;
}

// The reason of a listen error, without the address with which a device's message begins.
std::string reason(const Address& address, const absl::Status& status) {
  const std::string why(status.message());
  const std::string named = address.to_string() + ": ";
  const size_t at = why.find(named);
  return at == why.npos ? why : why.substr(at + named.size());
}

}  // namespace

Service::Service(const Options& options, Protocol& protocol, OpenDevice open_device)
    : options_(options), protocol_(protocol), open_device_(std::move(open_device)) {}

Service::~Service() {
  ports_.clear();
  workers_.clear();
}

absl::Status Service::add_worker(Reactor& reactor) {
  auto worker =
      Worker::create(uint32_t(workers_.size()), reactor, protocol_, options_, *stores_, accounts_);
  if (!worker.ok()) return worker.status();
  workers_.push_back(std::move(*worker));
  ended_.emplace_back();
  return absl::OkStatus();
}

void Service::destroy_worker(uint32_t index) {
  ended_[index] = state_of(*workers_[index]);
  workers_[index].reset();
}

absl::StatusOr<DeviceContext*> Service::device(const Address& address) {
  const std::string key = device_key(address);
  if (const auto at = devices_.find(key); at != devices_.end()) return at->second.get();
  auto opened = open_device_(address);
  if (!opened.ok()) return opened.status();
  auto context = DeviceContext::create(std::move(*opened), options_);
  if (!context.ok()) return context.status();
  const std::lock_guard lock(shape_);
  return devices_.emplace(key, std::move(*context)).first->second.get();
}

// Ports.

Service::PortChange::PortChange(PortChange&& other) noexcept
    : service_(other.service_),
      wanted_(std::move(other.wanted_)),
      added_(std::exchange(other.added_, {})),
      waiting_(std::move(other.waiting_)) {}

// Adds a port with this text and returns its key.
std::string Service::PortChange::want(const std::string& text) {
  std::string key = text;
  for (int count = 2; std::ranges::find(wanted_, key) != wanted_.end(); ++count) {
    key = absl::StrCat(text, " ", count);
  }
  return wanted_.emplace_back(std::move(key));
}

Service::PortChange::~PortChange() { service_->close_ports(std::move(added_)); }

absl::StatusOr<std::unique_ptr<Port>> Service::open_port(const Address& address,
                                                         const ResolvedHosts& resolved) {
  const auto known = resolved.find(address.host);
  auto numeric = known != resolved.end() ? known->second : resolve_host(address.host);
  if (!numeric.ok()) return numeric.status();
  Address at = address;
  at.host = *numeric;
  auto where = device(at);
  if (!where.ok()) return where.status();
  auto port = std::make_unique<Port>(*this, **where, address, *std::move(numeric));
  absl::Status status;
  const int passed = options_.sockets == nullptr || address.transport != "uiwarp"
                         ? -1
                         : options_.sockets->take(at.host, at.port);
  if (passed >= 0) absl::StrAppend(&at.options, at.options.empty() ? "" : "&", "fd=", passed);
  workers_[0]->mailbox().run([&] {
    auto listener = (*where)->device().listen(workers_[0]->reactor(), at, *port);
    if (!listener.ok()) {
      status = listener.status();
      if (passed >= 0) ::close(passed);
      return;
    }
    port->listener = std::move(*listener);
    port->address.port = port->listener->port();
  });
  if (!status.ok()) return status;
  return port;
}

void Service::close_ports(Ports ports) {
  if (ports.empty()) return;
  workers_[0]->mailbox().run([&] { ports.clear(); });
}

absl::StatusOr<Service::PortChange> Service::prepare(std::span<const std::string> addresses,
                                                     const ResolvedHosts& resolved) {
  PortChange change(*this);
  for (const std::string& text : addresses) {
    const std::string key = change.want(text);
    if (ports_.contains(key)) continue;
    const auto address = Address::parse(text);
    if (!address.ok()) return address.status();
    auto port = open_port(*address, resolved);
    if (!port.ok() && options_.retry_listen && !absl::IsInvalidArgument(port.status())) {
      change.waiting_.push_back({text, key, reason(*address, port.status())});
      continue;
    }
    if (!port.ok()) {
      // Most messages of devices contain the address.
      const absl::string_view why = port.status().message();
      const bool named = why.find(address->to_string()) != why.npos;
      return absl::Status(port.status().code(),
                          named ? std::string(why) : absl::StrCat(text, ": ", why));
    }
    change.added_.emplace(key, std::move(*port));
  }
  return change;
}

void Service::commit(PortChange change) {
  Ports gone;
  std::unique_lock lock(shape_);
  for (auto at = ports_.begin(); at != ports_.end();) {
    const auto here = at++;
    if (std::ranges::find(change.wanted_, here->first) != change.wanted_.end()) continue;
    gone.insert(ports_.extract(here));
  }
  ports_.merge(change.added_);
  lock.unlock();
  waiting_ = std::exchange(change.waiting_, {});
  close_ports(std::move(gone));
}

std::vector<std::string> Service::new_hosts(std::span<const std::string> addresses) const {
  std::vector<std::string> hosts;
  for (const std::string& text : addresses) {
    const auto address = Address::parse(text);
    if (!ports_.contains(text) && address.ok()) hosts.push_back(address->host);
  }
  return hosts;
}

std::vector<std::string> Service::waiting_hosts() const {
  std::vector<std::string> hosts;
  for (const WaitingPort& waiting : waiting_)
    hosts.push_back(Address::parse(waiting.address)->host);
  return hosts;
}

bool Service::retry_ports(const ResolvedHosts& resolved) {
  const size_t opened = std::erase_if(waiting_, [&](WaitingPort& waiting) {
    const auto address = Address::parse(waiting.address);
    auto port = open_port(*address, resolved);
    if (!port.ok()) {
      waiting.why = reason(*address, port.status());
      return false;
    }
    const std::lock_guard lock(shape_);
    ports_.emplace(waiting.key, std::move(*port));
    return true;
  });
  return opened > 0;
}

std::vector<Service::Listening> Service::listening() const {
  std::vector<Listening> all;
  for (const auto& [text, port] : ports_) {
    all.push_back({port->address,
                   {.address = port->numeric_host,
                    .port = port->address.port,
                    .iwarp = port->device().caps().iwarp,
                    .id = uint16_t(all.size() + 1)}});
  }
  return all;
}

std::vector<Portal> Service::portals() const {
  std::vector<Portal> all;
  for (Listening& port : listening()) all.push_back(std::move(port.portal));
  return all;
}

// Connections.

void Port::on_connect_request(std::unique_ptr<ConnectRequest> request) {
  service_.dispatch(device_, std::move(request));
}

void Port::on_listen_error(const absl::Status& error) {
  base::log(
      {.event = base::Event::kAcceptFailed, .message = absl::StrCat("mrpool: ", error.message())});
}

void Service::dispatch(DeviceContext& device, std::unique_ptr<ConnectRequest> request) {
  Verdict verdict = protocol_.look(request->info(), device.caps());
  if (!verdict.accepted) {
    rejected_.fetch_add(1, std::memory_order_relaxed);
    base::log(
        {.event = base::Event::kConnectionRefused,
         .peer = request->info().peer,
         .message = absl::StrCat(request->info().peer, ": connection refused, ", verdict.why)});
    request->reject(verdict.private_data).IgnoreError();
    return;
  }
  const uint32_t next = next_worker_.fetch_add(1, std::memory_order_relaxed);
  Worker& worker = *workers_[next % workers_.size()];
  // std::function requires copyable captures, but the request has one owner.
  auto held = std::make_shared<std::unique_ptr<ConnectRequest>>(std::move(request));
  worker.mailbox().post([&worker, &device, held, verdict = std::move(verdict)] {
    worker.accept(device, std::move(*held), verdict);
  });
}

size_t Service::connections() const {
  size_t count = 0;
  for (const auto& worker : workers_) {
    if (worker != nullptr) count += worker->link_count();
  }
  return count;
}

void Service::stop(std::function<void()> stopped) {
  close_ports(std::exchange(ports_, {}));
  stopped_ = std::move(stopped);
  stopping_.store(uint32_t(workers_.size()));
  for (const auto& worker : workers_) {
    worker->mailbox().post([this, &worker = *worker] {
      worker.stop([this] {
        if (stopping_.fetch_sub(1) == 1) stopped_();
      });
    });
  }
}

// Devices stay until the service ends.
absl::Status Service::reload_tls() const {
  std::vector<const DeviceContext*> all;
  {
    const std::lock_guard lock(shape_);
    all = devices();
  }
  for (const DeviceContext* context : all) {
    if (absl::Status status = mrpool::reload_tls(context->device()); !status.ok()) return status;
  }
  return absl::OkStatus();
}

// Statistics.

std::vector<const DeviceContext*> Service::devices() const {
  std::vector<const DeviceContext*> all;
  for (const auto& [key, context] : devices_) all.push_back(context.get());
  return all;
}

Service::WorkerState Service::state_of(const Worker& worker) {
  const Staging& staging = worker.staging();
  return {.links = worker.link_count(),
          .accepted = worker.accepted(),
          .refused = worker.refused(),
          .evicted = worker.evicted(),
          .chunks = staging.total(),
          .chunks_in_use = staging.in_use(),
          .chunks_high_water = staging.high_water(),
          .waits = staging.waits(),
          .wait_ns = staging.wait_ns()};
}

size_t Service::held() const {
  size_t count = 0;
  for (const auto& [key, context] : devices_) {
    if (context->pool() != nullptr) count += context->pool()->stats().in_use;
  }
  for (size_t i = 0; i < workers_.size(); ++i) {
    count += workers_[i] != nullptr ? workers_[i]->staging().in_use() : ended_[i].chunks_in_use;
  }
  return count;
}

void Service::observe(metrics::Snapshot& to) const {
  to.connections_rejected = rejected_.load(std::memory_order_relaxed);
  to.hung_stores = stores_->hung();
  for (const auto& worker : workers_) {
    const Staging::Use& use = worker->staging().use();
    to.workers.push_back({.connections = worker->link_count(),
                          .accepted = worker->accepted(),
                          .refused = worker->refused(),
                          .evicted = worker->evicted(),
                          .chunks = worker->staging().total(),
                          .chunks_in_use = use.in_use.load(std::memory_order_relaxed),
                          .chunks_high_water = use.high_water.load(std::memory_order_relaxed),
                          .waits = use.waits,
                          .wait_ns = use.wait_ns});
  }
  accounts_.add_latencies(to);
  const std::lock_guard lock(shape_);
  for (const auto& [text, port] : ports_) to.listening.push_back(port->address.to_string());
  for (const auto& [key, context] : devices_) {
    metrics::DeviceState& device = to.devices.emplace_back();
    device.name = context->caps().name;
    for_each(context->device().statistics(), [&](std::string_view name, uint64_t value) {
      device.counters.emplace_back(name, value);
    });
    if (context->pool() != nullptr) device.pool = context->pool()->stats();
  }
}

void Service::add_statistics(Statistics& to) {
  to.add("connections_rejected", rejected_.load(std::memory_order_relaxed));
  to.add("stores_hung", stores_->hung().size());
  for (const auto& [key, context] : devices_) {
    Statistics& device = to.child("device").child(context->caps().name);
    for_each(context->device().statistics(),
             [&](std::string_view name, uint64_t value) { device.add(name, value); });
    if (context->pool() == nullptr) continue;
    const MrPoolStats stats = context->pool()->stats();
    Statistics& pool = device.child("mrs");
    pool.add("size", stats.size);
    pool.add("in_use", stats.in_use);
    pool.add("high_water", stats.high_water);
    pool.add("in_repair", stats.in_repair);
    pool.add("gets", stats.gets);
    pool.add("exhaustions", stats.exhaustions);
    pool.add("waits", stats.waits);
    pool.add("repairs", stats.repairs);
    pool.add("wait_ns", stats.wait_ns);
  }
  for (uint32_t i = 0; i < workers(); ++i) {
    WorkerState state = ended_[i];
    if (workers_[i] != nullptr) {
      workers_[i]->mailbox().run([&] { state = state_of(*workers_[i]); });
    }
    Statistics& worker = to.child("worker").child(std::to_string(i));
    worker.add("connections", state.links);
    worker.add("connections_accepted", state.accepted);
    worker.add("connections_refused", state.refused);
    worker.add("connections_evicted", state.evicted);
    Statistics& staging = worker.child("staging");
    staging.add("chunks", state.chunks);
    staging.add("in_use", state.chunks_in_use);
    staging.add("high_water", state.chunks_high_water);
    staging.add("waits", state.waits);
    staging.add("wait_ns", state.wait_ns);
  }
}

}  // namespace mrpool::engine
