// Runs whole systems under one seed each, as many as fit into the time.
//
//   mrpool_simulation --seconds 120          fresh seeds; prints the seed of a failure
//   mrpool_simulation --seed 7               that run again, exactly
//   mrpool_simulation --plant stale-key      a system with a bug: succeeds when a seed shows it
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "examples/base/command_line.h"
#include "examples/base/exit_status.h"
#include "tests/sim/iser_world.h"
#include "tests/sim/nvmf_world.h"
#include "tests/sim/world.h"

namespace {

using mrpool::sim::Plant;
using mrpool::sim::Simulation;

constexpr const char* kExamples =
    R"(  $ mrpool_simulation --seconds 120        fresh seeds; prints the seed of a failure
  $ mrpool_simulation --seed 7             that run again, exactly
  $ mrpool_simulation --plant stale-key    a system with a bug: succeeds when a seed shows it
)";

constexpr struct {
  std::string_view name;
  Plant plant;
} kPlants[] = {
    {"stale-key", Plant::kStaleKey},       {"double-completion", Plant::kDoubleCompletion},
    {"lost-credit", Plant::kLostCredit},   {"lost-lease", Plant::kLostLease},
    {"early-answer", Plant::kEarlyAnswer}, {"late-write", Plant::kLateWrite},
};

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
  constexpr uint64_t kSeconds = 10;
  std::optional<uint64_t> seconds, fixed_seed;
  Plant plant = Plant::kNone;
  mrpool::base::CommandLine program("mrpool_simulation", "Runs whole systems under one seed each.");
  std::vector<std::pair<std::string, const WorldKind*>> worlds;
  for (const WorldKind& kind : kWorlds) worlds.emplace_back(kind.name, &kind);
  std::vector<std::pair<std::string, Plant>> plants;
  for (const auto& known : kPlants) plants.emplace_back(known.name, known.plant);
  program.choice("world", "store: a small block store; nvmf, iser: those of examples/", g_kind,
                 std::move(worlds));
  program.count("seconds",
                absl::StrCat("run fresh seeds for so long (default ", kSeconds, " without --seed)"),
                seconds, {.least = 1});
  program.count("seed", "run this seed only and print a digest; with --seconds, begin with it",
                fixed_seed);
  program.choice("plant", "put a bug into the system and succeed only when it is found", plant,
                 std::move(plants));
  program.examples(kExamples);
  if (const auto status = program.begin(argc, argv)) return *status;
  if (plant == Plant::kLostLease && g_kind != &kWorlds[0]) {
    return mrpool::base::fail(
        "mrpool_simulation",
        absl::InvalidArgumentError("--plant: only --world store knows lost-lease"));
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // what was said stays said when a run is killed
  const bool once = fixed_seed && !seconds;
  const double limit = double(seconds.value_or(kSeconds));
  uint64_t seed = fixed_seed ? *fixed_seed : std::random_device{}();

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
  } while (!once && elapsed() < limit);

  std::printf("%llu runs, %llu steps, %llu commands, %.0f steps/s: all invariants held\n",
              static_cast<unsigned long long>(totals.runs),
              static_cast<unsigned long long>(totals.steps),
              static_cast<unsigned long long>(totals.commands),
              static_cast<double>(totals.steps) / elapsed());
  if (plant == Plant::kNone) return 0;
  std::fprintf(stderr, "mrpool_simulation: the planted bug was not found\n");
  return 1;
}
