// Steps of an RwContext: from the post that starts one to its last completion.
//
// A step is one READ or WRITE, alone or with an MR of its own. It holds its slots, credit and MR
// from the post that starts it to its last completion, and waits for none of them: it is started
// only when all are there. So nothing that is held ever waits, and there is no deadlock.
//
// The send queue has space for the context's own slots and for the caller's requests. Where the
// caller posts more than it counted, the context's requests wait. The context tries again after
// kRoomRetry, because no completion of its own may be due.
//
// Life of a step with a registered MR:
//   kRegMr + READ with invalidate       → done, key dead
//   kRegMr + READ or WRITE, then kLocalInv from its completion → done, key dead
// A step that fails drops its lease with the key live: the pool repairs it.
#include <algorithm>
#include <chrono>
#include <utility>

#include "pool/lease_probes.h"
#include "pool/rw_impl.h"

namespace mrpool {
namespace {

constexpr Nanoseconds kRoomRetry = std::chrono::microseconds(100);

}  // namespace

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
    case PostStatus::kPeerUnsupported:
    case PostStatus::kBadAtomic:
    case PostStatus::kBadIntegrity:
      return WcStatus::kBind;
    case PostStatus::kQueueFull:
    case PostStatus::kNotConnected:
      return WcStatus::kFlushed;
  }
  return WcStatus::kFlushed;
}

