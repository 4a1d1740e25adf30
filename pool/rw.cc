// RwContext: posts the steps of rw_plan.h as send-queue slots, READ credits and MRs allow.
//
// A step is one READ or WRITE, alone or with an MR of its own. It holds its slots, credit and MR
// from the post that starts it to its last completion, and waits for none of them: it is started
// only when all are there. So nothing that is held ever waits, and there is no deadlock.
//
// Life of a step with a registered MR:
//   kRegMr + READ with invalidate       → done, key dead
//   kRegMr + READ or WRITE, then kLocalInv from its completion → done, key dead
// A step that fails drops its lease with the key live: the pool repairs it.
#include "mrpool/rw.h"

#include <algorithm>
#include <new>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "mrpool/callback.h"
#include "pool/report.h"
#include "pool/rw_plan.h"

namespace mrpool {

struct RwOperation::State {
  RwOperation* next = nullptr;  // in a Queue
  uint64_t ticket = 0;          // order of arrival
  RwDirection direction = RwDirection::kRead;
  bool queued = false;   // has steps still to post
  bool started = false;  // has posted something
  bool last_posted = false;
  WcStatus status = WcStatus::kSuccess;
  uint32_t steps = 0;  // in flight
  const WorkRequest* last = nullptr;
  Rkey rkey;
  RwCursor cursor;
  Sge local[kInlineSegments];
};

namespace {

WcStatus status_of(PostStatus refusal) {
  switch (refusal) {
    case PostStatus::kOk:
      return WcStatus::kSuccess;
    case PostStatus::kTooManySges:
    case PostStatus::kTooLong:
      return WcStatus::kLocalLength;
    case PostStatus::kBadSge:
      return WcStatus::kLocalProtection;
    case PostStatus::kBadKey:
    case PostStatus::kAccessDenied:
    case PostStatus::kUnsupported:
      return WcStatus::kBind;
    case PostStatus::kQueueFull:
    case PostStatus::kNotConnected:
      return WcStatus::kFlushed;
  }
  return WcStatus::kFlushed;
}

}  // namespace

RwQueueNeeds rw_queue_needs(const DeviceCaps& caps, const RwLimits& limits) {
  const RwShape read = rw_shape(caps, limits, RwDirection::kRead);
  const RwShape write = rw_shape(caps, limits, RwDirection::kWrite);
  const uint64_t operations = std::max(limits.max_operations, 1u);
  const uint64_t all_read_steps = operations * read.max_steps;
  const uint64_t all_write_steps = operations * write.max_steps;
  // READs in flight are bounded by the credits too.
  const uint64_t read_steps =
      std::min<uint64_t>(all_read_steps, std::max<uint16_t>(caps.max_ord, 1));

  // An operation either reads or writes. With `r` READ steps in flight, from as many operations,
  // the others write at most.
  const uint64_t readers = std::min(read_steps, operations);
  const uint64_t all_writing = all_write_steps * write.slots();
  const uint64_t all_reading =
      read_steps * read.slots() + (operations - readers) * write.max_steps * write.slots();
  const uint64_t most = std::max(all_writing, all_reading);
  // More than the device's queue holds cannot be had; operations wait for slots then. One step of
  // each kind must fit.
  const uint64_t least = std::max(read.slots(), write.slots());

  RwQueueNeeds needs;
  needs.send_wr = uint32_t(std::max(std::min<uint64_t>(most, caps.max_qp_wr), least));
  needs.send_sge =
      std::max(read.through_mr ? 1 : read.max_sge, write.through_mr ? 1 : write.max_sge);
  needs.pool_mrs =
      uint32_t(std::max(read.through_mr ? read_steps : 0, write.through_mr ? all_write_steps : 0));
  needs.pool_segments = std::max(read.through_mr ? read.max_mr_segments : 0,
                                 write.through_mr ? write.max_mr_segments : 0);
  needs.pool_access = read.mr_access | write.mr_access;
  needs.sink_access =
      local_access_for(BufferRole::kReadSink, caps.read_sink_needs_remote_write &&
                                                  caps.registration != Registration::kFastReg);
  return needs;
}

RwOperation::RwOperation(Done done) : done_(done) {
  static_assert(sizeof(State) <= sizeof(storage_) && alignof(State) <= 16);
  static_assert(std::is_trivially_destructible_v<State>);
  new (storage_) State;
}
RwOperation::~RwOperation() = default;

bool RwOperation::last_posted() const {
  return std::launder(reinterpret_cast<const State*>(storage_))->last_posted;
}

class RwContext::Impl {
 public:
  Impl(Qp& qp, MrPool* pool, const RwLimits& limits);
  ~Impl();

