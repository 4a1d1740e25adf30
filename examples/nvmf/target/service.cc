#include "examples/nvmf/target/service.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/engine/live_config.h"
#include "examples/engine/privileges.h"
#include "examples/storage/uuid.h"

namespace mrpool::nvmf_target {
namespace {

// The configured UUID of each wanted store, in order; all zeroes: none.
std::vector<Uuid> given_uuids(const Config& config) {
  std::vector<Uuid> all;
  for (const SubsystemConfig& subsystem : config.subsystems) {
    for (const NamespaceConfig& ns : subsystem.namespaces) {
      if (ns.store.empty()) all.push_back(ns.uuid);
    }
  }
  for (const engine::NamedStore& store : config.stores) all.push_back(store.uuid);
  return all;
}

// Hosts refuse a namespace with the UUID of another one.
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

SubsystemOptions options_of(const SubsystemConfig& subsystem) {
  SubsystemOptions options;
  options.nqn = subsystem.nqn;
  options.serial = subsystem.serial;
  if (!subsystem.model.empty()) options.model = subsystem.model;
  options.allow_any_host = admits_any(subsystem);
  if (subsystem.hosts.has_value()) options.hosts = *subsystem.hosts;
  options.traffic_keep_alive = subsystem.traffic_keep_alive;
  options.ana_reporting = subsystem.ana_reporting;
  options.ana = subsystem.ana;
  options.min_cntlid = subsystem.min_cntlid;
  options.max_cntlid = subsystem.max_cntlid;
  options.host_limits = subsystem.host_limits;
  return options;
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
      QueueContext{target_, *this, *this, *this, worker.staging(), worker.channels(),
                   worker.accounts(), reactor, worker.index()}));
  return absl::OkStatus();
}

// Configuration.

std::vector<storage::ServedStore> Service::served() const {
  std::vector<storage::ServedStore> all;
  const std::vector<Named> named = named_stores();
  for (const Named& each : named) all.push_back({each.volume, "store", each.name});
  for (const auto& subsystem : target_.subsystems()) {
    const auto table = subsystem->namespaces();
    for (const Namespace& ns : table->namespaces) {
      if (std::ranges::find(named, ns.volume, &Named::volume) != named.end()) continue;
      all.push_back({ns.volume, subsystem->nqn, place_of(ns.nsid)});
    }
  }
  return all;
}

std::vector<Service::Named> Service::named_stores() const {
  const std::lock_guard lock(named_mutex_);
  return named_;
}

std::vector<std::shared_ptr<storage::Volume>> Service::stores() const {
  std::vector<std::shared_ptr<storage::Volume>> volumes;
  for (storage::ServedStore& each : served()) volumes.push_back(std::move(each.volume));
  return volumes;
}

absl::Status Service::own_state() {
  if (options_.engine.state_dir.empty() || state_ != nullptr) return absl::OkStatus();
  auto state = storage::StateDirectory::open(options_.engine.state_dir);
  if (state.ok()) {
    state_ = *std::move(state);
    if (!options_.keep_state_at_once)
      state_thread_ = std::make_unique<base::JobThread>(base::JobThread::AtEnd::kRunJobs);
  }
  return state.status();
}

// The UUID belongs to the store, in every namespace that serves it.
absl::Status Service::open(Change& change) {
  const Config& config = change.config_;
  const auto reader = engine::later_user(options_.engine.user);
  if (!reader.ok()) return reader.status();
  if (absl::Status status = check_key_files(config, *reader); !status.ok()) return status;
  if (absl::Status status = own_state(); !status.ok()) return status;
  const auto wanted = wanted_stores(config);
  if (absl::Status status = storage::check_not_gone(wanted, state_.get()); !status.ok()) {
    return status;
  }
  const auto opened = storage::open_stores(wanted, served(), options_.open_volume, change.growth_);
  if (!opened.ok()) return opened.status();
  std::vector<std::shared_ptr<storage::Volume>> volumes = *opened;
  std::vector<Uuid> uuids = given_uuids(config);
  for (size_t i = 0; i < uuids.size(); ++i) {
    if (uuids[i] != Uuid{}) volumes[i].reset();
  }
  const auto derived = storage::derived_uuids(state_.get(), volumes);
  for (size_t i = 0; i < uuids.size(); ++i) {
    if (uuids[i] == Uuid{}) uuids[i] = derived[i];
  }
  size_t next = uuids.size() - config.stores.size();
  for (const engine::NamedStore& store : config.stores) {
    change.named_.push_back({store.name, (*opened)[next], uuids[next]});
    ++next;
  }
  next = 0;
  for (const SubsystemConfig& subsystem : config.subsystems) {
    Target::Served& served = change.served_.emplace_back();
    served.options = options_of(subsystem);
    served.options.power_on = power_on_;
    auto keys = read_keys(config, subsystem, *reader);
    if (!keys.ok()) return keys.status();
    served.options.keys = *std::move(keys);
    for (const NamespaceConfig& ns : subsystem.namespaces) {
      Namespace& one = served.namespaces.emplace_back();
      one.nsid = ns.nsid;
      one.ana_group = ns.ana_group;
      one.limits = limits_of(config, ns);
      if (ns.hosts) one.hosts = std::make_shared<const HostSet>(*ns.hosts);
      if (ns.store.empty()) {
        one.volume = (*opened)[next];
        one.uuid = uuids[next++];
        continue;
      }
      const auto named = std::ranges::find(change.named_, ns.store, &Named::name);
      one.volume = named->volume;
      one.uuid = ns.uuid != Uuid{} ? ns.uuid : named->uuid;
    }
  }
  if (absl::Status status = check_distinct(change.served_); !status.ok()) return status;
  if (absl::Status status = add_kept_state(change.served_); !status.ok()) return status;
  if (absl::Status status = storage::keep_bad_blocks(options_.engine.state_dir, *opened);
      !status.ok()) {
    return status;
  }
  return storage::keep(change.growth_, state_.get());
}

