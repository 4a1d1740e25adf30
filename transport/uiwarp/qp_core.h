// The protocol of one queue pair, without its socket: segments in, placement and completions out;
// work requests in, gather lists out.
//
//   post_send ─▶ send queue ──build()──▶ TxBatch ──(writev)──▶ sent() ─▶ completions, in order
//   Receiver ─▶ begin, landing/place, end ─▶ memory, receive completions, READ responses to build
//
// Send queue: requests start in order. A READ waits while ORD of them are out, a fenced request
// while any is; what is behind waits too. A SEND or WRITE is done when its last byte was handed to
// the stream, a READ when its last response byte is in place; completions are given in the order of
// posting. READ responses are built between requests, one segment in turn, so neither starves.
//
// Errors end everything: violation() holds the Terminate for the peer, or peer_terminate() what it
// sent. The owner then calls flush() once.
//
// Limits: max_send_wr, max_recv_wr, ord and ird bound all memory; a peer with more than ird READs
// outstanding violates the protocol.
//
// Thread safety: its reactor's thread; calls that touch registered memory inside a Quiescence
// section.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "mrpool/device.h"
#include "transport/uiwarp/cq.h"
#include "transport/uiwarp/key_table.h"
#include "transport/uiwarp/mpa.h"
#include "transport/uiwarp/placement.h"
#include "transport/uiwarp/receiver.h"
#include "transport/uiwarp/recv_queue.h"
#include "transport/uiwarp/tx_batch.h"

namespace mrpool::uiwarp {

class QpCore final : public SegmentHandler {
 public:
  // Payload of one DDP segment: as much as MPA's longest ULPDU (64,768 bytes) takes in whole KiB.
  // The receiver makes one system call per large segment.
  static constexpr uint32_t kMaxSegmentPayload = 63 * 1024;
  // What one batch gathers before it is handed to the socket. The size of a send is what bulk
  // depends on most: on loopback, bare TCP moves 128 KiB replies 1.4 times as fast in sends of this
  // size as in half of it, while the size of the receives hardly shows.
  static constexpr uint64_t kMaxBatchBytes = 512 * 1024;
  // While READs of this many bytes are out, further ones wait until a batch of the peer's can be
  // asked for in one send; the peer has as much again to answer meanwhile. One request a send costs
  // the peer a segment to receive in the midst of its answers, and cuts its batches short.
  static constexpr uint64_t kReadAheadBytes = 2 * kMaxBatchBytes;

  QpCore(Qp& qp, KeyTable& keys, const KeyUser& user, const DeviceCaps& caps,
         const QpOptions& options, UiwarpCq& send_cq, UiwarpCq& recv_cq, RecvQueue* shared_receives,
         std::unique_ptr<WithheldData> withheld);

  // The connection is established. The responder sends nothing before the initiator's first FPDU.
  void start(const MpaAgreement& agreement, bool initiator);

  PostResult post_send(const WorkRequest& chain);
  PostStatus post_recv(const RecvRequest& chain);

  // Fills `batch`. True when local requests completed or bytes were added.
  bool build(TxBatch& batch);
  void sent(size_t bytes);
  // Anything build() could add now.
  bool can_send() const;
  // All that was posted has completed and all READs of the peer are answered.
  bool quiet() const;

  // Ends everything that is outstanding with kFlushed, the culprit with its own status.
  void flush();

  const std::optional<Terminate>& violation() const { return violation_; }
  const std::optional<Terminate>& peer_terminate() const { return peer_terminate_; }
  bool failed() const { return violation_.has_value() || peer_terminate_.has_value(); }
  // The violation is of a request posted here, not of the peer.
  bool local_fault() const { return local_fault_; }
  void violation(const TerminateCode& code) override;
  uint32_t terminate_msn() const { return 1; }

  // What the ordering sanitizer holds back on this Qp; null without it.
  WithheldData* withheld() { return placement_.withheld(); }

  bool crc() const { return agreement_.crc; }
  uint16_t ord() const { return agreement_.ord; }
  uint16_t ird() const { return agreement_.ird; }
  size_t memory_bytes() const;

  // SegmentHandler.
  bool begin(const SegmentHeader& header, size_t payload) override;
  size_t landing(size_t offset, size_t bytes, std::span<iovec> out) override;
  bool place(size_t offset, const std::byte* from, size_t bytes) override;
  bool end() override;
  bool empty_fpdu() override;

