#include "tests/sim/gateways/world.h"

#include <algorithm>
#include <utility>

namespace mrpool::sim {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr Nanoseconds kWildTime = seconds(60);
constexpr Nanoseconds kTick = milliseconds(50);
// Without a disturbance a group is served after this, and after kSickTime more for each gateway
// that cannot fence: it may take the group, and gives up later.
constexpr Nanoseconds kServiceLimit = seconds(8);
constexpr Nanoseconds kSickTime = seconds(10);
constexpr Nanoseconds kProgressLimit = seconds(60);
constexpr uint64_t kProgress = 20;

}  // namespace

GatewaysWorld::GatewaysWorld(uint64_t seed_in, Plant plant_in, Violated violated_in)
    : Simulation(seed_in, plant_in, violated_in),
      host_count_(2 + below(2)),
      last_(1 + below(4)),
      ledger(*this, last_.size() * (host_count_ + 1), last_.size(), host_count_),
      cluster(*this, events, ledger, last_.size() * (host_count_ + 1)) {
  const size_t count = 2 + below(3);
  for (size_t i = 0; i < count; ++i) {
    gateways_.push_back(std::make_unique<GatewayProcess>(*this, i));
  }
  for (size_t i = 0; i < host_count_; ++i)
    hosts_.push_back(std::make_unique<GatewayHost>(*this, i));
}

GatewaysWorld::~GatewaysWorld() = default;

void GatewaysWorld::run() {
  // Some join later.
  for (size_t i = 0; i < gateways(); ++i) {
    if (i == 0 || chance(700)) gateway(i).start();
  }
  for (const auto& host : hosts_) host->start();
  advance(events.now() + seconds(5));
  faults = true;
  for (const Nanoseconds end = events.now() + kWildTime; events.now() < end;) {
    // Sometimes there is time for all that follows from one disturbance.
    const uint64_t longest = chance(60) ? 40'000 : chance(250) ? 6000 : 1500;
    advance(events.now() + milliseconds(100 + below(longest)));
    disturb();
  }
  calm_down();
  every_host_goes_on();
  advance(events.now() + kServiceLimit + seconds(1));
  if (cluster.refused != 0) moved(kLateRefused);
}

void GatewaysWorld::advance(Nanoseconds time) {
  while (events.now() < time) {
    const Nanoseconds tick = std::min(time, events.now() + kTick);
    bool reached = false;
    events.at(tick, [&reached] { reached = true; });
    while (!reached) {
      ++steps;
      events.step();
      note(uint64_t(events.now().count()));
    }
    watch();
  }
}

void GatewaysWorld::disturbed() {
  ++disturbances_;
  quiet_since_ = events.now();
}

void GatewaysWorld::lost(size_t which) {
  for (size_t group = 0; group < groups(); ++group) {
    if (!gateway(which).serves(group)) continue;
    last_[group].lost = events.now();
    last_[group].drained = false;
    last_[group].disturbances = disturbances_;
  }
}

void GatewaysWorld::disturb() {
  if (chance(150)) {
    disturbed();
    moved(kSlow);
    const Nanoseconds time = milliseconds(200 + below(5000));
    cluster.slow_down(uint32_t(below(ModelCluster::kOsds)), time);
    events.after(time, [this] { disturbed(); });
    return;
  }
  const size_t number = below(gateways());
  disturb_gateway(gateway(number), number);
}

void GatewaysWorld::disturb_gateway(GatewayProcess& gateway, size_t number) {
  if (!gateway.running()) {
    disturbed();
    gateway.start();
    return;
  }
  if (gateway.paused() || gateway.leaving()) return;
  disturbed();
  lost(number);
  const Nanoseconds time = milliseconds(100 + below(chance(500) ? 3000 : 8000));
  switch (below(9)) {
    case 0:
    case 1:
      moved(kKilled);
      gateway.kill();
      for (const auto& host : hosts_) host->broken(number);
      break;
    case 2:
    case 3:
      moved(kPaused);
      gateway.pause();
      events.after(time, [this, &gateway] {
        disturbed();
        gateway.resume();
      });
      break;
    case 4:
    case 5:
      moved(kCut);
      gateway.cut();
      events.after(time, [this, &gateway] {
        disturbed();
        gateway.heal();
      });
      break;
    case 6:
      moved(kNoMonitor);
      gateway.reach_monitors(false);
      events.after(seconds(20) + time, [this, &gateway] {
        disturbed();
        gateway.reach_monitors(true);
      });
      break;
    default:
      moved(kLeft);
      gateway.leave();
      break;
  }
}

