// The send queue of a Qp: requests that were posted, in a ring that is allocated once.
//
// A request is posted, then handed to the stream (or carried out here), then done, then completed.
// Requests start in the order of posting, and completions are delivered in that order, too: a
// request that is done waits for the earlier ones. A SEND or WRITE is done when its last byte was
// handed to the
// stream, a READ when its last response byte is in place.
//
// Thread safety: the reactor of its Qp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "mrpool/device.h"
#include "transport/uiwarp/cq.h"
#include "transport/uiwarp/qp_state.h"

namespace mrpool::uiwarp {

class UiwarpFastMr;

struct SendSlot {
  Completion* completion = nullptr;
  Opcode opcode = Opcode::kSend;
  bool signalled = true;
  bool solicited = false;
  bool fence = false;
  bool done = false;
  WcStatus status = WcStatus::kSuccess;
  uint32_t sge_count = 0;
  uint32_t length = 0;
  uint64_t remote = 0;
  uint32_t rkey = 0;
  uint32_t imm = 0;            // with immediate data
  UiwarpFastMr* mr = nullptr;  // kRegMr
  uint64_t end_sequence = 0;   // SENDs, WRITEs: position in the stream after its last byte
};

// Of an atomic: as in its WorkRequest.
struct AtomicOperands {
  uint64_t compare_add = 0;
  uint64_t swap = 0;
};

class SendQueue {
 public:
  SendQueue(QpState& state, UiwarpCq& cq, const QpOptions& options);

  PostResult post(const WorkRequest& chain);

  // Requests that fit before the queue is full.
  uint32_t room() const { return static_cast<uint32_t>(slots_.size() - (tail_ - head_)); }
  bool empty() const { return head_ == tail_; }
  // Requests that were not wholly handed on.
  uint64_t waiting() const { return tail_ - next_; }
  const SendSlot& waiting_at(uint64_t i) const { return slots_[index_of(next_ + i)]; }

  // The first of these. Requires waiting() > 0.
  uint32_t next_index() const { return index_of(next_); }
  // It was handed on.
  void pass_next() { ++next_; }
  // How many were, since the start.
  uint64_t passed() const { return next_; }

  // Completions go there from now on.
  void set_cq(UiwarpCq& cq) { cq_ = &cq; }

  SendSlot& slot(uint32_t index) { return slots_[index]; }
  std::span<const Sge> sges_of(uint32_t index) const {
    return {sges_.data() + size_t{index} * max_sge_, slots_[index].sge_count};
  }

  const AtomicOperands& operands_of(uint32_t index) const { return operands_[index]; }

  // The stream took that many bytes more.
  void sent(size_t bytes) {
    sent_sequence_ += bytes;
    complete();
  }
  // Completes what is done at the head.
  void complete();
  // Completes everything: what has a status of its own with that, the rest with kFlushed.
  void flush();

  // The SEND or WRITE that `segment` is of, among those that were handed on; null when there is
  // none.
  SendSlot* find(const SegmentHeader& segment);

  size_t memory_bytes() const {
    return slots_.size() * (sizeof(SendSlot) + sizeof(AtomicOperands)) + sges_.size() * sizeof(Sge);
  }

 private:
  static PostResult refused(PostStatus status, const WorkRequest& request);
  PostStatus check(const WorkRequest& request, uint32_t& length);
  PostStatus check_message(const WorkRequest& request, uint32_t& length) const;
  PostStatus check_read(const WorkRequest& request, uint32_t& length) const;
  PostStatus check_atomic(const WorkRequest& request, uint32_t& length);
  // Of the operations of RFC 7306.
  PostStatus check_extension() const;
  PostStatus check_sges(std::span<const Sge> sges, Access rights, uint32_t& length) const;
  PostStatus check_invalidate(Rkey key) const;
  // Of a position from head_ on. Without a division, which costs more than the rest of a post.
  uint32_t index_of(uint64_t position) const {
    const uint64_t index = head_index_ + (position - head_);
    return static_cast<uint32_t>(index < slots_.size() ? index : index - slots_.size());
  }
  void pass_head() {
    ++head_;
    head_index_ = head_index_ + 1 < slots_.size() ? head_index_ + 1 : 0;
  }

  QpState& state_;
  UiwarpCq* cq_;
  const uint32_t max_sge_;
  std::vector<SendSlot> slots_;
  std::vector<Sge> sges_;
  std::vector<AtomicOperands> operands_;  // a slot's, when it holds an atomic
  // Positions count requests since the start; slots are used in turn.
  uint64_t head_ = 0;        // oldest that was not completed
  uint64_t head_index_ = 0;  // its slot
  uint64_t next_ = 0;        // first that was not wholly handed on
  uint64_t tail_ = 0;        // after the last posted
  uint64_t sent_sequence_ = 0;
};

}  // namespace mrpool::uiwarp
