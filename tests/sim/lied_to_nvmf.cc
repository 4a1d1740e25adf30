#include "tests/sim/lied_to_nvmf.h"

#include <string>

#include "examples/protocol/nvme/wire.h"

namespace mrpool::sim {

namespace {

constexpr const char* kSubsystem = "nqn.2026-11.org.mrpool:lies";

}  // namespace

LiedToNvmf::LiedToNvmf(uint64_t seed_in, Plant plant_in, Violated violated_in)
    : VisitorWorld(seed_in, plant_in, violated_in) {
  const auto target_device = open_devices();
  nvmf_target::Service::Options options;
  options.engine.threads = 1;
  options.engine.staging = engine::kMinStaging;
  options.engine.mrs = 1 + static_cast<uint32_t>(below(8));
  options.open_device = [target_device](const Address&) { return target_device; };
  options.open_volume = slow_volumes();
  service_ = std::make_unique<nvmf_target::Service>(options);
  nvmf_target::Config config;
  config.listen = {"uiwarp://127.0.0.1:4420"};
  nvmf_target::SubsystemConfig subsystem;
  subsystem.nqn = kSubsystem;
  subsystem.namespaces.push_back(
      {.nsid = 1, .storage = "ram:128KiB,name=lies", .block_size = 512, .uuid = {}});
  config.subsystems.push_back(std::move(subsystem));
  absl::Status status = nvmf_target::complete(config);
  if (status.ok()) status = service_->add_worker(reactor);
  if (status.ok()) status = service_->apply(config);
  if (!status.ok()) violate("the target does not start: " + status.ToString());
  const uint32_t count = 1 + static_cast<uint32_t>(below(2));
  for (uint32_t i = 0; i < count; ++i) {
    visitors_.push_back(std::make_unique<NvmfVisitor>(
        *this, *device,
        NvmfVisitorOptions{.host = "nqn.2026-11.org.mrpool:visitor-" + std::to_string(i),
                           .subsystem = kSubsystem,
                           .done = [this](uint16_t command) { done(command); }}));
  }
}

LiedToNvmf::~LiedToNvmf() {
  visitors_.clear();
  service_.reset();
}

std::vector<std::string_view> LiedToNvmf::all_moves() const {
  return {"visit", "discovery", "connected", "not connected", "data", "a cause"};
}

void LiedToNvmf::sent(std::span<const std::byte> message) {
  if (message.size() != sizeof(nvme::Cqe)) return;
  const auto cqe = nvme::read_struct<nvme::Cqe>(message);
  if (nvme::ok(cqe.status())) ++said_[cqe.command_id];
}

void LiedToNvmf::done(uint16_t command_id) {
  uint64_t& times = said_[command_id];
  if (times == 0) violate("a command is said to be done, and the target never said so");
  --times;
}

void LiedToNvmf::stop_target(std::function<void()> stopped) { service_->stop(std::move(stopped)); }

}  // namespace mrpool::sim
