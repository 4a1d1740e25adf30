// A QP of the program and the connection it is, once it is one.
//
// The device makes a Qp out of a connection, verbs make a QP first and connect it later. So the
// object keeps what is posted early, in its own rings, and hands it over when there is a
// connection.
//
// Credits. A device that meets a SEND without a receive ends the connection; verbs programs expect
// it to wait. Each side therefore counts its posted receives into eight bytes of its peer's memory,
// with an RDMA WRITE each time half of them are used up, and a SEND that has no credit waits here.
// A QP with an SRQ gives no credits: its receives are not its own. The device then waits, at the
// receiving end (QpOptions::receive_wait). Both waits last as long as RNR retries would
// (patience.h).
//
// Acknowledgements. A device of iWARP completes a SEND or WRITE when its bytes are on their way; on
// InfiniBand a completion states that they are in the peer's memory, or why they are not. Signalled
// ones therefore wait for an RDMA READ of no bytes that follows them, where mrpool-run's user asked
// for that: its answer comes after them. One READ at a time stands for all requests before it.
//
// The end. A peer's last message and the end of its connection may come in the same round. A
// program that learns of the end destroys the QP, and with it the completions that it has not
// polled. On a network the end comes later than the message. So the end is announced when the
// program has polled what succeeded before it, or after kUnpolledTime (limits.h).
//
// Thread safety: under the engine's lock. Ownership: the program's.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "transport/provider/hello.h"
#include "transport/provider/mw.h"
#include "transport/provider/objects.h"
#include "transport/provider/patience.h"
#include "transport/provider/wr_batch.h"

namespace mrpool::provider {

// Who wants to know what became of a connection: the cm id.
class ConnectionObserver {
 public:
  virtual void on_established(std::span<const std::byte> private_data,
                              const ConnectionInfo* info) = 0;
  virtual void on_rejected(std::span<const std::byte> private_data) = 0;
  virtual void on_ended(bool was_established, DisconnectReason reason) = 0;

 protected:
  ~ConnectionObserver() = default;
};

class QpObject final : public QpEvents {
 public:
  QpObject(PdObject& pd, CqObject* send_cq, CqObject* recv_cq, SrqObject* srq,
           const ibv_qp_init_attr& attr);
  ~QpObject();
  static QpObject* from(ibv_qp* qp) {
    return Handle<ibv_qp_ex, QpObject>::from(reinterpret_cast<ibv_qp_ex*>(qp));
  }
  ibv_qp* abi() { return &handle_.abi.qp_base; }
  ibv_qp_ex* abi_ex() { return &handle_.abi; }
  uint32_t number() const { return handle_.abi.qp_base.qp_num; }
  Engine& engine() { return engine_; }
  PdObject& pd() { return *pd_; }
  // Registers what the QP itself needs; once, before anything else.
  absl::Status open();
  // ibv_destroy_qp: closes the connection in good order, for a bounded time.
  void close();

  // Work. 0 or an errno.
  int post_send(ibv_send_wr* wr, ibv_send_wr** bad);
  int post_recv(ibv_recv_wr* wr, ibv_recv_wr** bad);
  // Binds a window of type 1.
  int bind(MwObject& mw, const ibv_mw_bind& request);
  void sent(struct SendEntry& entry, const WorkCompletion& wc);
  void received(ReceiveEntry& entry, const WorkCompletion& wc);
  // For the engine's round: hands over what waited for a credit; true when there was something.
  bool resume();
  bool has_credit() const;

  // Connecting: by rdma_cm.
  int connect(const Address& address, std::span<const std::byte> private_data, uint8_t ord,
              uint8_t ird, ConnectionObserver& observer);
  int accept(ConnectRequest& request, const std::optional<Hello>& hello,
             std::span<const std::byte> private_data, uint8_t ord, uint8_t ird,
             ConnectionObserver& observer);
  void disconnect();
  void forget_observer();
  // For the Cq that the program has polled.
  void announce_end_if_polled();
  bool linked() const { return qp_ != nullptr; }

  // Connecting: by ibv_modify_qp. 0 or an errno.
  int modify(const ibv_qp_attr& attr, int mask);
  const ibv_qp_attr& attributes() const { return attr_; }
  void set_timeout(uint8_t timeout) { attr_.timeout = timeout; }
  // Of a connection by rdma_cm, before it is made.
  void set_rnr_retry(uint8_t retries) { attr_.rnr_retry = std::min(retries, kRetryForEver); }
  const ibv_qp_init_attr& init_attributes() const { return init_; }
  void set_state(ibv_qp_state state);
  // A peer's QP asks for this one. Answered now, or when the program gets to RTR.
  void meet(std::unique_ptr<ConnectRequest> request, const Hello& hello);

  // ibv_wr_*: see wr_batch.h.
  WrBatch& batch() { return batch_; }

 private:
  // QpEvents.
  void on_connected(Qp& qp, const ConnectionInfo& info) override;
  void on_rejected(Qp& qp, std::span<const std::byte> private_data) override;
  void on_disconnected(Qp& qp, const Disconnect& why) override;
  Nanoseconds on_receive_wait(Qp& qp) override;

  QpOptions options(uint8_t ord, uint8_t ird) const;
  Hello hello() const;
  std::vector<std::byte> greeting(std::span<const std::byte> private_data) const;
  void take_credits(const std::optional<Hello>& hello);
  void advertise();
  bool owes_credits() const;
  Told told_by_peer() const;
  void stall();
  void unstall();
  void out_of_retries();
  void adopt(std::unique_ptr<Qp> qp);
  void announce_end();
  void apply_rights();

