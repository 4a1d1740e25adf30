#include "examples/iser/initiator/perf_job.h"

#include <chrono>
#include <utility>

#include "examples/iser/initiator/client.h"

namespace mrpool::iser {
namespace {

Nanoseconds clock_now() { return std::chrono::steady_clock::now().time_since_epoch(); }

size_t data_bytes(const load::Options& options) { return size_t{options.bs} * options.iodepth; }

}  // namespace

struct PerfJob::Slot : Command {
  Slot(PerfJob& owner, const Sge& place, uint64_t unit)
      : Command(to_method<&Slot::finished>), job(owner) {
    data = place;
    lun = unit;
  }
  void finished() { job.completed(*this); }
  void again() { job.submit(*this); }
  std::span<std::byte> bytes() const { return {data.addr, data.length}; }
  PerfJob& job;
  load::Io io;
  Attempts attempts;
  Bound<Timer, &Slot::again> retry{*this};
};

size_t perf_buffer(const load::Options& options) {
  return data_bytes(options) + UnitReader::kBuffer;
}

PerfJob::PerfJob(const PerfJobOptions& options)
    : options_(options),
      session_(*options.session),
      block_size_(options.unit->capacity.block_size),
      blocks_(options.load.bs / block_size_),
      workload_(options.load, options.index, options.run_id, *options.progress),
      reader_(
          session_, *options.reactor, options.lun,
          options.buffer->sge(options.index * perf_buffer(options.load) + data_bytes(options.load),
                              UnitReader::kBuffer)) {
  const load::Options& load = options.load;
  for (uint32_t i = 0; i < load.iodepth; ++i) {
    const size_t at = options.index * perf_buffer(load) + size_t{i} * load.bs;
    slots_.push_back(std::make_unique<Slot>(*this, options.buffer->sge(at, load.bs), options.lun));
    idle_.push_back(slots_.back().get());
  }
}

PerfJob::~PerfJob() = default;

void PerfJob::start(std::function<void()> finished) {
  finished_ = std::move(finished);
  workload_.start(clock_now());
  pump();
}

void PerfJob::stop(bool now_or_never) {
  workload_.stop(now_or_never);
  if (now_or_never) {
    reader_.hurry();
    for (const auto& slot : slots_) {
      if (!slot->retry.armed()) continue;
      slot->retry.cancel();
      submit(*slot);
    }
  }
  pump();
}

void PerfJob::pump() {
  while (held_.empty() && !idle_.empty()) {
    if (!session_.connected() && !workload_.done()) {
      cause_.Update(session_.error());
      workload_.stop(true);
    }
    Slot& slot = *idle_.back();
    const Nanoseconds now = clock_now();
    const load::Workload::Next next = workload_.next(now, slot.io, slot.bytes());
    if (next == load::Workload::Next::kLater) {
      rate_.arm(*options_.reactor, workload_.next_due() - now);
    }
    if (next != load::Workload::Next::kIo) break;
    idle_.pop_back();
    slot.attempts = {};
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

// Again, once the unit is known to be the same.
void PerfJob::submit(Slot& slot) {
  if (!held_.empty()) return held_.push_back(&slot);
  session_.submit(slot);
}

void PerfJob::completed(Slot& slot) {
  switch (slot.attempts.judge(slot)) {
    case Attempts::Next::kDone:
      return end(slot, check_moved(slot.data.length, slot.transferred, slot.overflow));
    case Attempts::Next::kFailed:
      return end(slot, failure(slot, session_));
    case Attempts::Next::kAttention:
      return look_again(slot);
    case Attempts::Next::kLater:
      return slot.retry.arm(*options_.reactor, slot.attempts.delay());
  }
}

void PerfJob::end(Slot& slot, const absl::Status& status) {
  idle_.push_back(&slot);
  if (status.ok()) {
    workload_.completed(slot.io, clock_now(), slot.bytes());
  } else {
    // As fio by default: the first error ends the job. Without a session, or on another unit,
    // nothing can be read back either.
    const absl::string_view why = status.message();
    workload_.completed(slot.io, clock_now(), slot.bytes(), {why.data(), why.size()});
    const bool over = !absl::IsDataLoss(status);
    if (over) cause_.Update(status);
    workload_.stop(over);
  }
  pump();
}

void PerfJob::look_again(Slot& slot) {
  held_.push_back(&slot);
  if (held_.size() != 1) return;
  reader_.read([this](const absl::StatusOr<Unit>& unit) { looked(unit); });
}

void PerfJob::looked(const absl::StatusOr<Unit>& unit) {
  const absl::Status same = check_again(*options_.unit, unit);
  for (Slot* const slot : std::exchange(held_, {})) {
    if (same.ok()) {
      session_.submit(*slot);
    } else {
      end(*slot, same);
    }
  }
  pump();
}

}  // namespace mrpool::iser
