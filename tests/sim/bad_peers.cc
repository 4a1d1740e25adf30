#include "tests/sim/bad_peers.h"

namespace mrpool::sim {

namespace {

using Random = std::mt19937_64;

// Little is on its way to them, so that what they do not read soon waits in the target.
Habits slow_reader(Random& random) {
  constexpr size_t kWindow = 2048;
  Habits habits;
  habits.link = NetworkOptions{.max_transfer = kWindow, .window = kWindow};
  habits.prompt = random() % (16 << 10);
  constexpr Nanoseconds kRest = std::chrono::milliseconds(20);
  if (random() % 2 == 0) habits.rest = kRest;
  return habits;
}

// MPA requests have 20 bytes before their private data.
Habits silent(Random& random) {
  constexpr size_t kMost[] = {1, 20, 200, 2000, 20'000};
  return {.says = random() % kMost[random() % std::size(kMost)]};
}

}  // namespace

std::function<Habits()> bad_habits(Simulation& simulation, BadKind kind, uint64_t seed) {
  auto random = std::make_shared<Random>(seed);
  return [&simulation, kind, random]() -> Habits {
    switch (kind) {
      case BadKind::kSlowReader:
        simulation.moved("slow reader");
        return slow_reader(*random);
      case BadKind::kSilent: {
        const Habits habits = silent(*random);
        simulation.moved(habits.says == 0 ? "silent" : "stops half-way");
        return habits;
      }
      case BadKind::kRefused:
        simulation.moved("refused peer");
        break;
    }
    return {};
  };
}

}  // namespace mrpool::sim
