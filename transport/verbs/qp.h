// A queue pair and the connection it is made with.
//
// States:
//   kConnecting  connect or accept is under way
//   kConnected
//   kClosing     everything posted is sent, then the peer is notified
//   kEnding      the end waits for the next round of the loop
//   kEnded
//
// finish() is the whole end. It first destroys the queue pair, so that the device does not touch
// memory any more. Then it delivers the completions that the device had given, flushes the other
// requests in order, and calls on_disconnected. Nothing waits for the peer, which may have
// disappeared.
//
// Send slots are a ring, and completions are delivered in the order of posting. Devices may
// complete in another order: siw reports a SEND or a WRITE as soon as it was sent, before an
// earlier READ that still waits for its data. Such an entry is kept in its slot. The last request
// of each chain is signalled in any case, so that the ring always advances. So is every READ: a
// request without its own entry is then done when a later one is.
//
// In three files: qp.cc has the object and its end, qp_connect.cc connecting, qp_work.cc posts and
// completions.
//
// Thread safety: the reactor's thread.
// Ownership: owns its id and so its ibv_qp; borrows Pd, Cqs, Srq and events.
#pragma once

#include <rdma/rdma_cma.h>

#include <memory>
#include <string>
#include <vector>

#include "mrpool/callback.h"
#include "mrpool/device.h"
#include "transport/verbs/alive.h"
#include "transport/verbs/cm_channel.h"
#include "transport/verbs/cq.h"
#include "transport/verbs/pd.h"
#include "transport/verbs/qp_counters.h"
#include "transport/verbs/srq.h"

namespace mrpool::verbs {

class VerbsQp final : public Qp, private CmHandler, private WcSink {
 public:
  static absl::StatusOr<std::unique_ptr<Qp>> connect(std::shared_ptr<VerbsDevice> device,
                                                     const Address& address, Pd& pd,
                                                     const QpOptions& options,
                                                     const ConnectParams& params, QpEvents& events);
  // Takes `id` over when it succeeds. `channel` is the one that `id` is on, after a failure too.
  static absl::StatusOr<std::unique_ptr<Qp>> accept(std::shared_ptr<VerbsDevice> device,
                                                    rdma_cm_id* id,
                                                    std::shared_ptr<rdma_event_channel>& channel,
                                                    const ConnectionInfo& offer, Pd& pd,
                                                    const QpOptions& options,
                                                    const ConnectParams& params, QpEvents& events);
  ~VerbsQp() override;

  PostResult post_send(const WorkRequest& chain) override;
  PostStatus post_recv(const RecvRequest& chain) override;
  void disconnect() override;
  void abort() override;
  bool connected() const override { return state_ == State::kConnected; }
  ConnectionState state() const override;
  bool supports(Opcode opcode) const override;
  Pd& pd() override { return pd_; }
  Reactor& reactor() override { return reactor_; }
  const QpOptions& options() const override { return options_; }
  uint32_t send_room() const override {
    return state_ == State::kConnected ? sends_.limit - sends_.outstanding() : 0;
  }
  uint16_t ord() const override { return ord_; }
  size_t memory_bytes() const override;
  TransportStatistics statistics() const override { return counters_.snapshot(); }

 private:
  enum class State : uint8_t { kConnecting, kConnected, kClosing, kEnding, kEnded };
  struct SendSlot {
    Completion* completion = nullptr;
    Rkey rkey;  // kLocalInv
    Opcode opcode = Opcode::kSend;
    uint32_t length = 0;
    bool signalled = false;  // the caller wants to hear of success
    bool silent = false;     // the device reports nothing when it goes well
    bool finished = false;   // the device has reported `status`
    WcStatus status = WcStatus::kSuccess;
  };
  // A ring of slots, indexed by counters that only grow.
  template <typename Slot>
  struct Ring {
    explicit Ring(uint32_t capacity);
    Slot& at(uint32_t count) { return slots[count & mask]; }
    uint32_t outstanding() const { return posted - done; }
    std::unique_ptr<Slot[]> slots;
    uint32_t mask;
    uint32_t limit;
    uint32_t posted = 0;
    uint32_t done = 0;
  };

