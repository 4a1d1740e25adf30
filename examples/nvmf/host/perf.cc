// mrpool-nvmf perf: load on a namespace, verified, reported with fio's keys.
#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cstdio>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "examples/base/units.h"
#include "examples/load/live.h"
#include "examples/load/report.h"
#include "examples/nvmf/host/commands.h"
#include "examples/nvmf/host/host.h"
#include "examples/nvmf/host/perf_job.h"

namespace mrpool::nvme::host {
namespace {

// Queues of a controller are numbered by 16 bits; each costs a thread here.
constexpr load::Limits kLimits{.iodepth = kMaxDepth, .numjobs = 1024};

constexpr const char* kExamples =
    R"(  $ mrpool-nvmf perf uiwarp://127.0.0.1:4420 --subnqn NQN --iodepth 32 --time_based --runtime 10
  $ mrpool-nvmf perf verbs://10.0.0.1:4420 --subnqn NQN --rw randrw --numjobs 4 --verify crc32c
  $ mrpool-nvmf perf uiwarp://127.0.0.1:4420 --subnqn NQN --rw read --bs 128k --output-format json
)";

class Perf {
 public:
  Perf(Host& host, const HostOptions& host_options, load::Options load)
      : host_(host), host_options_(host_options), load_(std::move(load)), live_(host.reactor()) {}

  Async<absl::Status> run();
  // Ends the load early, with everything verified, or without.
  void stop(load::Interrupt::Step step) {
    interrupted_ = step;
    for (const auto& job : jobs_) {
      step == load::Interrupt::Step::kFirst ? job->stop() : job->give_up();
    }
  }
  int report() const;
  // Why jobs ended early: the session was lost, or another namespace took the place.
  const absl::Status& cause() const { return cause_; }

 private:
  Async<absl::Status> connect();
  Async<absl::Status> check_grant(Session& session);
  Async<absl::Status> compare(Path& path, const NamespaceInfo& ns);
  Async<absl::Status> make_jobs();
  Async<absl::Status> prepare();
  Async<> run_jobs();
  Async<absl::Status> cause_of_failures();
  void count_paths();
  boost::json::object own() const;
  bool failed() const {
    return std::ranges::any_of(jobs_, [](const auto& job) { return job->stats().failed(); });
  }
  void one_finished() {
    if (--running_ == 0) all_finished_.set();
  }

