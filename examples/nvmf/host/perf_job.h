// One job of a load: a thread with a reactor, an I/O queue on it, and iodepth I/Os under way.
//
// Thread safety: the object is made and destroyed by the main thread; run() starts its thread,
// which then owns everything except the members that are marked as shared. reactor() is stable from
// creation on.
// Ownership: the queue and progress are the caller's and outlive the job.
#pragma once

#include <atomic>
#include <cstdint>
#include <latch>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/load/workload.h"
#include "examples/nvmf/host/path_selector.h"
#include "mrpool/callback.h"

namespace mrpool::nvme::host {

struct PerfJobOptions {
  load::Options load;  // bs and iodepth count before prepare()
  uint32_t index = 0;
  uint64_t run_id = 0;
  ReactorOptions reactor;
  Pd* pd = nullptr;
  load::Progress* progress = nullptr;
};

class PerfJob final : private PathSelector::Owner {
 public:
  static absl::StatusOr<std::unique_ptr<PerfJob>> create(const PerfJobOptions& options,
                                                         Task& finished, Reactor& finished_on);
  ~PerfJob();  // stops the thread

  // What the load is, once the namespace is known; requires the same bs and iodepth.
  void prepare(const NamespaceInfo& ns, const load::Options& load);
  // Starts the thread; the reactor runs from then on.
  void run();
  // Starts the I/O. `finished` is posted once when all of it, reading back included, is done.
  void start(std::vector<PathSelector::Member> paths, PathPolicy policy);
  // Any thread, any number of times: no further I/O but reading back, or not even that.
  void stop();
  void give_up();
  // After `finished`, or after prepare() when it was never started.
  const load::JobStats& stats() const { return workload_->stats(); }
  // After `finished`: null when it was never started.
  const PathSelector* paths() const { return paths_ ? &*paths_ : nullptr; }

  Reactor& reactor() { return *reactor_; }

 private:
  struct Slot;

  PerfJob(const PerfJobOptions& options, Task& finished, Reactor& finished_on);
  void start_now();
  void stop_now();
  void give_up_now();
  void pump();
  void submit(Slot& slot);
  void completed(Slot& slot, const Outcome& outcome);
  void on_no_path(PathSelector::Command& command) override;
  void maybe_finish();
  void count_up() { up_.count_down(); }

  const PerfJobOptions options_;
  Task& finished_;
  Reactor& finished_on_;
  NamespaceInfo ns_;
  std::optional<load::Workload> workload_;
  uint32_t blocks_per_io_ = 0;
  std::unique_ptr<Reactor> reactor_;
  std::unique_ptr<load::Buffer> buffer_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Slot*> idle_;
  Bound<Task, &PerfJob::start_now> start_call_{*this};
  Bound<Task, &PerfJob::stop_now> stop_call_{*this};
  Bound<Task, &PerfJob::give_up_now> give_up_call_{*this};
  // A Task is posted once.
  std::atomic<bool> stop_posted_{false};
  std::atomic<bool> give_up_posted_{false};
  Bound<Timer, &PerfJob::pump> rate_timer_{*this};
  std::optional<PathSelector> paths_;
  bool told_ = false;
  std::latch up_{1};
  Bound<Task, &PerfJob::count_up> started_{*this};
  std::thread thread_;
};

}  // namespace mrpool::nvme::host
