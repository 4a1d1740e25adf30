// Runs whole systems under one seed each, as many as fit into the time.
//
//   mrpool_simulation --seconds 120          fresh seeds; prints the seed of a failure
//   mrpool_simulation --seed 7               that run again, exactly
//   mrpool_simulation --plant stale-key      a system with a bug: succeeds when a seed shows it
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
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
#include "examples/base/log.h"
#include "tests/sim/board_world.h"
#include "tests/sim/gateways/world.h"
#include "tests/sim/iser_world.h"
#include "tests/sim/lied_to_iser.h"
#include "tests/sim/lied_to_nvmf.h"
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
    {"stale-key", Plant::kStaleKey},
    {"double-completion", Plant::kDoubleCompletion},
    {"lost-credit", Plant::kLostCredit},
    {"lost-lease", Plant::kLostLease},
    {"early-answer", Plant::kEarlyAnswer},
    {"late-write", Plant::kLateWrite},
    {"lost-update", Plant::kLostUpdate},
    {"bit-flip", Plant::kBitFlip},
    {"one-address", Plant::kOneAddress},
    {"one-writer", Plant::kOneWriter},
    {"stale-read", Plant::kStaleRead},
    {"no-fence", Plant::kNoFence},
    {"stale-save", Plant::kStaleSave},
    {"epoch-not-waited", Plant::kEpochNotWaited},
    {"late-lease-check", Plant::kLateLeaseCheck},
};

struct Totals {
  uint64_t runs = 0, steps = 0, commands = 0;
  std::map<std::string_view, uint64_t> moves;
  mrpool::Nanoseconds longest_stall{};
  double least_share = 1;
  std::vector<mrpool::Nanoseconds> taken_over, given_back;

  void add(const Simulation& world) {
    ++runs;
    steps += world.steps;
    commands += world.commands;
    for (const std::string_view move : world.all_moves()) moves.try_emplace(move, 0);
    for (const auto& [move, times] : world.moves()) moves[move] += times;
    longest_stall = std::max(longest_stall, world.longest_stall);
    least_share = std::min(least_share, world.least_share);
    taken_over.insert(taken_over.end(), world.taken_over.begin(), world.taken_over.end());
    given_back.insert(given_back.end(), world.given_back.begin(), world.given_back.end());
  }
  bool every_move() const {
    return std::ranges::all_of(moves, [](const auto& move) { return move.second != 0; });
  }
  // Prints how often each move ran.
  void tell_moves() const {
    std::string text;
    for (const auto& [move, times] : moves) {
      text += (text.empty() ? "moves: " : ", ") + std::string(move) + " " + std::to_string(times);
    }
    if (!text.empty()) std::printf("%s\n", text.c_str());
  }
  static void tell_pauses(const char* what, std::vector<mrpool::Nanoseconds> pauses) {
    if (pauses.empty()) return;
    std::ranges::sort(pauses);
    const auto seconds = [&](size_t percent) {
      return std::chrono::duration<double>(pauses[(pauses.size() - 1) * percent / 100]).count();
    };
    std::printf("%s: %zu, shortest %.3f s, median %.3f s, 99 %% up to %.3f s, longest %.3f s\n",
                what, pauses.size(), seconds(0), seconds(50), seconds(99), seconds(100));
  }
  void tell_service() const {
    tell_pauses("groups taken over", taken_over);
    tell_pauses("groups given back", given_back);
    if (longest_stall == mrpool::Nanoseconds{}) return;
    std::printf("beside bad peers: longest stall %.3f s, least share %.2f\n",
                std::chrono::duration<double>(longest_stall).count(), least_share);
  }
};

template <typename W>
std::unique_ptr<Simulation> make(uint64_t seed, Plant plant, Simulation::Violated violated) {
  return std::make_unique<W>(seed, plant, violated);
}

struct WorldKind {
  std::string_view name;
  std::unique_ptr<Simulation> (*make)(uint64_t seed, Plant plant, Simulation::Violated violated);
  std::vector<Plant> lacks;  // it has no place for these

