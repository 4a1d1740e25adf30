#include "examples/iser/target/site.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "examples/iser/target/connection.h"
#include "examples/iser/target/limits.h"
#include "examples/iser/target/state_file.h"

namespace mrpool::iser_target {
namespace {

// FNV-1a: names a unit by its target and number, the same at every start.
uint64_t stable_hash(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ uint8_t(c)) * 0x100000001b3;
  return hash;
}

std::string hex(uint64_t value) {
  std::array<char, 17> digits;
  std::snprintf(digits.data(), digits.size(), "%016llx", static_cast<unsigned long long>(value));
  return digits.data();
}

}  // namespace

std::string port_name(std::string_view initiator, const iscsi::Isid& isid) {
  std::array<char, 13> digits;
  std::snprintf(digits.data(), digits.size(), "%02x%02x%02x%02x%02x%02x", isid[0], isid[1], isid[2],
                isid[3], isid[4], isid[5]);
  return std::string(initiator) + ",i,0x" + digits.data();
}

bool Target::admits(std::string_view initiator) const {
  return config_.initiators.empty() ||
         std::ranges::find(config_.initiators, initiator) != config_.initiators.end();
}

absl::StatusOr<Target::Unit> Target::make_unit(uint16_t lun,
                                               std::shared_ptr<storage::Volume> volume,
                                               Reactor& reactor, const std::string& state) {
  absl::StatusOr<std::unique_ptr<storage::Channel>> channel = volume->open_channel(reactor);
  if (!channel.ok()) return channel.status();
  const storage::Geometry& geometry = volume->geometry();
  scsi::UnitFacts facts{.block_size = geometry.block_size,
                        .blocks = geometry.blocks,
                        .read_only = geometry.read_only,
                        .volatile_cache = geometry.volatile_cache,
                        .thin = geometry.deallocate,
                        .max_transfer_blocks = kMaxTransfer / geometry.block_size,
                        .serial = stable_hash(absl::StrCat(config_.name, "/", lun)),
                        .target_name = config_.name,
                        .portal_group_tag = portal_group_tag_};
  scsi::SaveReservations save;
  std::string kept;
  if (!state.empty()) {
    const std::string path = absl::StrCat(state, "/pr-", hex(facts.serial));
    absl::StatusOr<std::string> content = read_state(path);
    if (!content.ok()) return content.status();
    kept = *std::move(content);
    save = [path](const std::string& text) { return write_state(path, text); };
  }
  auto unit = std::make_unique<scsi::LogicalUnit>(std::move(facts), std::move(save));
  if (!unit->reservations().restore(kept)) {
    return absl::DataLossError(absl::StrCat("the kept reservations of LUN ", lun, " of ",
                                            config_.name, " are unreadable; remove the file in ",
                                            state, " to go on without them"));
  }
  auto store = std::make_unique<scsi::Store>(scsi::Store{**channel, geometry.block_size});
  return Unit{std::move(volume), *std::move(channel), std::move(store), std::move(unit)};
}

void Target::add_unit(uint16_t lun, Unit unit) {
  scsi::LogicalUnit& added = *unit.unit;
  stores_.emplace(&added,
                  Backing{std::move(unit.volume), std::move(unit.channel), std::move(unit.store)});
  device_.add(lun, std::move(unit.unit));
  for (Connection* connection : connections_) connection->unit_added(added);
}

void Target::remove_unit(uint16_t lun) { removed_.push_back(device_.remove(lun)); }

void Target::change(const TargetConfig& config) {
  config_ = config;
  const std::vector<Connection*> connections = connections_;
  for (Connection* connection : connections) {
    if (!admits(connection->initiator())) connection->drop("its initiator is no longer admitted");
  }
}

void Target::retire() {
  const std::vector<Connection*> connections = connections_;
  for (Connection* connection : connections) connection->drop("its target was removed");
  while (!device_.units().empty()) remove_unit(device_.units().begin()->first);
}

bool Target::sweep() {
  std::erase_if(removed_, [this](const std::unique_ptr<scsi::LogicalUnit>& unit) {
    const auto backing = stores_.find(unit.get());
    if (backing->second.store->users != 0) return false;
    for (Connection* connection : connections_) connection->unit_removed(*unit);
    // The channel goes with it: nothing is under way in it.
    stores_.erase(backing);
    return true;
  });
  return removed_.empty() && connections_.empty();
}

