// QpObject: posting, handing over to the device, completing.
#include <endian.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "transport/provider/checked_work.h"
#include "transport/provider/limits.h"
#include "transport/provider/qp_object.h"

namespace mrpool::provider {
namespace {

ibv_wc_opcode wc_opcode(Opcode opcode) {
  switch (opcode) {
    case Opcode::kRdmaWrite:
    case Opcode::kRdmaWriteWithImm:
      return IBV_WC_RDMA_WRITE;
    case Opcode::kCompareSwap:
      return IBV_WC_COMP_SWAP;
    case Opcode::kFetchAdd:
      return IBV_WC_FETCH_ADD;
    case Opcode::kRdmaRead:
    case Opcode::kRdmaReadWithInv:
      return IBV_WC_RDMA_READ;
    case Opcode::kRegMr:
      return IBV_WC_BIND_MW;
    case Opcode::kLocalInv:
      return IBV_WC_LOCAL_INV;
    case Opcode::kRecv:
    case Opcode::kRecvWithImm:
      return IBV_WC_RECV;
    case Opcode::kRecvRdmaWithImm:
      return IBV_WC_RECV_RDMA_WITH_IMM;
    default:
      return IBV_WC_SEND;
  }
}

bool is_send(Opcode opcode) {
  return opcode == Opcode::kSend || opcode == Opcode::kSendWithInv ||
         opcode == Opcode::kSendWithImm;
}
bool is_write(Opcode opcode) {
  return opcode == Opcode::kRdmaWrite || opcode == Opcode::kRdmaWriteWithImm;
}
// Nothing of it goes to the peer.
bool is_local(Opcode opcode) { return opcode == Opcode::kRegMr || opcode == Opcode::kLocalInv; }
// It completes a receive of the peer, for which it needs a credit.
bool takes_receive(Opcode opcode) { return is_send(opcode) || opcode == Opcode::kRdmaWriteWithImm; }

Opcode opcode_of(ibv_wr_opcode opcode) {
  switch (opcode) {
    case IBV_WR_SEND_WITH_INV:
      return Opcode::kSendWithInv;
    case IBV_WR_SEND_WITH_IMM:
      return Opcode::kSendWithImm;
    case IBV_WR_RDMA_WRITE:
      return Opcode::kRdmaWrite;
    case IBV_WR_RDMA_WRITE_WITH_IMM:
      return Opcode::kRdmaWriteWithImm;
    case IBV_WR_RDMA_READ:
      return Opcode::kRdmaRead;
    case IBV_WR_ATOMIC_CMP_AND_SWP:
      return Opcode::kCompareSwap;
    case IBV_WR_ATOMIC_FETCH_AND_ADD:
      return Opcode::kFetchAdd;
    case IBV_WR_BIND_MW:
      return Opcode::kRegMr;
    case IBV_WR_LOCAL_INV:
      return Opcode::kLocalInv;
    default:
      return Opcode::kSend;
  }
}

ibv_wc_status fault_of(PostStatus status) {
  switch (status) {
    case PostStatus::kBadSge:
    case PostStatus::kBadKey:
    case PostStatus::kAccessDenied:
      return IBV_WC_LOC_PROT_ERR;
    case PostStatus::kTooLong:
      return IBV_WC_LOC_LEN_ERR;
    default:
      return IBV_WC_LOC_QP_OP_ERR;
  }
}

}  // namespace

void SendEntry::completed(const WorkCompletion& wc) { qp->sent(*this, wc); }

void ReceiveEntry::completed(const WorkCompletion& wc) {
  QpObject* to = qp;
  if (srq != nullptr) {
    // A flush of the Srq itself has no Qp.
    to = srq->pd->engine->owner_of(wc.qp);
    srq->completed(*this, wc);
  }
  if (to != nullptr) to->received(*this, wc);
}

void QpObject::CreditWrite::completed() {
  busy = false;
  owner.advertise();
}

int QpObject::check(const ibv_send_wr& wr) const {
  switch (wr.opcode) {
    case IBV_WR_BIND_MW:
    case IBV_WR_LOCAL_INV:
      return 0;
    case IBV_WR_SEND:
    case IBV_WR_SEND_WITH_INV:
    case IBV_WR_SEND_WITH_IMM:
    case IBV_WR_RDMA_WRITE:
    case IBV_WR_RDMA_WRITE_WITH_IMM:
    case IBV_WR_RDMA_READ:
    case IBV_WR_ATOMIC_CMP_AND_SWP:
    case IBV_WR_ATOMIC_FETCH_AND_ADD:
      break;
    default:
      return EOPNOTSUPP;
  }
  if (wr.num_sge < 0 || static_cast<uint32_t>(wr.num_sge) > init_.cap.max_send_sge) return EINVAL;
  if (wr.num_sge > 0 && wr.sg_list == nullptr) return EINVAL;
  if (wr.opcode == IBV_WR_RDMA_READ) {
    const bool is_inline = (wr.send_flags & IBV_SEND_INLINE) != 0;
    const auto most = static_cast<int>(device_pd_->caps().max_read_sge);
    return is_inline || wr.num_sge > most ? EINVAL : 0;
  }
  if (is_atomic(opcode_of(wr.opcode))) {
    const bool good = (wr.send_flags & IBV_SEND_INLINE) == 0 && wr.num_sge == 1 &&
                      wr.sg_list[0].length == sizeof(uint64_t) &&
                      wr.wr.atomic.remote_addr % sizeof(uint64_t) == 0;
    return good ? 0 : EINVAL;
  }
  if ((wr.send_flags & IBV_SEND_INLINE) == 0) return 0;
  uint64_t bytes = 0;
  for (int i = 0; i < wr.num_sge; ++i) bytes += wr.sg_list[i].length;
  return bytes > init_.cap.max_inline_data ? EINVAL : 0;
}

int QpObject::fill(SendEntry& entry, const ibv_send_wr& wr, MwObject* mw) {
  entry.wr_id = wr.wr_id;
  entry.signalled = init_.sq_sig_all != 0 || (wr.send_flags & IBV_SEND_SIGNALED) != 0;
  entry.solicited = (wr.send_flags & IBV_SEND_SOLICITED) != 0;
  entry.fence = (wr.send_flags & IBV_SEND_FENCE) != 0;
  entry.fault = IBV_WC_SUCCESS;
  entry.sges.clear();
  entry.length = 0;
  entry.opcode = opcode_of(wr.opcode);
  if (entry.opcode == Opcode::kRegMr) {
    return mw != nullptr ? entry.bind.fill(*mw, wr.bind_mw.bind_info) : entry.bind.fill(wr, *pd_);
  }
  fill_operation(entry, wr);
  if (entry.opcode != Opcode::kLocalInv) fill_data(entry, wr);
  return 0;
}

// What the operation does with the peer's memory and keys.
void QpObject::fill_operation(SendEntry& entry, const ibv_send_wr& wr) {
  const bool invalidates = wr.opcode == IBV_WR_SEND_WITH_INV || wr.opcode == IBV_WR_LOCAL_INV;
  entry.remote_addr = {wr.wr.rdma.remote_addr};
  entry.rkey = {invalidates ? wr.invalidate_rkey : wr.wr.rdma.rkey};
  entry.imm = be32toh(wr.imm_data);  // nobody looks at it without immediate data
  if (!is_atomic(entry.opcode)) return;
  entry.remote_addr = {wr.wr.atomic.remote_addr};
  entry.rkey = {wr.wr.atomic.rkey};
  entry.compare_add = wr.wr.atomic.compare_add;
  entry.swap = wr.wr.atomic.swap;
}

void QpObject::fill_data(SendEntry& entry, const ibv_send_wr& wr) {
  if ((wr.send_flags & IBV_SEND_INLINE) != 0) {
    const size_t index = tail_ % sends_.size();
    std::byte* const start = inline_data_.data() + index * init_.cap.max_inline_data;
    for (int i = 0; i < wr.num_sge; ++i) {
      const ibv_sge& sge = wr.sg_list[i];
      if (sge.length == 0) continue;
      std::memcpy(start + entry.length, reinterpret_cast<const void*>(sge.addr), sge.length);
      entry.length += sge.length;
    }
    if (entry.length > 0) entry.sges.push_back({start, entry.length, inline_mr_->lkey()});
    return;
  }
  for (int i = 0; i < wr.num_sge; ++i) {
    const auto sge = pd_->translate(wr.sg_list[i], entry.opcode == Opcode::kRdmaRead);
    if (!sge.has_value()) {
      entry.fault = IBV_WC_LOC_PROT_ERR;
      return;
    }
    entry.length += sge->length;
    entry.sges.push_back(*sge);
  }
}

int QpObject::enqueue(const ibv_send_wr& wr, MwObject* mw) {
  if (attr_.qp_state != IBV_QPS_RTS && attr_.qp_state != IBV_QPS_ERR) return EINVAL;
  if (tail_ - head_ == sends_.size()) {
    if (Checker* checker = Checker::get()) [[unlikely]]
      checker->send_refused(abi()->qp_num);
    return ENOMEM;
  }
  if (const int error = check(wr); error != 0) return error;
  SendEntry& entry = sends_[tail_ % sends_.size()];
  if (const int error = fill(entry, wr, mw); error != 0) return error;
  entry.index = tail_++;
  if (Checker::get() != nullptr) [[unlikely]]
    tell_posted(wr, entry);
  return 0;
}

void QpObject::start(bool was_idle) {
  const bool fails = attr_.qp_state == IBV_QPS_ERR || peer_gone_;
  if (fails && qp_ == nullptr && next_ < tail_) flush();
  pump();
  // The first goes out at once, for programs that wait for the answer without polling; those after
  // it gather until the next round.
  if (was_idle && next_ > head_) engine_.reactor().poll();
}

int QpObject::post_send(ibv_send_wr* wr, ibv_send_wr** bad) {
  const bool was_idle = head_ == tail_;
  int error = 0;
  for (; wr != nullptr; wr = wr->next) {
    error = enqueue(*wr, nullptr);
    if (error != 0) break;
  }
  if (error != 0 && bad != nullptr) *bad = wr;
  start(was_idle);
  return error;
}

int QpObject::bind(MwObject& mw, const ibv_mw_bind& request) {
  if (mw.pd != pd_) return EPERM;
  ibv_send_wr wr{};
  wr.wr_id = request.wr_id;
  wr.opcode = IBV_WR_BIND_MW;
  wr.send_flags = request.send_flags;
  wr.bind_mw.bind_info = request.bind_info;
  const bool was_idle = head_ == tail_;
  const int error = enqueue(wr, &mw);
  start(was_idle);
  return error;
}

bool QpObject::has_credit() const {
  return !limited_ || sends_started_ < std::max(peer_receives_, told_by_peer().receives);
}

Told QpObject::told_by_peer() const {
  return Told::from(be64toh(__atomic_load_n(&credits_->from_peer, __ATOMIC_RELAXED)));
}

// The next request finds no credit.
void QpObject::stall() {
  if (!engine_.add_stalled(*this)) return;
  ++engine_.statistics().receive_waits;
  if (attr_.rnr_retry == kRetryForEver) return;
  retries_.arm(engine_.reactor(), receive_wait(attr_.rnr_retry, peer_rnr_timer_));
}

void QpObject::unstall() {
  engine_.remove_stalled(*this);
  retries_.cancel();
}

void QpObject::out_of_retries() {
  if (next_ == tail_) return;
  sends_[next_ % sends_.size()].fault = IBV_WC_RNR_RETRY_EXC_ERR;
  fail_qp();
}

// A SEND of the peer has found the SRQ empty.
Nanoseconds QpObject::on_receive_wait(Qp&) {
  ++engine_.statistics().receive_waits;
  return receive_wait(told_by_peer().rnr_retry, attr_.min_rnr_timer);
}

void QpObject::pump() {
  if (!established_ || flushing_) return;
  while (next_ < tail_) {
    SendEntry& entry = sends_[next_ % sends_.size()];
    if (takes_receive(entry.opcode) && !has_credit()) {
      return stall();
    }
    if (!hand_over(entry)) break;
  }
  ask();
}

bool QpObject::waits_for_answer(const SendEntry& entry) const {
  return acknowledges_ && entry.signalled && (is_write(entry.opcode) || is_send(entry.opcode));
}

// Posts the READ whose answer confirms that the SENDs and WRITEs before it are in the peer's
// memory.
void QpObject::ask() {
  if (answer_.busy || unasked_ <= answered_ || flushing_ || qp_ == nullptr) return;
  const WorkRequest read{.completion = &answer_,
                         .opcode = Opcode::kRdmaRead,
                         .remote_addr = credit_addr_,
                         .rkey = credit_rkey_};
  if (!qp_->post_send(read).ok()) return;  // asked again at the next completion
  answer_.busy = true;
  asked_ = next_;
}

void QpObject::Answer::completed(const WorkCompletion& wc) {
  busy = false;
  if (wc.status != WcStatus::kSuccess) return;  // on_disconnected follows
  owner.answered_ = owner.asked_;
  owner.done_ = std::max(owner.done_, owner.asked_);
  owner.settle();
  owner.pump();
}

// Completes, in order, what the device has completed and what the peer has answered.
void QpObject::settle() {
  while (head_ < done_) {
    SendEntry& entry = sends_[head_ % sends_.size()];
    if (waits_for_answer(entry) && head_ >= answered_) return;
    retire(entry, entry.fault);
  }
}

// The connection has ended: no answer comes any more.
void QpObject::settle_unanswered() {
  for (bool first = true; head_ < next_;) {
    SendEntry& entry = sends_[head_ % sends_.size()];
    ibv_wc_status status = entry.fault;
    if (waits_for_answer(entry) && status == IBV_WC_SUCCESS) {
      status = first ? loss_ : IBV_WC_WR_FLUSH_ERR;
      first = first && status == IBV_WC_SUCCESS;
    }
    retire(entry, status);
  }
}

bool QpObject::resume() {
  if (!has_credit()) return false;
  unstall();
  pump();
  return true;
}

// A request that is with the device ends the window's key, so that it can be bound again.
bool QpObject::window_ends(const MwBind& bind) const {
  for (uint64_t i = head_; i < next_; ++i) {
    const SendEntry& entry = sends_[i % sends_.size()];
    if (entry.opcode == Opcode::kLocalInv && bind.has_key(entry.rkey)) return true;
  }
  return false;
}

// False when the bind has to wait.
bool QpObject::prepare_bind(SendEntry& entry) {
  MwBind& bind = entry.bind;
  if (bind.must_wait() && window_ends(bind)) return false;
  if (const std::optional<Rkey> old = bind.key_to_end(); old.has_value()) {
    const PostResult result =
        qp_->post_send({.opcode = Opcode::kLocalInv, .signalled = false, .rkey = *old});
    if (result.status == PostStatus::kQueueFull) return false;
    bind.key_ended(result.ok());
  }
  if (!bind.map()) entry.fault = IBV_WC_MW_BIND_ERR;
  return true;
}

// False when the device takes no more now.
bool QpObject::hand_over(SendEntry& entry) {
  if (entry.opcode == Opcode::kRegMr && !prepare_bind(entry)) return false;
  if (entry.fault == IBV_WC_SUCCESS) {
    const WorkRequest request{
        .completion = &entry,
        .opcode = entry.opcode,
        // Local ones always: a bind may wait for them.
        .signalled = (entry.signalled && !waits_for_answer(entry)) || is_local(entry.opcode),
        .solicited = entry.solicited,
        .fence = entry.fence,
        .sges = entry.sges,
        .remote_addr = entry.remote_addr,
        .rkey = entry.rkey,
        .mr = entry.bind.fast_mr(),
        .access = entry.bind.access,
        .imm = entry.imm,
        .compare_add = entry.compare_add,
        .swap = entry.swap};
    const PostResult result = qp_->post_send(request);
    if (result.ok()) {
      ++next_;
      if (waits_for_answer(entry)) unasked_ = next_;
      if (takes_receive(entry.opcode)) ++sends_started_;
      return true;
    }
    if (result.status == PostStatus::kQueueFull || result.status == PostStatus::kNotConnected) {
      return false;
    }
    entry.fault = is_local(entry.opcode) ? IBV_WC_MW_BIND_ERR : fault_of(result.status);
  }
  fail_qp();
  return false;
}

void QpObject::sent(SendEntry& entry, const WorkCompletion& wc) {
  ibv_wc_status status = to_ibv(wc.status);
  // InfiniBand has no connection that closes: a peer that is gone does not answer.
  if (wc.status == WcStatus::kFlushed && !by_cm_ && !flushing_) status = IBV_WC_RETRY_EXC_ERR;
  if (status != IBV_WC_SUCCESS && attr_.qp_state != IBV_QPS_ERR) set_state(IBV_QPS_ERR);
  entry.fault = status;
  done_ = entry.index + 1;
  settle();
  if (next_ < tail_) {
    pump();
  } else {
    ask();
  }
}

void QpObject::retire(SendEntry& entry, ibv_wc_status status) {
  head_ = entry.index + 1;
  if (status != IBV_WC_SUCCESS) flushing_ = true;
  if (entry.opcode == Opcode::kRegMr) entry.bind.clear();
  if (Checker* checker = Checker::get()) [[unlikely]] {
    checker->retired_send(abi()->qp_num, status != IBV_WC_SUCCESS || entry.signalled);
  }
  Statistics& statistics = engine_.statistics();
  if (status == IBV_WC_SUCCESS && is_local(entry.opcode)) {
    if (!entry.signalled) return;
  } else if (status == IBV_WC_SUCCESS) {
    Statistics::Operation& operation = is_send(entry.opcode)     ? statistics.sends
                                       : is_write(entry.opcode)  ? statistics.writes
                                       : is_atomic(entry.opcode) ? statistics.atomics
                                                                 : statistics.reads;
    ++operation.count;
    operation.bytes += entry.length;
    if (!entry.signalled) return;
  }
  ibv_wc out{};
  out.wr_id = entry.wr_id;
  out.status = status;
  out.opcode = wc_opcode(entry.opcode);
  out.byte_len = entry.length;
  out.qp_num = abi()->qp_num;
  if (send_cq_ != nullptr) send_cq_->push(out, false);
}

int QpObject::post_recv(ibv_recv_wr* wr, ibv_recv_wr** bad) {
  int error = 0;
  for (; wr != nullptr; wr = wr->next) {
    const bool valid = srq_ == nullptr && attr_.qp_state != IBV_QPS_RESET && wr->num_sge >= 0 &&
                       static_cast<uint32_t>(wr->num_sge) <= init_.cap.max_recv_sge &&
                       (wr->num_sge == 0 || wr->sg_list != nullptr);
    if (!valid) error = EINVAL;
    if (valid && receive_tail_ - receive_head_ == receives_.size()) error = ENOMEM;
    if (error != 0) break;
    ReceiveEntry& entry = receives_[receive_tail_ % receives_.size()];
    entry.wr_id = wr->wr_id;
    entry.sges.clear();
    for (int i = 0; i < wr->num_sge; ++i) {
      entry.sges.push_back(*pd_->translate(wr->sg_list[i], false));
    }
    ++receive_tail_;
    if (Checker::get() != nullptr) [[unlikely]]
      tell_posted(*wr, entry, abi()->qp_num);
    hand_over(entry);
  }
  if (error != 0 && bad != nullptr) *bad = wr;
  if (attr_.qp_state == IBV_QPS_ERR && qp_ == nullptr) flush();
  advertise();
  return error;
}

void QpObject::hand_over(ReceiveEntry& entry) {
  entry.no_memory = false;
  if (qp_ == nullptr) {
    entry.posted = false;
    return;
  }
  PostStatus status = qp_->post_recv({.completion = &entry, .sges = entry.sges});
  if (status == PostStatus::kBadSge) {
    // Verbs look at the memory when a message comes. One without memory takes no message either,
    // and the peer learns of it.
    entry.no_memory = true;
    status = qp_->post_recv({.completion = &entry});
  }
  entry.posted = status == PostStatus::kOk;
  if (!entry.posted && established_) fail_qp();
}

void QpObject::received(ReceiveEntry& entry, const WorkCompletion& wc) {
  const bool flushed = wc.status == WcStatus::kFlushed;
  if (srq_ == nullptr) {
    entry.posted = false;
    // InfiniBand's receives outlive a peer that went away.
    if (flushed && !by_cm_ && !flushing_) return;
    ++receive_head_;
  } else if (flushed) {
    return;  // the device's own: an Srq keeps what was not taken
  }
  ibv_wc_status status = to_ibv(wc.status);
  if (entry.no_memory && wc.status == WcStatus::kLocalLength) status = IBV_WC_LOC_PROT_ERR;
  complete(entry, status, wc);
  advertise();
}

void QpObject::complete(ReceiveEntry& entry, ibv_wc_status status, const WorkCompletion& wc) {
  if (Checker* checker = Checker::get()) [[unlikely]] {
    checker->retired_receive(abi()->qp_num, completion_of(entry),
                             status == IBV_WC_SUCCESS ? wc.byte_len : 0);
  }
  ibv_wc out{};
  out.wr_id = entry.wr_id;
  out.status = status;
  out.opcode = wc_opcode(wc.opcode == Opcode::kSend ? Opcode::kRecv : wc.opcode);
  out.byte_len = wc.byte_len;
  out.qp_num = abi()->qp_num;
  out.src_qp = attr_.dest_qp_num;
  if (status == IBV_WC_SUCCESS) {
    Statistics& statistics = engine_.statistics();
    ++statistics.receives.count;
    statistics.receives.bytes += wc.byte_len;
    if (has_immediate(wc.opcode)) {
      out.wc_flags = IBV_WC_WITH_IMM;
      out.imm_data = htobe32(wc.imm);
    }
    if (wc.invalidated) {
      out.wc_flags = IBV_WC_WITH_INV;
      out.invalidated_rkey = wc.invalidated_rkey.value;
    }
  } else if (attr_.qp_state != IBV_QPS_ERR) {
    set_state(IBV_QPS_ERR);
    flushing_ = true;
  }
  if (recv_cq_ != nullptr) recv_cq_->push(out, wc.solicited);
}

bool QpObject::owes_credits() const {
  if (!giving_ || told_ == receive_tail_) return false;
  return told_ <= receive_head_ || told_ - receive_head_ <= receives_.size() / 2;
}

// Announces to the peer what has changed, once there is a connection.
void QpObject::advertise() {
  if (!established_ || flushing_ || credit_write_.busy || credit_rkey_.value == 0) return;
  if (!owes_credits() && attr_.rnr_retry == told_retry_) return;
  const Told told{.receives = giving_ ? receive_tail_ : 0, .rnr_retry = attr_.rnr_retry};
  credits_->to_peer = htobe64(told.packed());
  const Sge source = credits_mr_->sge(offsetof(Credits, to_peer), sizeof credits_->to_peer);
  const WorkRequest write{.completion = &credit_write_,
                          .opcode = Opcode::kRdmaWrite,
                          .sges = {&source, 1},
                          .remote_addr = credit_addr_,
                          .rkey = credit_rkey_};
  if (!qp_->post_send(write).ok()) return;
  credit_write_.busy = true;
  told_ = receive_tail_;
  told_retry_ = attr_.rnr_retry;
}

// What the program did cannot be carried out: the connection ends, what waits fails.
void QpObject::fail_qp() {
  set_state(IBV_QPS_ERR);
  flushing_ = true;
  if (qp_ != nullptr) qp_->abort();
}

// Fails what is not with the device.
void QpObject::flush() {
  // A peer that is gone leaves the first request without its answer.
  if (peer_gone_ && !flushing_ && next_ < tail_) {
    const bool refused = loss_ == IBV_WC_RNR_RETRY_EXC_ERR;
    sends_[next_ % sends_.size()].fault = refused ? loss_ : IBV_WC_RETRY_EXC_ERR;
  }
  set_state(IBV_QPS_ERR);
  flushing_ = true;
  settle_unanswered();
  while (next_ < tail_) {
    SendEntry& entry = sends_[next_++ % sends_.size()];
    retire(entry, entry.fault == IBV_WC_SUCCESS ? IBV_WC_WR_FLUSH_ERR : entry.fault);
  }
  while (receive_head_ < receive_tail_) {
    ReceiveEntry& entry = receives_[receive_head_++ % receives_.size()];
    complete(entry, IBV_WC_WR_FLUSH_ERR, {});
  }
}

}  // namespace mrpool::provider
