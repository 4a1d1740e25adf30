#include "examples/nvmf/target/target.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/base/log.h"

namespace mrpool::nvmf_target {

using nvme::ConnectCommand;
using nvme::ConnectData;
using nvme::le;
using nvme::Status;
using nvme::with_dnr;

namespace {

Connected refuse(Status status) { return {false, with_dnr(status), 0, nullptr}; }
Connected bad_data(size_t offset) {
  return {false, with_dnr(Status::kConnectInvalidParameters),
          nvme::connect_invalid_parameter(true, uint16_t(offset)), nullptr};
}
Connected bad_command(size_t offset) {
  return {false, with_dnr(Status::kConnectInvalidParameters),
          nvme::connect_invalid_parameter(false, uint16_t(offset)), nullptr};
}

// The name of a host for LostHosts.
std::string key_of(const Controller::Identity& identity, const Subsystem& subsystem) {
  std::string key = absl::StrCat(subsystem.nqn, "\n", identity.host_nqn, "\n");
  key.append(identity.host_id.begin(), identity.host_id.end());
  return key;
}

// Identify reports serial, model, keep-alive mode and ANA: with other values it is another
// subsystem.
bool looks_the_same(const Subsystem& subsystem, const SubsystemOptions& options) {
  return subsystem.serial == options.serial && subsystem.model == options.model &&
         subsystem.traffic_keep_alive == options.traffic_keep_alive &&
         subsystem.ana_reporting == options.ana_reporting;
}

SubsystemOptions discovery_options() {
  SubsystemOptions options;
  options.nqn = nvme::kDiscoveryNqn;
  options.serial = "discovery";
  return options;
}

}  // namespace

bool parse_request(std::span<const std::byte> private_data, QueueRequest& request,
                   nvme::RdmaStatus& why) {
  // Transports may append padding to private data.
  if (private_data.size() < sizeof(nvme::RdmaRequest)) {
    why = nvme::RdmaStatus::kInvalidLength;
    return false;
  }
  const auto wire = nvme::read_struct<nvme::RdmaRequest>(private_data);
  request.queue_id = wire.queue_id;
  request.entries = uint32_t(wire.host_send_size0) + 1;
  if (wire.record_format != 0) {
    why = nvme::RdmaStatus::kInvalidRecordFormat;
  } else if (request.queue_id > kMaxIoQueues) {
    why = nvme::RdmaStatus::kInvalidQueueId;
  } else if (request.entries < 2 || request.entries > kMaxQueueEntries) {
    why = nvme::RdmaStatus::kInvalidHostSendSize;
  } else if (wire.host_receive_size < request.entries) {
    // The target may answer all commands before the host posts another receive.
    why = nvme::RdmaStatus::kInvalidHostReceiveSize;
  } else {
    return true;
  }
  return false;
}

Target::Target(const Options& options, ControllerHost& host)
    : options_(options),
      host_(host),
      discovery_(std::make_shared<Subsystem>(discovery_options(), options.workers)),
      connected_(options.workers) {}

// Why the present configuration does not admit a connected host. Null: it does.
const char* Target::unwelcome(const Controller& controller) {
  const Controller::Identity& identity = controller.identity();
  const Subsystem& subsystem = controller.subsystem();
  if (!subsystem.allows(identity.host_nqn)) return "the host may no longer connect";
  if (!identity.must_prove && subsystem.keys(identity.host_nqn) != nullptr) {
    return "the host must authenticate now";
  }
  return nullptr;
}

void Target::admit_to_discovery_locked(std::span<const Served> served, DiscoveryProof proof) {
  std::vector<HostKeyMap> maps;
  for (const Served& each : served) maps.push_back(each.options.keys);
  DiscoveryAccess access = discovery_access(proof, maps);
  discovery_->set_hosts(access.any_host, std::move(access.hosts), std::move(access.keys));
  discovery_proof_ = proof;
}

void Target::apply(std::vector<Served> served, std::vector<Portal> portals,
                   std::vector<Referral> referrals, DiscoveryProof discovery) {
  struct Change {
    std::shared_ptr<Controller> controller;
    std::vector<uint32_t> nsids;
    bool access = false;
  };
  std::vector<std::pair<std::shared_ptr<Controller>, const char*>> ended;
  std::vector<std::shared_ptr<Controller>> discovering;
  std::vector<Change> changes;
  {
    const std::lock_guard lock(mutex_);
    std::map<std::string, std::shared_ptr<Subsystem>, std::less<>> next;
    std::map<const Subsystem*, TableChange> changed;
    admit_to_discovery_locked(served, discovery);
    for (Served& s : served) {
      std::shared_ptr<Subsystem> subsystem;
      const auto before = subsystems_.find(s.options.nqn);
      if (before != subsystems_.end() && looks_the_same(*before->second, s.options)) {
        subsystem = before->second;
        subsystem->set_hosts(s.options.allow_any_host, s.options.hosts, s.options.keys);
        subsystem->host_limits().set(s.options.host_limits);
      } else {
        subsystem = std::make_shared<Subsystem>(s.options, options_.workers);
        if (ownership_ != nullptr) subsystem->set_ownership(ownership_);
      }
      changed[subsystem.get()] =
          subsystem->set_namespaces(std::move(s.namespaces), std::move(s.options.ana));
      ids_[subsystem->nqn].set_range(s.options.min_cntlid, s.options.max_cntlid);
      next.emplace(subsystem->nqn, std::move(subsystem));
    }
    subsystems_ = std::move(next);
    std::erase_if(ids_, [this](const auto& each) { return !subsystems_.contains(each.first); });
    portals_ = std::move(portals);
    referrals_ = std::move(referrals);
    ++generation_;
    for (const auto& [id, controller] : controllers_) {
      Subsystem& subsystem = controller->subsystem();
      const bool discovers = controller->identity().discovery;
      if (const auto at = subsystems_.find(subsystem.nqn);
          !discovers && (at == subsystems_.end() || at->second.get() != &subsystem)) {
        ended.emplace_back(controller, at == subsystems_.end() ? "its subsystem was removed"
                                                               : "its subsystem was replaced");
      } else if (const char* const why = unwelcome(*controller)) {
        ended.emplace_back(controller, why);
      } else if (discovers) {
        discovering.push_back(controller);
      } else {
        const TableChange& change = changed[&subsystem];
        const Controller::Identity& identity = controller->identity();
        changes.push_back({controller, change.nsids_for(identity.host_nqn),
                           change.changes_access(identity.host_nqn, identity.local_address)});
      }
    }
  }
  for (const auto& [controller, why] : ended) {
    base::log({.event = base::Event::kHostDropped,
               .host = controller->identity().host_nqn,
               .target = controller->subsystem().nqn,
               .message = absl::StrCat("controller ", controller->identity().id, " of ",
                                       controller->identity().host_nqn, " at ",
                                       controller->subsystem().nqn, ": dropped, ", why)});
    controller->terminate();
  }
  for (const Change& change : changes) {
    change.controller->namespaces_changed(change.nsids);
    if (change.access) change.controller->access_changed();
  }
  for (const auto& controller : discovering) controller->discovery_changed();
}

void Target::set_ownership(std::shared_ptr<const AnaStates> ownership) {
  std::vector<std::shared_ptr<Controller>> changed;
  {
    const std::lock_guard lock(mutex_);
    ownership_ = std::move(ownership);
    for (const auto& [nqn, subsystem] : subsystems_) {
      const TableChange change = subsystem->set_ownership(ownership_);
      for (const auto& [id, controller] : controllers_) {
        const Controller::Identity& identity = controller->identity();
        if (&controller->subsystem() == subsystem.get() && !identity.discovery &&
            change.changes_access(identity.host_nqn, identity.local_address)) {
          changed.push_back(controller);
        }
      }
    }
  }
  for (const auto& controller : changed) controller->access_changed();
}

void Target::refresh_sizes() {
  struct Change {
    std::shared_ptr<Controller> controller;
    std::vector<uint32_t> nsids;
  };
  std::vector<Change> changes;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [nqn, subsystem] : subsystems_) {
      const TableChange change = subsystem->refresh_sizes();
      for (const auto& [id, controller] : controllers_) {
        if (&controller->subsystem() != subsystem.get()) continue;
        changes.push_back({controller, change.nsids_for(controller->identity().host_nqn)});
      }
    }
  }
  for (const Change& change : changes) change.controller->namespaces_changed(change.nsids);
}