absl::StatusOr<std::unique_ptr<Site>> Site::create(const Config& config, Reactor& reactor,
                                                   Environment environment) {
  // Found out now, not when an initiator's first reservation cannot be kept.
  std::error_code ignored;
  if (!config.state_dir.empty() && !std::filesystem::is_directory(config.state_dir, ignored)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--state-dir ", config.state_dir, ": no such directory; make it first"));
  }
  std::unique_ptr<Site> site(new Site(std::move(environment)));
  if (absl::Status status = site->apply(config, reactor); !status.ok()) return status;
  return site;
}

absl::Status Site::apply(const Config& config, Reactor& reactor) {
  // What may fail comes first: every volume that is not open yet.
  struct Change {
    Target* target;                          // as it will be
    std::unique_ptr<Target> added;           // when it is a new one
    std::map<uint16_t, Target::Unit> units;  // new ones
  };
  std::vector<Change> changes;
  uint16_t portal_group_tag = last_portal_group_tag_;
  for (const TargetConfig& wanted : config.targets) {
    Change& change = changes.emplace_back();
    change.target = find(wanted.name);
    if (change.target == nullptr) {
      change.added = std::make_unique<Target>(wanted, ++portal_group_tag);
      change.target = change.added.get();
    }
    for (size_t i = 0; i < wanted.luns.size(); ++i) {
      const auto lun = uint16_t(i);
      const std::string& spec = wanted.luns[i];
      scsi::LogicalUnit* unit = change.target->device().find(lun);
      if (unit != nullptr && change.target->spec(*unit) == spec) continue;
      absl::StatusOr<std::shared_ptr<storage::Volume>> volume =
          environment_.open_volume(spec, {.block_size = config.block_size});
      absl::Status status = volume.status();
      if (status.ok()) {
        absl::StatusOr<Target::Unit> made =
            change.target->make_unit(lun, *std::move(volume), reactor, config.state_dir);
        status = made.status();
        if (status.ok()) change.units.emplace(lun, *std::move(made));
      }
      if (!status.ok()) {
        return absl::Status(status.code(),
                            absl::StrCat(wanted.name, ", LUN ", spec, ": ", status.message()));
      }
    }
  }
  // From here on nothing fails.
  discovery_ = config.discovery;
  last_portal_group_tag_ = portal_group_tag;
  std::erase_if(targets_, [&](std::unique_ptr<Target>& target) {
    if (std::ranges::find(changes, target.get(), &Change::target) != changes.end()) return false;
    target->retire();
    removed_.push_back(std::move(target));
    return true;
  });
  for (size_t i = 0; i < changes.size(); ++i) {
    Target& target = *changes[i].target;
    if (changes[i].added != nullptr) targets_.push_back(std::move(changes[i].added));
    target.change(config.targets[i]);
    // Units that shrink away, or make room for others under their numbers.
    std::vector<uint16_t> leaving;
    for (const auto& [lun, unit] : target.device().units()) {
      if (lun >= config.targets[i].luns.size() || changes[i].units.contains(lun)) {
        leaving.push_back(lun);
      }
    }
    std::map<uint16_t, uint64_t> former_blocks;
    for (const uint16_t lun : leaving) {
      former_blocks[lun] = target.device().find(lun)->facts().blocks;
      target.remove_unit(lun);
    }
    for (auto& [lun, unit] : changes[i].units) {
      target.add_unit(lun, std::move(unit));
      scsi::LogicalUnit& added = *target.device().find(lun);
      const auto former = former_blocks.find(lun);
      if (former != former_blocks.end() && former->second != added.facts().blocks) {
        added.raise_for_all(scsi::kCapacityChanged);
      }
    }
  }
  return absl::OkStatus();
}

void Site::sweep() {
  for (const auto& target : targets_) target->sweep();
  std::erase_if(removed_, [](const std::unique_ptr<Target>& target) { return target->sweep(); });
}

Target* Site::find(std::string_view name) {
  for (const auto& target : targets_) {
    if (target->config().name == name) return target.get();
  }
  return nullptr;
}

std::vector<iscsi::TargetRecord> Site::visible(std::string_view initiator,
                                               const std::string& local) {
  std::vector<std::string> addresses = portals;
  if (std::ranges::find(addresses, local) == addresses.end()) {
    addresses.insert(addresses.begin(), local);
  }
  std::vector<iscsi::TargetRecord> records;
  for (const auto& target : targets_) {
    if (!target->admits(initiator)) continue;
    records.push_back({target->config().name, addresses, target->portal_group_tag()});
  }
  return records;
}

uint16_t Site::next_tsih() {
  // Zero means "no session yet".
  if (++last_tsih_ == 0) ++last_tsih_;
  return last_tsih_;
}

}  // namespace mrpool::iser_target