void GatewaysWorld::ended(size_t number) {
  gateway(number).kill();
  for (const auto& host : hosts_) host->broken(number);
  if (faults) return;
  disturbed();
  gateway(number).start();  // in the end all run
}

void GatewaysWorld::began(size_t number, size_t group) {
  for (size_t i = 0; i < gateways(); ++i) {
    if (i == number || !gateway(i).serves(group)) continue;
    violate("gateway " + std::to_string(number) + " begins a command of group " +
            std::to_string(group) + " while gateway " + std::to_string(i) + " serves it");
  }
}

void GatewaysWorld::drains(size_t, size_t group) {
  if (last_[group].lost != Nanoseconds()) {
    last_[group].drained = true;
    return;
  }
  last_[group] = {.seen = last_[group].seen,
                  .lost = events.now(),
                  .drained = true,
                  .disturbances = disturbances_};
}

void GatewaysWorld::served(size_t, size_t group) {
  Service& service = last_[group];
  if (service.lost == Nanoseconds()) return;
  moved(service.drained ? kGivenBack : kTakenOver);
  const bool sick =
      std::ranges::any_of(gateways_, [](const auto& gateway) { return gateway->is_sick(); });
  if (!sick && service.disturbances == disturbances_) {
    (service.drained ? given_back : taken_over).push_back(events.now() - service.lost);
  }
  service.lost = {};
}

void GatewaysWorld::watch() {
  const auto healthy = [](const auto& gateway) { return gateway->healthy(); };
  const bool somebody = std::ranges::any_of(gateways_, healthy);
  if (!somebody) quiet_since_ = events.now();
  const auto sick = std::ranges::count_if(
      gateways_, [](const auto& gateway) { return gateway->running() && gateway->is_sick(); });
  const Nanoseconds limit = kServiceLimit + sick * kSickTime;
  for (size_t group = 0; group < groups(); ++group) {
    Service& service = last_[group];
    for (const auto& gateway : gateways_) {
      if (!gateway->serves(group)) continue;
      service.seen = events.now();
      if (gateway->healthy()) service.lost = {};
    }
    const Nanoseconds since = std::max(service.seen, quiet_since_);
    if (events.now() - since <= limit) continue;
    violate("nobody serves group " + std::to_string(group) + ", and nothing prevents it");
  }
}

void GatewaysWorld::calm_down() {
  faults = false;
  for (const auto& gateway : gateways_) {
    disturbed();
    if (gateway->paused()) gateway->resume();
    gateway->heal();
    gateway->reach_monitors(true);
    if (!gateway->running()) gateway->start();
  }
}

void GatewaysWorld::every_host_goes_on() {
  std::vector<uint64_t> goals;
  for (const auto& host : hosts_) goals.push_back(host->completed + kProgress);
  const Nanoseconds limit = events.now() + kProgressLimit;
  const auto done = [&] {
    for (size_t i = 0; i < hosts_.size(); ++i) {
      if (hosts_[i]->completed < goals[i]) return false;
    }
    return true;
  };
  while (!done()) {
    if (events.now() > limit) violate("no progress: hosts waited in vain for commands to complete");
    advance(events.now() + kTick);
  }
}

std::string GatewaysWorld::state() const {
  std::string text = "at " + std::to_string(events.now() / milliseconds(1)) + " ms, quiet since " +
                     std::to_string(quiet_since_ / milliseconds(1)) + " ms\n";
  for (const auto& gateway : gateways_) text += gateway->state();
  for (const auto& host : hosts_) text += host->state();
  return text + cluster.state();
}

}  // namespace mrpool::sim