void Target::set_portals(std::vector<Portal> portals) {
  std::vector<std::shared_ptr<Controller>> discovering;
  {
    const std::lock_guard lock(mutex_);
    portals_ = std::move(portals);
    ++generation_;
    for (const auto& [id, controller] : controllers_) {
      if (controller->identity().discovery) discovering.push_back(controller);
    }
  }
  for (const auto& controller : discovering) controller->discovery_changed();
}

std::shared_ptr<Subsystem> Target::find(std::string_view nqn) const {
  const std::lock_guard lock(mutex_);
  const auto at = subsystems_.find(nqn);
  return at == subsystems_.end() ? nullptr : at->second;
}

std::shared_ptr<Subsystem> Target::proving_discovery() const {
  const std::lock_guard lock(mutex_);
  return discovery_proof_ == DiscoveryProof::kOff ? nullptr : discovery_;
}

std::vector<std::shared_ptr<Subsystem>> Target::subsystems() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Subsystem>> all;
  for (const auto& [nqn, subsystem] : subsystems_) all.push_back(subsystem);
  return all;
}

std::vector<std::shared_ptr<Controller>> Target::all_controllers() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Controller>> all;
  for (const auto& [id, controller] : controllers_) all.push_back(controller);
  return all;
}

std::vector<std::shared_ptr<Controller>> Target::controllers_of(const Subsystem& subsystem) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Controller>> all;
  const auto add = [&](const std::shared_ptr<Controller>& each) {
    if (&each->subsystem() == &subsystem) all.push_back(each);
  };
  for (const auto& [id, controller] : controllers_) add(controller);
  for (const auto& controller : ending_) add(controller);
  return all;
}

