#include "examples/iser/target/site.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/base/json_lines.h"
#include "examples/iser/target/connection.h"
#include "examples/iser/target/site_next.h"
#include "examples/storage/stores.h"

namespace mrpool::iser_target {
namespace {

void configure_access(const TargetConfig& target,
                      const std::map<uint16_t, std::shared_ptr<Unit>>& units) {
  const std::vector<uint16_t> numbers = lun_numbers(target);
  for (size_t i = 0; i < numbers.size(); ++i) {
    units.at(numbers[i])->logical.configure_access(target.luns[i].alua_state);
  }
}

// Drops the sessions of `target` that `concerned` selects, each on its worker.
void drop_sessions(Site& site, const std::shared_ptr<Target>& target, std::string why,
                   const std::function<bool(const Connection&)>& concerned) {
  site.on_workers([target, why = std::move(why), concerned](SiteWorker& worker) {
    const std::vector<Connection*> sessions = target->sessions(worker.index()).open;
    for (Connection* session : sessions) {
      if (concerned(*session)) session->drop(why);
    }
  });
}

}  // namespace

std::string port_name(std::string_view initiator, const iscsi::Isid& isid) {
  std::array<char, 13> digits;
  std::snprintf(digits.data(), digits.size(), "%02x%02x%02x%02x%02x%02x", isid[0], isid[1], isid[2],
                isid[3], isid[4], isid[5]);
  return std::string(initiator) + ",i,0x" + digits.data();
}

void Site::refresh_sizes() {
  for (const auto& target : targets()) {
    const auto table = target->units();
    for (const auto& [lun, unit] : table->units) {
      unit->logical.resize(unit->volume->geometry().blocks);
    }
  }
}

std::vector<Site::Named> Site::named_stores() const {
  const std::lock_guard lock(mutex_);
  return named_;
}

std::vector<storage::ServedStore> Site::served() const {
  std::vector<storage::ServedStore> all;
  const std::vector<Named> named = named_stores();
  for (const Named& each : named) all.push_back({each.volume, "store", each.name});
  for (const auto& target : targets()) {
    const auto table = target->units();
    for (const auto& [lun, unit] : table->units) {
      if (std::ranges::find(named, unit->volume, &Named::volume) != named.end()) continue;
      all.push_back({unit->volume, target->name(), place_of(lun)});
    }
  }
  return all;
}

std::vector<std::shared_ptr<storage::Volume>> Site::stores() const {
  std::vector<std::shared_ptr<storage::Volume>> volumes;
  for (storage::ServedStore& each : served()) volumes.push_back(std::move(each.volume));
  return volumes;
}

Site::Site(Environment environment) : environment_(std::move(environment)) {}

// The thread ends first, because it sends its answers to the workers. Pending messages may own
// Drains, which refer to their home worker.
Site::~Site() {
  state_thread_.reset();
  bool discarded = true;
  while (std::exchange(discarded, false)) {
    for (const auto& worker : workers_) discarded |= worker->discard_mail();
  }
}

absl::StatusOr<std::unique_ptr<Site>> Site::create(const Config& config,
                                                   const std::vector<Reactor*>& reactors,
                                                   Environment environment) {
  std::unique_ptr<Site> site(new Site(std::move(environment)));
  for (Reactor* reactor : reactors) {
    site->workers_.push_back(std::make_unique<SiteWorker>(site->workers(), *reactor));
  }
  // Checked now, not when an initiator's first reservation cannot be saved.
  if (const std::string& path = config.engine.state_dir; !path.empty()) {
    auto state = storage::StateDirectory::open(path);
    if (!state.ok()) return state.status();
    site->state_ = *std::move(state);
    site->state_thread_ = std::make_unique<base::JobThread>(base::JobThread::AtEnd::kRunJobs);
    for (const auto& worker : site->workers_) {
      worker->aside = [thread = site->state_thread_.get()](std::function<void()> job) {
        thread->run(std::move(job));
      };
    }
  }
  if (absl::Status status = site->apply(config); !status.ok()) return status;
  return site;
}

void Site::on_workers(const std::function<void(SiteWorker&)>& each, const SiteWorker* from) {
  for (const auto& worker : workers_) {
    if (worker.get() == from || (from == nullptr && worker->reactor().in_thread())) {
      each(*worker);
    } else {
      worker->post([each, &worker = *worker] { each(worker); });
    }
  }
}

// A store with the UUID for a unit without configured names.
struct Site::Opened {
  std::shared_ptr<storage::Volume> volume;
  storage::Uuid derived;
};

// A store with configured names needs no derived UUID.
std::vector<storage::Uuid> Site::derive_uuids(
    const Config& config, std::vector<std::shared_ptr<storage::Volume>> volumes) {
  auto at = volumes.begin();
  for (const TargetConfig& target : config.targets) {
    for (const LunConfig& lun : target.luns) {
      if (!lun.store.empty()) continue;
      if (any_given(lun.names)) at->reset();
      ++at;
    }
  }
  for (const engine::NamedStore& store : config.stores) {
    if (store.uuid != storage::Uuid{}) at->reset();
    ++at;
  }
  return storage::derived_uuids(state_.get(), volumes);
}

absl::StatusOr<std::vector<Site::Opened>> Site::open_stores(Next& next, storage::Growth& growth) {
  const Config& config = next.config;
  const auto wanted = wanted_stores(config);
  if (absl::Status status = storage::check_not_gone(wanted, state_.get()); !status.ok()) {
    return status;
  }
  const auto volumes = storage::open_stores(wanted, served(), environment_.open_volume, growth);
  if (!volumes.ok()) return volumes.status();
  if (absl::Status status = storage::keep_bad_blocks(config.engine.state_dir, *volumes);
      !status.ok()) {
    return status;
  }
  const std::vector<storage::Uuid> uuids = derive_uuids(config, *volumes);
  size_t at = volumes->size() - config.stores.size();
  for (const engine::NamedStore& store : config.stores) {
    const bool given = store.uuid != storage::Uuid{};
    next.named.push_back({store.name, (*volumes)[at], given ? store.uuid : uuids[at]});
    ++at;
  }
  at = 0;
  std::vector<Opened> opened;
  for (const TargetConfig& target : config.targets) {
    for (const LunConfig& lun : target.luns) {
      if (lun.store.empty()) {
        opened.push_back({(*volumes)[at], uuids[at]});
        ++at;
        continue;
      }
      const auto named = std::ranges::find(next.named, lun.store, &Named::name);
      opened.push_back({named->volume, named->uuid});
    }
  }
  return opened;
}

// The unit with these names; prefers a unit of that target.
std::shared_ptr<Unit> Site::find_unit(const UnitNames& names, std::string_view target) const {
  std::shared_ptr<Unit> found;
  for (const auto& each : targets()) {
    const auto table = each->units();
    for (const auto& [lun, unit] : table->units) {
      if (unit->logical.facts().uuid != names.uuid) continue;
      if (each->name() == target) return unit;
      if (found == nullptr) found = unit;
    }
  }
  return found;
}

// The place of a unit that is being prepared.
struct Site::Place {
  uint16_t lun;
  const UnitNames& names;
  const std::shared_ptr<storage::Volume>& volume;
  uint16_t relative_port;
  uint16_t port_group;
  bool explicit_alua;
  bool apart;  // another target has a unit of these names
};

absl::Status Site::prepare_unit(const Config& config, const Place& place, Part& part) {
  const auto& [number, names, volume, relative_port, port_group, explicit_alua, apart] = place;
  const std::string& name = part.target->name();
  const std::shared_ptr<Unit> before = find_unit(names, name);
  if (before != nullptr) {
    const scsi::UnitFacts& facts = before->logical.facts();
    if (before->volume == volume && facts.target_name == name && facts.serial == names.serial &&
        facts.naa == names.naa && facts.relative_port == relative_port &&
        facts.port_group == port_group && facts.explicit_alua == explicit_alua) {
      part.units.emplace(number, before);
      return absl::OkStatus();
    }
  }
  absl::StatusOr<std::shared_ptr<Unit>> unit = make_unit(
      volume, names,
      {.target = name,
       .portal_group_tag = part.target->portal_group_tag(),
       .relative_port = relative_port,
       .port_group = port_group,
       .explicit_alua = explicit_alua,
       .state_dir = config.engine.state_dir,
       .apart = apart,
       .line = before != nullptr ? before->line : std::make_shared<UnitLine>(),
       .limiter = before != nullptr ? before->limiter : std::make_shared<engine::Limiter>()});
  if (!unit.ok()) return unit.status();
  if (before != nullptr) part.successors.emplace_back(*unit, before);
  part.units.emplace(number, *std::move(unit));
  return absl::OkStatus();
}

absl::StatusOr<Site::Part> Site::prepare(const Config& config, const TargetConfig& wanted,
                                         std::span<const Opened> stores,
                                         std::set<storage::Uuid>& named) {
  Part part{.target = find(wanted.name)};
  if (part.target == nullptr) {
    part.target = std::make_shared<Target>(wanted.name, ++last_portal_group_tag_, workers());
  }
  const std::vector<uint16_t> numbers = lun_numbers(wanted);
  std::map<storage::Uuid, uint16_t> luns;
  for (size_t i = 0; i < wanted.luns.size(); ++i) {
    const LunConfig& lun = wanted.luns[i];
    const UnitNames names = names_of(given_names(config, lun), stores[i].derived);
    const auto [first, fresh] = luns.emplace(names.uuid, numbers[i]);
    absl::Status status = fresh ? prepare_unit(config,
                                               {.lun = numbers[i],
                                                .names = names,
                                                .volume = stores[i].volume,
                                                .relative_port = wanted.relative_port,
                                                .port_group = lun.alua_group,
                                                .explicit_alua = lun.explicit_alua,
                                                .apart = !named.insert(names.uuid).second},
                                               part)
                                : absl::FailedPreconditionError(absl::StrCat(
                                      "is the store of LUN ", first->second,
                                      " too; serve it once, or give one of them another \"uuid\""));
    if (!status.ok()) {
      return absl::Status(status.code(),
                          absl::StrCat(base::at_line(lun.line), wanted.name, ", LUN ", text_of(lun),
                                       ": ", status.message()));
    }
  }
  return part;
}

absl::Status Site::apply(const Config& config) {
  const auto next = prepare(config);
  if (next.ok()) serve(**next);
  return next.status();
}

absl::StatusOr<std::shared_ptr<Site::Next>> Site::prepare(Config config) {
  const uint16_t portal_group_tag = last_portal_group_tag_;
  const auto next = std::make_shared<Next>();
  next->config = std::move(config);
  absl::Status status = prepare_all(*next);
  if (status.ok()) return next;
  last_portal_group_tag_ = portal_group_tag;
  return status;
}

// All steps that may fail.
absl::Status Site::prepare_all(Next& next) {
  const Config& config = next.config;
  storage::Growth growth;
  const auto stores = open_stores(next, growth);
  if (!stores.ok()) return stores.status();
  std::span<const Opened> rest = *stores;
  std::set<storage::Uuid> named;
  for (const TargetConfig& wanted : config.targets) {
    absl::StatusOr<Part> part = prepare(config, wanted, rest.first(wanted.luns.size()), named);
    if (!part.ok()) return part.status();
    rest = rest.subspan(wanted.luns.size());
    next.parts.push_back(*std::move(part));
  }
  return storage::keep(growth, state_.get());
}

void Site::serve(Next& next) {
  auto& [config, parts, named] = next;
  std::set<std::shared_ptr<Unit>> kept;
  for (const Part& part : parts) {
    for (const auto& [lun, unit] : part.units) kept.insert(unit);
  }
  set_limits(next);
  std::vector<std::shared_ptr<Target>> served;
  for (size_t i = 0; i < parts.size(); ++i) {
    for (const auto& [unit, before] : parts[i].successors) {
      if (!kept.contains(before)) unit->logical.take_over(before->logical);
    }
    for (const auto& [lun, unit] : parts[i].units) {
      unit->logical.resize(unit->volume->geometry().blocks);
    }
    configure_access(config.targets[i], parts[i].units);
    parts[i].target->serve(config.targets[i], std::move(parts[i].units));
    served.push_back(parts[i].target);
  }
  const std::vector<std::shared_ptr<Target>> before = targets();
  {
    const std::lock_guard lock(mutex_);
    discovery_ = config.discovery;
    open_discovery_ = config.open_discovery;
    targets_ = served;
    named_.swap(named);  // what goes is closed later, by who has `next`
  }
  for (const std::shared_ptr<Target>& target : before) {
    if (std::ranges::find(served, target) != served.end()) {
      drop_sessions(*this, target, "its initiator is no longer admitted",
                    [target = target.get()](const Connection& session) {
                      return !target->admits(session.initiator());
                    });
    } else {
      target->serve({}, {});
      drop_sessions(*this, target, "its target was removed",
                    [](const Connection&) { return true; });
    }
  }
}

std::shared_ptr<Target> Site::find(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  const auto found = std::ranges::find(targets_, name, &Target::name);
  return found == targets_.end() ? nullptr : *found;
}

std::vector<std::shared_ptr<Target>> Site::targets() const {
  const std::lock_guard lock(mutex_);
  return targets_;
}

iscsi::LoginHost::Found Site::discovery_for(std::string_view initiator) const {
  const std::lock_guard lock(mutex_);
  if (discovery_.incoming || open_discovery_) return {.authentication = discovery_};
  std::vector<iscsi::Authentication> accounts;
  for (const auto& target : targets_) {
    const auto account = target->account(initiator);
    if (account && account->incoming && std::ranges::find(accounts, *account) == accounts.end()) {
      accounts.push_back(*account);
    }
  }
  if (accounts.empty()) return {};
  iscsi::LoginHost::Found found{.authentication = accounts.front()};
  found.alternatives.assign(accounts.begin() + 1, accounts.end());
  return found;
}

std::vector<iscsi::TargetRecord> Site::visible(std::string_view initiator,
                                               const std::optional<iscsi::Credentials>& proven,
                                               const std::string& local) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> addresses;
  for (const engine::Portal& portal : engine::announced(portals_, local)) {
    addresses.push_back(portal.endpoint());
  }
  std::vector<iscsi::TargetRecord> records;
  for (const auto& target : targets_) {
    const auto account = target->account(initiator);
    if (!account) continue;
    const bool named = discovery_.incoming || open_discovery_;
    if (!named && account->incoming && account->incoming != proven) continue;
    records.push_back({target->name(), addresses, target->portal_group_tag()});
  }
  return records;
}

void Site::set_portals(std::vector<engine::Portal> portals) {
  const std::lock_guard lock(mutex_);
  portals_ = std::move(portals);
}

uint16_t Site::take_tsih() {
  const std::lock_guard lock(mutex_);
  // Zero means "no session yet".
  if (tsihs_.size() == 0xffff) return 0;
  do ++last_tsih_;
  while (last_tsih_ == 0 || !tsihs_.insert(last_tsih_).second);
  return last_tsih_;
}

void Site::give_tsih(uint16_t tsih) {
  const std::lock_guard lock(mutex_);
  tsihs_.erase(tsih);
}

bool Site::has_tsih(uint16_t tsih) const {
  const std::lock_guard lock(mutex_);
  return tsihs_.contains(tsih);
}

Totals Site::totals() const {
  Totals sum;
  for (const auto& worker : workers_) sum.add(worker->counters);
  return sum;
}

}  // namespace mrpool::iser_target