// The next step of `operation`, which is the first of its queue.
auto RwContext::Impl::post_step(RwOperation& operation) -> Posted {
  State& op = state(operation);
  const RwShape& shape = this->shape(op);
  const bool read = op.direction == RwDirection::kRead;
  if (!op.started && in_flight_ >= std::max(limits_.max_operations, 1u)) return {Posted::kWait};
  if (read && reads_ >= qp_.ord() && reads_ > 0) return {Posted::kWaitForCredit};
  if (slots_ < shape.slots()) return {Posted::kWait};
  // All of the chain below or nothing: half of it would hold an MR.
  const uint32_t chain = 1 + (shape.registers ? 1 : 0) + (op.last != nullptr ? 1 : 0);
  if (qp_.send_room() < chain && qp_.connected()) return wait_for_room();
  Step& step = *free_steps_;

  // The chain: [kRegMr] data [last].
  WorkRequest reg;
  WorkRequest data;
  WorkRequest tail;
  Sge mapped;
  const bool through_mr = shape.through_mr && !op.cursor.done();  // nothing needs no MR
  const bool registers = through_mr && shape.registers;
  if (through_mr) {
    if (!lease_mr(step, source(op))) return {Posted::kWait};
    const PostStatus refusal = map_and_register(step, op, mapped, reg);
    if (refusal != PostStatus::kOk) {
      end_traced(step.lease);
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
  if (registers && result.refused == &data) return half_posted(step, operation, result.status);
  if (registers) step.lease.not_posted();
  end_traced(step.lease);
  // The device's queue was fuller than the Qp's.
  if (result.status == PostStatus::kQueueFull) return wait_for_room();
  return {Posted::kRefused, result.status};
}

// The registration is in the queue without its READ or WRITE: follows it with its end.
auto RwContext::Impl::half_posted(Step& step, RwOperation& operation, PostStatus refusal)
    -> Posted {
  launch(step, operation);
  step.failed = status_of(refusal);
  if (!post_invalidation(step)) finish_step(step);
  return {Posted::kRefused, refusal};
}

auto RwContext::Impl::wait_for_room() -> Posted {
  if (!room_timer_.armed()) room_timer_.arm(qp_.reactor(), kRoomRetry);
  return {Posted::kWait};
}

void RwContext::Impl::look_for_room() {
  const Call call(*this);
  for (Step* step = std::exchange(unended_, nullptr); step != nullptr;) {
    Step* const next = step->next;
    end_step(*step);
    step = next;
  }
  pump();
}

PostStatus RwContext::Impl::map_and_register(Step& step, const State& op, Sge& sink,
                                             WorkRequest& reg) {
  const RwShape& shape = this->shape(op);
  if (op.protected_local != nullptr) {
    const ProtectedBuffer& local = *op.protected_local;
    const IntegrityFlow flow =
        op.direction == RwDirection::kRead ? IntegrityFlow::kFromWire : IntegrityFlow::kToWire;
    const PostStatus mapped = step.lease.map(flow, local.data, local.protection, local.attributes);
    if (mapped != PostStatus::kOk) return mapped;
  } else {
    const auto local = op.cursor.peek(shape.max_mr_segments, shape.max_bytes, scratch_);
    if (step.lease.map(local) == 0) return PostStatus::kBadSge;
  }
  // A pool that gave relaxed ordering up gives it up here too.
  const Access strict = source(op).pool->options().access & Access::kDisableRelaxedOrdering;
  const PostStatus status = step.lease.prepare_register(shape.mr_access | strict, reg);
  if (status == PostStatus::kOk) sink = step.lease.mr().sge();
  return status;
}

// An MR for `step`, or false with a wait under way.
bool RwContext::Impl::lease_mr(Step& step, MrSource& source) {
  if (source.waits) return false;
  step.lease = source.granted ? std::move(source.granted) : source.pool->get();
  if (step.lease) {
    trace_get(step.lease);
    return true;
  }
  source.waits = true;
  source.pool->get(source.waiter);
  return false;
}

void RwContext::Impl::mr_ready(MrSource& source, MrPool::Lease lease) {
  const Call call(*this);
  source.waits = false;
  source.granted = std::move(lease);
  pump();
  source.granted.reset();  // whoever asked has failed meanwhile
}

// `step` has requests in the send queue from now on.
void RwContext::Impl::launch(Step& step, RwOperation& operation) {
  State& op = state(operation);
  free_steps_ = step.next;
  step.operation = &operation;
  step.failed = WcStatus::kSuccess;
  step.slots = shape(op).slots();
  step.holds_credit = op.direction == RwDirection::kRead;
  slots_ -= step.slots;
  reads_ += step.holds_credit ? 1 : 0;
  ++op.steps;
  if (!op.started) ++in_flight_;
  op.started = true;
}

// Posts the end of the step's key, or puts that off until there is room. False: neither.
bool RwContext::Impl::post_invalidation(Step& step) {
  WorkRequest inv;
  step.lease.prepare_invalidate(inv);
  inv.completion = &step;
  const PostResult result = qp_.post_send(inv);
  if (result.ok()) return true;
  if (result.status == PostStatus::kQueueFull && !stopped_) {
    step.next = std::exchange(unended_, &step);
    (void)wait_for_room();
    return true;
  }
  // The connection has ended: the pool's repair ends the key.
  if (step.failed == WcStatus::kSuccess) step.failed = status_of(result.status);
  return false;
}

void RwContext::Impl::end_step(Step& step) {
  if (post_invalidation(step)) return;
  RwOperation& operation = *step.operation;
  const WcStatus failed = step.failed;
  finish_step(step);
  fail(operation, failed);
}

void RwContext::Impl::step_completed(Step& step, const WorkCompletion& wc) {
  const Call call(*this);
  if (wc.status != WcStatus::kSuccess && step.failed == WcStatus::kSuccess) {
    step.failed = wc.status;
  }
  if (wc.opcode == Opcode::kRegMr) return;  // what stands behind it is flushed and ends the step
  if (wc.status == WcStatus::kSuccess && step.lease &&
      step.lease.state() == MrPool::State::kRegistered) {
    const bool key_is_dead =
        wc.opcode == Opcode::kLocalInv || wc.opcode == Opcode::kRdmaReadWithInv;
    if (!key_is_dead) {
      reads_ -= std::exchange(step.holds_credit, false) ? 1 : 0;
      if (post_invalidation(step)) {
        pump();  // there is a credit again
        return;
      }
    } else {
      step.lease.invalidated();
      if (state(*step.operation).protected_local != nullptr) check_integrity(step);
    }
  }
  RwOperation& operation = *step.operation;
  const WcStatus failed = step.failed;
  finish_step(step);
  if (failed != WcStatus::kSuccess) {
    fail(operation, failed);
  } else {
    settle(operation);
  }
  pump();
}

// The protected data of `step` has been transferred.
void RwContext::Impl::check_integrity(Step& step) {
  const IntegrityReport report = step.lease.check_integrity();
  if (report.verdict == IntegrityReport::Verdict::kGood) return;
  if (report.verdict == IntegrityReport::Verdict::kUnchecked) {
    step.failed = WcStatus::kLocalProtection;
    return;
  }
  State& op = state(*step.operation);
  op.integrity_bad = true;
  op.integrity_error = report.error;
  step.failed = WcStatus::kIntegrity;
}

// Gives back what the step held. A key that may be live goes to the pool's repair with its lease.
void RwContext::Impl::finish_step(Step& step) {
  slots_ += step.slots;
  reads_ -= step.holds_credit ? 1 : 0;
  --state(*step.operation).steps;
  step.operation = nullptr;
  step.next = std::exchange(free_steps_, &step);
  end_traced(step.lease);
}

}  // namespace mrpool
