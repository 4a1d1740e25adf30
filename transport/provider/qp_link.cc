// QpObject: how it gets its connection, by rdma_cm or by ibv_modify_qp, and how it loses it.
//
// The rendezvous of ibv_modify_qp. A QP number is the TCP port its process listens on and one byte;
// the address comes from the GID (the loopback address where the program gives no GID). Of the two
// QPs the one with the smaller number, or the smaller GID where the numbers are equal, calls the
// other as soon as the program moves it to RTR. The other may not be there yet: its process keeps
// the request until it is. So either side may be first, and nothing else has to run.
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <utility>

#include "transport/provider/limits.h"
#include "transport/provider/qp_object.h"
#include "transport/uiwarp/peer_rights.h"

namespace mrpool::provider {
namespace {

// The IPv4 address in a GID; empty when it is none of this device's.
std::string host_of(const ibv_gid& gid) {
  static const ibv_gid mapped = [] {
    ibv_gid prefix{};
    prefix.raw[10] = prefix.raw[11] = 0xff;
    return prefix;
  }();
  if (std::memcmp(gid.raw, mapped.raw, 12) != 0) return {};
  std::string host;
  for (size_t i = 12; i < sizeof gid.raw; ++i) {
    host += (i > 12 ? "." : "") + std::to_string(gid.raw[i]);
  }
  return host;
}

// What a SEND or WRITE that got no answer ended with.
ibv_wc_status loss_of(const Disconnect& why) {
  constexpr uint8_t kRdmap = 0;
  constexpr uint8_t kDdp = 1;
  constexpr uint8_t kProtection = 1;  // of RDMAP; of DDP: tagged buffers
  constexpr uint8_t kUntagged = 2;
  constexpr uint8_t kNoBuffer = 2;
  switch (why.reason) {
    case DisconnectReason::kPeer:  // in good order: it has read what came before
      return IBV_WC_SUCCESS;
    case DisconnectReason::kTerminated:
      if (why.layer == kDdp && why.error_type == kUntagged && why.error_code == kNoBuffer) {
        return IBV_WC_RNR_RETRY_EXC_ERR;
      }
      if ((why.layer == kRdmap || why.layer == kDdp) && why.error_type == kProtection) {
        return IBV_WC_REM_ACCESS_ERR;
      }
      return IBV_WC_REM_OP_ERR;
    case DisconnectReason::kReset:
      return IBV_WC_RETRY_EXC_ERR;
    default:
      return IBV_WC_WR_FLUSH_ERR;
  }
}

}  // namespace

QpObject::QpObject(PdObject& pd, CqObject* send_cq, CqObject* recv_cq, SrqObject* srq,
                   const ibv_qp_init_attr& attr)
    : engine_(*pd.engine),
      pd_(&pd),
      device_pd_(pd.pd),
      send_cq_(send_cq),
      recv_cq_(recv_cq),
      srq_(srq),
      init_(attr),
      sends_(std::max(attr.cap.max_send_wr, 1u)),
      receives_(srq != nullptr ? 0 : attr.cap.max_recv_wr) {
  handle_.object = this;
  attr_.rnr_retry = kRetryForEver;
  for (SendEntry& entry : sends_) {
    entry.qp = this;
    entry.sges.reserve(attr.cap.max_send_sge);
  }
  for (ReceiveEntry& entry : receives_) {
    entry.qp = this;
    entry.sges.reserve(attr.cap.max_recv_sge);
  }
}

absl::Status QpObject::open() {
  credits_ = std::make_unique<Credits>();
  auto credits = device_pd_->reg_mr(
      {reinterpret_cast<std::byte*>(credits_.get()), sizeof(Credits)},
      Access::kLocalWrite | Access::kRemoteWrite | Access::kDisableRelaxedOrdering);
  if (!credits.ok()) return credits.status();
  credits_mr_ = *std::move(credits);
  inline_data_.resize(sends_.size() * init_.cap.max_inline_data);
  if (inline_data_.empty()) return absl::OkStatus();
  auto region = device_pd_->reg_mr(inline_data_, Access::kNone);
  if (!region.ok()) return region.status();
  inline_mr_ = *std::move(region);
  return absl::OkStatus();
}

QpObject::~QpObject() {
  engine_.remove_stalled(*this);
  if (qp_ != nullptr) engine_.remove_owner(*qp_);
}

void QpObject::close() {
  disconnect();
  const auto until = std::chrono::steady_clock::now() + kCloseTime;
  while (qp_ != nullptr && std::chrono::steady_clock::now() < until) {
    if (engine_.reactor().poll() == 0) ::usleep(kCloseStep);
  }
  // The cm id outlives its QP and wants to know.
  if (qp_ != nullptr && observer_ != nullptr) {
    observer_->on_ended(established_, DisconnectReason::kLocal);
  }
  observer_ = nullptr;
  reset();
}

void QpObject::disconnect() {
  if (Checker* checker = Checker::get()) [[unlikely]]
    checker->qp_closing(abi()->qp_num);
  visitor_.reset();
  announce_end();
  if (qp_ != nullptr) qp_->disconnect();
}

// Forgets the connection and all work, without completions.
void QpObject::reset() {
  if (Checker* checker = Checker::get()) [[unlikely]]
    checker->qp_reset(abi()->qp_num);
  announce_end();
  CqObject* const send_cq = std::exchange(send_cq_, nullptr);
  CqObject* const recv_cq = std::exchange(recv_cq_, nullptr);
  visitor_.reset();
  unstall();
  if (qp_ != nullptr) engine_.remove_owner(*qp_);
  qp_.reset();
  head_ = next_ = tail_ = done_ = answered_ = asked_ = unasked_ = 0;
  acknowledges_ = answer_.busy = false;
  credit_rkey_ = {};
  loss_ = IBV_WC_WR_FLUSH_ERR;
  receive_head_ = receive_tail_ = told_ = 0;
  attr_.rnr_retry = told_retry_ = kRetryForEver;
  peer_receives_ = sends_started_ = 0;
  credits_->from_peer = 0;
  established_ = by_cm_ = peer_gone_ = accepted_ = flushing_ = limited_ = giving_ =
      credit_write_.busy = false;
  if (send_cq != nullptr) send_cq->purge(abi()->qp_num);
  if (recv_cq != nullptr) recv_cq->purge(abi()->qp_num);
  send_cq_ = send_cq;
  recv_cq_ = recv_cq;
}

void QpObject::set_state(ibv_qp_state state) {
  attr_.qp_state = attr_.cur_qp_state = state;
  abi()->state = state;
  if (state != IBV_QPS_ERR) return;
  if (Checker* checker = Checker::get()) [[unlikely]]
    checker->qp_closing(abi()->qp_num);
}

QpOptions QpObject::options(uint8_t ord, uint8_t ird) const {
  return {.send_cq = &engine_.cq(),
          .recv_cq = &engine_.cq(),
          .srq = srq_ != nullptr ? srq_->srq.get() : nullptr,
          // More than the program's: the WRITE that gives credits, the READ that asks for an
          // answer, the end of a window's old key.
          .max_send_wr = std::min(init_.cap.max_send_wr + 3, device_pd_->caps().max_qp_wr),
          .max_recv_wr = std::max(init_.cap.max_recv_wr, 1u),
          .max_send_sge = std::max(init_.cap.max_send_sge, 1u),
          .max_recv_sge = std::max(init_.cap.max_recv_sge, 1u),
          // One at least, for that READ.
          .ord = std::clamp<uint16_t>(ord, 1, kMaxReadsOutstanding),
          .ird = std::clamp<uint16_t>(ird, 1, kMaxReadsOutstanding),
          .receive_wait = engine_.iwarp() ? Nanoseconds::zero() : Nanoseconds::max()};
}

Hello QpObject::hello() const {
  return {.credits = srq_ == nullptr,
          .min_rnr_timer = attr_.min_rnr_timer,
          .source_qp = handle_.abi.qp_base.qp_num,
          .target_qp = by_cm_ ? 0 : attr_.dest_qp_num,
          .receives = static_cast<uint32_t>(receive_tail_),
          .credit_rkey = credits_mr_->rkey().value,
          .credit_addr = credits_mr_->remote_addr().value + offsetof(Credits, from_peer)};
}

void QpObject::take_credits(const std::optional<Hello>& hello) {
  giving_ = hello.has_value() && srq_ == nullptr;
  limited_ = hello.has_value() && hello->credits;
  if (!hello.has_value()) return;
  attr_.dest_qp_num = hello->source_qp;
  peer_receives_ = hello->receives;
  peer_rnr_timer_ = hello->min_rnr_timer;
  credit_addr_ = {hello->credit_addr};
  credit_rkey_ = {hello->credit_rkey};
}

void QpObject::adopt(std::unique_ptr<Qp> qp) {
  qp_ = std::move(qp);
  engine_.set_owner(*qp_, *this);
  apply_rights();
  for (uint64_t i = receive_head_; i < receive_tail_; ++i) {
    hand_over(receives_[i % receives_.size()]);
  }
}

// What the peer may do needs the right of the QP and of the key. Its credits are the provider's.
void QpObject::apply_rights() {
  if (qp_ == nullptr || !has_rights_) return;
  uiwarp::deny_peer(*qp_, kRemoteRights & ~from_ibv(attr_.qp_access_flags), credits_mr_->rkey());
}

// The private data of this side's message. An iWARP NIC adds nothing of its own.
std::vector<std::byte> QpObject::greeting(std::span<const std::byte> private_data) const {
  if (engine_.iwarp()) return {private_data.begin(), private_data.end()};
  return encode(hello(), private_data);
}

int QpObject::connect(const Address& address, std::span<const std::byte> private_data, uint8_t ord,
                      uint8_t ird, ConnectionObserver& observer) {
  if (qp_ != nullptr) return EINVAL;
  by_cm_ = true;
  observer_ = &observer;
  told_ = receive_tail_;
  const std::vector<std::byte> data = greeting(private_data);
  auto made = engine_.device().connect(address, *device_pd_, options(ord, ird),
                                       {.private_data = data, .timeout = kConnectTime}, *this);
  if (!made.ok()) return to_errno(made.status());
  adopt(*std::move(made));
  return 0;
}

int QpObject::accept(ConnectRequest& request, const std::optional<Hello>& hello_in,
                     std::span<const std::byte> private_data, uint8_t ord, uint8_t ird,
                     ConnectionObserver& observer) {
  if (qp_ != nullptr) return EINVAL;
  by_cm_ = true;
  observer_ = &observer;
  told_ = receive_tail_;
  const std::vector<std::byte> data =
      hello_in.has_value() ? greeting(private_data)
                           : std::vector<std::byte>(private_data.begin(), private_data.end());
  auto made = request.accept(*device_pd_, options(ord, ird),
                             {.private_data = data, .timeout = kConnectTime}, *this);
  if (!made.ok()) return to_errno(made.status());
  take_credits(hello_in);
  accepted_ = true;
  adopt(*std::move(made));
  return 0;
}

int QpObject::rendezvous() {
  if (by_cm_ || qp_ != nullptr) return 0;
  if (engine_.iwarp()) return EINVAL;  // it connects by rdma_cm only
  const auto gids = local_gids();
  const bool global = attr_.ah_attr.is_global != 0;
  const ibv_gid peer = global ? attr_.ah_attr.grh.dgid : gids.back();
  if (host_of(peer).empty()) return EINVAL;
  const size_t index = attr_.ah_attr.grh.sgid_index;
  const ibv_gid mine = global && index < gids.size() ? gids[index] : gids.back();
  const uint32_t number = abi()->qp_num;
  const int order = std::memcmp(mine.raw, peer.raw, sizeof mine.raw);
  if (number == attr_.dest_qp_num && order == 0) return EOPNOTSUPP;  // a QP with itself
  if (number < attr_.dest_qp_num || (number == attr_.dest_qp_num && order < 0)) return dial();
  if (visitor_ != nullptr) answer();
  return 0;
}

int QpObject::dial() {
  const bool global = attr_.ah_attr.is_global != 0;
  const Address address{.transport = "uiwarp",
                        .host = host_of(global ? attr_.ah_attr.grh.dgid : local_gids().back()),
                        .port = static_cast<uint16_t>(attr_.dest_qp_num / kQpsPerListener),
                        .options = {}};
  told_ = receive_tail_;
  const std::vector<std::byte> data = encode(hello(), {});
  auto made = engine_.device().connect(address, *device_pd_,
                                       options(kMaxReadsOutstanding, kMaxReadsOutstanding),
                                       {.private_data = data, .timeout = kRendezvousTime}, *this);
  if (!made.ok()) return to_errno(made.status());
  adopt(*std::move(made));
  return 0;
}

void QpObject::meet(std::unique_ptr<ConnectRequest> request, const Hello& hello_in) {
  if (by_cm_ || qp_ != nullptr || attr_.qp_state == IBV_QPS_ERR) return;  // rejected
  const bool ready = attr_.qp_state == IBV_QPS_RTR || attr_.qp_state == IBV_QPS_RTS;
  if (ready && hello_in.source_qp != attr_.dest_qp_num) return;
  visitor_ = std::move(request);
  visitor_hello_ = hello_in;
  if (ready) answer();
}

void QpObject::answer() {
  const std::unique_ptr<ConnectRequest> request = std::move(visitor_);
  if (visitor_hello_.source_qp != attr_.dest_qp_num) return;  // a stranger: rejected
  told_ = receive_tail_;
  const std::vector<std::byte> data = encode(hello(), {});
  auto made = request->accept(*device_pd_, options(kMaxReadsOutstanding, kMaxReadsOutstanding),
                              {.private_data = data, .timeout = kConnectTime}, *this);
  if (!made.ok()) return fail_qp();
  take_credits(visitor_hello_);
  accepted_ = true;
  adopt(*std::move(made));
}

void QpObject::on_connected(Qp&, const ConnectionInfo& info) {
  std::span<const std::byte> data = info.private_data;
  if (!accepted_) take_credits(engine_.iwarp() ? std::nullopt : take_hello(data));
  established_ = true;
  acknowledges_ = engine_.acknowledges() && credit_rkey_.value != 0 && qp_->ord() > 0;
  ++engine_.statistics().connections;
  if (by_cm_) set_state(IBV_QPS_RTS);
  if (observer_ != nullptr) {
    observer_->on_established(accepted_ ? std::span<const std::byte>{} : data, &info);
  }
  advertise();
  pump();
}

void QpObject::on_rejected(Qp&, std::span<const std::byte> private_data) {
  if (observer_ != nullptr) observer_->on_rejected(private_data);
}

void QpObject::on_disconnected(Qp& qp, const Disconnect& why) {
  engine_.remove_owner(qp);
  unstall();
  const bool was_established = std::exchange(established_, false);
  loss_ = loss_of(why);
  std::unique_ptr<Qp> ended = std::move(qp_);
  ended.reset();
  peer_gone_ = !by_cm_;
  const bool unanswered = unasked_ > answered_ && loss_ != IBV_WC_SUCCESS;
  if (!unanswered && attr_.qp_state != IBV_QPS_ERR) settle_unanswered();
  if (by_cm_ || next_ < tail_ || !was_established || unanswered || attr_.qp_state == IBV_QPS_ERR) {
    set_state(IBV_QPS_ERR);
    flush();
  }
  end_ = {.was_established = was_established, .reason = why.reason};
  send_cq_->ending.push_back(this);
  if (recv_cq_ != send_cq_) recv_cq_->ending.push_back(this);
  end_wait_.arm(engine_.reactor(), kUnpolledTime);
  // A program that ends the connection itself expects the end.
  if (why.reason == DisconnectReason::kLocal) return announce_end();
  announce_end_if_polled();
}

void QpObject::announce_end_if_polled() {
  if (send_cq_->holds_success(number()) || recv_cq_->holds_success(number())) return;
  announce_end();
}

void QpObject::announce_end() {
  if (!end_.has_value()) return;
  const End end = *end_;
  end_.reset();
  end_wait_.cancel();
  std::erase(send_cq_->ending, this);
  std::erase(recv_cq_->ending, this);
  if (srq_ != nullptr) {
    ibv_async_event event{};
    event.element.qp = abi();
    event.event_type = IBV_EVENT_QP_LAST_WQE_REACHED;
    ContextObject::from(abi()->context)->async.push(event);
  }
  ConnectionObserver* const observer = std::exchange(observer_, nullptr);
  if (observer != nullptr) observer->on_ended(end.was_established, end.reason);
}

void QpObject::forget_observer() {
  observer_ = nullptr;
  announce_end();
}

int QpObject::modify(const ibv_qp_attr& attr, int mask) {
  if ((mask & IBV_QP_ACCESS_FLAGS) != 0) {
    attr_.qp_access_flags = attr.qp_access_flags;
    has_rights_ = true;
    apply_rights();
  }
  if ((mask & IBV_QP_PORT) != 0) {
    if (attr.port_num != 1) return EINVAL;
    attr_.port_num = attr.port_num;
  }
  if ((mask & IBV_QP_AV) != 0) attr_.ah_attr = attr.ah_attr;
  if ((mask & IBV_QP_DEST_QPN) != 0 && !by_cm_) attr_.dest_qp_num = attr.dest_qp_num;
  if ((mask & IBV_QP_PATH_MTU) != 0) attr_.path_mtu = attr.path_mtu;
  if ((mask & IBV_QP_SQ_PSN) != 0) attr_.sq_psn = attr.sq_psn;
  if ((mask & IBV_QP_RQ_PSN) != 0) attr_.rq_psn = attr.rq_psn;
  if ((mask & IBV_QP_MAX_QP_RD_ATOMIC) != 0) attr_.max_rd_atomic = attr.max_rd_atomic;
  if ((mask & IBV_QP_MAX_DEST_RD_ATOMIC) != 0) attr_.max_dest_rd_atomic = attr.max_dest_rd_atomic;
  if ((mask & IBV_QP_TIMEOUT) != 0) attr_.timeout = attr.timeout;
  if ((mask & IBV_QP_RETRY_CNT) != 0) attr_.retry_cnt = attr.retry_cnt;
  if ((mask & IBV_QP_RNR_RETRY) != 0) attr_.rnr_retry = attr.rnr_retry;
  if ((mask & IBV_QP_MIN_RNR_TIMER) != 0) attr_.min_rnr_timer = attr.min_rnr_timer;
  if ((mask & IBV_QP_STATE) == 0) return 0;
  return change_state(attr.qp_state);
}

int QpObject::change_state(ibv_qp_state state) {
  const ibv_qp_state now = attr_.qp_state;
  switch (state) {
    case IBV_QPS_RESET:
      reset();
      break;
    case IBV_QPS_INIT:
      if (by_cm_ && linked()) return 0;  // rdma_cm has brought it further
      if (now != IBV_QPS_RESET && now != IBV_QPS_INIT) return EINVAL;
      break;
    case IBV_QPS_RTR:
      if (now != IBV_QPS_INIT && !by_cm_) return EINVAL;
      if (by_cm_) return 0;
      set_state(state);
      return rendezvous();
    case IBV_QPS_RTS:
      if (now != IBV_QPS_RTR && now != IBV_QPS_RTS) return EINVAL;
      set_state(state);
      advertise();
      pump();
      return 0;
    case IBV_QPS_ERR:
      set_state(state);
      if (qp_ == nullptr) {
        visitor_.reset();
        flush();
      } else {
        flushing_ = true;
        qp_->abort();
      }
      return 0;
    default:
      return EOPNOTSUPP;  // SQD, SQE: no such states on this device
  }
  set_state(state);
  return 0;
}

}  // namespace mrpool::provider