  PostStatus start(RwOperation& operation, RwDirection direction, std::span<const Sge> local,
                   const RemoteBuffer& remote, const WorkRequest* last);
  void stop();
  uint32_t in_flight() const { return in_flight_; }
  uint32_t waiting() const { return waiting_; }

 private:
  using State = RwOperation::State;

  // First in, first out, through State::next.
  struct Queue {
    RwOperation* first = nullptr;
    RwOperation* last = nullptr;
    void push(RwOperation& operation);
    void pop();
  };

  struct Step : Completion {
    Step() : Completion(&Impl::step_completed) {}
    Impl* context = nullptr;
    RwOperation* operation = nullptr;
    Step* next_free = nullptr;
    MrPool::Lease lease;
    uint32_t slots = 0;
    bool holds_credit = false;
    WcStatus failed = WcStatus::kSuccess;  // first failure of its requests
  };

  struct Posted {
    enum Verdict : uint8_t { kStep, kWaitForCredit, kWait, kRefused } verdict;
    PostStatus refusal = PostStatus::kOk;
  };

  static State& state(RwOperation& operation) {
    return *std::launder(reinterpret_cast<State*>(operation.storage_));
  }
  const RwShape& shape(RwDirection direction) const { return shapes_[size_t(direction)]; }
  Queue& queue(RwDirection direction) { return queues_[size_t(direction)]; }
  bool may_begin(RwDirection direction) const;

  void pump();
  Posted post_step(RwOperation& operation);
  PostStatus map_and_register(Step& step, const State& op, Sge& sink, WorkRequest& reg);
  bool lease_mr(Step& step);
  void launch(Step& step, RwOperation& operation);
  bool post_invalidation(Step& step);
  void finish_step(Step& step);
  void fail(RwOperation& operation, WcStatus status);
  void leave_queue(RwOperation& operation);
  void settle(RwOperation& operation);
  static void step_completed(Completion& completion, const WorkCompletion& wc);
  void mr_ready(MrPool::Lease lease);

