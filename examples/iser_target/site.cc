#include "examples/iser_target/site.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "examples/iser_target/connection.h"
#include "examples/iser_target/limits.h"
#include "examples/iser_target/state_file.h"

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

absl::Status Target::add_unit(std::shared_ptr<storage::Volume> volume, Reactor& reactor,
                              const std::string& state) {
  const auto lun = uint16_t(device_.units().size());
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
  scsi::LogicalUnit& unit =
      device_.add(lun, std::make_unique<scsi::LogicalUnit>(std::move(facts), std::move(save)));
  if (!unit.reservations().restore(kept)) {
    return absl::DataLossError(absl::StrCat("the kept reservations of LUN ", lun, " of ",
                                            config_.name, " are unreadable; remove the file in ",
                                            state, " to go on without them"));
  }
  unit.on_abort([this, &unit](const std::string& port) {
    const auto of_unit = [](const Task& task, const void* which) { return task.unit == which; };
    for (Connection* connection : connections_) {
      if (connection->port() == port) connection->abort_tasks(of_unit, &unit, nullptr);
    }
  });
  auto store = std::make_unique<scsi::Store>(scsi::Store{**channel, geometry.block_size});
  stores_.emplace(&unit, Backing{std::move(volume), *std::move(channel), std::move(store)});
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Site>> Site::create(const Config& config, Reactor& reactor) {
  auto site = std::make_unique<Site>();
  site->discovery_ = config.discovery;
  for (const TargetConfig& target_config : config.targets) {
    auto target = std::make_unique<Target>(target_config, uint16_t(site->targets_.size() + 1));
    for (const std::string& spec : target_config.luns) {
      absl::StatusOr<std::shared_ptr<storage::Volume>> volume =
          storage::open(spec, {.block_size = config.block_size});
      absl::Status status = volume.status();
      if (status.ok()) status = target->add_unit(*std::move(volume), reactor, config.state_dir);
      if (!status.ok()) {
        return absl::Status(status.code(), absl::StrCat(target_config.name, ", LUN ", spec, ": ",
                                                        status.message()));
      }
    }
    site->targets_.push_back(std::move(target));
  }
  return site;
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
