// The receive side of a Qp's protocol: segments in, placement, receive completions and READ
// requests out.
//
//   Receiver ─▶ begin, landing/place, end ─▶ memory, receive completions, PeerReads to answer
//
// Every segment is checked as a whole when its header comes and looked up again when its bytes do:
// a key may end in between. What a peer may not do ends up in QpState::violation.
//
// Limits: posted receives and the agreed IRD bound all memory; a peer with more than IRD READs
// outstanding violates the protocol.
//
// Thread safety: the reactor of its Qp, inside a Quiescence section.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "mrpool/device.h"
#include "transport/uiwarp/cq.h"
#include "transport/uiwarp/qp_state.h"
#include "transport/uiwarp/receiver.h"
#include "transport/uiwarp/recv_queue.h"

namespace mrpool::uiwarp {

// Who posted the requests that a peer's segments are about.
class ReadOwner {
 public:
  // The last response byte for the request in that slot is in place.
  virtual void read_answered(uint32_t slot) = 0;
  // Its sink's key ended before the response came.
  virtual void read_refused(uint32_t slot) = 0;
  // Where the original value goes that an atomic brings back.
  virtual Sge atomic_sink(uint32_t slot) const = 0;
  virtual void peer_terminated(const Terminate& terminate) = 0;

 protected:
  ~ReadOwner() = default;
};

class ReceiveSide final : public SegmentHandler {
 public:
  // `shared` is an Srq's queue, or null.
  ReceiveSide(QpState& state, ReadOwner& owner, UiwarpCq& cq, const QpOptions& options,
              RecvQueue* shared);

  PostStatus post(const RecvRequest& chain);
  // Completions go there from now on.
  void set_cq(UiwarpCq& cq) { cq_ = &cq; }
  // Completes the receives of this Qp with kFlushed. Those of an Srq stay posted.
  void flush();

  // A message waits for a receive, as QpOptions::receive_wait has it.
  bool waits() const override { return waiting_; }
  // Whether it can go on: there is one, or this side closes and drops it.
  bool may_go_on() const { return !receives_.empty() || state_.closing; }
  void go_on() { waiting_ = false; }
  // No receive came in time.
  void give_up();
  // Where receives come from.
  RecvQueue& receives() { return receives_; }

  // SegmentHandler.
  bool begin(const SegmentHeader& header, size_t payload) override;
  size_t landing(size_t offset, size_t bytes, std::span<iovec> out) override;
  bool place(size_t offset, const std::byte* from, size_t bytes) override;
  bool end() override;
  bool empty_fpdu() override;
  void violation(const TerminateCode& code) override;

  size_t memory_bytes() const { return own_receives_.memory_bytes(); }

 private:
  enum class Landing : uint8_t { kNothing, kWrite, kResponse, kReceive, kControl };

  bool begin_write(size_t payload);
  bool begin_response(const SegmentHeader& header, size_t payload);
  bool begin_send(const SegmentHeader& header, size_t payload);
  bool begin_immediate(const SegmentHeader& header, size_t payload);
  bool begin_control(const SegmentHeader& header, size_t payload);
  bool check_control(const SegmentHeader& header, size_t payload, uint32_t queue, uint32_t msn,
                     size_t bytes);
  bool begin_request(const SegmentHeader& header, size_t payload, size_t bytes);
  bool begin_atomic_response(const SegmentHeader& header, size_t payload);
  bool take_receive(uint32_t mo);
  bool place_receive(size_t offset, const std::byte* from, size_t bytes);
  bool place_tagged(size_t offset, const std::byte* from, size_t bytes);
  bool end_response();
  bool end_send();
  bool end_immediate();
  bool end_read_request();
  bool end_atomic_request();
  bool end_atomic_response();
  bool end_terminate();
  void complete_receive(const WorkCompletion& wc);
  bool refuse(const TerminateCode& code, const std::optional<ReadRequest>& read = std::nullopt);
  bool refuse_key(KeyError error, const TerminateCode& code,
                  const std::optional<ReadRequest>& read = std::nullopt);
  KeyError tagged_range(size_t offset, size_t bytes, KeyRange& range) const;
  template <typename Visit>
  bool visit_receive(size_t offset, size_t bytes, Visit&& visit);

  QpState& state_;
  ReadOwner& owner_;
  UiwarpCq* cq_;
  RecvQueue own_receives_;
  RecvQueue& receives_;
  const bool shared_;
  const bool may_wait_;
  bool waiting_ = false;

  bool receiving_ = false;  // a message of several segments, or its only one, is under way
  Receive receive_;
  uint32_t received_ = 0;
  uint32_t expected_send_msn_ = 1;
  uint32_t expected_read_msn_ = 1;
  uint32_t expected_atomic_response_msn_ = 1;
  bool immediate_of_send_ = false;  // that is coming in: the last segment of a SEND
  // Bytes of the peer's WRITE that is coming in, and of the last one that did.
  uint32_t write_bytes_ = 0;
  uint32_t last_write_bytes_ = 0;

  // The segment that is coming in.
  SegmentHeader segment_;
  size_t payload_ = 0;
  Landing landing_ = Landing::kNothing;
  // Payload that is not for registered memory.
  std::array<std::byte, std::max(kMaxTerminateBytes, kAtomicRequestBytes)> control_;
};

}  // namespace mrpool::uiwarp
