#include "tests/sim/simulation.h"

#include <chrono>
#include <cstdio>
#include <iterator>

#include "tests/sim/place.h"
#include "transport/uiwarp/open.h"

namespace mrpool::sim {

namespace {

// How many steps may pass until somebody's next command ends (a connection that moves byte by byte
// is slow, not stuck); how many in all.
constexpr uint64_t kPatience = 400'000;
constexpr uint64_t kMostSteps = 10'000'000;
// A run takes some twenty thousand steps. A run with so many steps prints its seed, in case it is
// stopped before its end.
constexpr uint64_t kManySteps = 500'000;

}  // namespace

void Simulation::step() {
  if (++steps % kManySteps == 0) {
    std::printf("seed %llu is at step %llu: %llu commands, %.3f s of its clock, %zu connections\n",
                static_cast<unsigned long long>(seed), static_cast<unsigned long long>(steps),
                static_cast<unsigned long long>(commands),
                std::chrono::duration<double>(reactor.now()).count(), network->open_connections());
  }
  reactor.step();
  note(static_cast<uint64_t>(reactor.now().count()));
  after_step();
}

void Simulation::run_until(const char* what, const std::function<bool()>& done) {
  uint64_t seen = commands;
  uint64_t idle = 0;
  for (uint64_t i = 0; !done(); ++i) {
    if (commands != seen) idle = 0;
    seen = commands;
    if (++idle > kPatience || i > kMostSteps) {
      violate(std::string("no progress: waited in vain for ") + what);
    }
    step();
  }
}

void Simulation::open_network() {
  network = std::make_shared<SimNetwork>(reactor, NetworkOptions{.seed = seed});
  network->plant(
      {.one_address = plant == Plant::kOneAddress, .one_writer = plant == Plant::kOneWriter});
}

std::shared_ptr<Device> Simulation::device_of(uint32_t number, bool crc) {
  return uiwarp::make_device({.crc = crc, .seed = seed + 16 + number},
                             std::make_shared<Place>(network, "10.0.1." + std::to_string(number)));
}

NetworkOptions Simulation::bad_network() {
  NetworkOptions options{.seed = seed};
  constexpr size_t kTransfers[] = {100, 1500, 9000, 64 * 1024};
  options.max_transfer = kTransfers[below(std::size(kTransfers))];
  options.window = 1024 << below(7);
  options.max_delay = Nanoseconds(5000 + below(100'000));
  options.stall_per_million = static_cast<uint32_t>(below(5000));
  options.stall = Nanoseconds(below(1'000'000));
  if (chance(500)) options.reset_per_million = static_cast<uint32_t>(below(500));
  return options;
}

}  // namespace mrpool::sim