Connected Target::connect(const ConnectCommand& command, const ConnectData& data,
                          const QueueFacts& queue, Nanoseconds now) {
  if (command.record_format != 0) return refuse(Status::kConnectIncompatibleFormat);
  if (command.queue_id != queue.cm_queue_id) {
    return bad_command(offsetof(ConnectCommand, queue_id));
  }
  const uint32_t entries = uint32_t(command.sq_size0) + 1;
  if (entries < 2 || entries > queue.entries) {
    return bad_command(offsetof(ConnectCommand, sq_size0));
  }
  if (!nvme::valid_nqn(nvme::field_string(data.subsysnqn))) {
    return bad_data(offsetof(ConnectData, subsysnqn));
  }
  if (!nvme::valid_nqn(nvme::field_string(data.hostnqn))) {
    return bad_data(offsetof(ConnectData, hostnqn));
  }
  return command.queue_id == 0 ? connect_admin(command, data, queue, now)
                               : connect_io(command, data, queue);
}

Connected Target::connect_admin(const ConnectCommand& command, const ConnectData& data,
                                const QueueFacts& queue, Nanoseconds now) {
  // The dynamic controller model: the target chooses the id.
  if (le(uint16_t(data.cntlid)) != nvme::kDynamicController) {
    return bad_data(offsetof(ConnectData, cntlid));
  }
  const std::string_view nqn = nvme::field_string(data.subsysnqn);
  const std::string_view host = nvme::field_string(data.hostnqn);
  Controller::Identity identity;
  identity.host_nqn = host;
  std::copy(std::begin(data.hostid), std::end(data.hostid), identity.host_id.begin());
  identity.local_address = queue.local_address;
  identity.discovery = nqn == nvme::kDiscoveryNqn;
  identity.keep_alive_ms = command.keep_alive_ms;
  identity.in_capsule = options_.in_capsule;

  const std::lock_guard lock(mutex_);
  std::shared_ptr<Subsystem> subsystem = discovery_;
  if (!identity.discovery) {
    const auto at = subsystems_.find(nqn);
    if (at == subsystems_.end()) return bad_data(offsetof(ConnectData, subsysnqn));
    subsystem = at->second;
  }
  if (!subsystem->allows(host)) return refuse(Status::kConnectInvalidHost);
  identity.must_prove = subsystem->keys(host) != nullptr;
  if (draining_locked(nqn, host, identity.host_id)) {
    waiting_.push_back(queue.ref);
    return {.wait = true, .controller = nullptr};
  }
  if (controllers_.size() >= options_.max_controllers && !end_discovery_locked()) {
    return {false, Status::kConnectControllerBusy, 0, nullptr};
  }
  const std::optional<uint16_t> id = free_id_locked(nqn);
  if (!id) return {false, Status::kConnectControllerBusy, 0, nullptr};
  identity.id = *id;
  const auto table = subsystem->namespaces(host);
  KnownStores known = identity.discovery ? KnownStores(*table)
                                         : lost_.known(key_of(identity, *subsystem), *table, now);
  auto controller = std::make_shared<Controller>(std::move(identity), std::move(subsystem), host_,
                                                 *this, std::move(known), now);
  controller->attach_admin(queue.ref, queue.peer_address);
  ++connected_.at(queue.ref.worker).admin;
  controllers_.emplace(*id, controller);
  return {false, Status::kSuccess, *id, std::move(controller)};
}

