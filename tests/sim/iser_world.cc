#include "tests/sim/iser_world.h"

#include <algorithm>
#include <string>
#include <utility>

#include "examples/iser/target/limits.h"
#include "tests/sim/blocks.h"
#include "tests/sim/iser_host.h"
#include "tests/sim/planted_device.h"
#include "tests/sim/volume.h"
#include "transport/uiwarp/open.h"

namespace mrpool::sim {

namespace {

// Longer than the silence after which the target gives an initiator up that does not answer.
constexpr Nanoseconds kSilence = std::chrono::seconds(45);

// The reasons for which this target may drop one of these initiators.
constexpr std::string_view kRight[] = {"its initiator logged in again", "the target stops"};

}  // namespace

IserWorld::IserWorld(uint64_t seed_in, Plant plant_in, Violated violated_in)
    : HostWorld(seed_in, plant_in, violated_in) {
  network = std::make_shared<SimNetwork>(reactor, NetworkOptions{.seed = seed});
  const bool crc = chance(700);
  device = uiwarp::make_device({.crc = crc, .seed = seed}, network);
  const auto target_device =
      make_planted_device(uiwarp::make_device({.crc = crc, .seed = seed + 1}, network), *this);

  const uint32_t count = 1 + static_cast<uint32_t>(below(3));
  config_.listen = {"uiwarp://127.0.0.1:3260"};
  config_.mrs = 1 + static_cast<uint32_t>(below(4));
  config_.staging = iser_target::kMinStaging;
  config_.initial_r2t = chance(500);
  config_.immediate_data = chance(700);
  config_.force_mr = chance(300);
  // Connections whose end the target has not heard of count.
  config_.max_connections = count + static_cast<uint32_t>(below(3));
  const std::string unit = "ram:" + std::to_string(count * IserHost::kBlocks * kBlockBytes);
  for (const char* name : kNames) {
    config_.targets.push_back({.name = name, .luns = {unit, unit}});
  }
  config_.targets[1].authentication = {.incoming = iscsi::Credentials{"host", kSecrets[0]},
                                       .outgoing = iscsi::Credentials{"target", kSecrets[1]}};

  iser_target::Environment environment;
  environment.open_device = [target_device](const Address&) { return target_device; };
  environment.open_volume = [this](std::string_view spec, const storage::OpenOptions& options)
      -> absl::StatusOr<std::shared_ptr<storage::Volume>> {
    auto ram = storage::open(spec, options);
    if (!ram.ok()) return ram.status();
    ram_.push_back(*ram);
    return make_sim_volume(*ram, *this, bad_storage(*this));
  };
  environment.random = [this](std::span<uint8_t> out) {
    for (uint8_t& byte : out) byte = static_cast<uint8_t>(below(256));
  };
  auto site = iser_target::Site::create(config_, {&reactor}, std::move(environment));
  if (!site.ok()) violate("the target does not start: " + site.status().ToString());
  site_ = std::move(*site);
  site_->log = [this](std::string_view line) { heard(line); };
  server_ = std::make_unique<iser_target::Server>(*site_, reactor, config_);
  const auto address = server_->listen(config_.listen.front());
  if (!address.ok()) violate("the target does not listen: " + address.status().ToString());

  for (uint32_t target = 0; target < kTargets; ++target) {
    for (uint16_t lun = 0; lun < kUnits; ++lun) {
      for (uint32_t i = 0; i < count * IserHost::kBlocks; ++i) stamp(block(target, lun, i), i, 0);
    }
  }
  for (uint32_t i = 0; i < count; ++i) hosts_.push_back(std::make_unique<IserHost>(*this, i));
}

IserWorld::~IserWorld() {
  hosts_.clear();
  server_.reset();
  site_.reset();
}

std::span<std::byte> IserWorld::block(uint32_t target, uint16_t unit, uint32_t number) {
  return ram_[target * kUnits + unit]->memory().subspan(size_t{number} * kBlockBytes, kBlockBytes);
}

void IserWorld::heard(std::string_view line) {
  constexpr std::string_view kDropped = ": dropped: ";
  const size_t dropped = line.find(kDropped);
  const bool wrong =
      dropped != std::string_view::npos
          ? std::ranges::find(kRight, line.substr(dropped + kDropped.size())) == std::end(kRight)
          : line.find("terminated") != std::string_view::npos ||
                line.find("protocol") != std::string_view::npos;
  if (wrong) violate("the target says: " + std::string(line));
}

void IserWorld::disturb() {
  if (below(1'000'000) >= 1500) return;
  IserHost& host = *hosts_[below(hosts_.size())];
  switch (below(7)) {
    case 0:
      network->break_one();
      break;
    case 1:
      host.kill();
      break;
    case 2:
      host.log_out();
      break;
    case 3:
    case 4:
      host.manage();
      break;
    case 5:
      network->set_options(bad_network());
      break;
    case 6:
      if (chance(200)) silent_until_ = reactor.now() + kSilence;
      break;
  }
}

std::string IserWorld::target_state() const {
  if (server_ == nullptr) return "not there";
  const MrPoolStats stats = server_->pool_stats();
  std::string text = std::to_string(server_->connections()) + " connections, " +
                     std::to_string(stats.in_use) + " of " + std::to_string(stats.size) +
                     " MRs out, " + std::to_string(server_->staging_in_use()) +
                     " staging buffers in use";
  for (const auto& target : site_->targets()) {
    const auto& sessions = target->sessions(0);
    text += "; " + std::to_string(sessions.open.size()) + " sessions and " +
            std::to_string(sessions.ending.size()) + " that end";
  }
  return text;
}

void IserWorld::stop_target(std::function<void()> stopped) { server_->stop(std::move(stopped)); }

void IserWorld::check_target() {
  if (server_->pool_stats().in_use != 0) violate("the target's pool has MRs out");
  if (server_->staging_in_use() != 0) violate("staging memory is lost");
  for (const auto& target : site_->targets()) {
    if (!target->sessions(0).empty()) violate("a session was left behind");
    const auto table = target->units();
    for (const auto& [lun, unit] : table->units) {
      // Held by its table alone, and no write passes its gate.
      if (unit.use_count() != 1) violate("a unit is taken for one in use");
      if (!unit->gate.empty()) violate("a write never left the gate");
    }
  }
}

}  // namespace mrpool::sim
