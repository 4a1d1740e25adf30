// mrpool-iser perf: load on a unit, verified, reported with fio's keys. Jobs are sessions of their
// own on one thread.
#include <signal.h>
#include <unistd.h>

#include <boost/asio/signal_set.hpp>
#include <boost/json/object.hpp>
#include <boost/system/system_error.hpp>
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
#include "examples/load/buffer.h"
#include "examples/load/options.h"
#include "examples/load/report.h"
#include "examples/load/workload.h"
#include "examples/protocol/scsi/target_device.h"
#include "mrpool/asio.h"

namespace mrpool::iser {
namespace {

// Each job is a session; all share one thread.
constexpr load::Limits kLimits{.iodepth = 1024, .numjobs = 64};

struct Arguments {
  ClientOptions client;
  load::Options load;
};

constexpr const char* kExamples =
    R"(  $ mrpool-iser perf uiwarp://127.0.0.1:3260 --target IQN --rw randread --iodepth 32 --runtime 10
  $ mrpool-iser perf verbs://10.0.0.1:3260 --target IQN --rw randrw --numjobs 4 --verify crc32c
  $ mrpool-iser perf uiwarp://127.0.0.1:3260 --target IQN --rw read --bs 128k --output-format json
)";
constexpr uint32_t kMaxTransfer = 1 << 20;

Nanoseconds clock_now() { return std::chrono::steady_clock::now().time_since_epoch(); }

class Job {
 public:
  Job(const load::Options& options, uint32_t index, uint64_t run_id, load::Progress& progress,
      Session& session, Reactor& reactor, const load::Buffer& buffer, uint64_t lun,
      uint32_t block_size)
      : session_(session),
        reactor_(reactor),
        block_size_(block_size),
        blocks_(options.bs / block_size),
        workload_(options, index, run_id, progress),
        rate_(*this) {
    for (uint32_t i = 0; i < options.iodepth; ++i) {
      const size_t at = (size_t{index} * options.iodepth + i) * options.bs;
      slots_.push_back(std::make_unique<Slot>(*this, buffer.sge(at, options.bs), lun));
      idle_.push_back(slots_.back().get());
    }
  }

  void start(std::function<void()> finished) {
    finished_ = std::move(finished);
    workload_.start(clock_now());
    pump();
  }
  // No further I/O; what was written is still read back unless `now_or_never`.
  void stop(bool now_or_never) {
    workload_.stop(now_or_never);
    pump();
  }
  const load::JobStats& stats() const { return workload_.stats(); }

 private:
  struct Slot : Command {
    Slot(Job& owner, const Sge& place, uint64_t unit)
        : Command([](Command& self) {
            Slot& slot = static_cast<Slot&>(self);
            slot.job.completed(slot);
          }),
          job(owner) {
      data = place;
      lun = unit;
    }
    std::span<std::byte> bytes() const { return {data.addr, data.length}; }
    Job& job;
    load::Io io;
  };
  struct Rate : Timer {
    explicit Rate(Job& owner)
        : Timer([](Timer& self) { static_cast<Rate&>(self).job.pump(); }), job(owner) {}
    Job& job;
  };

  void pump() {
    while (!idle_.empty()) {
      if (!session_.connected()) workload_.stop(true);
      Slot& slot = *idle_.back();
      const Nanoseconds now = clock_now();
      const load::Workload::Next next = workload_.next(now, slot.io, slot.bytes());
      if (next == load::Workload::Next::kLater) rate_.arm(reactor_, workload_.next_due() - now);
      if (next != load::Workload::Next::kIo) break;
      idle_.pop_back();
      const bool writes = slot.io.direction == load::Direction::kWrite;
      slot.direction = writes ? DataDirection::kOut : DataDirection::kIn;
      slot.cdb = transfer_cdb(writes, slot.io.offset / block_size_, blocks_);
      session_.submit(slot);
    }
    if (workload_.done() && finished_ != nullptr) {
      rate_.cancel();
      std::exchange(finished_, nullptr)();
    }
  }

  void completed(Slot& slot) {
    const bool attention =
        !slot.good() && slot.sense && slot.sense->key == scsi::SenseKey::kUnitAttention;
    if (attention && session_.connected()) return session_.submit(slot);  // told once, tried again
    idle_.push_back(&slot);
    if (slot.good()) {
      workload_.completed(slot.io, clock_now(), slot.bytes());
    } else {
      workload_.completed(slot.io, clock_now(), slot.bytes(), describe(slot));
      workload_.stop(slot.lost);
    }
    pump();
  }

  Session& session_;
  Reactor& reactor_;
  const uint32_t block_size_;
  const uint32_t blocks_;
  load::Workload workload_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Slot*> idle_;
  std::function<void()> finished_;
  Rate rate_;
};

// The line on stderr while a load runs.
class Live final : Timer {
 public:
  Live(Reactor& reactor, const std::vector<load::Progress>& progress)
      : Timer([](Timer& self) { static_cast<Live&>(self).tick(); }),
        reactor_(reactor),
        progress_(progress) {}
  void start() { arm(reactor_, kPeriod); }
  void stop() {
    cancel();
    if (rewrites_ && shown_) std::fputs("\r\033[K", stderr);
  }

 private:
  static constexpr Nanoseconds kPeriod = std::chrono::seconds(1);

  void tick() {
    const std::string text = line_.tick(progress_, reactor_.now());
    std::fprintf(stderr, rewrites_ ? "\r\033[K%s" : "%s\n", text.c_str());
    shown_ = true;
    arm(reactor_, kPeriod);
  }