  VerbsQp(std::shared_ptr<VerbsDevice> device, std::shared_ptr<CmChannel> channel, VerbsPd& pd,
          const QpOptions& options, const checks::CqShares& shares, const ConnectParams& params,
          QpEvents& events);

  // One that has no id yet. `message` is the one that will carry params.private_data.
  static absl::StatusOr<std::unique_ptr<VerbsQp>> make(std::shared_ptr<VerbsDevice> device, Pd& pd,
                                                       const QpOptions& options,
                                                       const ConnectParams& params,
                                                       QpEvents& events,
                                                       rdma_cm_event_type message);
  absl::Status create_qp();
  int answer_connection();
  rdma_conn_param conn_param();

  void on_cm_event(const CmEvent& event) override;
  void on_wc(const ibv_wc& wc) override;
  void on_timer();

  void route_found();
  void established(std::span<const std::byte> private_data);
  // The device has taken the first `taken` of these.
  void posted(std::span<const WorkRequest* const> requests, size_t taken);
  void complete_send(const ibv_wc& wc);
  // Delivers the completions at the head of the ring.
  void release_sends();
  void complete_recv(const ibv_wc& wc);
  WorkCompletion completed(WcStatus status, Opcode opcode);
  void succeeded(const SendSlot& slot);
  void invalidated(Rkey rkey);
  void failed(WcStatus status);
  // Keeps the device's error of the first request that failed by itself.
  void note_failure(const ibv_wc& wc, Opcode opcode, WcStatus status);
  void sent_all();

  PostStatus post_recv_now(const RecvRequest& request);
  // Leaves the working states; finish() follows from the loop, `delay` later.
  void end(DisconnectReason reason, std::string_view detail, Nanoseconds delay = {});
  void finish();
  // Destroys what the device has of it and flushes; false when a completion destroyed this too.
  bool tear_down();
  void leave_cqs();

  const std::shared_ptr<VerbsDevice> device_;
  const std::shared_ptr<CmChannel> channel_;
  VerbsPd& pd_;
  Reactor& reactor_;
  VerbsCq& send_cq_;
  VerbsCq& recv_cq_;
  VerbsSrq* const srq_;
  QpEvents& events_;
  const QpOptions options_;
  const checks::CqShares shares_;
  const uint32_t owner_;
  QpCounters counters_;

  rdma_cm_id* id_ = nullptr;
  State state_ = State::kConnecting;
  bool accepting_ = false;
  bool told_peer_ = false;
  DisconnectReason reason_ = DisconnectReason::kLocal;
  std::string detail_;  // why; of a connection that still stands, what its first failure was
  // Of an end that neither the peer nor a completion explains in time.
  DisconnectReason unexplained_ = DisconnectReason::kProtocol;
  Bound<Timer, &VerbsQp::on_timer> timer_{*this};
  bool* gone_ = nullptr;
  uint32_t number_ = 0;  // the device's, while the completion queues know it

  uint16_t ord_ = 0;
  uint16_t ird_ = 0;
  uint32_t max_inline_ = 0;              // as the device granted it
  std::vector<std::byte> private_data_;  // to send
  ConnectionInfo info_;                  // of an accepted connection, until it is established
  std::vector<std::byte> peer_data_;

  Ring<SendSlot> sends_;
  uint32_t latest_send_ = 0;  // one more than the last that the device has reported
  bool send_failed_ = false;
  Ring<Completion*> recvs_;
  // Receives posted before the device's queue pair exists, with their lists.
  struct EarlyRecv {
    Completion* completion;
    std::vector<Sge> sges;
  };
  std::vector<EarlyRecv> early_recvs_;
  // Completions that came before the event of the established connection.
  std::vector<ibv_wc> early_wcs_;
};

}  // namespace mrpool::verbs