  Host& host_;
  const HostOptions& host_options_;
  load::Options load_;
  std::vector<load::Progress> progress_;
  using Finished = Bound<Task, &Perf::one_finished>;
  std::vector<std::unique_ptr<Finished>> finished_;
  std::vector<std::unique_ptr<PerfJob>> jobs_;
  std::vector<load::JobStats> stats_;
  size_t running_ = 0;
  Event all_finished_;
  load::Live live_;
  QueueCounters counters_;
  MrPoolStats pool_;
  uint32_t reconnects_ = 0;
  uint64_t failovers_ = 0;
  std::vector<uint64_t> path_commands_;
  absl::Status cause_;
  std::optional<load::Interrupt::Step> interrupted_;  // the last one
};

// Before anything is made for jobs that the target has no queues for.
Async<absl::Status> Perf::check_grant(Session& session) {
  if (absl::Status status = session.check_depth(); !status.ok()) co_return status;
  const auto granted = co_await session.controller().set_queue_count(uint16_t(load_.numjobs));
  if (!granted.ok()) co_return granted.status();
  if (*granted >= load_.numjobs) co_return absl::OkStatus();
  co_return absl::InvalidArgumentError(
      absl::StrCat("--numjobs ", load_.numjobs, ": the target grants a host ", *granted,
                   " I/O queues; ask for --numjobs ", *granted, " at most"));
}

// One after the other: the memory of many takes its time, and there are keep-alives to send.
Async<absl::Status> Perf::make_jobs() {
  std::random_device entropy;
  if (load_.randseed == 0) load_.randseed = entropy();
  const uint64_t run_id = uint64_t(entropy()) << 32 | entropy();
  progress_ = std::vector<load::Progress>(load_.numjobs);
  for (uint32_t i = 0; i < load_.numjobs; ++i) {
    finished_.push_back(std::make_unique<Finished>(*this));
    auto job = PerfJob::create({.load = load_,
                                .index = i,
                                .run_id = run_id,
                                .reactor = host_.job_reactor(),
                                .pd = &host_.pd(),
                                .progress = &progress_[i]},
                               *finished_.back(), host_.reactor());
    if (!job.ok()) co_return job.status();
    jobs_.push_back(*std::move(job));
    co_await pause(host_.reactor(), Nanoseconds{0});
    if (load::Interrupt::heard()) co_return load::Interrupt::status();
  }
  co_return absl::OkStatus();
}

// What can be checked before there are jobs, and then the jobs.
Async<absl::Status> Perf::prepare() {
  Session& session = host_.session();
  absl::Status status;
  for (const auto& path : host_.paths()) {
    if (status.ok()) status = co_await check_grant(path->session());
  }
  if (!status.ok()) co_return status;
  const auto ns = co_await session.controller().namespace_info(host_options_.nsid);
  status = ns.status();
  if (status.ok()) status = load::finish_options(load_, ns->bytes(), ns->block_size);
  if (status.ok() && load_.bs > session.controller().max_transfer()) {
    status = absl::InvalidArgumentError(absl::StrCat("--bs ", load_.bs,
                                                     " is more than the controller takes at once, ",
                                                     session.controller().max_transfer()));
  }
  if (!status.ok()) co_return status;
  session.pin(*ns);
  for (const auto& path : host_.paths()) {
    if (&path->session() != &session) status = co_await compare(*path, *ns);
    if (!status.ok()) co_return status;
  }
  status = co_await make_jobs();
  if (!status.ok()) co_return status;
  std::vector<Reactor*> reactors;
  for (const auto& job : jobs_) {
    job->prepare(*ns, load_);
    job->run();
    reactors.push_back(&job->reactor());
  }
  for (const auto& path : host_.paths()) {
    if (status.ok()) status = co_await path->session().open_queues(reactors);
  }
  co_return status;
}

// All paths lead to one namespace.
Async<absl::Status> Perf::compare(Path& path, const NamespaceInfo& ns) {
  const auto other = co_await path.session().controller().namespace_info(ns.nsid);
  if (!other.ok()) co_return other.status();
  if (const absl::Status same = check_same(ns, *other); !same.ok()) {
    co_return absl::InvalidArgumentError(absl::StrCat("--path ", path.name(), ": ", same.message(),
                                                      "; give paths to one namespace"));
  }
  path.session().pin(ns);
  co_return absl::OkStatus();
}

Async<absl::Status> Perf::connect() {
  for (const auto& path : host_.paths()) {
    if (absl::Status status = co_await path->connect(); !status.ok()) co_return status;
  }
  co_return absl::OkStatus();
}

Async<> Perf::run_jobs() {
  host_.on_interrupt([this](load::Interrupt::Step step) { stop(step); });
  running_ = jobs_.size();
  for (size_t i = 0; i < jobs_.size(); ++i) {
    std::vector<PathSelector::Member> members;
    for (const auto& path : host_.paths()) {
      members.push_back({.path = path.get(), .queue = &path->session().queue(i)});
    }
    jobs_[i]->start(std::move(members), host_options_.path_policy);
  }
  live_.start(progress_, load_.eta);
  co_await all_finished_;
  live_.stop();
  if (failed() && interrupted_ == load::Interrupt::Step::kGiveUp) {
    cause_ = load::Interrupt::status();
  } else if (failed() && interrupted_) {
    cause_ = host_.session().ended().value_or(absl::OkStatus());
  } else if (failed()) {
    cause_ = co_await cause_of_failures();
  }
}

Async<absl::Status> Perf::cause_of_failures() {
  for (const auto& path : host_.paths()) {
    absl::Status status = co_await path->session().cause();
    if (!status.ok()) co_return status;
  }
  co_return absl::OkStatus();
}

void Perf::count_paths() {
  path_commands_.resize(host_.paths().size());
  for (const auto& job : jobs_) {
    if (job->paths() == nullptr) continue;
    failovers_ += job->paths()->failovers();
    for (size_t i = 0; i < path_commands_.size(); ++i) {
      path_commands_[i] += job->paths()->members()[i].commands;
    }
  }
}

Async<absl::Status> Perf::run() {
  absl::Status status = co_await connect();
  if (status.ok()) status = co_await prepare();
  if (status.ok()) co_await run_jobs();
  for (const auto& path : host_.paths()) {
    reconnects_ += path->session().reconnects();
    co_await path->disconnect();
    counters_ += path->session().counters();
  }
  count_paths();
  pool_ = host_.pool().stats();
  if (status.ok()) {
    for (const auto& job : jobs_) stats_.push_back(job->stats());
  }
  jobs_.clear();
  co_return status;
}

boost::json::object Perf::own() const {
  boost::json::object all{{"keys", counters_.keys},
                          {"remote_invalidations", counters_.remote_invalidations},
                          {"local_invalidations", counters_.local_invalidations},
                          {"in_capsule", counters_.in_capsule},
                          {"resubmitted", counters_.resubmitted},
                          {"retried", counters_.retried},
                          {"authentications", counters_.authentications},
                          {"reconnects", reconnects_},
                          {"mrs", pool_.size},
                          {"mrs_in_use", pool_.in_use},
                          {"mrs_high_water", pool_.high_water},
                          {"mr_repairs", pool_.repairs}};
  if (path_commands_.size() == 1) return all;
  all["failovers"] = failovers_;
  boost::json::array paths;
  for (size_t i = 0; i < path_commands_.size(); ++i) {
    const Path& path = *host_.paths()[i];
    paths.push_back({{"address", path.name()}, {"commands", path_commands_[i]}});
  }
  all["paths"] = std::move(paths);
  return all;
}

int Perf::report() const {
  if (load_.output_format != load::OutputFormat::kNormal) {
    const load::ReportContext context{.program = "mrpool-nvmf", .job_name = "perf", .own = own()};
    std::fputs(load::to_json(load_, stats_, context).c_str(), stdout);
  } else {
    std::fputs(load::to_text(load_, stats_).c_str(), stdout);
    std::printf(
        "  keys: %llu registered, %llu invalidated by the target, %llu here; %llu commands carried "
        "their data\n  pool: %u MRs, %u at once at most, %u in use, %llu repaired; %u reconnects; "
        "randseed %llu\n",
        static_cast<unsigned long long>(counters_.keys),
        static_cast<unsigned long long>(counters_.remote_invalidations),
        static_cast<unsigned long long>(counters_.local_invalidations),
        static_cast<unsigned long long>(counters_.in_capsule), pool_.size, pool_.high_water,
        pool_.in_use, static_cast<unsigned long long>(pool_.repairs), reconnects_,
        static_cast<unsigned long long>(load_.randseed));
    for (size_t i = 0; i < path_commands_.size() && path_commands_.size() > 1; ++i) {
      std::printf("  path %s: %llu commands\n", host_.paths()[i]->name().c_str(),
                  static_cast<unsigned long long>(path_commands_[i]));
    }
    if (path_commands_.size() > 1) {
      std::printf("  %llu commands were sent again on another path\n",
                  static_cast<unsigned long long>(failovers_));
    }
  }
  return std::ranges::any_of(stats_, &load::JobStats::failed) ? kExitIo : kExitOk;
}

int run(const HostOptions& options, const load::Options& load) {
  auto host = Host::create(options, load.numjobs, uint16_t(load.iodepth));
  if (!host.ok()) return fail(host.status());
  Perf perf(**host, options, load);
  const absl::Status status = (*host)->run(perf.run());
  if (!status.ok()) return fail(status);
  const int errors = perf.report();
  return perf.cause().ok() ? errors : fail(perf.cause());
}

}  // namespace

void add_perf(base::CommandLine& program) {
  struct Arguments {
    HostOptions host;
    load::Options load;
  };
  const auto arguments = std::make_shared<Arguments>();
  base::CommandLine& command =
      program.command("perf", "generate load, verify it, and report as fio does",
                      [arguments] { return run(arguments->host, arguments->load); });
  add_options(command, arguments->host, HostOptionSet::kLoad);
  load::add_options(command, arguments->load, kLimits);
  command.examples(kExamples);
}

}  // namespace mrpool::nvme::host
