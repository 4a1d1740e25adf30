#include "examples/nvmf/target/service.h"

#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/storage/uuid.h"

namespace mrpool::nvmf_target {
namespace {

// The stores that are given no UUID; null in the places of the others.
std::vector<std::shared_ptr<storage::Volume>> without_uuid(
    const Config& config, std::vector<std::shared_ptr<storage::Volume>> volumes) {
  auto next = volumes.begin();
  for (const SubsystemConfig& subsystem : config.subsystems) {
    for (const NamespaceConfig& ns : subsystem.namespaces) {
      if (ns.uuid != Uuid{}) next->reset();
      ++next;
    }
  }
  return volumes;
}

// Hosts refuse a namespace that has the UUID of another.
absl::Status check_distinct(std::span<const Target::Served> all) {
  std::map<Uuid, std::string> places;
  for (const Target::Served& served : all) {
    for (const Namespace& ns : served.namespaces) {
      std::string place = absl::StrCat(served.options.nqn, " ", place_of(ns.nsid));
      const auto [first, fresh] = places.emplace(ns.uuid, place);
      if (fresh) continue;
      return absl::FailedPreconditionError(absl::StrCat(
          place, ": ", ns.volume->spec(), " has the UUID of ", first->second,
          "; they are one store: serve it once, or give one of them another \"uuid\""));
    }
  }
  return absl::OkStatus();
}

template <typename Message>
std::vector<std::byte> copy_of(const Message& message) {
  const auto bytes = nvme::bytes_of(message);
  return {bytes.begin(), bytes.end()};
}

std::vector<std::byte> rejection(nvme::RdmaStatus why) {
  nvme::RdmaReject reject;
  reject.status = uint16_t(why);
  return copy_of(reject);
}

}  // namespace

Service::Service(const Options& options)
    : options_(options),
      target_({.workers = options.engine.threads, .in_capsule = options.in_capsule}, *this),
      engine_(options.engine, *this, options.open_device) {}

absl::Status Service::add_worker(Reactor& reactor) {
  if (contexts_.empty()) power_on_ = reactor.now();
  if (absl::Status status = engine_.add_worker(reactor); !status.ok()) return status;
  engine::Worker& worker = engine_.worker(engine_.workers() - 1);
  contexts_.push_back(std::make_unique<QueueContext>(
      QueueContext{target_, *this, worker.staging(), worker.channels(), worker.accounts(), reactor,
                   worker.index(), options_.engine.verbose}));
  return absl::OkStatus();
}

// Configuration.

std::vector<storage::ServedStore> Service::served() const {
  std::vector<storage::ServedStore> all;
  for (const auto& subsystem : target_.subsystems()) {
    const auto table = subsystem->namespaces();
    for (const Namespace& ns : table->namespaces) {
      all.push_back({ns.volume, subsystem->nqn, place_of(ns.nsid)});
    }
  }
  return all;
}

std::vector<std::shared_ptr<storage::Volume>> Service::stores() const {
  std::vector<std::shared_ptr<storage::Volume>> volumes;
  for (storage::ServedStore& each : served()) volumes.push_back(std::move(each.volume));
  return volumes;
}

absl::Status Service::own_state() {
  if (options_.engine.state_dir.empty() || state_ != nullptr) return absl::OkStatus();
  auto state = storage::StateDirectory::open(options_.engine.state_dir);
  if (state.ok()) state_ = *std::move(state);
  return state.status();
}

// The UUID is the store's, wherever it is served.
absl::StatusOr<std::vector<Target::Served>> Service::open_namespaces(const Config& config) {
  if (absl::Status status = own_state(); !status.ok()) return status;
  storage::Growth growth;
  const auto volumes =
      storage::open_stores(wanted_stores(config), served(), options_.open_volume, growth);
  if (!volumes.ok()) return volumes.status();
  const auto uuids = storage::derived_uuids(state_.get(), without_uuid(config, *volumes));
  std::vector<Target::Served> all;
  size_t next = 0;
  for (const SubsystemConfig& subsystem : config.subsystems) {
    Target::Served& served = all.emplace_back();
    served.options.nqn = subsystem.nqn;
    served.options.serial = subsystem.serial;
    served.options.allow_any_host = !subsystem.hosts.has_value();
    if (subsystem.hosts.has_value()) served.options.hosts = *subsystem.hosts;
    served.options.traffic_keep_alive = subsystem.traffic_keep_alive;
    served.options.power_on = power_on_;
    for (const NamespaceConfig& ns : subsystem.namespaces) {
      const Uuid uuid = ns.uuid != Uuid{} ? ns.uuid : uuids[next];
      served.namespaces.push_back({.nsid = ns.nsid, .volume = (*volumes)[next++], .uuid = uuid});
    }
  }
  if (absl::Status status = check_distinct(all); !status.ok()) return status;
  if (absl::Status status = storage::keep(growth, state_.get()); !status.ok()) return status;
  return all;
}

absl::Status Service::apply(const Config& config) {
  auto ports = engine_.prepare(config.listen);
  if (!ports.ok()) return ports.status();
  auto served = open_namespaces(config);
  if (!served.ok()) return served.status();
  engine_.commit(*std::move(ports));
  target_.apply(std::move(*served), engine_.portals());
  return absl::OkStatus();
}

void Service::add_statistics(engine::Statistics& to) const {
  for (const auto& subsystem : target_.subsystems()) {
    subsystem->totals().report(to.child("subsystem").child(subsystem->nqn));
  }
}

void Service::observe(metrics::Snapshot& to) const {
  to.protocol = "nvme";
  for (const auto& subsystem : target_.subsystems()) {
    metrics::TargetState& target = to.targets.emplace_back();
    target.name = subsystem->nqn;
    target.any_host = subsystem->allows_any_host();
    const auto table = subsystem->namespaces();
    for (const Namespace& ns : table->namespaces) {
      const storage::Geometry geometry = ns.volume->geometry();
      target.units.push_back({.number = ns.nsid,
                              .store = ns.volume->spec(),
                              .uuid = storage::format_uuid(ns.uuid),
                              .blocks = geometry.blocks,
                              .block_size = geometry.block_size});
    }
    engine::Statistics counters;
    subsystem->totals().report(counters);
    counters.visit([&target](const std::string& name, uint64_t value) {
      target.counters.emplace_back(name, value);
    });
  }
  for (const auto& controller : target_.all_controllers()) {
    const Controller::Identity& identity = controller->identity();
    metrics::SessionState& session = to.sessions.emplace_back();
    session.host = identity.host_nqn;
    session.target = controller->subsystem().nqn;
    session.number = identity.id;
    for (const auto& [number, worker] : controller->queues()) {
      session.queues.push_back({.number = number, .worker = worker});
    }
  }
  engine_.accounts().add_io(to);
}

// Connections.

engine::Verdict Service::look(const ConnectionInfo& request, const DeviceCaps&) {
  QueueRequest wanted;
  nvme::RdmaStatus why{};
  if (request.ord == 0) {
    // Nothing could be fetched from that host.
    why = nvme::RdmaStatus::kInvalidIrd;
  } else if (parse_request(request.private_data, wanted, why)) {
    nvme::RdmaAccept accept;
    accept.controller_receive_size = uint16_t(wanted.entries);
    return {.accepted = true,
            .private_data = copy_of(accept),
            .layout = Queue::layout(wanted, options_.in_capsule)};
  }
  return {.why = std::string(nvme::to_string(why)), .private_data = rejection(why)};
}

std::vector<std::byte> Service::no_resources() const {
  return rejection(nvme::RdmaStatus::kNoResources);
}

std::string Service::name(const ConnectionInfo& request) const {
  QueueRequest wanted;
  nvme::RdmaStatus why{};
  if (!parse_request(request.private_data, wanted, why)) return request.peer;
  return absl::StrCat(request.peer, " queue ", wanted.queue_id);
}

std::unique_ptr<engine::Session> Service::make_session(engine::Worker& worker, engine::Link& link,
                                                       const ConnectionInfo& request) {
  QueueRequest wanted;
  nvme::RdmaStatus why{};
  (void)parse_request(request.private_data, wanted, why);  // look() has accepted it
  return std::make_unique<Queue>(*contexts_[worker.index()], link, wanted);
}

// From any thread to a queue.

bool Service::with_queue(QueueRef ref, std::function<void(Queue*)> call) {
  engine::Worker* worker = engine_.find_worker(ref.worker);
  if (worker == nullptr) return false;
  worker->mailbox().post([worker, id = ref.id, call = std::move(call)] {
    call(static_cast<Queue*>(worker->find(id)));
  });
  return true;
}

void Service::events_ready(QueueRef admin_queue) {
  with_queue(admin_queue, [](Queue* queue) {
    if (queue != nullptr) queue->deliver_events();
  });
}

void Service::drop_queue(QueueRef ref) {
  with_queue(ref, [](Queue* queue) {
    if (queue != nullptr) queue->link().drop("the association has ended");
  });
}

void Service::connect_again(QueueRef ref) {
  with_queue(ref, [](Queue* queue) {
    if (queue != nullptr) queue->connect_again();
  });
}

void Service::route_abort(QueueRef victim, uint16_t command_id, const AbortWaiter& waiter) {
  const auto abort = [this, command_id, waiter](Queue* queue) {
    const auto result = queue == nullptr ? Queue::AbortResult::kNotAborted
                                         : queue->abort_command(command_id, waiter);
    if (result != Queue::AbortResult::kLater) {
      route_answer(waiter, result == Queue::AbortResult::kAborted);
    }
  };
  if (!with_queue(victim, abort)) route_answer(waiter, false);
}

void Service::route_answer(const AbortWaiter& waiter, bool aborted) {
  with_queue(waiter.queue, [waiter, aborted](Queue* queue) {
    if (queue != nullptr) queue->abort_answered(waiter.slot, waiter.serial, aborted);
  });
}

}  // namespace mrpool::nvmf_target
