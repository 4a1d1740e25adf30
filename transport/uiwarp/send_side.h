// The send side of a Qp's protocol: work requests in, gather lists out.
//
//   post ─▶ SendQueue ──build()──▶ TxBatch ──(writev)──▶ sent() ─▶ completions, in order
//
// Requests start in order. A READ or atomic waits while ORD of them are out, a fenced request while
// any is; what was posted after it waits too. Responses are built between requests, one segment in
// turn, so neither starves. An atomic of the peer is carried out when its response is built, so
// after the READs that the peer asked for before it were answered.
//
// Immediate data (RFC 7306) follows a WRITE as a message of its own in the queue of SENDs. That RFC
// has no SEND with immediate data: there it is the last segment of the SEND's own message, which
// peers that agreed to the extensions (mpa.h) take so.
//
// Thread safety: the reactor of its Qp; build() inside a Quiescence section.
#pragma once

#include <cstddef>
#include <cstdint>

#include "mrpool/device.h"
#include "transport/uiwarp/qp_state.h"
#include "transport/uiwarp/receive_side.h"
#include "transport/uiwarp/send_queue.h"
#include "transport/uiwarp/tx_batch.h"

namespace mrpool::uiwarp {

class SendSide final : public ReadOwner {
 public:
  SendSide(QpState& state, UiwarpCq& cq, const QpOptions& options)
      : state_(state), queue_(state, cq, options) {}

  // The connection is established. The initiator may owe the peer a ready-to-receive message.
  void start(bool initiator);

  PostResult post(const WorkRequest& chain) { return queue_.post(chain); }
  uint32_t room() const { return queue_.room(); }
  void set_cq(UiwarpCq& cq) { queue_.set_cq(cq); }

  // Fills `batch`. True when local requests completed or bytes were added.
  bool build(TxBatch& batch);
  // The stream took that much of what was built.
  void sent(size_t bytes) { queue_.sent(bytes); }
  // Anything build() could add now.
  bool can_send() const {
    if (!state_.started || !state_.gate_open || state_.failed()) return false;
    return ready_to_send_ || !state_.peer_reads.empty() || queue_.waiting() > 0;
  }
  // All that was posted has completed and all READs of the peer are answered.
  bool quiet() const {
    return queue_.empty() && state_.peer_reads.empty() && state_.own_reads.empty() &&
           !ready_to_send_;
  }
  void flush();

  // ReadOwner.
  void read_answered(uint32_t slot) override;
  void read_refused(uint32_t slot) override {
    queue_.slot(slot).status = WcStatus::kLocalProtection;
  }
  Sge atomic_sink(uint32_t slot) const override { return queue_.sges_of(slot)[0]; }
  void peer_terminated(const Terminate& terminate) override;

  size_t memory_bytes() const { return queue_.memory_bytes(); }

 private:
  enum class Step : uint8_t { kIdle, kProgress, kFull, kFailed };
  struct Message;

  Step step_ready(TxBatch& batch);
  Step step_response(TxBatch& batch);
  Step respond_read(TxBatch& batch, PeerReads::Read& response, const ReadRequest& request);
  Step respond_atomic(TxBatch& batch, const PeerReads::Read& response,
                      const AtomicRequest& request);
  Step step_queue(TxBatch& batch);
  template <bool kImmediate>
  Step send_message(TxBatch& batch, SendSlot& slot, uint32_t index);
  bool gather(uint32_t index, uint32_t payload, Message& message) const;
  Step send_read(TxBatch& batch, SendSlot& slot, uint32_t index);
  Step send_atomic(TxBatch& batch, SendSlot& slot, uint32_t index);
  bool read_can_wait() const;
  Step run_local(SendSlot& slot);
  Step fail_request(SendSlot& slot, WcStatus status);
  void pass_request();
  template <typename Visit>
  void emit(TxBatch& batch, const SegmentHeader& header, uint32_t payload, Visit&& visit_payload);
  void emit_read_request(TxBatch& batch, const ReadRequest& request);
  void emit_immediate(TxBatch& batch, const SendSlot& slot);

  QpState& state_;
  SendQueue queue_;
  bool ready_to_send_ = false;  // the initiator's ready-to-receive message is still to go
  uint32_t offset_ = 0;         // bytes of the next request's message already in batches
  uint64_t built_sequence_ = 0;
  uint32_t send_msn_ = 1;
  uint32_t read_msn_ = 1;
  uint32_t atomic_response_msn_ = 1;
};

}  // namespace mrpool::uiwarp
