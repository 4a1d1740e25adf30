#include "transport/uiwarp/send_queue.h"

#include <algorithm>

#include "transport/uiwarp/atomics.h"
#include "transport/uiwarp/fast_mr.h"

namespace mrpool::uiwarp {
namespace {

// READs and atomics, in one step.
constexpr bool returns_data(Opcode opcode) {
  constexpr auto bit = [](Opcode each) { return 1u << static_cast<unsigned>(each); };
  constexpr unsigned kThese = bit(Opcode::kRdmaRead) | bit(Opcode::kRdmaReadWithInv) |
                              bit(Opcode::kCompareSwap) | bit(Opcode::kFetchAdd);
  return (kThese & bit(opcode)) != 0;
}

}  // namespace

SendQueue::SendQueue(QpState& state, UiwarpCq& cq, const QpOptions& options)
    : state_(state),
      cq_(&cq),
      max_sge_(std::max(options.max_send_sge, 1u)),
      slots_(std::max(options.max_send_wr, 1u)),
      sges_(slots_.size() * max_sge_),
      operands_(slots_.size()) {}

PostResult SendQueue::post(const WorkRequest& chain) {
  for (const WorkRequest* request = &chain; request != nullptr; request = request->next) {
    if (!state_.started) return {PostStatus::kNotConnected, request};
    if (tail_ - head_ == slots_.size()) return {PostStatus::kQueueFull, request};
    uint32_t length = 0;
    const PostStatus status = request->opcode <= Opcode::kRdmaWrite
                                  ? check_message(*request, length)
                                  : check(*request, length);
    if (status != PostStatus::kOk) [[unlikely]]
      return refused(status, *request);
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
                     .imm = request->imm,
                     .mr = static_cast<UiwarpFastMr*>(request->mr)};
    Sge* to = sges_.data() + size_t{index} * max_sge_;
    for (const Sge& sge : request->sges) *to++ = sge;  // one or two: a call of memmove costs more
    ++tail_;
  }
  return {};
}

PostResult SendQueue::refused(PostStatus status, const WorkRequest& request) {
  if (status != PostStatus::kAccessDenied) return {status, &request};
  return {status, &request, static_cast<UiwarpFastMr*>(request.mr)->denied(request.access)};
}

// The most frequent ones: kSend, kSendWithInv, kRdmaWrite.
PostStatus SendQueue::check_message(const WorkRequest& request, uint32_t& length) const {
  static_assert(Opcode::kSend < Opcode::kRdmaWrite && Opcode::kSendWithInv < Opcode::kRdmaWrite);
  if (request.sges.size() > max_sge_) return PostStatus::kTooManySges;
  return check_sges(request.sges, Access::kNone, length);
}

PostStatus SendQueue::check(const WorkRequest& request, uint32_t& length) {
  switch (request.opcode) {
    case Opcode::kSendWithImm:
    case Opcode::kRdmaWriteWithImm:
      if (const PostStatus status = check_extension(); status != PostStatus::kOk) return status;
      [[fallthrough]];
    case Opcode::kSend:
    case Opcode::kSendWithInv:
    case Opcode::kRdmaWrite:
      return check_message(request, length);
    case Opcode::kCompareSwap:
    case Opcode::kFetchAdd:
      return check_atomic(request, length);
    case Opcode::kRdmaRead:
    case Opcode::kRdmaReadWithInv:
      return check_read(request, length);
    case Opcode::kRegMr:
      // First: of another device's MR nothing else may be looked at.
      if (request.mr == nullptr || request.mr->pd() != state_.pd) return PostStatus::kBadKey;
      return static_cast<UiwarpFastMr*>(request.mr)->check_register(request.access, state_.user);
    case Opcode::kLocalInv:
      return check_invalidate(request.rkey);
    case Opcode::kRecv:
    case Opcode::kRecvWithImm:
    case Opcode::kRecvRdmaWithImm:
      break;
  }
  return PostStatus::kUnsupported;
}

PostStatus SendQueue::check_extension() const {
  if (state_.agreement.extensions) return PostStatus::kOk;
  return state_.caps.immediate_data ? PostStatus::kPeerUnsupported : PostStatus::kUnsupported;
}

// And puts its operands where its slot will be.
PostStatus SendQueue::check_atomic(const WorkRequest& request, uint32_t& length) {
  if (const PostStatus status = check_extension(); status != PostStatus::kOk) return status;
  // The peer serves no READs or atomics: the request would wait forever.
  if (state_.agreement.ord == 0) return PostStatus::kUnsupported;
  if (request.sges.size() != 1 || request.sges[0].length != kAtomicBytes ||
      request.remote_addr.value % kAtomicBytes != 0) {
    return PostStatus::kBadAtomic;
  }
  operands_[index_of(tail_)] = {.compare_add = request.compare_add, .swap = request.swap};
  return check_sges(request.sges, Access::kLocalWrite, length);
}

PostStatus SendQueue::check_read(const WorkRequest& request, uint32_t& length) const {
  // The peer serves no READs or atomics: the request would wait forever.
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
      // A key whose registration was posted before this request counts.
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
  const uint64_t qp = slot->qp.load(std::memory_order_relaxed);
  const bool live = slot->live.load(std::memory_order_acquire) == key.value &&
                    (qp == state_.user.qp || (qp == 0 && slot->pd == state_.user.pd));
  return live || slot->fast->pending_on(state_.user, key.value) ? PostStatus::kOk
                                                                : PostStatus::kBadKey;
}

void SendQueue::complete() {
  for (; head_ < next_; pass_head()) {
    SendSlot& slot = slots_[head_index_];
    if (slot.end_sequence != 0) slot.done = slot.end_sequence <= sent_sequence_;
    if (!slot.done) return;
    if (slot.signalled && slot.completion != nullptr) {
      cq_->push(slot.completion, {.opcode = slot.opcode, .qp = &state_.qp},
                state_.placement.here(!returns_data(slot.opcode)));
    }
  }
}

void SendQueue::flush() {
  for (; head_ < tail_; pass_head()) {
    SendSlot& slot = slots_[head_index_];
    if (slot.opcode == Opcode::kRegMr && head_ >= next_) slot.mr->drop();
    if (slot.completion == nullptr) continue;
    // Also what was done after a READ that was not: once flushed, always flushed.
    const WcStatus status = slot.status == WcStatus::kSuccess ? WcStatus::kFlushed : slot.status;
    state_.counters.completed(status);
    cq_->push(slot.completion, {.status = status, .opcode = slot.opcode, .qp = &state_.qp});
  }
  next_ = tail_;
}

SendSlot* SendQueue::find(const SegmentHeader& segment) {
  for (uint64_t position = head_; position < next_; ++position) {
    SendSlot& slot = slots_[index_of(position)];
    const bool writes =
        slot.opcode == Opcode::kRdmaWrite || slot.opcode == Opcode::kRdmaWriteWithImm;
    const bool with_imm =
        slot.opcode == Opcode::kSendWithImm || slot.opcode == Opcode::kRdmaWriteWithImm;
    const bool write = segment.kind == MessageKind::kWrite && writes && slot.rkey == segment.stag &&
                       segment.offset >= slot.remote && segment.offset - slot.remote < slot.length;
    const bool send = is_send(segment.kind) &&
                      (slot.opcode == Opcode::kSend || slot.opcode == Opcode::kSendWithInv ||
                       slot.opcode == Opcode::kSendWithImm);
    if (write || send || (with_imm && is_immediate(segment.kind))) return &slot;
  }
  return nullptr;
}

}  // namespace mrpool::uiwarp