  Reactor& reactor_;
  const std::vector<load::Progress>& progress_;
  const bool rewrites_ = isatty(STDERR_FILENO) != 0;
  load::LiveLine line_;
  bool shown_ = false;
};

int report(const load::Options& load, const std::vector<load::JobStats>& stats,
           const SessionCounters& counters, const MrPoolStats& pool) {
  uint64_t errors = 0;
  for (const load::JobStats& job : stats) errors += job.io_errors + job.verify_errors;
  if (load.output_format != load::OutputFormat::kNormal) {
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
    std::fputs(load::to_json(load, stats, context).c_str(), stdout);
  } else {
    std::fputs(load::to_text(load, stats).c_str(), stdout);
    std::printf(
        "  keys: %llu registered, %llu invalidated by the target, %llu here; %llu commands carried "
        "their data\n  pool: %u MRs, %u at once at most, %u in use, %llu repaired; randseed %llu\n",
        static_cast<unsigned long long>(counters.keys),
        static_cast<unsigned long long>(counters.remote_invalidations),
        static_cast<unsigned long long>(counters.local_invalidations),
        static_cast<unsigned long long>(counters.immediate), pool.size, pool.high_water,
        pool.in_use, static_cast<unsigned long long>(pool.repairs),
        static_cast<unsigned long long>(load.randseed));
  }
  return errors == 0 ? base::kExitOk : base::kExitIo;
}

absl::StatusOr<int> run(const ClientOptions& options, load::Options load) {
  auto made = Client::create(options, load.numjobs);
  if (!made.ok()) return made.status();
  Client& client = **made;
  std::vector<Session*> sessions;
  for (uint32_t i = 0; i < load.numjobs; ++i) {
    const auto session = client.log_in();
    if (!session.ok()) return session.status();
    sessions.push_back(*session);
  }
  const auto capacity = read_capacity(client);
  if (!capacity.ok()) return capacity.status();
  if (absl::Status status = load::finish_options(load, capacity->bytes(), capacity->block_size);
      !status.ok()) {
    return status;
  }
  if (load.bs > kMaxTransfer) {
    return absl::InvalidArgumentError(
        absl::StrCat("--bs ", load.bs, " is more than a command moves at once, ", kMaxTransfer));
  }

  std::random_device entropy;
  if (load.randseed == 0) load.randseed = entropy();
  const uint64_t run_id = uint64_t{entropy()} << 32 | entropy();
  const size_t bytes = size_t{load.bs} * load.iodepth * load.numjobs;
  const auto buffer = load::Buffer::create(client.pd(), bytes);
  if (!buffer.ok()) return buffer.status();

  std::vector<load::Progress> progress(load.numjobs);
  std::vector<std::unique_ptr<Job>> jobs;
  for (uint32_t i = 0; i < load.numjobs; ++i) {
    jobs.push_back(
        std::make_unique<Job>(load, i, run_id, progress[i], *sessions[i], client.reactor(), *buffer,
                              scsi::encode_lun(uint16_t(options.lun)), capacity->block_size));
  }
  // An interrupt ends the run early and the figures are shown; a second one skips the reading back.
  std::optional<boost::asio::signal_set> signals;
  try {
    signals.emplace(io_context(client.reactor()), SIGINT, SIGTERM);
  } catch (const boost::system::system_error& error) {  // no descriptors left for Asio's pipe
    return absl::ResourceExhaustedError("no signal handling: " + error.code().message());
  }
  bool interrupted = false;
  const std::function<void()> on_interrupt = [&] {
    signals->async_wait([&](const boost::system::error_code& error, int) {
      if (error) return;
      for (const auto& job : jobs) job->stop(interrupted);
      interrupted = true;
      on_interrupt();
    });
  };
  on_interrupt();
  Live live(client.reactor(), progress);
  if (load.eta == "always" || (load.eta == "auto" && isatty(STDERR_FILENO) != 0)) live.start();
  size_t running = jobs.size();
  client.wait([&](const std::function<void()>& done) {
    for (const auto& job : jobs) {
      job->start([&running, done] {
        if (--running == 0) done();
      });
    }
  });
  live.stop();
  signals->cancel();
  client.log_out();
  SessionCounters counters;
  for (const Session* session : sessions) {
    counters.keys += session->counters().keys;
    counters.remote_invalidations += session->counters().remote_invalidations;
    counters.local_invalidations += session->counters().local_invalidations;
    counters.immediate += session->counters().immediate;
  }
  std::vector<load::JobStats> stats;
  for (const auto& job : jobs) stats.push_back(job->stats());
  return report(load, stats, counters, client.pool().stats());
}

int run_perf(const std::shared_ptr<Arguments>& arguments) {
  ClientOptions options = arguments->client;
  if (options.target.empty()) {
    return fail(absl::InvalidArgumentError(absl::StrCat("--target is missing; `mrpool-iser ls ",
                                                        options.address, "` shows the targets")));
  }
  options.depth = arguments->load.iodepth;
  const absl::StatusOr<int> exit = run(options, arguments->load);
  return exit.ok() ? *exit : fail(exit.status());
}

}  // namespace

void add_perf(base::CommandLine& program) {
  const auto arguments = std::make_shared<Arguments>();
  base::CommandLine& command =
      program.command("perf", "generate load, verify it, and report as fio does",
                      [arguments] { return run_perf(arguments); });
  add_unit_options(command, arguments->client);
  load::add_options(command, arguments->load, kLimits);
  command.examples(kExamples);
}

}  // namespace mrpool::iser
