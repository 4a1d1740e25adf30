#include "tests/sim/lied_to_iser.h"

#include <string>

#include "examples/protocol/iscsi/iser_header.h"
#include "examples/protocol/iscsi/pdu.h"
#include "tests/sim/volume.h"
#include "transport/uiwarp/open.h"

namespace mrpool::sim {

namespace {

constexpr const char* kTarget = "iqn.2026-11.org.mrpool:lies";
constexpr const char* kSecret = "an initiator's own";

}  // namespace

LiedToIser::LiedToIser(uint64_t seed_in, Plant plant_in, Violated violated_in)
    : VisitorWorld(seed_in, plant_in, violated_in) {
  const auto target_device = open_devices();
  iser_target::Config config;
  config.listen = {"uiwarp://127.0.0.1:3260"};
  config.engine.mrs = 1 + static_cast<uint32_t>(below(8));
  config.engine.staging = engine::kMinStaging;
  config.initial_r2t = chance(500);
  config.immediate_data = chance(700);
  const bool chap = chance(500);
  config.open_discovery = true;
  config.targets.push_back({.name = kTarget, .luns = {"ram:128KiB,name=lies"}});
  if (chap) config.targets[0].authentication.incoming = iscsi::Credentials{"host", kSecret};

  iser_target::Environment environment;
  environment.open_device = [target_device](const Address&) { return target_device; };
  environment.open_volume = slow_volumes();
  environment.random = [this](std::span<uint8_t> out) {
    for (uint8_t& byte : out) byte = static_cast<uint8_t>(below(256));
  };
  service_ = std::make_unique<iser_target::Service>(config, std::move(environment));
  Reactor* const reactors[] = {&reactor};
  if (absl::Status status = service_->start(reactors); !status.ok()) {
    violate("the target does not start: " + status.ToString());
  }
  IserVisitorOptions options{.initiator = "iqn.2026-11.org.mrpool:visitor",
                             .target = kTarget,
                             .begin = [this] { said_ = 0; },
                             .done = [this] { done(); }};
  if (chap) options.chap = {"host", kSecret};
  visitors_.push_back(std::make_unique<IserVisitor>(*this, *device, std::move(options)));
}

LiedToIser::~LiedToIser() {
  visitors_.clear();
  service_.reset();
}

std::vector<std::string_view> LiedToIser::all_moves() const {
  return {"visit", "discovery", "connected", "not connected", "data"};
}

void LiedToIser::sent(std::span<const std::byte> message) {
  constexpr size_t kHeaders = iscsi::kIserHeaderSize + iscsi::kBhsSize;
  if (message.size() < kHeaders) return;
  const auto bhs = message.subspan<iscsi::kIserHeaderSize, iscsi::kBhsSize>();
  constexpr std::byte kScsiResponse{0x21};
  const bool good = bhs[2] == std::byte{0} && bhs[3] == std::byte{0};
  if ((bhs[0] & std::byte{0x3f}) == kScsiResponse && good) ++said_;
}

void LiedToIser::done() {
  if (said_ == 0) violate("a command is said to be done, and the target never said so");
  --said_;
}

void LiedToIser::stop_target(std::function<void()> stopped) { service_->stop(std::move(stopped)); }

}  // namespace mrpool::sim
