#include "tests/sim/nvmf_world.h"

#include <algorithm>
#include <utility>

#include "tests/sim/nvmf_host.h"
#include "tests/sim/planted_device.h"
#include "tests/sim/storage.h"
#include "tests/sim/volume.h"
#include "transport/uiwarp/device.h"

namespace mrpool::sim {

namespace {

constexpr uint64_t kWildSteps = 15'000;
constexpr uint64_t kCheckPeriod = 64;
// Then hosts that have got on rest. One may have to wait for a time-out of seconds, of which the
// commands of the others would make millions of steps.
constexpr uint64_t kRestAfter = 100'000;

}  // namespace

NvmfWorld::NvmfWorld(uint64_t seed_in, Plant plant_in, Violated violated_in)
    : Simulation(seed_in, plant_in, violated_in) {
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
  options.workers = workers_ = 1 + static_cast<uint32_t>(below(2));
  options.worker.staging_bytes = nvmf_target::BufferPool::kChunk * (1 + below(4));
  options.device.mrs = 1 + static_cast<uint32_t>(below(4));
  options.device.force_mr = chance(200);
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
  for (uint32_t i = 0; i < options.workers && status.ok(); ++i) {
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

void NvmfWorld::after_step() {
  for (const auto& host : hosts_) host->step();
  if (faults) disturb();
  if (steps % kCheckPeriod == 0) {
    for (const auto& host : hosts_) host->check_store();
  }
}

void NvmfWorld::run() {
  const auto all = [this](auto predicate) {
    return [this, predicate] {
      return std::ranges::all_of(hosts_, [&](const auto& host) { return predicate(*host); });
    };
  };
  for (const auto& host : hosts_) host->open();
  run_until("the hosts to connect", all([](const NvmfHost& host) { return host.opened(); }));

  faults = true;
  network->set_options(bad_network());
  const uint64_t end = steps + kWildSteps;
  while (steps < end) step();

  // The network calms down; everybody must get on.
  faults = false;
  network->set_options({.seed = seed});
  std::vector<uint64_t> goals;
  for (const auto& host : hosts_) goals.push_back(host->completed + 20);
  const uint64_t rest = steps + kRestAfter;
  run_until("commands to complete", [&] {
    bool all_got_on = true;
    for (size_t i = 0; i < hosts_.size(); ++i) {
      const bool got_on = hosts_[i]->completed >= goals[i];
      if (got_on && steps > rest) hosts_[i]->finish();
      all_got_on = all_got_on && got_on;
    }
    return all_got_on;
  });

  for (const auto& host : hosts_) host->finish();
  run_until("the last commands", all([](const NvmfHost& host) { return host.idle(); }));
  for (const auto& host : hosts_) host->close();
  run_until("the sessions to end", all([](const NvmfHost& host) { return host.closed(); }));
  run_until("the connections to end",
            [&] { return service_->connections() == 0 && network->open_connections() == 0; });
  for (const auto& host : hosts_) {
    host->check_store();
    host->check_resources();
  }
  if (service_->target().controllers() != 0) violate("a controller was left behind");
  for (const auto& pool : service_->pools()) {
    if (pool.stats.in_use != 0) violate("the target's pool has MRs out");
  }
  bool stopped = false;
  service_->stop([&] { stopped = true; });
  run_until("the target to stop", [&] { return stopped; });
  for (uint32_t i = 0; i < workers_; ++i) {
    const nvmf_target::BufferPool& buffers = service_->worker(i).buffers();
    if (buffers.available() != buffers.total()) violate("staging memory is lost");
  }
}

}  // namespace mrpool::sim
