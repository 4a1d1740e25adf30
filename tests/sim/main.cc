// Runs whole systems under one seed each, as many as fit into the time.
//
//   mrpool_simulation --seconds 120          fresh seeds; prints the seed of a failure
//   mrpool_simulation --seed 7               that run again, exactly
//   mrpool_simulation --plant stale-key      a system with a bug: succeeds when a seed shows it
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <string_view>

#include "tests/sim/iser_world.h"
#include "tests/sim/nvmf_world.h"
#include "tests/sim/world.h"

namespace {

using mrpool::sim::Plant;
using mrpool::sim::Simulation;

constexpr const char* kHelp =
    "mrpool_simulation [--world store|nvmf|iser] [--seconds S] [--seed N] [--plant BUG]\n"
    "\n"
    "  --world W     store: a small block store made to exercise the library (default);\n"
    "                nvmf: the NVMe-oF target and initiator of examples/\n"
    "                iser: the iSER target and initiator of examples/\n"
    "  --seconds S   run fresh seeds for so long (default 10)\n"
    "  --seed N      run this seed only and print a digest of what happened, or start with it\n"
    "                when --seconds is given\n"
    "  --plant BUG   put a bug into the system and succeed only when it is found: stale-key,\n"
    "                double-completion, lost-credit, early-answer, late-write; world store\n"
    "                knows lost-lease too\n";

constexpr struct {
  std::string_view name;
  Plant plant;
} kPlants[] = {
    {"stale-key", Plant::kStaleKey},       {"double-completion", Plant::kDoubleCompletion},
    {"lost-credit", Plant::kLostCredit},   {"lost-lease", Plant::kLostLease},
    {"early-answer", Plant::kEarlyAnswer}, {"late-write", Plant::kLateWrite},
};

int usage(const std::string& why) {
  std::fprintf(stderr, "mrpool_simulation: %s\n\n%s", why.c_str(), kHelp);
  return 2;
}

bool number(std::string_view text, uint64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

struct Totals {
  uint64_t runs = 0, steps = 0, commands = 0;
};

template <typename W>
std::unique_ptr<Simulation> make(uint64_t seed, Plant plant, Simulation::Violated violated) {
  return std::make_unique<W>(seed, plant, violated);
}

struct WorldKind {
  std::string_view name;
  std::unique_ptr<Simulation> (*make)(uint64_t seed, Plant plant, Simulation::Violated violated);
};
constexpr WorldKind kWorlds[] = {{"store", make<mrpool::sim::World>},
                                 {"nvmf", make<mrpool::sim::NvmfWorld>},
                                 {"iser", make<mrpool::sim::IserWorld>}};
const WorldKind* g_kind = &kWorlds[0];  // `violated` is a plain function

void violated(const Simulation& world, const std::string& what) {
  const auto seed = static_cast<unsigned long long>(world.seed);
  std::printf("seed %llu, step %llu: %s\n", seed, static_cast<unsigned long long>(world.steps),
              what.c_str());
  std::fputs(world.state().c_str(), stdout);
  std::printf("again: mrpool_simulation --world %s --seed %llu", g_kind->name.data(), seed);
  for (const auto& known : kPlants) {
    if (known.plant == world.plant) std::printf(" --plant %s", known.name.data());
  }
  std::printf("\n");
  std::fflush(stdout);
  std::_Exit(world.plant == Plant::kNone ? 1 : 0);
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t seconds = 0, seed = 0;
  bool fixed_seed = false;
  Plant plant = Plant::kNone;
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option == "--help" || option == "-h") {
      std::fputs(kHelp, stdout);
      return 0;
    }
    if (i + 1 == argc) return usage("'" + std::string(option) + "' is unknown or lacks its value");
    const std::string_view value = argv[++i];
    if (option == "--seconds") {
      if (!number(value, seconds) || seconds == 0) return usage("--seconds wants a number above 0");
    } else if (option == "--seed") {
      if (!number(value, seed)) return usage("--seed wants a number");
      fixed_seed = true;
    } else if (option == "--world") {
      const auto known = std::ranges::find(kWorlds, value, &WorldKind::name);
      if (known == std::end(kWorlds)) return usage("no such world: " + std::string(value));
      g_kind = known;
    } else if (option == "--plant") {
      for (const auto& known : kPlants) {
        if (known.name == value) plant = known.plant;
      }
      if (plant == Plant::kNone) return usage("no such bug: " + std::string(value));
    } else {
      return usage("unknown option '" + std::string(option) + "'");
    }
  }
  if (plant == Plant::kLostLease && g_kind != &kWorlds[0]) {
    return usage("only world store knows the bug lost-lease");
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // what was said stays said when a run is killed
  const bool once = fixed_seed && seconds == 0;
  if (seconds == 0) seconds = 10;
  if (!fixed_seed) seed = std::random_device{}();

  Totals totals;
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  std::printf("first seed %llu\n", static_cast<unsigned long long>(seed));
  do {
    const std::unique_ptr<Simulation> world = g_kind->make(seed, plant, violated);
    world->run();
    if (once) std::printf("digest %016llx\n", static_cast<unsigned long long>(world->trace()));
    ++totals.runs;
    totals.steps += world->steps;
    totals.commands += world->commands;
    ++seed;
  } while (!once && elapsed() < static_cast<double>(seconds));

  std::printf("%llu runs, %llu steps, %llu commands, %.0f steps/s: all invariants held\n",
              static_cast<unsigned long long>(totals.runs),
              static_cast<unsigned long long>(totals.steps),
              static_cast<unsigned long long>(totals.commands),
              static_cast<double>(totals.steps) / elapsed());
  if (plant == Plant::kNone) return 0;
  std::fprintf(stderr, "mrpool_simulation: the planted bug was not found\n");
  return 1;
}