  bool knows(Plant plant) const;
};
std::vector<Plant> all_but(const std::vector<Plant>& some) {
  std::vector<Plant> all;
  for (const auto& known : kPlants) {
    if (std::ranges::find(some, known.plant) == some.end()) all.push_back(known.plant);
  }
  return all;
}
const std::vector<Plant> kGatewayPlants = {Plant::kNoFence, Plant::kEpochNotWaited,
                                           Plant::kLateLeaseCheck, Plant::kStaleSave};

bool WorldKind::knows(Plant which) const {
  // Bugs of gateways have their place there.
  const bool gateways = std::ranges::find(kGatewayPlants, which) != kGatewayPlants.end();
  if (gateways && name != "gateways") return false;
  return std::ranges::find(lacks, which) == lacks.end();
}

const WorldKind kWorlds[] = {
    {"store",
     make<mrpool::sim::World>,
     {Plant::kLostUpdate, Plant::kBitFlip, Plant::kOneAddress, Plant::kOneWriter,
      Plant::kStaleRead}},
    {"nvmf",
     make<mrpool::sim::NvmfWorld>,
     {Plant::kLostLease, Plant::kLostUpdate, Plant::kBitFlip, Plant::kOneAddress}},
    {"iser",
     make<mrpool::sim::IserWorld>,
     {Plant::kLostLease, Plant::kLostUpdate, Plant::kBitFlip, Plant::kStaleRead}},
    {"board",
     make<mrpool::sim::BoardWorld>,
     {Plant::kStaleKey, Plant::kLostLease, Plant::kEarlyAnswer, Plant::kLateWrite,
      Plant::kOneAddress, Plant::kOneWriter, Plant::kStaleRead}},
    {"gateways", make<mrpool::sim::GatewaysWorld>, all_but(kGatewayPlants)},
    {"nvmf-host", make<mrpool::sim::LiedToNvmf>, all_but({Plant::kEarlyAnswer})},
    {"iser-initiator", make<mrpool::sim::LiedToIser>, all_but({Plant::kEarlyAnswer})}};
const WorldKind* g_kind = &kWorlds[0];  // `violated` is a plain function

char g_again[128];  // how the seed that runs is run again

void remember(uint64_t seed, Plant plant) {
  std::string text = "again: mrpool_simulation --world ";
  text.append(g_kind->name).append(" --seed ").append(std::to_string(seed));
  for (const auto& known : kPlants) {
    if (known.plant == plant) text.append(" --plant ").append(known.name);
  }
  text += '\n';
  std::ranges::copy(std::string_view(text).substr(0, sizeof g_again - 1), g_again);
  g_again[std::min(text.size(), sizeof g_again - 1)] = 0;
}

// A crash names its seed, too. A sanitizer reports the place, so its own handlers stay.
void name_seed_of_crashes() {
  for (const int signal : {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE}) {
    struct sigaction now {};
    sigaction(signal, nullptr, &now);
    if (now.sa_handler != SIG_DFL) continue;
    now.sa_handler = [](int which) {
      (void)!write(STDOUT_FILENO, g_again, std::char_traits<char>::length(g_again));
      raise(which);
    };
    now.sa_flags = SA_RESETHAND;
    sigaction(signal, &now, nullptr);
  }
}

void violated(const Simulation& world, const std::string& what) {
  std::printf("seed %llu, step %llu: %s\n", static_cast<unsigned long long>(world.seed),
              static_cast<unsigned long long>(world.steps), what.c_str());
  std::fputs(world.state().c_str(), stdout);
  std::fputs(g_again, stdout);
  std::fflush(stdout);
  std::_Exit(world.plant == Plant::kNone ? 1 : 0);
}