void Service::Change::resolve() { resolved_ = engine::resolve_hosts(new_hosts_); }

absl::Status Service::Change::listen() {
  auto ports = service_.engine_.prepare(ports_of(config_), resolved_);
  if (ports.ok()) ports_.emplace(*std::move(ports));
  return ports.status();
}

absl::Status Service::Change::open() { return service_.open(*this); }

void Service::Change::commit() {
  {
    const std::lock_guard lock(service_.named_mutex_);
    service_.named_ = std::move(named_);
  }
  service_.engine_.commit(*std::move(ports_));
  service_.target_.apply(std::move(served_), service_.engine_.portals(), config_.referrals,
                         config_.discovery_proof);
}

absl::Status Service::apply(const Config& config) {
  return engine::serve_at_once(Change(*this, config));
}

void Service::add_statistics(engine::Statistics& to) const {
  for (const auto& subsystem : target_.subsystems()) {
    subsystem->totals().report(to.child("subsystem").child(subsystem->nqn));
  }
  if (const auto discovery = target_.proving_discovery()) {
    discovery->totals().report(to.child("subsystem").child(discovery->nqn));
  }
}

namespace {

// The states at each port of groups that have namespaces.
void add_access(const NamespaceTable& table, const std::vector<std::string>& listening,
                metrics::TargetState& to) {
  std::set<uint32_t> groups;
  for (const Namespace& ns : table.namespaces) groups.insert(ns.ana_group);
  for (const std::string& listener : listening) {
    const AnaStates states = table.ana.at(listener.substr(listener.find("://") + 3));
    for (const uint32_t group : groups) {
      to.access.push_back({listener, group, uint32_t(states[group])});
    }
  }
}

}  // namespace

// After the engine, which knows the ports.
void Service::observe(metrics::Snapshot& to) const {
  to.protocol = "nvme";
  std::vector<std::shared_ptr<Subsystem>> all = target_.subsystems();
  if (auto discovery = target_.proving_discovery()) all.push_back(std::move(discovery));
  for (const auto& subsystem : all) {
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
    if (subsystem->ana_reporting) add_access(*table, to.listening, target);
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
    for (const Controller::QueueState& queue : controller->queues()) {
      session.queues.push_back({.number = queue.number, .worker = queue.worker});
    }
  }
  engine_.accounts().add_io(to);
}

// Connections.

engine::Verdict Service::look(const ConnectionInfo& request, const DeviceCaps&) {
  QueueRequest wanted;
  nvme::RdmaStatus why{};
  if (request.ord == 0) {
    // The target could not read from that host.
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

void Service::route_proof(std::shared_ptr<nvme::auth::ControllerSide> prover,
                          const AbortWaiter& waiter) {
  auto work = [this, prover = std::move(prover), waiter] {
    prover->work();
    with_queue(waiter.queue, [waiter](Queue* queue) {
      if (queue != nullptr) queue->proof_worked(waiter.slot, waiter.serial);
    });
  };
  // In a simulation all that happens is its own.
  const bool simulated = contexts_[waiter.queue.worker]->reactor.io_context() == nullptr;
  simulated ? work() : proofs_.run(std::move(work));
}

void Service::route_answer(const AbortWaiter& waiter, bool aborted) {
  with_queue(waiter.queue, [waiter, aborted](Queue* queue) {
    if (queue != nullptr) queue->abort_answered(waiter.slot, waiter.serial, aborted);
  });
}

}  // namespace mrpool::nvmf_target