Connected Target::connect_io(const ConnectCommand& command, const ConnectData& data,
                             const QueueFacts& queue) {
  const std::lock_guard lock(mutex_);
  const auto at = controllers_.find(le(uint16_t(data.cntlid)));
  if (at == controllers_.end()) return bad_data(offsetof(ConnectData, cntlid));
  Controller& controller = *at->second;
  const Controller::Identity& identity = controller.identity();
  // Another host's controller is treated as missing.
  if (identity.host_nqn != nvme::field_string(data.hostnqn)) {
    return bad_data(offsetof(ConnectData, hostnqn));
  }
  if (!std::equal(identity.host_id.begin(), identity.host_id.end(), std::begin(data.hostid))) {
    return bad_data(offsetof(ConnectData, hostid));
  }
  if (controller.subsystem().nqn != nvme::field_string(data.subsysnqn)) {
    return bad_data(offsetof(ConnectData, subsysnqn));
  }
  if (identity.discovery || command.queue_id > kMaxIoQueues) {
    return bad_command(offsetof(ConnectCommand, queue_id));
  }
  switch (controller.join(command.queue_id, queue.ref, queue.local_address, queue.peer_address)) {
    case Controller::Join::kJoined:
      ++connected_.at(queue.ref.worker).io;
      return {false, Status::kSuccess, identity.id, at->second};
    case Controller::Join::kWait:
      waiting_.push_back(queue.ref);
      return {.wait = true, .controller = nullptr};
    case Controller::Join::kRefused:
      break;
  }
  return refuse(Status::kCommandSequence);
}

// Ends the oldest discovery controller to make room. False: there is none.
bool Target::end_discovery_locked() {
  auto oldest = controllers_.end();
  for (auto at = controllers_.begin(); at != controllers_.end(); ++at) {
    if (!at->second->identity().discovery) continue;
    if (oldest == controllers_.end() || at->second->began() < oldest->second->began()) oldest = at;
  }
  if (oldest == controllers_.end()) return false;
  oldest->second->terminate();
  ending_.push_back(std::move(oldest->second));
  controllers_.erase(oldest);
  return true;
}

bool Target::draining_locked(std::string_view subsystem, std::string_view host,
                             std::span<const uint8_t> host_id) const {
  const auto drains = [&](const Controller& controller) {
    const Controller::Identity& identity = controller.identity();
    return identity.host_nqn == host && std::ranges::equal(identity.host_id, host_id) &&
           controller.subsystem().nqn == subsystem && controller.draining();
  };
  return std::ranges::any_of(ending_, [&](const auto& each) { return drains(*each); }) ||
         std::ranges::any_of(controllers_, [&](const auto& each) { return drains(*each.second); });
}

// Nothing: all ids of the subsystem are taken.
std::optional<uint16_t> Target::free_id_locked(std::string_view nqn) {
  ControllerIds& ids = ids_.try_emplace(std::string(nqn)).first->second;
  const auto ends = [this](uint16_t id) {
    return std::ranges::any_of(ending_, [id](const auto& e) { return e->identity().id == id; });
  };
  // Continues from the last id, so that ids are not reused soon.
  for (uint32_t tries = ids.count(); tries > 0; --tries) {
    if (const uint16_t id = ids.next(); !controllers_.contains(id) && !ends(id)) return id;
  }
  return std::nullopt;
}

