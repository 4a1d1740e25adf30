#include "tests/sim/world.h"

#include <algorithm>
#include <string>

#include "tests/sim/initiator.h"
#include "tests/sim/target.h"
#include "transport/uiwarp/open.h"

namespace mrpool::sim {

namespace {

constexpr uint64_t kWildSteps = 6000;  // while everything may break
// The whole store is compared this often; single blocks at every command.
constexpr uint64_t kCheckPeriod = 64;

// Calm enough that everybody gets on.
NetworkOptions calm(uint64_t seed) { return {.seed = seed}; }

NetworkOptions wild(World& world) {
  NetworkOptions options = calm(world.seed);
  constexpr size_t kTransfers[] = {1, 7, 100, 1500, 9000, 64 * 1024};
  options.max_transfer = kTransfers[world.below(std::size(kTransfers))];
  options.window = 1024 << world.below(9);
  options.max_delay = Nanoseconds(5000 + world.below(200'000));
  options.stall_per_million = static_cast<uint32_t>(world.below(5000));
  options.stall = Nanoseconds(world.below(5'000'000));
  if (world.chance(500)) options.reset_per_million = static_cast<uint32_t>(world.below(2000));
  return options;
}

}  // namespace

World::World(uint64_t seed_in, Plant plant_in, Violated violated_in)
    : Simulation(seed_in, plant_in, violated_in), address{"uiwarp", "10.0.0.1", 4420, ""} {
  const uint32_t count = 1 + static_cast<uint32_t>(below(4));
  network = std::make_shared<SimNetwork>(reactor, wild(*this));
  device = uiwarp::make_device({.crc = chance(700), .seed = seed}, network);
  target = std::make_unique<Target>(*this, count * Initiator::kBlocks);
  for (uint32_t i = 0; i < count; ++i) {
    initiators.push_back(std::make_unique<Initiator>(*this, i));
  }
}

World::~World() {
  initiators.clear();
  target.reset();
}

void World::disturb() {
  if (below(1'000'000) >= 1500) return;
  switch (below(4)) {
    case 0:
      network->break_one();
      break;
    case 1:
      initiators[below(initiators.size())]->kill();
      break;
    case 2:
      target->kill_one();
      break;
    case 3:
      network->set_options(wild(*this));
      break;
  }
}

void World::after_step() {
  for (auto& initiator : initiators) initiator->step();
  target->reap();
  if (faults) disturb();
  if (steps % kCheckPeriod == 0) {
    for (auto& initiator : initiators) initiator->check_store();
  }
}

void World::run() {
  faults = true;
  while (steps < kWildSteps) step();

  // The network calms down; everybody must get on, on old connections and on new ones.
  faults = false;
  network->set_options(calm(seed));
  std::vector<uint64_t> goals;
  for (auto& initiator : initiators) goals.push_back(initiator->completed + 20);
  run_until("commands to complete", [&] {
    return std::ranges::equal(initiators, goals, [](const auto& initiator, uint64_t goal) {
      return initiator->completed >= goal;
    });
  });

  for (auto& initiator : initiators) initiator->finish();
  run_until("the last commands", [&] {
    return std::ranges::all_of(initiators, [](const auto& i) { return i->idle(); });
  });
  for (auto& initiator : initiators) initiator->disconnect();
  run_until("the connections to end", [&] {
    return target->idle() &&
           std::ranges::all_of(initiators, [](const auto& i) { return i->disconnected(); });
  });
  for (auto& initiator : initiators) {
    initiator->check_store();
    initiator->check_resources();
  }
  target->check_resources();
  if (network->open_connections() != 0) violate("a connection was left behind");
}

std::string World::state() const {
  std::string text;
  for (size_t i = 0; i < initiators.size(); ++i) {
    text += "initiator " + std::to_string(i) + ": " + initiators[i]->state() + "\n";
  }
  return text + "target: " + (target == nullptr ? "not there" : target->state()) + "\n";
}

}  // namespace mrpool::sim
