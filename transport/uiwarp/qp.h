// Qp of uiwarp: a QpCore, the stream it lives on, and the connection's life from set-up to end.
//
//   connect(): dialing → requesting (MPA request out) → connected
//   accept():  accepting (MPA reply out)              → connected → closing → ended
//
// All reading and writing happens in the rounds of its Context, never from inside a call of the
// owner or of the stream; all calls to the owner come from there too.
//
// In five files:
//   qp.cc          the object and its end
//   qp_connect.cc  connecting
//   qp_work.cc     receiving and sending
//   qp_wait.cc     waiting for a receive
//   qp_move.cc     moving from one reactor to another
//
// Thread safety: its reactor's thread; the owner's while it is detached.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "mrpool/callback.h"
#include "mrpool/device.h"
#include "transport/uiwarp/context.h"
#include "transport/uiwarp/cq.h"
#include "transport/uiwarp/mpa.h"
#include "transport/uiwarp/qp_core.h"
#include "transport/uiwarp/receiver.h"
#include "transport/uiwarp/stream.h"

namespace mrpool::uiwarp {

class UiwarpSrq;

class UiwarpQp final : public Qp,
                       public StreamEvents,
                       public DialHandler,
                       public Deferred,
                       public ReceiveWaiter {
 public:
  struct Params {
    Pd& pd;
    uint64_t pd_id;
    uint64_t qp_id;
    KeyTable& keys;
    const DeviceCaps& caps;
    UiwarpCq& send_cq;
    UiwarpCq& recv_cq;
    UiwarpSrq* srq;
    OrderingSanitizer* sanitizer;
    CounterRegistry& registry;
    QpOptions options;
    checks::CqShares shares;
    MpaLimits limits;
    QpEvents& events;
  };
  explicit UiwarpQp(const Params& params);
  ~UiwarpQp() override;

  // One of the two, once.
  absl::Status connect(Network& network, const Address& address, const ConnectParams& params);
  // `request` is what the peer sent, `reply` answers it.
  void accept(std::unique_ptr<Stream> stream, const MpaAgreement& agreement,
              std::vector<std::byte> reply, Nanoseconds timeout);

  // Qp.
  PostResult post_send(const WorkRequest& chain) override;
  PostStatus post_recv(const RecvRequest& chain) override;
  void disconnect() override;
  void abort() override;
  bool connected() const override { return state_ == State::kConnected; }
  ConnectionState state() const override;
  bool supports(Opcode opcode) const override;
  Pd& pd() override { return pd_; }
  Reactor& reactor() override;
  const QpOptions& options() const override { return options_; }
  uint32_t send_room() const override {
    return state_ == State::kConnected ? core_.send_room() : 0;
  }
  uint16_t ord() const override { return announced_ ? core_.ord() : uint16_t{0}; }
  absl::Status detach() override;
  absl::Status attach(Cq& send_cq, Cq& recv_cq) override;
  size_t memory_bytes() const override;
  TransportStatistics statistics() const override { return core_.counters().snapshot(); }

  // peer_rights.h.
  void deny_peer(Access rights, Rkey except) { core_.deny_peer(rights, except); }

  // For the Context's round. True when there was something to do.
  bool receive();
  bool send();
  // A message has waited for a receive, and the next round goes on with it.
  bool can_go_on() const { return receiver_.holds() && core_.receive_side().may_go_on(); }
  void wait_for_bytes();
  void stop_watching();

  // For the ordering sanitizer. False: a completion with that point must wait for another round.
  bool reach(const OrderPoint& point) { return core_.withheld()->reach(point); }
  // True while there is more.
  bool trickle();

  ListNode hot_node;
  ListNode withholding_node;
  ListNode dirty_node;
  Nanoseconds hot_until{};  // max(): there was traffic in the last round
  uint32_t receives = 0;    // that brought something, since the connection is hot
  bool drained = false;     // the last receive took all that there was

 private:
  enum class State : uint8_t {
    kDialing,
    kRequesting,
    kAccepting,
    kConnected,
    kClosing,
    kEnded,
    kDetached
  };

  void on_readable() override { context_->make_hot(*this); }
  void on_writable() override { context_->make_dirty(*this); }
  void on_dialed(absl::StatusOr<std::unique_ptr<Stream>> stream) override;
  void run() override;
  void receive_posted() override { context_->make_hot(*this); }

  void take_stream();
  bool read_reply();
  void take_reply();
  bool write_setup();
  void established(const MpaAgreement& agreement, bool initiator);
  bool receive_once(bool& drained);
  bool write_batch();
  void try_to_close();
  void core_failed();
  void deadline_passed();
  bool go_on();
  void wait_for_receive();
  void ask_how_long();
  void waited();
  void end_wait();
  void rested();
  void write_failed(int error);
  void stream_failed(int error);
  void end(DisconnectReason reason, std::string detail, TerminateCode code = {});
  void end_detached();
  // Its completions are being flushed on the owner's thread, and may call it.
  bool destroyed_detached() const { return context_ == nullptr && state_ == State::kEnded; }
  void send_terminate(const Terminate& terminate);

  Pd& pd_;
  std::shared_ptr<Context> context_;
  UiwarpCq* send_cq_;
  UiwarpCq* recv_cq_;
  std::unique_ptr<UiwarpCq> parked_;  // completions, while it is detached
  QpOptions options_;
  const checks::CqShares shares_;
  const MpaLimits limits_;
  CounterRegistry& registry_;
  QpEvents& events_;
  QpCore core_;
  Receiver receiver_;
  State state_ = State::kDialing;
  bool announced_ = false;  // on_connected ran
  bool shut_down_ = false;

  Bound<Timer, &UiwarpQp::deadline_passed> deadline_{*this};
  Bound<Timer, &UiwarpQp::rested> rest_{*this};  // after a flood of WRITEs without payload

  // Of a message that waits for a receive.
  Bound<Timer, &UiwarpQp::waited> wait_timer_{*this};
  bool wait_begun_ = false;    // the owner has not been asked yet
  Nanoseconds wait_end_{};     // zero: nothing waits
  Nanoseconds peer_closed_{};  // when that was seen

  std::unique_ptr<Dial> dial_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<TxBatch> batch_;  // what the stream would not take yet

  // Set-up.
  std::vector<std::byte> setup_out_;
  size_t setup_sent_ = 0;
  std::vector<std::byte> setup_in_;
  size_t setup_have_ = 0;
  std::vector<std::byte> private_data_;  // ours, then the peer's until it was announced
  MpaFrame request_;
  bool rejected_ = false;

  // The end, until it was announced.
  DisconnectReason reason_ = DisconnectReason::kLocal;
  TerminateCode code_;
  std::string detail_;
};

}  // namespace mrpool::uiwarp
