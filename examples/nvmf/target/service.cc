#include "examples/nvmf/target/service.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace mrpool::nvmf_target {
namespace {

absl::StatusOr<std::shared_ptr<storage::Volume>> open_volume(const NamespaceConfig& ns) {
  return storage::open(ns.storage, {.block_size = ns.block_size});
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
  contexts_.push_back(std::make_unique<QueueContext>(QueueContext{target_, *this, worker.staging(),
                                                                  worker.channels(), worker.index(),
                                                                  options_.engine.verbose}));
  return absl::OkStatus();
}

// Configuration.

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
  auto ports = engine_.prepare(config.listen);
  if (!ports.ok()) return ports.status();
  engine_.commit(*std::move(ports));
  std::vector<Portal> portals;
  for (const engine::Service::Listening& port : engine_.listening()) {
    portals.push_back({.address = port.address.host,
                       .port = port.address.port,
                       .ipv6 = port.address.host.find(':') != std::string::npos,
                       .iwarp = port.iwarp,
                       .id = uint16_t(portals.size() + 1)});
  }
  target_.apply(std::move(*served), std::move(portals));
  return absl::OkStatus();
}

void Service::add_statistics(engine::Statistics& to) const {
  for (const auto& subsystem : target_.subsystems()) {
    const Totals totals = subsystem->totals();
    engine::Statistics& node = to.child("subsystem").child(subsystem->nqn);
    node.add("reads", totals.reads);
    node.add("read_bytes", totals.bytes_read);
    node.add("writes", totals.writes);
    node.add("written_bytes", totals.bytes_written);
    node.add("media_errors", totals.media_errors);
    node.add("busy_ns", totals.busy_ns);
  }
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
