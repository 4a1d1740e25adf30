// One job's load: which I/O comes next, whether what came back is right, and how long it took.
//
// It knows no transport: the caller asks next(), does the I/O, and reports completed(). With
// verification the job ends with a pass that reads back every block it wrote.
//
// next() never blocks: kWait means "after a completion", kLater "at the time given" (rate limits).
// Units: bytes and nanoseconds of any one monotonic clock.
// Thread safety: distinct objects: safe. Ownership: `progress` is the caller's and must outlive it.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>

#include "examples/load/content_map.h"
#include "examples/load/options.h"
#include "examples/load/random.h"
#include "examples/load/random_map.h"
#include "examples/load/stats.h"

namespace mrpool::load {

struct Io {
  Direction direction = Direction::kRead;
  bool read_back = false;  // of the pass at the end: checked, not measured
  uint64_t block = 0;      // within the job's region
  uint64_t offset = 0;     // bytes on the device
  uint64_t sequence = 0;   // writes with verification
  std::chrono::nanoseconds started{0};
};

class Workload {
 public:
  enum class Next : uint8_t { kIo, kWait, kLater, kDone };

  Workload(const Options& options, uint32_t job, uint64_t run_id, Progress& progress);

  // Starts the clock; call when the job can do I/O.
  void start(std::chrono::nanoseconds now);

  // kIo: `io` is to be done; for a write `buffer` (bs bytes) was filled.
  Next next(std::chrono::nanoseconds now, Io& io, std::span<std::byte> buffer);
  // After kLater.
  std::chrono::nanoseconds next_due() const { return due_; }

  // Reports an I/O. For a read `buffer` holds what came back. `error` empty: it succeeded.
  void completed(const Io& io, std::chrono::nanoseconds now, std::span<const std::byte> buffer,
                 std::string_view error = {});

  // No further I/O but the reading back of what was written; `now_or_never` drops that too.
  void stop(bool now_or_never = false);
  bool done() const { return phase_ == Phase::kDone && outstanding_ == 0; }
  uint32_t outstanding() const { return outstanding_; }
  const JobStats& stats() const { return stats_; }

 private:
  enum class Phase : uint8_t { kRun, kDrain, kReadBack, kDone };

  Next next_of_run(std::chrono::nanoseconds now, Io& io);
  Next next_of_read_back(Io& io);
  Next issue(Io& io, Direction direction, uint64_t block);
  void advance_due(std::chrono::nanoseconds now);
  bool start_on(uint64_t block, Direction direction);
  void check(const Io& io, std::span<const std::byte> buffer);
  void report_error(std::string text);

  const Options options_;
  const Region region_;
  const uint64_t blocks_;
  const uint64_t run_id_;
  Progress& progress_;
  Random random_;
  RandomMap map_;
  std::unique_ptr<ContentMap> content_;  // with verification only
  JobStats stats_;

  Phase phase_ = Phase::kRun;
  uint32_t outstanding_ = 0;
  uint64_t cursor_ = 0;    // next sequential block; in the read-back pass, of that
  uint64_t issued_ = 0;    // I/Os of the run
  uint64_t sequence_ = 0;  // of the last write
  bool wrote_ = false;
  std::chrono::nanoseconds measured_from_{0};
  std::chrono::nanoseconds deadline_{0};
  std::chrono::nanoseconds interval_{0};  // between I/Os of a rated load
  std::chrono::nanoseconds due_{0};
};

}  // namespace mrpool::load
