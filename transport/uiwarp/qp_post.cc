// QpCore: making one, posting, flushing.
#include <algorithm>

#include "transport/uiwarp/fast_mr.h"
#include "transport/uiwarp/qp_core.h"

namespace mrpool::uiwarp {

QpCore::QpCore(Qp& qp, KeyTable& keys, const KeyUser& user, const DeviceCaps& caps,
               const QpOptions& options, UiwarpCq& send_cq, UiwarpCq& recv_cq,
               RecvQueue* shared_receives, std::unique_ptr<WithheldData> withheld)
    : qp_(qp),
      keys_(keys),
      user_(user),
      caps_(caps),
      send_cq_(send_cq),
      recv_cq_(recv_cq),
      placement_(std::move(withheld)),
      max_send_sge_(std::max(options.max_send_sge, 1u)),
      send_(std::max(options.max_send_wr, 1u)),
      send_sges_(send_.size() * max_send_sge_),
      own_receives_(shared_receives != nullptr ? 0 : options.max_recv_wr,
                    std::max(options.max_recv_sge, 1u)),
      receives_(shared_receives != nullptr ? *shared_receives : own_receives_),
      shared_(shared_receives != nullptr) {}

void QpCore::start(const MpaAgreement& agreement, bool initiator) {
  agreement_ = agreement;
  // One more than agreed: the ready-to-receive READ is no request of the program's.
  reads_.resize(size_t{agreement.ord} + 1);
  responses_.resize(agreement.ird);
  started_ = true;
  gate_open_ = initiator;
  ready_to_send_ = initiator && agreement.rtr != Rtr::kNone;
}

PostResult QpCore::post_send(const WorkRequest& chain) {
  for (const WorkRequest* request = &chain; request != nullptr; request = request->next) {
    if (!started_) return {PostStatus::kNotConnected, request};
    if (tail_ - head_ == send_.size()) return {PostStatus::kQueueFull, request};
    uint32_t length = 0;
    if (const PostStatus status = check(*request, length); status != PostStatus::kOk) {
      return {status, request};
    }
    const uint32_t index = slot_at(tail_);
    send_[index] = {.completion = request->completion,
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
    std::copy(request->sges.begin(), request->sges.end(),
              send_sges_.begin() + size_t{index} * max_send_sge_);
    ++tail_;
  }
  return {};
}

PostStatus QpCore::post_recv(const RecvRequest& chain) {
  if (shared_) return PostStatus::kUnsupported;
  return receives_.post(chain, keys_, user_);
}

PostStatus QpCore::check(const WorkRequest& request, uint32_t& length) {
  switch (request.opcode) {
    case Opcode::kSend:
    case Opcode::kSendWithInv:
    case Opcode::kRdmaWrite:
      if (request.sges.size() > max_send_sge_) return PostStatus::kTooManySges;
      return check_sges(request.sges, Access::kNone, length);
    case Opcode::kRdmaRead:
    case Opcode::kRdmaReadWithInv: {
      // Nothing is allowed out: waiting would be for ever.
      if (agreement_.ord == 0) return PostStatus::kUnsupported;
      if (request.sges.size() > std::min(caps_.max_read_sge, max_send_sge_)) {
        return PostStatus::kTooManySges;
      }
      // The sink is a tagged buffer that the peer writes (RFC 5040 §5.1).
      const PostStatus status =
          check_sges(request.sges, Access::kLocalWrite | Access::kRemoteWrite, length);
      if (status != PostStatus::kOk || request.opcode == Opcode::kRdmaRead) return status;
      return request.sges.empty() ? PostStatus::kBadKey
                                  : check_invalidate({request.sges[0].lkey.value});
    }
    case Opcode::kRegMr:
      if (request.mr == nullptr) return PostStatus::kBadKey;
      return static_cast<UiwarpFastMr*>(request.mr)->check_register(request.access, user_);
    case Opcode::kLocalInv:
      return check_invalidate(request.rkey);
    case Opcode::kRecv:
      break;
  }
  return PostStatus::kUnsupported;
}

PostStatus QpCore::check_sges(std::span<const Sge> sges, Access rights, uint32_t& length) const {
  uint64_t total = 0;
  for (const Sge& sge : sges) {
    if (sge.length == 0) continue;
    KeyRange range;
    if (keys_.resolve_local(sge, rights, user_, range) != KeyError::kNone) {
      // A key whose registration was posted in front of this request counts.
      const KeySlot* slot = keys_.slot_of(sge.lkey.value);
      if (slot == nullptr || slot->fast == nullptr ||
          !slot->fast->pending_covers(sge, rights, user_)) {
        return PostStatus::kBadSge;
      }
    }
    total += sge.length;
  }
  if (total > caps_.max_message) return PostStatus::kTooLong;
  length = static_cast<uint32_t>(total);
  return PostStatus::kOk;
}

PostStatus QpCore::check_invalidate(Rkey key) const {
  const KeySlot* slot = keys_.slot_of(key.value);
  if (slot == nullptr || slot->fast == nullptr) return PostStatus::kBadKey;
  const bool live = slot->live.load(std::memory_order_acquire) == key.value &&
                    slot->qp.load(std::memory_order_relaxed) == user_.qp;
  return live || slot->fast->pending_on(user_, key.value) ? PostStatus::kOk : PostStatus::kBadKey;
}

void QpCore::flush() {
  for (; head_ < tail_; ++head_) {
    SendSlot& slot = send_[slot_at(head_)];
    if (slot.opcode == Opcode::kRegMr && head_ >= next_) slot.mr->drop();
    if (slot.completion == nullptr) continue;
    // Also what was done behind a READ that was not: once flushed, always flushed.
    const WcStatus status = slot.status == WcStatus::kSuccess ? WcStatus::kFlushed : slot.status;
    send_cq_.push(slot.completion, {.status = status, .opcode = slot.opcode, .qp = &qp_});
  }
  next_ = tail_;
  offset_ = 0;
  reads_count_ = 0;
  reads_bytes_ = 0;
  responses_count_ = 0;
  started_ = false;
  const WorkCompletion flushed{.status = WcStatus::kFlushed, .opcode = Opcode::kRecv, .qp = &qp_};
  if (receiving_) complete_receive(flushed);
  if (shared_) return;  // what others may still take stays posted
  while (!receives_.empty()) {
    receives_.take(receive_);
    complete_receive(flushed);
  }
}

void QpCore::complete_receive(const WorkCompletion& wc) {
  receiving_ = false;
  if (receive_.completion != nullptr) recv_cq_.push(receive_.completion, wc, placement_.here());
}

size_t QpCore::memory_bytes() const {
  return sizeof(*this) + send_.size() * sizeof(SendSlot) + send_sges_.size() * sizeof(Sge) +
         reads_.capacity() * sizeof(ReadOut) + responses_.capacity() * sizeof(Response) +
         own_receives_.memory_bytes();
}

}  // namespace mrpool::uiwarp
