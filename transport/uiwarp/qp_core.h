// The protocol of one queue pair, without its socket: a send side and a receive side, and what they
// share, in one object.
//
//   post_send ─▶ SendSide ─build()─▶ TxBatch            (send_side.h, send_queue.h)
//   Receiver ─▶ ReceiveSide ─▶ memory, completions      (receive_side.h, recv_queue.h)
//   QpState: agreement, READs under way, the first error (qp_state.h, reads.h)
//
// An error ends the connection: violation() then has the Terminate for the peer, or
// peer_terminate() the one that the peer sent. The owner calls flush() once after it.
//
// Limits: max_send_wr, max_recv_wr, ord and ird bound all memory.
//
// Thread safety: its reactor's thread; calls that touch registered memory inside a Quiescence
// section.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "mrpool/device.h"
#include "transport/uiwarp/qp_state.h"
#include "transport/uiwarp/receive_side.h"
#include "transport/uiwarp/send_side.h"

namespace mrpool::uiwarp {

class QpCore {
 public:
  QpCore(Qp& qp, KeyTable& keys, const KeyUser& user, const DeviceCaps& caps,
         const QpOptions& options, UiwarpCq& send_cq, UiwarpCq& recv_cq, RecvQueue* shared_receives,
         std::unique_ptr<WithheldData> withheld, const Pd* pd)
      : state_(qp, keys, user, caps, std::move(withheld), pd),
        send_(state_, send_cq, options),
        receive_(state_, send_, recv_cq, options, shared_receives) {}

  // The connection is established. The responder sends nothing before the initiator's first FPDU.
  void start(const MpaAgreement& agreement, bool initiator);

  PostResult post_send(const WorkRequest& chain) { return send_.post(chain); }
  PostStatus post_recv(const RecvRequest& chain) { return receive_.post(chain); }

  void set_cqs(UiwarpCq& send_cq, UiwarpCq& recv_cq) {
    send_.set_cq(send_cq);
    receive_.set_cq(recv_cq);
  }

  // For the Receiver.
  SegmentHandler& segments() { return receive_; }
  // For what waits for a receive.
  ReceiveSide& receive_side() { return receive_; }
  const ReceiveSide& receive_side() const { return receive_; }
  // For the stream.
  bool build(TxBatch& batch) { return send_.build(batch); }
  void sent(size_t bytes) { send_.sent(bytes); }
  bool can_send() const { return send_.can_send(); }
  uint32_t send_room() const { return send_.room(); }
  // disconnect() was called: later requests of the peer are not served.
  void close() { state_.closing = true; }
  bool quiet() const { return send_.quiet(); }
  void deny_peer(Access rights, Rkey except) {
    state_.user.denied = rights;
    state_.user.exempt = except.value;
  }

  // Completes all outstanding requests as kFlushed, and the request that caused the end with its
  // own status.
  void flush();

  const std::optional<Terminate>& violation() const { return state_.violation; }
  const std::optional<Terminate>& peer_terminate() const { return state_.peer_terminate; }
  bool failed() const { return state_.failed(); }
  // A request of this side caused the violation, not the peer.
  bool local_fault() const { return state_.local_fault; }

  // The data that the ordering sanitizer withholds on this Qp; null without a sanitizer.
  WithheldData* withheld() { return state_.placement.withheld(); }

  QpCounters& counters() { return state_.counters; }
  const QpCounters& counters() const { return state_.counters; }

  bool crc() const { return state_.agreement.crc; }
  bool extensions() const { return state_.agreement.extensions; }
  uint16_t ord() const { return state_.agreement.ord; }
  uint16_t ird() const { return state_.agreement.ird; }
  size_t memory_bytes() const {
    return sizeof(*this) + send_.memory_bytes() + receive_.memory_bytes() +
           state_.own_reads.memory_bytes() + state_.peer_reads.memory_bytes();
  }

 private:
  QpState state_;
  SendSide send_;
  ReceiveSide receive_;
};

}  // namespace mrpool::uiwarp
