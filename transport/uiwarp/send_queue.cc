#include "transport/uiwarp/send_queue.h"

#include <algorithm>

#include "transport/uiwarp/fast_mr.h"

namespace mrpool::uiwarp {

SendQueue::SendQueue(QpState& state, UiwarpCq& cq, const QpOptions& options)
    : state_(state),
      cq_(cq),
      max_sge_(std::max(options.max_send_sge, 1u)),
      slots_(std::max(options.max_send_wr, 1u)),
      sges_(slots_.size() * max_sge_) {}

PostResult SendQueue::post(const WorkRequest& chain) {
  for (const WorkRequest* request = &chain; request != nullptr; request = request->next) {
    if (!state_.started) return {PostStatus::kNotConnected, request};
    if (tail_ - head_ == slots_.size()) return {PostStatus::kQueueFull, request};
    uint32_t length = 0;
    if (const PostStatus status = check(*request, length); status != PostStatus::kOk) {
      return {status, request};
    }
    const uint32_t index = index_of(tail_);
    slots_[index] = {.completion = request->completion,
                     .opcode = request->opcode,
                     .signalled = request->signalled,
                     .solicited = request->solicited,
                     .fence = request->fence,
                     .sge_count = static_cast<uint32_t>(request->sges.size()),
                     .length = length,
                     .remote = request->remote_addr.value,
                     .rkey = request->rkey.value,
                     .access = request->access,
                     .mr = static_cast<UiwarpFastMr*>(request->mr)};
    std::copy(request->sges.begin(), request->sges.end(), sges_.begin() + size_t{index} * max_sge_);
    ++tail_;
  }
  return {};
}

PostStatus SendQueue::check(const WorkRequest& request, uint32_t& length) const {
  switch (request.opcode) {
    case Opcode::kSend:
    case Opcode::kSendWithInv:
    case Opcode::kRdmaWrite:
      if (request.sges.size() > max_sge_) return PostStatus::kTooManySges;
      return check_sges(request.sges, Access::kNone, length);
    case Opcode::kRdmaRead:
    case Opcode::kRdmaReadWithInv:
      return check_read(request, length);
    case Opcode::kRegMr:
      if (request.mr == nullptr) return PostStatus::kBadKey;
      return static_cast<UiwarpFastMr*>(request.mr)->check_register(request.access, state_.user);
    case Opcode::kLocalInv:
      return check_invalidate(request.rkey);
    case Opcode::kRecv:
      break;
  }
  return PostStatus::kUnsupported;
}

PostStatus SendQueue::check_read(const WorkRequest& request, uint32_t& length) const {
  // Nothing is allowed out: waiting would be for ever.
  if (state_.agreement.ord == 0) return PostStatus::kUnsupported;
  if (request.sges.size() > std::min(state_.caps.max_read_sge, max_sge_)) {
    return PostStatus::kTooManySges;
  }
  // The sink is a tagged buffer that the peer writes (RFC 5040 §5.1).
  const PostStatus status =
      check_sges(request.sges, Access::kLocalWrite | Access::kRemoteWrite, length);
  if (status != PostStatus::kOk || request.opcode == Opcode::kRdmaRead) return status;
  return request.sges.empty() ? PostStatus::kBadKey
                              : check_invalidate({request.sges[0].lkey.value});
}

PostStatus SendQueue::check_sges(std::span<const Sge> sges, Access rights, uint32_t& length) const {
  uint64_t total = 0;
  for (const Sge& sge : sges) {
    if (sge.length == 0) continue;
    KeyRange range;
    if (state_.keys.resolve_local(sge, rights, state_.user, range) != KeyError::kNone) {
      // A key whose registration was posted in front of this request counts.
      const KeySlot* slot = state_.keys.slot_of(sge.lkey.value);
      if (slot == nullptr || slot->fast == nullptr ||
          !slot->fast->pending_covers(sge, rights, state_.user)) {
        return PostStatus::kBadSge;
      }
    }
    total += sge.length;
  }
  if (total > state_.caps.max_message) return PostStatus::kTooLong;
  length = static_cast<uint32_t>(total);
  return PostStatus::kOk;
}

PostStatus SendQueue::check_invalidate(Rkey key) const {
  const KeySlot* slot = state_.keys.slot_of(key.value);
  if (slot == nullptr || slot->fast == nullptr) return PostStatus::kBadKey;
  const bool live = slot->live.load(std::memory_order_acquire) == key.value &&
                    slot->qp.load(std::memory_order_relaxed) == state_.user.qp;
  return live || slot->fast->pending_on(state_.user, key.value) ? PostStatus::kOk
                                                                : PostStatus::kBadKey;
}

void SendQueue::complete() {
  for (; head_ < next_; ++head_) {
    SendSlot& slot = slots_[index_of(head_)];
    if (slot.end_sequence != 0) slot.done = slot.end_sequence <= sent_sequence_;
    if (!slot.done) return;
    if (slot.signalled && slot.completion != nullptr) {
      const bool read = slot.opcode == Opcode::kRdmaRead || slot.opcode == Opcode::kRdmaReadWithInv;
      cq_.push(slot.completion, {.opcode = slot.opcode, .qp = &state_.qp},
               state_.placement.here(!read));
    }
  }
}

void SendQueue::flush() {
  for (; head_ < tail_; ++head_) {
    SendSlot& slot = slots_[index_of(head_)];
    if (slot.opcode == Opcode::kRegMr && head_ >= next_) slot.mr->drop();
    if (slot.completion == nullptr) continue;
    // Also what was done after a READ that was not: once flushed, always flushed.
    const WcStatus status = slot.status == WcStatus::kSuccess ? WcStatus::kFlushed : slot.status;
    state_.counters.completed(status);
    cq_.push(slot.completion, {.status = status, .opcode = slot.opcode, .qp = &state_.qp});
  }
  next_ = tail_;
}

SendSlot* SendQueue::find(const SegmentHeader& segment) {
  for (uint64_t position = head_; position < next_; ++position) {
    SendSlot& slot = slots_[index_of(position)];
    const bool write = segment.kind == MessageKind::kWrite && slot.opcode == Opcode::kRdmaWrite &&
                       slot.rkey == segment.stag && segment.offset >= slot.remote &&
                       segment.offset - slot.remote < slot.length;
    const bool send = is_send(segment.kind) &&
                      (slot.opcode == Opcode::kSend || slot.opcode == Opcode::kSendWithInv);
    if (write || send) return &slot;
  }
  return nullptr;
}

}  // namespace mrpool::uiwarp