// Runs seeds while `goes_on` returns true.
Totals run_seeds(uint64_t seed, Plant plant, bool digest,
                 const std::function<bool(const Totals&)>& goes_on) {
  Totals totals;
  do {
    remember(seed, plant);
    const std::unique_ptr<Simulation> world = g_kind->make(seed, plant, violated);
    world->run();
    if (digest) std::printf("digest %016llx\n", static_cast<unsigned long long>(world->trace()));
    totals.add(*world);
    ++seed;
  } while (goes_on(totals));
  return totals;
}

void prepare_output() {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // what was said stays said when a run is killed
  mrpool::base::set_log_severity(mrpool::base::Severity::kWarning);  // hosts come and go
}

}  // namespace

int main(int argc, char** argv) {
  constexpr uint64_t kSeconds = 10;
  // How often a move comes depends on how many seeds the machine runs in the time.
  constexpr uint64_t kMovePatience = 50;
  std::optional<uint64_t> seconds, seeds, fixed_seed;
  Plant plant = Plant::kNone;
  bool every_move = false;
  mrpool::base::CommandLine program("mrpool_simulation", "Runs whole systems under one seed each.");
  std::vector<std::pair<std::string, const WorldKind*>> worlds;
  for (const WorldKind& kind : kWorlds) worlds.emplace_back(kind.name, &kind);
  std::vector<std::pair<std::string, Plant>> plants;
  for (const auto& known : kPlants) plants.emplace_back(known.name, known.plant);
  program.choice(
      "world",
      "store: a small block store; nvmf, iser: those of examples/; board: atomics and "
      "immediate data; gateways: several before one cluster; nvmf-host, iser-initiator: those of "
      "examples/ and targets that lie",
      g_kind, std::move(worlds));
  program.count("seconds",
                absl::StrCat("run fresh seeds for so long (default ", kSeconds, " without --seed)"),
                seconds, {.least = 1});
  program.count("seeds", "end after so many seeds, even before --seconds have passed", seeds,
                {.least = 1});
  program.count("seed", "run this seed only and print a digest; with --seconds, begin with it",
                fixed_seed);
  program.choice("plant", "put a bug into the system and succeed only when it is found", plant,
                 std::move(plants));
  program.flag("every-move",
               absl::StrCat("go on until everything that can happen did, for up to ", kMovePatience,
                            " times as long; else fail"),
               every_move);
  program.examples(kExamples);
  if (const auto status = program.begin(argc, argv)) return *status;
  if (!g_kind->knows(plant)) {
    return mrpool::base::fail("mrpool_simulation", absl::InvalidArgumentError(absl::StrCat(
                                                       "--plant: --world ", g_kind->name.data(),
                                                       " has no place for it")));
  }
  prepare_output();
  name_seed_of_crashes();
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  const uint64_t first = fixed_seed ? *fixed_seed : std::random_device{}();
  std::printf("first seed %llu\n", static_cast<unsigned long long>(first));
  const bool once = fixed_seed && !seconds;
  const double limit = double(seconds.value_or(kSeconds));
  const bool wants_moves = every_move && plant == Plant::kNone;
  const Totals totals = run_seeds(first, plant, once, [&](const Totals& so_far) {
    if (once || (seeds && so_far.runs >= *seeds)) return false;
    if (elapsed() < limit) return true;
    return wants_moves && elapsed() < limit * kMovePatience && !so_far.every_move();
  });

  std::printf("%llu runs, %llu steps, %llu commands, %.0f steps/s: all invariants held\n",
              static_cast<unsigned long long>(totals.runs),
              static_cast<unsigned long long>(totals.steps),
              static_cast<unsigned long long>(totals.commands),
              static_cast<double>(totals.steps) / elapsed());
  totals.tell_moves();
  totals.tell_service();
  if (every_move && !totals.every_move()) {
    std::fprintf(stderr, "mrpool_simulation: a move never ran\n");
    return 1;
  }
  if (plant == Plant::kNone) return 0;
  std::fprintf(stderr, "mrpool_simulation: the planted bug was not found\n");
  return 1;
}
