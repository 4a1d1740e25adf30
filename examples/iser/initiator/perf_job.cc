#include "examples/iser/initiator/perf_job.h"

#include <chrono>
#include <utility>

namespace mrpool::iser {
namespace {

Nanoseconds clock_now() { return std::chrono::steady_clock::now().time_since_epoch(); }

size_t data_bytes(const load::Options& options) { return size_t{options.bs} * options.iodepth; }

}  // namespace

struct PerfJob::Slot : UnitCommands::Transfer {
  Slot(PerfJob& owner, const Sge& place)
      : Transfer([](Transfer& self, const absl::Status& status) {
          auto& slot = static_cast<Slot&>(self);
          slot.job.ended(slot, status);
        }),
        job(owner),
        room(place) {}
  std::span<std::byte> bytes() const { return {room.addr, room.length}; }
  PerfJob& job;
  const Sge room;
  load::Io io;
};

size_t perf_buffer(const load::Options& options) {
  return data_bytes(options) + UnitReader::kBuffer;
}

PerfJob::PerfJob(const PerfJobOptions& options)
    : options_(options),
      session_(*options.session),
      workload_(options.load, options.index, options.run_id, *options.progress),
      commands_(
          session_, *options.reactor, *options.unit, options.lun,
          options.buffer->sge(options.index * perf_buffer(options.load) + data_bytes(options.load),
                              UnitReader::kBuffer)) {
  const load::Options& load = options.load;
  for (uint32_t i = 0; i < load.iodepth; ++i) {
    const size_t at = options.index * perf_buffer(load) + size_t{i} * load.bs;
    slots_.push_back(std::make_unique<Slot>(*this, options.buffer->sge(at, load.bs)));
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
  if (now_or_never) commands_.hurry();
  pump();
}

void PerfJob::pump() {
  while (!commands_.holds() && !idle_.empty()) {
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
    commands_.submit(slot, slot.io.direction == load::Direction::kWrite, slot.io.offset, slot.room);
  }
  if (workload_.done() && finished_ != nullptr) {
    rate_.cancel();
    std::exchange(finished_, nullptr)();
  }
}

void PerfJob::ended(Slot& slot, const absl::Status& status) {
  idle_.push_back(&slot);
  if (status.ok()) {
    workload_.completed(slot.io, clock_now(), slot.bytes());
  } else {
    // As in fio by default, the first error ends the job. Without a session, or on another unit,
    // the data cannot be verified either.
    const absl::string_view why = status.message();
    workload_.completed(slot.io, clock_now(), slot.bytes(), {why.data(), why.size()});
    const bool over = !absl::IsDataLoss(status);
    if (over) cause_.Update(status);
    workload_.stop(over);
  }
  pump();
}

}  // namespace mrpool::iser
