#include "examples/load/workload.h"

#include <algorithm>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "examples/load/pattern.h"

namespace mrpool::load {

void JobStats::merge(const JobStats& other) {
  for (size_t i = 0; i < 2; ++i) direction[i].merge(other.direction[i]);
  runtime = std::max(runtime, other.runtime);
  io_errors += other.io_errors;
  verified += other.verified;
  verify_errors += other.verify_errors;
  if (first_error.empty()) first_error = other.first_error;
}

Workload::Workload(const Options& options, uint32_t job, uint64_t run_id, Progress& progress)
    : options_(options),
      region_(job_region(options, job)),
      blocks_(region_.blocks(options.bs)),
      run_id_(run_id),
      progress_(progress),
      random_(options.randseed + job * 0x632be59bd9b4e019u),
      map_(std::max<uint64_t>(blocks_, 1), random_.next()) {
  if (options_.verify) content_ = std::make_unique<ContentMap>(blocks_);
  if (options_.rate_iops != 0) {
    interval_ = std::chrono::nanoseconds(1'000'000'000 / options_.rate_iops);
  }
}

void Workload::start(std::chrono::nanoseconds now) {
  due_ = now;
  measured_from_ = now + options_.ramp_time;
  deadline_ = options_.runtime.count() == 0 ? std::chrono::nanoseconds::max()
                                            : measured_from_ + options_.runtime;
}

Workload::Next Workload::next(std::chrono::nanoseconds now, Io& io, std::span<std::byte> buffer) {
  Next result = Next::kDone;
  if (phase_ == Phase::kRun) result = next_of_run(now, io);
  if (phase_ == Phase::kDrain) {
    if (outstanding_ != 0) return Next::kWait;
    phase_ = content_ != nullptr && wrote_ ? Phase::kReadBack : Phase::kDone;
    cursor_ = 0;
  }
  if (phase_ == Phase::kReadBack) result = next_of_read_back(io);
  if (result != Next::kIo) return result;
  io.started = now;
  if (io.direction == Direction::kWrite && content_ != nullptr) {
    io.sequence = ++sequence_;
    fill_block(buffer, {.offset = io.offset, .run = run_id_, .sequence = io.sequence});
  }
  return result;
}

Workload::Next Workload::next_of_run(std::chrono::nanoseconds now, Io& io) {
  const bool over = now >= deadline_ || (!options_.time_based && issued_ >= blocks_);
  if (over) {
    phase_ = Phase::kDrain;
    return Next::kDone;
  }
  if (interval_.count() != 0 && now < due_) return Next::kLater;
  Direction direction = has_writes(options_.rw) ? Direction::kWrite : Direction::kRead;
  if (is_mixed(options_.rw) && random_.below(100) < options_.rwmixread.value_or(kDefaultMix)) {
    direction = Direction::kRead;
  }
  if (!is_random(options_.rw)) {
    if (!start_on(cursor_, direction)) return Next::kWait;
    const uint64_t block = cursor_;
    cursor_ = cursor_ + 1 == blocks_ ? 0 : cursor_ + 1;
    advance_due(now);
    return issue(io, direction, block);
  }
  if (!options_.norandommap) {
    const uint64_t block = map_.at(issued_ % blocks_, issued_ / blocks_);
    if (!start_on(block, direction)) return Next::kWait;  // the last pass is still at it
    advance_due(now);
    return issue(io, direction, block);
  }
  // A block that is taken gives way to its neighbours; a region smaller than the depth waits.
  uint64_t block = random_.below(blocks_);
  const uint64_t tries = content_ == nullptr ? 1 : std::min<uint64_t>(blocks_, 64);
  for (uint64_t i = 0; i < tries; ++i) {
    if (start_on(block, direction)) {
      advance_due(now);
      return issue(io, direction, block);
    }
    block = block + 1 == blocks_ ? 0 : block + 1;
  }
  return Next::kWait;
}

void Workload::advance_due(std::chrono::nanoseconds now) {
  // A load that is late catches up, but at most with a tenth of a second's worth.
  due_ = std::max(due_ + interval_, now - std::chrono::milliseconds(100));
}

bool Workload::start_on(uint64_t block, Direction direction) {
  if (content_ == nullptr) return true;
  return direction == Direction::kRead ? content_->start_read(block) : content_->start_write(block);
}

Workload::Next Workload::issue(Io& io, Direction direction, uint64_t block) {
  io = {.direction = direction, .block = block, .offset = region_.begin + block * options_.bs};
  ++issued_;
  ++outstanding_;
  if (direction == Direction::kWrite) wrote_ = true;
  return Next::kIo;
}

Workload::Next Workload::next_of_read_back(Io& io) {
  while (cursor_ < blocks_ && content_->expected(cursor_) == 0) ++cursor_;
  if (cursor_ == blocks_) {
    phase_ = Phase::kDone;
    return Next::kDone;
  }
  content_->start_read(cursor_);
  issue(io, Direction::kRead, cursor_++);
  io.read_back = true;
  return Next::kIo;
}

void Workload::completed(const Io& io, std::chrono::nanoseconds now,
                         std::span<const std::byte> buffer, std::string_view error) {
  --outstanding_;
  if (content_ != nullptr) {
    if (io.direction == Direction::kRead) {
      content_->end_read(io.block);
    } else if (error.empty()) {
      content_->end_write(io.block, io.sequence);
    } else {
      content_->fail_write(io.block);
    }
  }
  if (!error.empty()) {
    ++stats_.io_errors;
    report_error(absl::StrCat(io.direction == Direction::kRead ? "read" : "write", " of ",
                              options_.bs, " bytes at ", io.offset, ": ",
                              absl::string_view(error.data(), error.size())));
    return;
  }
  if (io.direction == Direction::kRead && content_ != nullptr) check(io, buffer);
  if (io.read_back) return;
  progress_.add(io.direction, options_.bs);
  if (now < measured_from_) return;
  DirectionStats& direction = stats_.direction[size_t(io.direction)];
  ++direction.ios;
  direction.bytes += options_.bs;
  direction.latency.add(uint64_t((now - io.started).count()));
  if (phase_ != Phase::kReadBack) stats_.runtime = now - measured_from_;
}

void Workload::check(const Io& io, std::span<const std::byte> buffer) {
  const BlockIdentity expected{
      .offset = io.offset, .run = run_id_, .sequence = content_->expected(io.block)};
  BlockFault fault = BlockFault::kNone;
  if (expected.sequence != 0) {
    fault = check_block(buffer, expected);
  } else if (!has_writes(options_.rw)) {
    // A reading load checks what an earlier run wrote: intact and in place.
    fault = check_block(buffer, io.offset);
  } else {
    return;  // not written yet in this run: anything may be there
  }
  ++stats_.verified;
  if (fault == BlockFault::kNone) return;
  ++stats_.verify_errors;
  report_error(describe(fault, buffer, expected));
}

void Workload::report_error(std::string text) {
  progress_.errors.fetch_add(1, std::memory_order_relaxed);
  if (stats_.first_error.empty()) stats_.first_error = std::move(text);
}

void Workload::stop(bool now_or_never) {
  if (phase_ == Phase::kRun) phase_ = Phase::kDrain;
  if (now_or_never) phase_ = Phase::kDone;
}

}  // namespace mrpool::load