void Target::disconnected(Controller& controller, uint16_t queue_id) {
  controller.close(queue_id);
  if (queue_id != 0) return;
  {
    const std::lock_guard lock(mutex_);
    std::optional<KnownStores> left = controller.left_behind();
    // A host that did not authenticate may be another one: its state is not kept.
    if (left && !controller.identity().discovery && controller.proven()) {
      lost_.lost(key_of(controller.identity(), controller.subsystem()), *std::move(left));
    }
    const auto at = controllers_.find(controller.identity().id);
    if (at != controllers_.end() && at->second.get() == &controller) {
      ending_.push_back(std::move(at->second));
      controllers_.erase(at);
    }
  }
  controller.terminate();  // ends its I/O queues with the association
}

void Target::drained(Controller& controller, uint16_t queue_id) {
  controller.detach(queue_id);
  std::shared_ptr<Controller> keep;
  std::vector<QueueRef> again;
  {
    const std::lock_guard lock(mutex_);
    // Retries all; those that wait for another queue will wait again.
    again = std::exchange(waiting_, {});
    const auto at =
        std::ranges::find_if(ending_, [&](const auto& each) { return each.get() == &controller; });
    if (at != ending_.end() && !controller.has_queues()) {
      keep = std::move(*at);
      ending_.erase(at);
    }
  }
  for (const QueueRef& queue : again) host_.connect_again(queue);
}

void Target::forget_waiter(QueueRef queue) {
  const std::lock_guard lock(mutex_);
  std::erase(waiting_, queue);
}

std::vector<std::byte> Target::discovery_log(std::string_view host_nqn,
                                             std::string_view local) const {
  std::vector<nvmf_disc_log_entry> entries;
  nvmf_discovery_log head{};
  const std::lock_guard lock(mutex_);
  const std::vector<Portal> portals = engine::announced(portals_, local);
  for (const auto& [nqn, subsystem] : subsystems_) {
    if (!subsystem->allows(host_nqn)) continue;
    for (const Portal& portal : portals) {
      nvmf_disc_log_entry entry{};
      entry.trtype = NVMF_TRTYPE_RDMA;
      entry.adrfam = portal.ipv6() ? NVMF_ADDR_FAMILY_IP6 : NVMF_ADDR_FAMILY_IP4;
      entry.subtype = NVME_NQN_NVME;
      entry.treq = NVMF_TREQ_NOT_REQUIRED | NVMF_TREQ_DISABLE_SQFLOW;
      entry.portid = le(portal.id);
      entry.cntlid = le(nvme::kDynamicController);
      entry.asqsz = le(uint16_t(nvme::kMinAdminQueueEntries));
      nvme::set_field(entry.subnqn, nqn);
      nvme::set_field(entry.traddr, portal.address);
      nvme::set_field(entry.trsvcid, std::to_string(portal.port));
      entry.tsas.rdma.qptype = NVMF_RDMA_QPTYPE_CONNECTED;
      entry.tsas.rdma.prtype =
          portal.iwarp ? NVMF_RDMA_PRTYPE_IWARP : NVMF_RDMA_PRTYPE_NOT_SPECIFIED;
      entry.tsas.rdma.cms = NVMF_RDMA_CMS_RDMA_CM;
      entries.push_back(entry);
    }
  }
  for (const Referral& referral : referrals_) entries.push_back(discovery_entry(referral));
  head.genctr = le(generation_);
  head.numrec = le(uint64_t(entries.size()));
  const auto a = nvme::bytes_of(head);
  const auto b = std::as_bytes(std::span(entries));
  std::vector<std::byte> log(a.size() + b.size());
  std::copy(b.begin(), b.end(), std::copy(a.begin(), a.end(), log.begin()));
  return log;
}

uint64_t Target::generation() const {
  const std::lock_guard lock(mutex_);
  return generation_;
}

std::vector<Target::QueueCount> Target::connected_queues() const {
  const std::lock_guard lock(mutex_);
  return connected_;
}

size_t Target::controllers() const {
  const std::lock_guard lock(mutex_);
  return controllers_.size();
}

}  // namespace mrpool::nvmf_target
