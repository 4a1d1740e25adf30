#include "examples/iser/target/site.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/iser/target/connection.h"

namespace mrpool::iser_target {
namespace {

// Drops the sessions of `target` that `concerned` names, each on its worker.
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

Site::Site(Environment environment) : environment_(std::move(environment)) {}

// The thread ends first: it sends its answers to the workers. Messages left over may hold Drains,
// which name their home worker.
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
  // Found out now, not when an initiator's first reservation cannot be kept.
  std::error_code ignored;
  if (!config.state_dir.empty() && !std::filesystem::is_directory(config.state_dir, ignored)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--state-dir ", config.state_dir, ": no such directory; make it first"));
  }
  std::unique_ptr<Site> site(new Site(std::move(environment)));
  for (Reactor* reactor : reactors) {
    site->workers_.push_back(std::make_unique<SiteWorker>(site->workers(), *reactor));
  }
  if (!config.state_dir.empty()) site->state_thread_ = std::make_unique<StateThread>();
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

// A target as it will be.
struct Site::Change {
  std::shared_ptr<Target> target;
  std::map<uint16_t, std::shared_ptr<Unit>> units;
};

absl::StatusOr<Site::Change> Site::prepare(const Config& config, const TargetConfig& wanted) {
  Change change{.target = find(wanted.name), .units = {}};
  if (change.target == nullptr) {
    change.target = std::make_shared<Target>(wanted.name, ++last_portal_group_tag_, workers());
  }
  const std::shared_ptr<const UnitTable> table = change.target->units();
  for (size_t i = 0; i < wanted.luns.size(); ++i) {
    const auto lun = uint16_t(i);
    const std::string& spec = wanted.luns[i];
    const auto present = table->units.find(lun);
    if (present != table->units.end() && present->second->volume->spec() == spec) {
      change.units.emplace(lun, present->second);
      continue;
    }
    absl::StatusOr<std::shared_ptr<storage::Volume>> volume =
        environment_.open_volume(spec, {.block_size = config.block_size});
    absl::Status status = volume.status();
    if (status.ok()) {
      auto unit =
          make_unit(*std::move(volume), {.target = wanted.name,
                                         .portal_group_tag = change.target->portal_group_tag(),
                                         .lun = lun,
                                         .state_dir = config.state_dir,
                                         .workers = workers()});
      status = unit.status();
      if (status.ok()) change.units.emplace(lun, *std::move(unit));
    }
    if (!status.ok()) {
      return absl::Status(status.code(),
                          absl::StrCat(wanted.name, ", LUN ", spec, ": ", status.message()));
    }
  }
  return change;
}

absl::Status Site::apply(const Config& config) {
  // What may fail comes first: every volume that is not open yet.
  std::vector<Change> changes;
  const uint16_t portal_group_tag = last_portal_group_tag_;
  for (const TargetConfig& wanted : config.targets) {
    absl::StatusOr<Change> change = prepare(config, wanted);
    if (!change.ok()) {
      last_portal_group_tag_ = portal_group_tag;
      return change.status();
    }
    changes.push_back(*std::move(change));
  }
  // From here on nothing fails.
  std::vector<std::shared_ptr<Target>> served;
  for (size_t i = 0; i < changes.size(); ++i) {
    changes[i].target->serve(config.targets[i], std::move(changes[i].units));
    served.push_back(changes[i].target);
  }
  const std::vector<std::shared_ptr<Target>> before = targets();
  {
    const std::lock_guard lock(mutex_);
    discovery_ = config.discovery;
    targets_ = served;
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
  return absl::OkStatus();
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

iscsi::Authentication Site::discovery() const {
  const std::lock_guard lock(mutex_);
  return discovery_;
}

std::vector<iscsi::TargetRecord> Site::visible(std::string_view initiator,
                                               const std::string& local) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> addresses = portals_;
  if (std::ranges::find(addresses, local) == addresses.end()) {
    addresses.insert(addresses.begin(), local);
  }
  std::vector<iscsi::TargetRecord> records;
  for (const auto& target : targets_) {
    if (!target->admits(initiator)) continue;
    records.push_back({target->name(), addresses, target->portal_group_tag()});
  }
  return records;
}

void Site::set_portals(std::vector<std::string> addresses) {
  const std::lock_guard lock(mutex_);
  portals_ = std::move(addresses);
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
