// mrpool-iser perf: generates load on a unit, verifies it, and reports with fio's keys. Each job is
// a session; one thread runs all.
#include <algorithm>
#include <boost/json/object.hpp>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "examples/base/exit_status.h"
#include "examples/iser/initiator/client.h"
#include "examples/iser/initiator/perf_job.h"
#include "examples/load/buffer.h"
#include "examples/load/interrupt.h"
#include "examples/load/live.h"
#include "examples/load/options.h"
#include "examples/load/report.h"
#include "examples/protocol/scsi/target_device.h"

namespace mrpool::iser {
namespace {

// Each job is a session; all share one thread.
constexpr load::Limits kLimits{.iodepth = kMaxDepth, .numjobs = 64};

constexpr const char* kExamples =
    R"(  $ mrpool-iser perf uiwarp://127.0.0.1:3260 --target IQN --iodepth 32 --time_based --runtime 10
  $ mrpool-iser perf verbs://10.0.0.1:3260 --target IQN --rw randrw --numjobs 4 --verify crc32c
  $ mrpool-iser perf uiwarp://127.0.0.1:3260 --target IQN --rw read --bs 128k --output-format json
)";

class Perf {
 public:
  Perf(Client& client, const ClientOptions& options, load::Options load)
      : client_(client), options_(options), load_(std::move(load)), live_(client.reactor()) {}

  absl::Status run();
  int report() const;
  // Why jobs ended early: another unit, or PerfJob::cause().
  absl::Status cause() const {
    absl::Status first = changed_;
    for (const auto& job : jobs_) first.Update(job->cause());
    return first;
  }

 private:
  absl::Status make_buffer();
  absl::Status log_in();
  void take_granted_depth();
  absl::Status make_jobs();
  void interrupted(load::Interrupt::Step step);
  void run_jobs();
  SessionCounters counters() const;