  int check(const ibv_send_wr& wr) const;
  // Takes a request into the queue; `mw`: the window of type 1 that it binds, else null.
  int enqueue(const ibv_send_wr& wr, MwObject* mw);
  void start(bool was_idle);
  int fill(struct SendEntry& entry, const ibv_send_wr& wr, MwObject* mw);
  void fill_operation(struct SendEntry& entry, const ibv_send_wr& wr);
  void fill_data(struct SendEntry& entry, const ibv_send_wr& wr);
  void pump();
  bool hand_over(struct SendEntry& entry);
  bool waits_for_answer(const struct SendEntry& entry) const;
  void ask();
  void settle();
  void settle_unanswered();
  bool prepare_bind(struct SendEntry& entry);
  bool window_ends(const MwBind& bind) const;
  void hand_over(ReceiveEntry& entry);
  void retire(struct SendEntry& entry, ibv_wc_status status);
  void complete(ReceiveEntry& entry, ibv_wc_status status, const WorkCompletion& wc);
  void fail_qp();
  void flush();
  void reset();

  int change_state(ibv_qp_state state);
  int rendezvous();
  int dial();
  void answer();

  Handle<ibv_qp_ex, QpObject> handle_;
  WrBatch batch_;
  Engine& engine_;
  PdObject* pd_;
  std::shared_ptr<Pd> device_pd_;
  CqObject* send_cq_;
  CqObject* recv_cq_;
  SrqObject* srq_;
  ibv_qp_init_attr init_;
  ibv_qp_attr attr_{};

  std::unique_ptr<Qp> qp_;
  bool established_ = false;
  bool by_cm_ = false;
  bool peer_gone_ = false;   // not by rdma_cm: sends fail from now on, as without an answer
  bool accepted_ = false;    // this side was called, it did not call
  bool flushing_ = false;    // everything outstanding fails
  bool has_rights_ = false;  // the program gave it rights; one of rdma_cm has those of its keys
  ConnectionObserver* observer_ = nullptr;
  struct End {
    bool was_established;
    DisconnectReason reason;
  };
  std::optional<End> end_;  // to be announced
  Bound<Timer, &QpObject::announce_end> end_wait_{*this};
  std::unique_ptr<ConnectRequest> visitor_;
  Hello visitor_hello_;

  // Sends: [head_, next_) are with the device, [next_, tail_) wait.
  std::vector<struct SendEntry> sends_;
  uint64_t head_ = 0;
  uint64_t next_ = 0;
  uint64_t tail_ = 0;
  uint64_t done_ = 0;      // the device has completed the requests before this one
  uint64_t answered_ = 0;  // the peer has placed the SENDs and WRITEs before this one
  uint64_t asked_ = 0;     // `answered_` when the READ under way is answered
  uint64_t unasked_ = 0;   // one after the last of those that wait for it with the device
  bool acknowledges_ = false;
  ibv_wc_status loss_ = IBV_WC_WR_FLUSH_ERR;  // what one without an answer ends with
  std::vector<std::byte> inline_data_;
  std::unique_ptr<Mr> inline_mr_;

  // Receives, oldest first.
  std::vector<ReceiveEntry> receives_;
  uint64_t receive_head_ = 0;
  uint64_t receive_tail_ = 0;

  struct CreditWrite final : Completion {
    explicit CreditWrite(QpObject& owner_in)
        : Completion(to_method<&CreditWrite::completed>), owner(owner_in) {}
    void completed();
    QpObject& owner;
    bool busy = false;
  };
  struct Answer final : Completion {
    explicit Answer(QpObject& owner_in)
        : Completion(to_method<&Answer::completed>), owner(owner_in) {}
    void completed(const WorkCompletion& wc);
    QpObject& owner;
    bool busy = false;
  };
  Answer answer_{*this};
  struct Credits {
    alignas(64) uint64_t from_peer = 0;  // big endian; the peer writes it
    alignas(64) uint64_t to_peer = 0;    // big endian; the source of our WRITE
  };
  std::unique_ptr<Credits> credits_;
  std::unique_ptr<Mr> credits_mr_;
  CreditWrite credit_write_{*this};
  bool limited_ = false;        // the peer counts its receives
  bool giving_ = false;         // and we ours
  uint64_t peer_receives_ = 0;  // from the hello
  uint64_t sends_started_ = 0;
  uint64_t told_ = 0;  // receives that the peer knows of
  uint8_t told_retry_ = kRetryForEver;
  uint8_t peer_rnr_timer_ = 0;
  Bound<Timer, &QpObject::out_of_retries> retries_{*this};
  RemoteAddr credit_addr_{};
  Rkey credit_rkey_{};
};

struct SendEntry final : Completion {
  SendEntry() : Completion(to_method<&SendEntry::completed>) {}
  void completed(const WorkCompletion& wc);
  QpObject* qp = nullptr;
  uint64_t index = 0;
  uint64_t wr_id = 0;
  Opcode opcode = Opcode::kSend;
  bool signalled = false;
  bool solicited = false;
  bool fence = false;
  ibv_wc_status fault = IBV_WC_SUCCESS;  // found when it was handed over
  RemoteAddr remote_addr{};
  Rkey rkey{};
  uint32_t length = 0;
  uint32_t imm = 0;
  uint64_t compare_add = 0;
  uint64_t swap = 0;
  std::vector<Sge> sges;
  MwBind bind;  // of kRegMr
};

}  // namespace mrpool::provider