 private:
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
    Access access = Access::kNone;
    class UiwarpFastMr* mr = nullptr;
    uint64_t end_sequence = 0;  // SEND, WRITE: stream position behind its last byte
  };
  // A READ of ours on its way. `slot` is kReadyRead for the one that only makes the peer ready.
  struct ReadOut {
    uint32_t slot = 0;
    uint32_t stag = 0;
    uint64_t offset = 0;
    uint32_t length = 0;
    uint32_t received = 0;
  };
  // A READ of the peer that is being answered.
  struct Response {
    ReadRequest request;
    uint32_t sent = 0;
  };
  enum class Step : uint8_t { kIdle, kProgress, kFull, kFailed };
  enum class Landing : uint8_t { kNothing, kWrite, kResponse, kReceive, kControl };

  static constexpr uint32_t kReadyRead = ~0u;

  // Posting (qp_post.cc).
  PostStatus check(const WorkRequest& request, uint32_t& length);
  PostStatus check_sges(std::span<const Sge> sges, Access rights, uint32_t& length) const;
  PostStatus check_invalidate(Rkey key) const;

  // Sending (qp_send.cc).
  Step step_ready(TxBatch& batch);
  Step step_response(TxBatch& batch);
  Step step_queue(TxBatch& batch);
  Step send_message(TxBatch& batch, SendSlot& slot);
  Step send_read(TxBatch& batch, SendSlot& slot, uint32_t index);
  bool read_can_wait() const;
  Step run_local(SendSlot& slot);
  Step fail_request(SendSlot& slot, WcStatus status);
  template <typename Visit>
  void emit(TxBatch& batch, const SegmentHeader& header, uint32_t payload, Visit&& visit_payload);
  void finish_front();
  void retire();
  std::span<const Sge> sges_of(uint32_t index) const {
    return {send_sges_.data() + size_t{index} * max_send_sge_, send_[index].sge_count};
  }
  uint32_t slot_at(uint64_t position) const {
    return static_cast<uint32_t>(position % send_.size());
  }

  // Receiving (qp_receive.cc).
  bool begin_write(const SegmentHeader& header, size_t payload);
  bool begin_response(const SegmentHeader& header, size_t payload);
  bool begin_send(const SegmentHeader& header, size_t payload);
  bool begin_control(const SegmentHeader& header, size_t payload);
  bool end_response();
  bool end_send();
  bool end_read_request();
  bool end_terminate();
  void blame(const Terminate& terminate);
  void complete_receive(const WorkCompletion& wc);
  bool refuse(const TerminateCode& code);
  KeyError tagged_range(size_t offset, size_t bytes, KeyRange& range) const;
  template <typename Visit>
  bool visit_receive(size_t offset, size_t bytes, Visit&& visit);

  Qp& qp_;
  KeyTable& keys_;
  const KeyUser user_;
  const DeviceCaps& caps_;
  UiwarpCq& send_cq_;
  UiwarpCq& recv_cq_;
  Placement placement_;
  MpaAgreement agreement_;
  bool started_ = false;
  bool gate_open_ = false;      // sending is allowed
  bool ready_to_send_ = false;  // the initiator's ready-to-receive message is still to go

  // Send queue: positions count requests since the start; a position's slot is position % size.
  const uint32_t max_send_sge_;
  std::vector<SendSlot> send_;
  std::vector<Sge> send_sges_;
  uint64_t head_ = 0;    // oldest not retired
  uint64_t next_ = 0;    // first not wholly handed to a batch
  uint64_t tail_ = 0;    // behind the last posted
  uint32_t offset_ = 0;  // bytes of the message at next_ already in batches
  uint64_t built_sequence_ = 0;
  uint64_t sent_sequence_ = 0;
  uint32_t send_msn_ = 1;
  uint32_t read_msn_ = 1;
  std::vector<ReadOut> reads_;  // ring
  uint32_t reads_head_ = 0;
  uint32_t reads_count_ = 0;
  uint64_t reads_bytes_ = 0;  // that are still to come for them

  // Receive side.
  RecvQueue own_receives_;
  RecvQueue& receives_;
  const bool shared_;
  bool receiving_ = false;  // a message of several segments, or its only one, is under way
  Receive receive_;
  uint32_t received_ = 0;
  uint32_t expected_send_msn_ = 1;
  uint32_t expected_read_msn_ = 1;
  std::vector<Response> responses_;  // ring
  uint32_t responses_head_ = 0;
  uint32_t responses_count_ = 0;

  // The segment that is coming in.
  SegmentHeader segment_;
  size_t payload_ = 0;
  Landing landing_ = Landing::kNothing;
  std::array<std::byte, kMaxTerminateBytes> control_;

  std::optional<Terminate> violation_;
  std::optional<Terminate> peer_terminate_;
  bool local_fault_ = false;
};

}  // namespace mrpool::uiwarp