  Client& client_;
  const ClientOptions& options_;
  load::Options load_;
  std::vector<Session*> sessions_;
  Unit unit_;
  absl::Status changed_;
  std::optional<load::Buffer> buffer_;
  std::vector<load::Progress> progress_;
  std::vector<std::unique_ptr<PerfJob>> jobs_;
  load::Live live_;
};

// Call it before a session exists, because allocating much memory would delay the answers to pings.
absl::Status Perf::make_buffer() {
  if (absl::Status status = check_bs(load_.bs); !status.ok()) return status;
  auto buffer = load::Buffer::create(client_.pd(), perf_buffer(load_) * load_.numjobs);
  if (buffer.ok()) buffer_ = *std::move(buffer);
  return buffer.status();
}

absl::Status Perf::log_in() {
  for (uint32_t i = 0; i < load_.numjobs; ++i) {
    const auto session = client_.log_in();
    if (!session.ok() && load_.numjobs > 1) {
      return absl::Status(
          session.status().code(),
          absl::StrCat("session ", i + 1, " of ", load_.numjobs, ": ", session.status().message()));
    }
    if (!session.ok()) return session.status();
    sessions_.push_back(*session);
  }
  return absl::OkStatus();
}

// Limits the depth to the target's command window, because further commands would only wait.
void Perf::take_granted_depth() {
  uint32_t granted = load_.iodepth;
  for (const Session* session : sessions_) granted = std::min(granted, session->window());
  if (granted == 0 || granted == load_.iodepth) return;
  std::fprintf(stderr,
               "mrpool-iser: --iodepth %u: the target takes %u commands of a session at once\n",
               load_.iodepth, granted);
  load_.iodepth = granted;
}

absl::Status Perf::make_jobs() {
  auto unit = client_.pin_unit();
  if (!unit.ok()) return unit.status();
  unit_ = *std::move(unit);
  const Capacity& capacity = unit_.capacity;
  absl::Status status = load::finish_options(load_, capacity.bytes(), capacity.block_size);
  if (!status.ok()) return status;
  take_granted_depth();
  std::random_device entropy;
  if (load_.randseed == 0) load_.randseed = entropy();
  const uint64_t run_id = uint64_t{entropy()} << 32 | entropy();
  progress_ = std::vector<load::Progress>(load_.numjobs);
  for (uint32_t i = 0; i < load_.numjobs; ++i) {
    jobs_.push_back(
        std::make_unique<PerfJob>(PerfJobOptions{.load = load_,
                                                 .index = i,
                                                 .run_id = run_id,
                                                 .progress = &progress_[i],
                                                 .session = sessions_[i],
                                                 .reactor = &client_.reactor(),
                                                 .buffer = &*buffer_,
                                                 .unit = &unit_,
                                                 .lun = scsi::encode_lun(uint16_t(options_.lun))}));
  }
  return absl::OkStatus();
}

// The steps after a signal: the jobs verify what they wrote; then they only wait for active
// commands; then they do not wait. The results are printed in every case.
void Perf::interrupted(load::Interrupt::Step step) {
  for (const auto& job : jobs_) job->stop(step != load::Interrupt::Step::kFirst);
}

void Perf::run_jobs() {
  live_.start(progress_, load_.eta);
  size_t running = jobs_.size();
  client_.wait([&](const std::function<void()>& done) {
    for (const auto& job : jobs_) {
      job->start([&running, done] {
        if (--running == 0) done();
      });
    }
  });
  live_.stop();
}

absl::Status Perf::run() {
  if (absl::Status status = make_buffer(); !status.ok()) return status;
  if (absl::Status status = log_in(); !status.ok()) return status;
  if (absl::Status status = make_jobs(); !status.ok()) return status;
  client_.on_interrupt([this](load::Interrupt::Step step) { interrupted(step); });
  run_jobs();
  const auto failed = [](const auto& job) { return job->stats().failed(); };
  // The unit may have been replaced unnoticed: a smaller unit refuses commands beyond its end.
  if (!load::Interrupt::heard() && cause().ok() && std::ranges::any_of(jobs_, failed)) {
    const absl::Status same = client_.check_pinned();
    if (absl::IsAborted(same)) changed_ = same;
  }
  client_.log_out();
  return absl::OkStatus();
}

SessionCounters Perf::counters() const {
  SessionCounters sum;
  for (const Session* session : sessions_) {
    sum.keys += session->counters().keys;
    sum.remote_invalidations += session->counters().remote_invalidations;
    sum.local_invalidations += session->counters().local_invalidations;
    sum.immediate += session->counters().immediate;
  }
  return sum;
}

int Perf::report() const {
  const SessionCounters counters = this->counters();
  const MrPoolStats pool = client_.pool().stats();
  std::vector<load::JobStats> stats;
  for (const auto& job : jobs_) stats.push_back(job->stats());
  if (load_.output_format != load::OutputFormat::kNormal) {
    const load::ReportContext context{
        .program = "mrpool-iser",
        .job_name = "perf",
        .own = {{"keys", counters.keys},
                {"remote_invalidations", counters.remote_invalidations},
                {"local_invalidations", counters.local_invalidations},
                {"immediate", counters.immediate},
                {"mrs", pool.size},
                {"mrs_in_use", pool.in_use},
                {"mrs_high_water", pool.high_water},
                {"mr_repairs", pool.repairs}}};
    std::fputs(load::to_json(load_, stats, context).c_str(), stdout);
  } else {
    std::fputs(load::to_text(load_, stats).c_str(), stdout);
    std::printf(
        "  keys: %llu registered, %llu invalidated by the target, %llu here; %llu commands carried "
        "their data\n  pool: %u MRs, %u at once at most, %u in use, %llu repaired; randseed %llu\n",
        static_cast<unsigned long long>(counters.keys),
        static_cast<unsigned long long>(counters.remote_invalidations),
        static_cast<unsigned long long>(counters.local_invalidations),
        static_cast<unsigned long long>(counters.immediate), pool.size, pool.high_water,
        pool.in_use, static_cast<unsigned long long>(pool.repairs),
        static_cast<unsigned long long>(load_.randseed));
  }
  return std::ranges::any_of(stats, &load::JobStats::failed) ? base::kExitIo : base::kExitOk;
}

int run(ClientOptions options, const load::Options& load) {
  if (absl::Status status = check_target(options); !status.ok()) return fail(status);
  options.depth = load.iodepth;
  const auto client = Client::create(options, load.numjobs);
  if (!client.ok()) return fail(client.status());
  Perf perf(**client, options, load);
  const absl::Status status = perf.run();
  if (!status.ok()) return fail(status);
  const int errors = perf.report();
  return perf.cause().ok() ? errors : fail(perf.cause());
}

}  // namespace

void add_perf(base::CommandLine& program) {
  struct Arguments {
    ClientOptions client;
    load::Options load;
  };
  const auto arguments = std::make_shared<Arguments>();
  base::CommandLine& command =
      program.command("perf", "generate load, verify it, and report as fio does",
                      [arguments] { return run(arguments->client, arguments->load); });
  add_unit_options(command, arguments->client);
  load::add_options(command, arguments->load, kLimits);
  command.examples(kExamples);
}

}  // namespace mrpool::iser
