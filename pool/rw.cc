// RwContext: posts the steps of rw_plan.h as send-queue slots, READ credits and MRs allow. Here are
// the operations: who waits, whose turn it is, how one ends. Their steps are in rw_steps.cc.
#include "mrpool/rw.h"

#include <algorithm>
#include <new>
#include <utility>

#include "absl/strings/str_cat.h"
#include "mrpool/internal/report.h"
#include "pool/rw_impl.h"

namespace mrpool {

RwOperation::RwOperation(Done done) : done_(done) {
  static_assert(sizeof(State) <= sizeof(storage_) && alignof(State) <= 16);
  static_assert(std::is_trivially_destructible_v<State>);
  new (storage_) State;
}
RwOperation::~RwOperation() {
  if (std::launder(reinterpret_cast<const State*>(storage_))->under_way()) [[unlikely]] {
    internal::misuse("~RwOperation", "RwOperation", this, "is under way: done() has not run");
  }
}

bool RwOperation::last_posted() const {
  return std::launder(reinterpret_cast<const State*>(storage_))->last_posted;
}

std::optional<IntegrityError> RwOperation::integrity_error() const {
  const State& op = *std::launder(reinterpret_cast<const State*>(storage_));
  return op.integrity_bad ? std::optional(op.integrity_error) : std::nullopt;
}

RwContext::Impl::Impl(Qp& qp, MrPool* pool, const RwLimits& limits, MrPool* integrity)
    : qp_(qp),
      limits_(limits),
      shapes_{rw_shape(qp.pd().caps(), limits, RwDirection::kRead),
              rw_shape(qp.pd().caps(), limits, RwDirection::kWrite)},
      integrity_shapes_{rw_integrity_shape(qp.pd().caps(), RwDirection::kRead),
                        rw_integrity_shape(qp.pd().caps(), RwDirection::kWrite)},
      max_send_wr_(qp.options().max_send_wr),
      slots_(rw_queue_needs(qp.pd().caps(), limits).send_wr),
      mrs_(*this, pool, qp.reactor()),
      integrity_mrs_(*this, integrity, qp.reactor()) {
  // No more steps than slots can be in flight.
  steps_ = std::vector<Step>(slots_ / std::min(shapes_[0].slots(), shapes_[1].slots()));
  for (Step& step : steps_) {
    step.context = this;
    step.next = std::exchange(free_steps_, &step);
  }
  scratch_.resize(std::max(limits.max_segments, 1u));
}

RwContext::Impl::~Impl() = default;

void RwContext::Impl::destroy() {
  const Call call(*this);
  stop();
  if (in_flight_ != 0) {
    internal::fatal(absl::StrCat("RwContext destroyed with ", in_flight_,
                                 " operations in flight; destroy its Qp first"));
  }
  mrs_.granted.reset();
  integrity_mrs_.granted.reset();
  destroyed_ = true;
}

void RwContext::Impl::Queue::push(RwOperation& operation) {
  state(operation).next = nullptr;
  (last != nullptr ? state(*last).next : first) = &operation;
  last = &operation;
}

void RwContext::Impl::Queue::remove(RwOperation& operation) {
  RwOperation* before = nullptr;
  for (RwOperation* at = first; at != &operation; at = state(*at).next) before = at;
  RwOperation* const after = state(operation).next;
  (before != nullptr ? state(*before).next : first) = after;
  if (after == nullptr) last = before;
}

// Why `operation` cannot start, whatever its memory.
PostStatus RwContext::Impl::refuse(const RwOperation& operation, RwDirection direction,
                                   uint64_t length, const WorkRequest* last) const {
  if (state(operation).under_way()) [[unlikely]] {
    internal::misuse("RwContext::start", "RwOperation", &operation, "is under way already");
  }
  if (stopped_ || !qp_.connected()) return PostStatus::kNotConnected;
  if (length > limits_.max_transfer) return PostStatus::kTooLong;
  if (direction == RwDirection::kRead && (last != nullptr || qp_.ord() == 0)) {
    return PostStatus::kUnsupported;
  }
  // There would never be room for it.
  if (last != nullptr && max_send_wr_ <= shapes_[size_t(direction)].slots()) {
    return PostStatus::kQueueFull;
  }
  return PostStatus::kOk;
}

PostStatus RwContext::Impl::start(RwOperation& operation, RwDirection direction,
                                  std::span<const Sge> local, const RemoteBuffer& remote,
                                  const WorkRequest* last) {
  const PostStatus refusal = refuse(operation, direction, remote.length, last);
  if (refusal != PostStatus::kOk) return refusal;
  if (local.size() > limits_.max_segments) return PostStatus::kTooManySges;
  if (total_length(local) < remote.length) return PostStatus::kBadSge;
  if (std::ranges::any_of(local, [](const Sge& sge) { return sge.length == 0; })) {
    return PostStatus::kBadSge;
  }
  if (local.size() > RwOperation::kInlineSegments) {
    return begin(operation, direction, SegmentIterator(local), remote, last);
  }
  State& op = state(operation);
  size_t count = 0;
  for (uint64_t left = remote.length; left > 0; left -= op.local[count++].length) {
    op.local[count] = local[count];
    op.local[count].length = uint32_t(std::min<uint64_t>(left, local[count].length));
  }
  return begin(operation, direction, SegmentIterator(std::span(op.local, count)), remote, last);
}

PostStatus RwContext::Impl::start(RwOperation& operation, RwDirection direction,
                                  const SegmentIterator& local, const RemoteBuffer& remote,
                                  const WorkRequest* last) {
  const PostStatus refusal = refuse(operation, direction, remote.length, last);
  if (refusal != PostStatus::kOk) return refusal;
  const SegmentIterator::Extent extent = local.extent(remote.length);
  if (extent.segments > limits_.max_segments) return PostStatus::kTooManySges;
  if (extent.bytes < remote.length) return PostStatus::kBadSge;
  if (extent.segments > RwOperation::kInlineSegments) {
    return begin(operation, direction, local, remote, last);
  }
  State& op = state(operation);
  SegmentIterator from = local;
  size_t count = 0;
  for (uint64_t left = remote.length; left > 0; left -= op.local[count++].length) {
    op.local[count] = from.front(left);
    from.advance(op.local[count].length);
  }
  return begin(operation, direction, SegmentIterator(std::span(op.local, count)), remote, last);
}

PostStatus RwContext::Impl::start(RwOperation& operation, RwDirection direction,
                                  const ProtectedBuffer& local, const RemoteBuffer& remote) {
  const PostStatus refusal = refuse(operation, direction, remote.length, nullptr);
  if (refusal != PostStatus::kOk) return refusal;
  if (integrity_mrs_.pool == nullptr) return PostStatus::kUnsupported;
  const MrPoolOptions& mrs = integrity_mrs_.pool->options();
  const PostStatus lists = check_protected_lists(mrs.integrity, mrs.max_segments, local.data,
                                                 local.protection, local.attributes);
  if (lists != PostStatus::kOk) return lists;
  const uint64_t blocks = total_length(local.data) / local.attributes.block_size;
  if (remote.length != local.attributes.wire_bytes(blocks)) return PostStatus::kBadIntegrity;
  if (remote.length > qp_.pd().caps().max_message) return PostStatus::kTooLong;
  return begin(operation, direction, {}, remote, nullptr, &local);
}

// `local`, or `protected_local` instead of it: its list stays until done() runs.
PostStatus RwContext::Impl::begin(RwOperation& operation, RwDirection direction,
                                  const SegmentIterator& local, const RemoteBuffer& remote,
                                  const WorkRequest* last, const ProtectedBuffer* protected_local) {
  const Call call(*this);
  State& op = state(operation);
  static_cast<RwProgress&>(op) = {.ticket = tickets_++,
                                  .direction = direction,
                                  .queued = true,
                                  .last = last,
                                  .protected_local = protected_local,
                                  .rkey = remote.rkey,
                                  .cursor = RwCursor(local, remote.addr, remote.length)};
  const bool served_now = may_begin(direction);
  queue(direction).push(operation);
  ++waiting_;

  // Where other operations wait, a completion will serve them first and then this one.
  while (served_now && op.queued) {
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

// No further step of `operation` is posted; it is done when those in flight are.
void RwContext::Impl::fail(RwOperation& operation, WcStatus status) {
  State& op = state(operation);
  if (op.status == WcStatus::kSuccess) op.status = status;
  if (op.queued) leave_queue(operation);
  settle(operation);
}

void RwContext::Impl::leave_queue(RwOperation& operation) {
  State& op = state(operation);
  queue(op.direction).remove(operation);
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

bool RwContext::Impl::cancel(RwOperation& operation) {
  State& op = state(operation);
  if (!op.queued) return false;
  leave_queue(operation);
  // Operations may have waited for this one; the loop starts them.
  if (!stopped_) room_timer_.arm(qp_.reactor(), Nanoseconds::zero());
  if (op.steps > 0) {
    if (op.status == WcStatus::kSuccess) op.status = WcStatus::kCancelled;
    return false;
  }
  if (op.started) --in_flight_;
  return true;
}

void RwContext::Impl::stop() {
  const Call call(*this);
  stopped_ = true;
  room_timer_.cancel();
  for (MrSource* source : {&mrs_, &integrity_mrs_}) {
    if (std::exchange(source->waits, false)) source->pool->cancel(source->waiter);
  }
  for (Step* step = std::exchange(unended_, nullptr); step != nullptr;) {
    Step* const next = step->next;
    RwOperation& operation = *step->operation;
    finish_step(*step);
    fail(operation, WcStatus::kFlushed);
    step = next;
  }
  for (Queue& waiting : queues_) {
    while (waiting.first != nullptr) fail(*waiting.first, WcStatus::kFlushed);
  }
}

// ------------------------------------------------------------------------------- RwContext

namespace {

// Whether `pool` has what the context needs of it.
absl::Status check_pool(const MrPool& pool, const Pd& pd, Access needed) {
  if (&pool.pd() != &pd) {
    return absl::FailedPreconditionError("the pool belongs to another Pd than the Qp");
  }
  const Access ceiling = pool.options().access;
  if (within_ceiling(needed | optional(ceiling), ceiling)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the pool's ceiling ", to_string(ceiling), " is below ", to_string(needed)));
}

absl::Status check_integrity_pool(const MrPool* pool, const Pd& pd, const RwLimits& limits,
                                  const RwQueueNeeds& needs) {
  if (!limits.integrity) {
    if (pool == nullptr) return absl::OkStatus();
    return absl::InvalidArgumentError("a pool of integrity MRs without RwLimits::integrity");
  }
  if (pd.caps().max_integrity_blocks == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("RwLimits::integrity: ", pd.caps().name, " has no integrity MRs"));
  }
  if (pool == nullptr || pool->options().type != MrPoolType::kIntegrity) {
    return absl::FailedPreconditionError(
        "RwLimits::integrity needs a pool of MrPoolType::kIntegrity in addition to the other one");
  }
  return check_pool(*pool, pd, needs.integrity_access);
}

}  // namespace

absl::StatusOr<std::unique_ptr<RwContext>> RwContext::create(Qp& qp, MrPool* pool,
                                                             const RwLimits& limits,
                                                             MrPool* integrity) {
  const DeviceCaps& caps = qp.pd().caps();
  if (limits.force_mr && caps.registration == Registration::kMemoryWindow) {
    return absl::FailedPreconditionError(absl::StrCat(
        "force_mr: ", caps.name, " has memory windows, which name memory to peers only"));
  }
  if (limits.max_segments > kMaxSegments) {
    return absl::InvalidArgumentError(
        absl::StrCat("RwLimits::max_segments ", limits.max_segments, " exceeds ", kMaxSegments));
  }
  const RwQueueNeeds needs = rw_queue_needs(caps, limits);
  const QpOptions& queue = qp.options();
  if (queue.max_send_wr < needs.send_wr || queue.max_send_sge < needs.send_sge) {
    return absl::FailedPreconditionError(
        absl::StrCat("the Qp has max_send_wr ", queue.max_send_wr, " and max_send_sge ",
                     queue.max_send_sge, "; rw_queue_needs computes ", needs.send_wr, " and ",
                     needs.send_sge, ", in addition to the caller's own requests"));
  }
  if (needs.pool_mrs > 0) {
    if (pool == nullptr) {
      return absl::FailedPreconditionError(
          absl::StrCat(caps.name, " needs MRs for these transfers: give the context a pool with ",
                       "access ", to_string(needs.pool_access)));
    }
    if (absl::Status status = check_pool(*pool, qp.pd(), needs.pool_access); !status.ok()) {
      return status;
    }
  }
  if (absl::Status status = check_integrity_pool(integrity, qp.pd(), limits, needs); !status.ok()) {
    return status;
  }
  return std::unique_ptr<RwContext>(
      new RwContext(std::make_unique<Impl>(qp, pool, limits, integrity)));
}

RwContext::RwContext(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RwContext::~RwContext() { impl_.release()->destroy(); }

PostStatus RwContext::start(RwOperation& operation, RwDirection direction,
                            std::span<const Sge> local, const RemoteBuffer& remote,
                            const WorkRequest* last) {
  return impl_->start(operation, direction, local, remote, last);
}
PostStatus RwContext::start(RwOperation& operation, RwDirection direction,
                            const SegmentIterator& local, const RemoteBuffer& remote,
                            const WorkRequest* last) {
  return impl_->start(operation, direction, local, remote, last);
}
PostStatus RwContext::start(RwOperation& operation, RwDirection direction,
                            const ProtectedBuffer& local, const RemoteBuffer& remote) {
  return impl_->start(operation, direction, local, remote);
}
bool RwContext::cancel(RwOperation& operation) { return impl_->cancel(operation); }
void RwContext::stop() { impl_->stop(); }
Qp& RwContext::qp() const { return impl_->qp(); }
uint32_t RwContext::in_flight() const { return impl_->in_flight(); }
uint32_t RwContext::waiting() const { return impl_->waiting(); }

}  // namespace mrpool
