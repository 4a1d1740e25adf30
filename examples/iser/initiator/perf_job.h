// One job of a load: a session with iodepth concurrent I/Os.
//
// Commands are retried by unit_commands.h; another unit ends the job.
//
// Thread safety: the reactor's thread. Ownership: the caller owns session, buffer, unit and
// progress, which outlive the job. Destroy the job when it has finished.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "examples/iser/initiator/unit.h"
#include "examples/iser/initiator/unit_commands.h"
#include "examples/load/buffer.h"
#include "examples/load/workload.h"

namespace mrpool::iser {

struct PerfJobOptions {
  load::Options load;
  uint32_t index = 0;
  uint64_t run_id = 0;
  load::Progress* progress = nullptr;
  Session* session = nullptr;
  Reactor* reactor = nullptr;
  const load::Buffer* buffer = nullptr;  // perf_buffer() bytes for each job
  const Unit* unit = nullptr;
  uint64_t lun = 0;
};

// Bytes of `buffer` that one job needs.
size_t perf_buffer(const load::Options& options);

class PerfJob {
 public:
  explicit PerfJob(const PerfJobOptions& options);
  ~PerfJob();

  // `finished` runs once, when all I/O, including the verification, has ended.
  void start(std::function<void()> finished);
  // Starts no further I/O. Written data is still read back, unless `now_or_never`, which also ends
  // waits before retries.
  void stop(bool now_or_never);
  const load::JobStats& stats() const { return workload_.stats(); }
  // Why the job ended early: the session was lost, or the unit was replaced by another (Aborted).
  const absl::Status& cause() const { return cause_; }

 private:
  struct Slot;

  void pump();
  void ended(Slot& slot, const absl::Status& status);

  const PerfJobOptions options_;
  Session& session_;
  load::Workload workload_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Slot*> idle_;
  UnitCommands commands_;
  absl::Status cause_;
  std::function<void()> finished_;
  Bound<Timer, &PerfJob::pump> rate_{*this};
};

}  // namespace mrpool::iser