  Qp& qp_;
  MrPool* const pool_;
  const RwLimits limits_;
  const RwShape shapes_[2];  // by RwDirection
  std::vector<Step> steps_;
  std::vector<Sge> scratch_;
  Step* free_steps_ = nullptr;
  const uint32_t all_slots_;  // of the send queue, for this context
  uint32_t slots_;            // left of them
  uint32_t reads_ = 0;        // READ credits in use
  uint32_t in_flight_ = 0;
  uint32_t waiting_ = 0;
  uint64_t tickets_ = 0;
  Queue queues_[2];  // by RwDirection: operations with steps still to post
  Bound<MrPool::Waiter, &Impl::mr_ready> waiter_;
  bool waits_for_mr_ = false;
  MrPool::Lease granted_;  // from the waiter, for the step that asked
  bool pumping_ = false;
  bool stopped_ = false;
};

RwContext::Impl::Impl(Qp& qp, MrPool* pool, const RwLimits& limits)
    : qp_(qp),
      pool_(pool),
      limits_(limits),
      shapes_{rw_shape(qp.pd().caps(), limits, RwDirection::kRead),
              rw_shape(qp.pd().caps(), limits, RwDirection::kWrite)},
      all_slots_(rw_queue_needs(qp.pd().caps(), limits).send_wr),
      slots_(all_slots_),
      waiter_(*this, qp.reactor()) {
  // No more steps than slots can be in flight.
  steps_ = std::vector<Step>(slots_ / std::min(shapes_[0].slots(), shapes_[1].slots()));
  for (Step& step : steps_) {
    step.context = this;
    step.next_free = std::exchange(free_steps_, &step);
  }
  scratch_.resize(std::max(limits.max_segments, 1u));
}

RwContext::Impl::~Impl() {
  stop();
  if (in_flight_ != 0) {
    internal::fatal(absl::StrCat("RwContext destroyed with ", in_flight_,
                                 " operations in flight; destroy its Qp first"));
  }
}

void RwContext::Impl::Queue::push(RwOperation& operation) {
  state(operation).next = nullptr;
  (last != nullptr ? state(*last).next : first) = &operation;
  last = &operation;
}

void RwContext::Impl::Queue::pop() {
  first = state(*first).next;
  if (first == nullptr) last = nullptr;
}

PostStatus RwContext::Impl::start(RwOperation& operation, RwDirection direction,
                                  std::span<const Sge> local, const RemoteBuffer& remote,
                                  const WorkRequest* last) {
  if (stopped_ || !qp_.connected()) return PostStatus::kNotConnected;
  if (remote.length > limits_.max_transfer) return PostStatus::kTooLong;
  if (local.size() > limits_.max_segments) return PostStatus::kTooManySges;
  if (total_length(local) < remote.length) return PostStatus::kBadSge;
  if (std::ranges::any_of(local, [](const Sge& sge) { return sge.length == 0; })) {
    return PostStatus::kBadSge;
  }
  if (direction == RwDirection::kRead && (last != nullptr || qp_.ord() == 0)) {
    return PostStatus::kUnsupported;
  }

  State& op = *new (operation.storage_) State;
  op.ticket = tickets_++;
  op.direction = direction;
  op.last = last;
  op.rkey = remote.rkey;
  if (local.size() <= RwOperation::kInlineSegments) {
    std::ranges::copy(local, op.local);
    local = {op.local, local.size()};
  }
  op.cursor = RwCursor(local, remote.addr, remote.length);
  const bool begin = may_begin(direction);
  op.queued = true;
  queue(direction).push(operation);
  ++waiting_;

  // What others wait for, only a completion brings; it will find this operation behind them.
  while (begin && op.queued) {
    const Posted posted = post_step(operation);
    if (posted.verdict == Posted::kWait || posted.verdict == Posted::kWaitForCredit) break;
    if (posted.verdict == Posted::kStep) continue;
    leave_queue(operation);
    if (op.steps == 0) {
      if (op.started) --in_flight_;
      return posted.refusal;
    }
    if (op.status == WcStatus::kSuccess) op.status = status_of(posted.refusal);
  }
  return PostStatus::kOk;
}

// Whether a new operation is the next to be served.
bool RwContext::Impl::may_begin(RwDirection direction) const {
  if (pumping_) return false;  // inside done(): the loop around it goes on with the queues
  const bool reads_wait = queues_[0].first != nullptr;
  const bool writes_wait = queues_[1].first != nullptr;
  if (direction == RwDirection::kRead) return !reads_wait && !writes_wait;
  return !writes_wait && (!reads_wait || reads_ >= qp_.ord());
}

// Posts what can be posted, the longest waiting first; a READ without a credit lets WRITEs pass.
void RwContext::Impl::pump() {
  if (pumping_ || stopped_) return;
  pumping_ = true;
  for (bool credits_short = false;;) {
    RwOperation* next = credits_short ? nullptr : queues_[0].first;
    RwOperation* const write = queues_[1].first;
    if (next == nullptr || (write != nullptr && state(*write).ticket < state(*next).ticket)) {
      next = write;
    }
    if (next == nullptr) break;
    const Posted posted = post_step(*next);
    if (posted.verdict == Posted::kWait) break;
    if (posted.verdict == Posted::kWaitForCredit) credits_short = true;
    if (posted.verdict == Posted::kRefused) fail(*next, status_of(posted.refusal));
  }
  pumping_ = false;
}

// The next step of `operation`, which is the first of its queue.
auto RwContext::Impl::post_step(RwOperation& operation) -> Posted {
  State& op = state(operation);
  const RwShape& shape = this->shape(op.direction);
  const bool read = op.direction == RwDirection::kRead;
  if (!op.started && in_flight_ >= std::max(limits_.max_operations, 1u)) return {Posted::kWait};
  if (read && reads_ >= qp_.ord() && reads_ > 0) return {Posted::kWaitForCredit};
  if (slots_ < shape.slots()) return {Posted::kWait};
  Step& step = *free_steps_;

  // The chain: [kRegMr] data [last].
  WorkRequest reg;
  WorkRequest data;
  WorkRequest tail;
  Sge mapped;
  const bool through_mr = shape.through_mr && !op.cursor.done();  // nothing needs no MR
  const bool registers = through_mr && shape.registers;
  if (through_mr) {
    if (!lease_mr(step)) return {Posted::kWait};
    const PostStatus refusal = map_and_register(step, op, mapped, reg);
    if (refusal != PostStatus::kOk) {
      step.lease.reset();
      return {Posted::kRefused, refusal};
    }
    data.sges = {&mapped, 1};
    if (registers) {
      reg.completion = &step;  // heard of only when it fails
      reg.next = &data;
    }
  } else {
    data.sges = op.cursor.peek(shape.max_sge, shape.max_bytes, scratch_);
  }
  const uint64_t bytes = total_length(data.sges);
  data.completion = &step;
  data.opcode = Opcode::kRdmaWrite;
  if (read) {
    data.opcode = registers && shape.ends_itself ? Opcode::kRdmaReadWithInv : Opcode::kRdmaRead;
  }
  data.remote_addr = op.cursor.remote();
  data.rkey = op.rkey;
  if (op.last != nullptr && bytes == op.cursor.left()) {
    tail = *op.last;
    tail.next = nullptr;
    data.next = &tail;
  }

  const PostResult result = qp_.post_send(registers ? reg : data);
  if (result.ok() || result.refused == &tail) {
    launch(step, operation);
    op.cursor.advance(bytes);
    op.last_posted = data.next != nullptr && result.ok();
    if (op.cursor.done()) leave_queue(operation);
    // The data is on its way without its `last`: that is a failure, but not before it arrived.
    if (!result.ok()) op.status = status_of(result.status);
    return {Posted::kStep};
  }
  if (registers && result.refused == &data) {
    // The registration is in the queue without its READ or WRITE; follow it with its end.
    launch(step, operation);
    step.failed = status_of(result.status);
    if (!post_invalidation(step)) finish_step(step);
    return {Posted::kRefused, result.status};
  }
  if (registers) step.lease.not_posted();
  step.lease.reset();
  // The caller's own requests may fill the queue; then one of ours will make room, if there is one.
  if (result.status == PostStatus::kQueueFull && slots_ < all_slots_) return {Posted::kWait};
  return {Posted::kRefused, result.status};
}

PostStatus RwContext::Impl::map_and_register(Step& step, const State& op, Sge& sink,
                                             WorkRequest& reg) {
  const RwShape& shape = this->shape(op.direction);
  const auto local = op.cursor.peek(shape.max_mr_segments, shape.max_bytes, scratch_);
  if (step.lease.map(local) == 0) return PostStatus::kBadSge;
  // A pool that gave relaxed ordering up gives it up here too.
  const Access strict = pool_->options().access & Access::kDisableRelaxedOrdering;
  const PostStatus status = step.lease.prepare_register(shape.mr_access | strict, reg);
  if (status == PostStatus::kOk) sink = step.lease.mr().sge();
  return status;
}

// An MR for `step`, or false with a wait under way.
bool RwContext::Impl::lease_mr(Step& step) {
  if (waits_for_mr_) return false;
  step.lease = granted_ ? std::move(granted_) : pool_->get();
  if (step.lease) return true;
  waits_for_mr_ = true;
  pool_->get(waiter_);
  return false;
}

void RwContext::Impl::mr_ready(MrPool::Lease lease) {
  waits_for_mr_ = false;
  granted_ = std::move(lease);
  pump();
  granted_.reset();  // whoever asked has failed meanwhile
}

// `step` has requests in the send queue from now on.
void RwContext::Impl::launch(Step& step, RwOperation& operation) {
  State& op = state(operation);
  free_steps_ = step.next_free;
  step.operation = &operation;
  step.failed = WcStatus::kSuccess;
  step.slots = shape(op.direction).slots();
  step.holds_credit = op.direction == RwDirection::kRead;
  slots_ -= step.slots;
  reads_ += step.holds_credit ? 1 : 0;
  ++op.steps;
  if (!op.started) ++in_flight_;
  op.started = true;
}

bool RwContext::Impl::post_invalidation(Step& step) {
  WorkRequest inv;
  step.lease.prepare_invalidate(inv);
  inv.completion = &step;
  const PostResult result = qp_.post_send(inv);
  // A refusal means that the connection has ended: the pool's repair ends the key.
  if (!result.ok() && step.failed == WcStatus::kSuccess) step.failed = status_of(result.status);
  return result.ok();
}

void RwContext::Impl::step_completed(Completion& completion, const WorkCompletion& wc) {
  Step& step = static_cast<Step&>(completion);
  Impl& context = *step.context;
  if (wc.status != WcStatus::kSuccess && step.failed == WcStatus::kSuccess) {
    step.failed = wc.status;
  }
  if (wc.opcode == Opcode::kRegMr) return;  // what stands behind it is flushed and ends the step
  if (wc.status == WcStatus::kSuccess && step.lease &&
      step.lease.state() == MrPool::State::kRegistered) {
    const bool key_is_dead =
        wc.opcode == Opcode::kLocalInv || wc.opcode == Opcode::kRdmaReadWithInv;
    if (!key_is_dead) {
      context.reads_ -= std::exchange(step.holds_credit, false) ? 1 : 0;
      if (context.post_invalidation(step)) {
        context.pump();  // there is a credit again
        return;
      }
    } else {
      step.lease.invalidated();
    }
  }
  RwOperation& operation = *step.operation;
  const WcStatus failed = step.failed;
  context.finish_step(step);
  if (failed != WcStatus::kSuccess) {
    context.fail(operation, failed);
  } else {
    context.settle(operation);
  }
  context.pump();
}

// Gives back what the step held. A key that may be live goes to the pool's repair with its lease.
void RwContext::Impl::finish_step(Step& step) {
  slots_ += step.slots;
  reads_ -= step.holds_credit ? 1 : 0;
  --state(*step.operation).steps;
  step.operation = nullptr;
  step.next_free = std::exchange(free_steps_, &step);
  step.lease.reset();
}

// No further step of `operation` is posted; it is done when those in flight are.
void RwContext::Impl::fail(RwOperation& operation, WcStatus status) {
  State& op = state(operation);
  if (op.status == WcStatus::kSuccess) op.status = status;
  if (op.queued) leave_queue(operation);
  settle(operation);
}

// Only the first of a queue has steps in flight or is looked at, so only that one leaves.
void RwContext::Impl::leave_queue(RwOperation& operation) {
  State& op = state(operation);
  queue(op.direction).pop();
  op.queued = false;
  --waiting_;
}

void RwContext::Impl::settle(RwOperation& operation) {
  const State& op = state(operation);
  if (op.queued || op.steps > 0) return;
  if (op.started) --in_flight_;
  // New operations wait in the queue until the caller of this pumps.
  const bool outer = std::exchange(pumping_, true);
  operation.done_(operation, op.status);  // may destroy it
  pumping_ = outer;
}

void RwContext::Impl::stop() {
  stopped_ = true;
  if (std::exchange(waits_for_mr_, false)) pool_->cancel(waiter_);
  for (Queue& waiting : queues_) {
    while (waiting.first != nullptr) fail(*waiting.first, WcStatus::kFlushed);
  }
}

// ------------------------------------------------------------------------------- RwContext

absl::StatusOr<std::unique_ptr<RwContext>> RwContext::create(Qp& qp, MrPool* pool,
                                                             const RwLimits& limits) {
  const DeviceCaps& caps = qp.pd().caps();
  if (limits.force_mr && caps.registration == Registration::kMemoryWindow) {
    return absl::FailedPreconditionError(absl::StrCat(
        "force_mr: ", caps.name, " has memory windows, which name memory to peers only"));
  }
  const RwQueueNeeds needs = rw_queue_needs(caps, limits);
  if (needs.pool_mrs > 0) {
    if (pool == nullptr) {
      return absl::FailedPreconditionError(
          absl::StrCat(caps.name, " needs MRs for these transfers: give the context a pool with ",
                       "access ", to_string(needs.pool_access)));
    }
    if (&pool->pd() != &qp.pd()) {
      return absl::FailedPreconditionError("the pool belongs to another Pd than the Qp");
    }
    if (!within_ceiling(needs.pool_access | optional(pool->options().access),
                        pool->options().access)) {
      return absl::FailedPreconditionError(
          absl::StrCat("the pool's ceiling ", to_string(pool->options().access), " is below ",
                       to_string(needs.pool_access)));
    }
  }
  return std::unique_ptr<RwContext>(new RwContext(std::make_unique<Impl>(qp, pool, limits)));
}

RwContext::RwContext(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RwContext::~RwContext() = default;

PostStatus RwContext::start(RwOperation& operation, RwDirection direction,
                            std::span<const Sge> local, const RemoteBuffer& remote,
                            const WorkRequest* last) {
  return impl_->start(operation, direction, local, remote, last);
}
void RwContext::stop() { impl_->stop(); }
uint32_t RwContext::in_flight() const { return impl_->in_flight(); }
uint32_t RwContext::waiting() const { return impl_->waiting(); }

}  // namespace mrpool
