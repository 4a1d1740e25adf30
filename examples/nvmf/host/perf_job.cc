#include "examples/nvmf/host/perf_job.h"

#include <chrono>

namespace mrpool::nvme::host {
namespace {

Nanoseconds clock_now() { return std::chrono::steady_clock::now().time_since_epoch(); }

}  // namespace

struct PerfJob::Slot final : PathSelector::Command {
  Slot(PerfJob& owner, const Sge& place) : Command(to_method<&Slot::finished>), job(owner) {
    data = place;
  }
  void finished(const Outcome& outcome) { job.completed(*this, outcome); }
  std::span<std::byte> bytes() const { return {data.addr, data.length}; }
  PerfJob& job;
  load::Io io;
};

absl::StatusOr<std::unique_ptr<PerfJob>> PerfJob::create(const PerfJobOptions& options,
                                                         Task& finished, Reactor& finished_on) {
  std::unique_ptr<PerfJob> job(new PerfJob(options, finished, finished_on));
  auto reactor = Reactor::create(options.reactor);
  if (!reactor.ok()) return reactor.status();
  job->reactor_ = *std::move(reactor);
  const load::Options& load = options.load;
  auto buffer = load::Buffer::create(*options.pd, size_t(load.bs) * load.iodepth);
  if (!buffer.ok()) return buffer.status();
  job->buffer_ = std::make_unique<load::Buffer>(*std::move(buffer));
  for (uint32_t i = 0; i < load.iodepth; ++i) {
    job->slots_.push_back(
        std::make_unique<Slot>(*job, job->buffer_->sge(size_t(i) * load.bs, load.bs)));
    job->idle_.push_back(job->slots_.back().get());
  }
  return job;
}

PerfJob::PerfJob(const PerfJobOptions& options, Task& finished, Reactor& finished_on)
    : options_(options), finished_(finished), finished_on_(finished_on) {}

PerfJob::~PerfJob() {
  if (!thread_.joinable()) return;
  reactor_->stop();
  thread_.join();
}

void PerfJob::prepare(const NamespaceInfo& ns, const load::Options& load) {
  ns_ = ns;
  workload_.emplace(load, options_.index, options_.run_id, *options_.progress);
  blocks_per_io_ = load.bs / ns.block_size;
}

void PerfJob::run() {
  // Until its loop runs, a reactor counts the thread that made it as its own; a caller that asks it
  // for its thread must find the new one.
  reactor_->post(started_);
  thread_ = std::thread([this] { reactor_->run(); });
  up_.wait();
}

void PerfJob::start(std::vector<PathSelector::Member> paths, PathPolicy policy) {
  paths_.emplace(std::move(paths), policy, *reactor_, static_cast<PathSelector::Owner&>(*this));
  reactor_->post(start_call_);
}

void PerfJob::start_now() {
  workload_->start(clock_now());
  pump();
}

void PerfJob::stop() {
  if (!stop_posted_.exchange(true, std::memory_order_relaxed)) reactor_->post(stop_call_);
}

void PerfJob::stop_now() {
  workload_->stop();
  pump();
}

void PerfJob::give_up() {
  if (!give_up_posted_.exchange(true, std::memory_order_relaxed)) reactor_->post(give_up_call_);
}

void PerfJob::give_up_now() {
  workload_->stop(true);
  pump();
}

// Gives idle slots something to do.
void PerfJob::pump() {
  if (!paths_ || told_) return;
  while (!idle_.empty()) {
    Slot& slot = *idle_.back();
    const Nanoseconds now = clock_now();
    const load::Workload::Next next = workload_->next(now, slot.io, slot.bytes());
    if (next == load::Workload::Next::kLater) {
      rate_timer_.arm(*reactor_, workload_->next_due() - now);
    }
    if (next != load::Workload::Next::kIo) break;
    idle_.pop_back();
    submit(slot);
  }
  maybe_finish();
}

void PerfJob::submit(Slot& slot) {
  slot.command.opcode =
      uint8_t(slot.io.direction == load::Direction::kRead ? IoOpcode::kRead : IoOpcode::kWrite);
  slot.command.nsid = ns_.nsid;
  slot.command.set_range(slot.io.offset / ns_.block_size, blocks_per_io_);
  paths_->submit(slot);
}

void PerfJob::completed(Slot& slot, const Outcome& outcome) {
  if (!ok(outcome.status) && paths_->take_back(slot, outcome.status)) return;
  const Nanoseconds now = clock_now();
  idle_.push_back(&slot);
  if (ok(outcome.status)) {
    workload_->completed(slot.io, now, slot.bytes());
  } else {
    workload_->completed(slot.io, now, slot.bytes(), paths_->describe(slot, outcome.status));
    // As fio by default: the first error ends the job. Without a connection nothing can be read
    // back either.
    workload_->stop(ended_here(outcome.status));
  }
  pump();
}

void PerfJob::on_no_path(PathSelector::Command& command) {
  completed(static_cast<Slot&>(command), {.status = kHostPathing});
}

void PerfJob::maybe_finish() {
  if (!workload_->done() || told_) return;
  told_ = true;
  rate_timer_.cancel();
  finished_on_.post(finished_);
}

}  // namespace mrpool::nvme::host
