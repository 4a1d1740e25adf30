// Runs whole systems under one seed each, as many as fit into the time.
//
//   mrpool_simulation --seconds 120          fresh seeds; prints the seed of a failure
//   mrpool_simulation --seed 7               that run again, exactly
//   mrpool_simulation --plant stale-key      a system with a bug: succeeds when a seed shows it
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <string_view>

#include "tests/sim/nvmf_world.h"
#include "tests/sim/world.h"

namespace {

using mrpool::sim::Plant;
using mrpool::sim::Simulation;

constexpr const char* kHelp =
    "mrpool_simulation [--world store|nvmf] [--seconds S] [--seed N] [--plant BUG]\n"
    "\n"
    "  --world W     store: a small block store made to exercise the library (default);\n"
    "                nvmf: the NVMe-oF target and initiator of examples/\n"
    "  --seconds S   run fresh seeds for so long (default 10)\n"
    "  --seed N      run this seed only, or start with it when --seconds is given\n"
    "  --plant BUG   put a bug into the system and succeed only when it is found: stale-key,\n"
    "                double-completion, lost-credit, lost-lease, early-answer, late-write;\n"
    "                world nvmf knows the last two\n";

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

bool g_nvmf = false;  // which world; `violated` is a plain function

std::unique_ptr<Simulation> make(uint64_t seed, Plant plant, Simulation::Violated violated) {
  if (g_nvmf) return std::make_unique<mrpool::sim::NvmfWorld>(seed, plant, violated);
  return std::make_unique<mrpool::sim::World>(seed, plant, violated);
}

void violated(const Simulation& world, const std::string& what) {
  const auto seed = static_cast<unsigned long long>(world.seed);
  std::printf("seed %llu, step %llu: %s\n", seed, static_cast<unsigned long long>(world.steps),
              what.c_str());
  std::printf("again: mrpool_simulation%s --seed %llu", g_nvmf ? " --world nvmf" : "", seed);
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
      if (value != "store" && value != "nvmf") return usage("no such world: " + std::string(value));
      g_nvmf = value == "nvmf";
    } else if (option == "--plant") {
      for (const auto& known : kPlants) {
        if (known.name == value) plant = known.plant;
      }
      if (plant == Plant::kNone) return usage("no such bug: " + std::string(value));
    } else {
      return usage("unknown option '" + std::string(option) + "'");
    }
  }
  if (g_nvmf && plant != Plant::kNone && plant < Plant::kEarlyAnswer) {
    return usage("world nvmf knows the bugs early-answer and late-write only");
  }
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
    const std::unique_ptr<Simulation> world = make(seed, plant, violated);
    world->run();
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
