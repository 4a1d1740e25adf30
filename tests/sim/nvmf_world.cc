#include "tests/sim/nvmf_world.h"

#include <utility>

#include "tests/sim/nvmf_host.h"
#include "tests/sim/planted_device.h"
#include "tests/sim/storage.h"
#include "tests/sim/volume.h"
#include "transport/uiwarp/open.h"

namespace mrpool::sim {

NvmfWorld::NvmfWorld(uint64_t seed_in, Plant plant_in, Violated violated_in)
    : HostWorld(seed_in, plant_in, violated_in) {
  network = std::make_shared<SimNetwork>(reactor, NetworkOptions{.seed = seed});
  const bool crc = chance(700);
  device = uiwarp::make_device({.crc = crc, .seed = seed}, network);
  const auto target_device =
      make_planted_device(uiwarp::make_device({.crc = crc, .seed = seed + 1}, network), *this);

  const uint32_t count = 1 + static_cast<uint32_t>(below(3));
  const uint32_t blocks = count * NvmfHost::kBlocks;
  auto ram = storage::open("ram:" + std::to_string(blocks * kBlockBytes), {.block_size = 512});
  if (!ram.ok()) violate(ram.status().ToString());
  ram_ = std::move(*ram);
  for (uint32_t i = 0; i < blocks; ++i) stamp(block(i), i, 0);

  // Little of everything, so that commands wait for it.
  nvmf_target::Service::Options options;
  options.engine.threads = workers_ = 1 + static_cast<uint32_t>(below(2));
  options.engine.staging = engine::kChunk * (1 + below(4));
  options.engine.mrs = 1 + static_cast<uint32_t>(below(4));
  options.engine.force_mr = chance(200);
  options.open_device = [target_device](const Address&) { return target_device; };
  options.open_volume = [this](const nvmf_target::NamespaceConfig&) {
    return make_sim_volume(ram_, *this, bad_storage(*this));
  };
  service_ = std::make_unique<nvmf_target::Service>(options);
  nvmf_target::Config config;
  config.listen = {"uiwarp://127.0.0.1:4420"};
  nvmf_target::SubsystemConfig subsystem;
  subsystem.nqn = NvmfHost::kSubsystem;
  subsystem.namespaces.push_back(
      {.nsid = 1, .storage = ram_->spec(), .block_size = 512, .uuid = {}});
  config.subsystems.push_back(std::move(subsystem));
  absl::Status status = nvmf_target::complete(config);
  for (uint32_t i = 0; i < options.engine.threads && status.ok(); ++i) {
    status = service_->add_worker(reactor);
  }
  if (status.ok()) status = service_->apply(config);
  if (!status.ok()) violate("the target does not start: " + status.ToString());
  for (uint32_t i = 0; i < count; ++i) hosts_.push_back(std::make_unique<NvmfHost>(*this, i));
}

NvmfWorld::~NvmfWorld() {
  hosts_.clear();
  service_.reset();
}

std::span<std::byte> NvmfWorld::block(uint32_t number) {
  return ram_->memory().subspan(size_t{number} * kBlockBytes, kBlockBytes);
}

void NvmfWorld::disturb() {
  if (below(1'000'000) >= 800) return;
  NvmfHost& host = *hosts_[below(hosts_.size())];
  switch (below(4)) {
    case 0:
      network->break_one();
      break;
    case 1:
      host.kill();
      break;
    case 2:
      host.reset();
      break;
    case 3:
      network->set_options(bad_network());
      break;
  }
}

void NvmfWorld::connect() {
  for (const auto& host : hosts_) host->open();
  run_until("the hosts to connect", all([](const NvmfHost& host) { return host.opened(); }));
}

std::string NvmfWorld::target_state() const {
  if (service_ == nullptr) return "not there";
  std::string text = std::to_string(service_->engine().connections()) + " connections, " +
                     std::to_string(service_->target().controllers()) + " controllers";
  for (const engine::DeviceContext* target : service_->engine().devices()) {
    if (target->pool() == nullptr) continue;
    const MrPoolStats stats = target->pool()->stats();
    text += ", " + std::to_string(stats.in_use) + " of " + std::to_string(stats.size) + " MRs out";
  }
  for (uint32_t i = 0; i < workers_; ++i) {
    const engine::Staging& staging = service_->engine().worker(i).staging();
    text += ", " + std::to_string(staging.available()) + " of " + std::to_string(staging.total()) +
            " staging chunks free";
  }
  return text;
}

void NvmfWorld::check_target() {
  if (service_->target().controllers() != 0) violate("a controller was left behind");
  for (const engine::DeviceContext* target : service_->engine().devices()) {
    if (target->pool() != nullptr && target->pool()->stats().in_use != 0) {
      violate("the target's pool has MRs out");
    }
  }
}

void NvmfWorld::stop_target(std::function<void()> stopped) { service_->stop(std::move(stopped)); }

void NvmfWorld::check_stopped() {
  for (uint32_t i = 0; i < workers_; ++i) {
    if (service_->engine().worker(i).staging().in_use() != 0) violate("staging memory is lost");
  }
}

}  // namespace mrpool::sim
