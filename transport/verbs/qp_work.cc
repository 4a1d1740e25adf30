// VerbsQp: requests on their way to the device, and their completions.
#include <arpa/inet.h>

#include <cerrno>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "transport/verbs/device.h"
#include "transport/verbs/errors.h"
#include "transport/verbs/fast_mr.h"
#include "transport/verbs/qp.h"
#include "transport/verbs/requests.h"
#include "transport/verbs/siw.h"

namespace mrpool::verbs {
namespace {

// A queue pair that fails by itself flushes before its reason arrives, if one arrives at all.
constexpr Nanoseconds kReasonLimit = std::chrono::milliseconds(100);
// Requests given to the device in one call.
constexpr size_t kPostBatch = 16;

DisconnectReason reason_of(WcStatus status) {
  switch (status) {
    case WcStatus::kRemoteAccess:
    case WcStatus::kRemoteInvalidRequest:
    case WcStatus::kRemoteOperation:
      return DisconnectReason::kTerminated;
    case WcStatus::kFlushed:
    case WcStatus::kLocalLength:
      return DisconnectReason::kProtocol;
    case WcStatus::kLocalProtection:
    case WcStatus::kBind:
      return DisconnectReason::kFault;
    default:
      return DisconnectReason::kReset;
  }
}

// For these the device reads only the memory that is posted with them, and only where the flag asks
// for it.
bool may_be_inline(Opcode opcode) {
  return opcode == Opcode::kSend || opcode == Opcode::kSendWithImm ||
         opcode == Opcode::kSendWithInv || opcode == Opcode::kRdmaWrite ||
         opcode == Opcode::kRdmaWriteWithImm;
}

// Without an entry of its own nobody would know that the data is there.
bool returns_data(Opcode opcode) { return opcode == Opcode::kRdmaRead || is_atomic(opcode); }

}  // namespace

// ------------------------------------------------------------------------------- posting

PostResult VerbsQp::post_send(const WorkRequest& chain) {
  check_post_thread(reactor_, "Qp::post_send");
  if (state_ != State::kConnected) return {PostStatus::kNotConnected, &chain};
  ibv_send_wr batch[kPostBatch];
  const WorkRequest* requests[kPostBatch];
  ibv_sge lists[kPostBatch][siw::kMinSendSges];
  const WorkRequest* request = &chain;
  PostStatus status = PostStatus::kOk;
  while (request != nullptr && status == PostStatus::kOk) {
    size_t count = 0;
    const WorkRequest* next = request;
    for (; next != nullptr && count < kPostBatch; next = next->next) {
      uint32_t length = 0;
      if (sends_.outstanding() + count >= sends_.limit) status = PostStatus::kQueueFull;
      if (status == PostStatus::kOk) status = check_send(pd_, *next, options_.max_send_sge, length);
      if (status != PostStatus::kOk) break;
      const uint32_t sequence = sends_.posted + uint32_t(count);
      batch[count] = to_ibv(*next);
      batch[count].wr_id = make_wr_id(owner_, WrKind::kSend, sequence & sends_.mask);
      if (count > 0) batch[count - 1].next = &batch[count];
      if (returns_data(next->opcode)) batch[count].send_flags |= IBV_SEND_SIGNALED;
      if (length <= max_inline_ && length > 0 && may_be_inline(next->opcode)) {
        batch[count].send_flags |= IBV_SEND_INLINE;
      }
      if (device_->siw()) siw::adapt(batch[count], length, lists[count]);
      sends_.at(sequence) = {.completion = next->completion,
                             .rkey = next->rkey,
                             .opcode = next->opcode,
                             .length = length,
                             .signalled = next->signalled,
                             .silent = (batch[count].send_flags & IBV_SEND_SIGNALED) == 0};
      if (next->opcode == Opcode::kRegMr) static_cast<WindowMr*>(next->mr)->claim(owner_);
      requests[count++] = next;
    }
    if (count > 0) {
      batch[count - 1].send_flags |= IBV_SEND_SIGNALED;
      sends_.at(sends_.posted + uint32_t(count) - 1).silent = false;
      ibv_send_wr* bad = nullptr;
      const int error = ibv_post_send(id_->qp, batch, &bad);
      const size_t taken = bad != nullptr ? size_t(bad - batch) : count;
      if (taken < count) {
        next = requests[taken];
        const bool full = error == 0 || std::abs(error) == ENOMEM;
        status = full ? PostStatus::kQueueFull : PostStatus::kUnsupported;
      }
      posted({requests, count}, taken);
      // All is queued and the device could not be notified: the queue pair is about to end.
      if (error != 0 && bad == nullptr) failed(WcStatus::kFlushed);
    }
    request = next;
  }
  if (status != PostStatus::kAccessDenied) return {status, request};
  return {status, request, static_cast<const WindowMr*>(request->mr)->denied(request->access)};
}

// Only `bad` of ibv_post_send shows what was taken. The libraries of siw and rxe queue what fits
// and
// then ring the doorbell, whose result they return: an error although all is queued, or success
// although the queue was full half way.
void VerbsQp::posted(std::span<const WorkRequest* const> requests, size_t taken) {
  for (size_t i = 0; i < requests.size(); ++i) {
    if (requests[i]->opcode != Opcode::kRegMr) continue;
    auto& window = static_cast<WindowMr&>(*requests[i]->mr);
    if (i < taken) {
      window.bound();
    } else {
      window.invalidated();
    }
  }
  sends_.posted += uint32_t(taken);
}

PostStatus VerbsQp::post_recv(const RecvRequest& chain) {
  check_post_thread(reactor_, "Qp::post_recv");
  if (srq_ != nullptr) return PostStatus::kUnsupported;
  if (state_ != State::kConnecting && state_ != State::kConnected) {
    return PostStatus::kNotConnected;
  }
  for (const RecvRequest* request = &chain; request != nullptr; request = request->next) {
    if (recvs_.outstanding() + early_recvs_.size() >= recvs_.limit) return PostStatus::kQueueFull;
    if (const PostStatus status = check_recv(pd_, *request, options_.max_recv_sge);
        status != PostStatus::kOk) {
      return status;
    }
    if (id_->qp == nullptr) {
      early_recvs_.push_back({request->completion, {request->sges.begin(), request->sges.end()}});
    } else if (const PostStatus status = post_recv_now(*request); status != PostStatus::kOk) {
      return status;
    }
  }
  return PostStatus::kOk;
}

PostStatus VerbsQp::post_recv_now(const RecvRequest& request) {
  ibv_recv_wr wr = to_ibv(request);
  wr.wr_id = make_wr_id(owner_, WrKind::kRecv, recvs_.posted & recvs_.mask);
  // siw takes no receive without a list; an empty range does the same everywhere.
  ibv_sge nothing{};
  if (wr.num_sge == 0) {
    wr.sg_list = &nothing;
    wr.num_sge = 1;
  }
  ibv_recv_wr* bad = nullptr;
  if (ibv_post_recv(id_->qp, &wr, &bad) != 0) return PostStatus::kQueueFull;
  recvs_.at(recvs_.posted++) = request.completion;
  return PostStatus::kOk;
}

// ------------------------------------------------------------------------------- completions

void VerbsQp::on_wc(const ibv_wc& wc) {
  if (state_ == State::kConnecting && wc.status == IBV_WC_SUCCESS) {
    // Data can arrive before the event of the established connection.
    const Alive alive(gone_);
    if (accepting_) {
      established(peer_data_);
    } else {
      channel_->on_readable();
    }
    if (alive.gone()) return;
    if (state_ == State::kConnecting) {
      early_wcs_.push_back(wc);
      return;
    }
  }
  if (kind_of(wc.wr_id) == WrKind::kSend) {
    complete_send(wc);
  } else {
    complete_recv(wc);
  }
}

void VerbsQp::complete_send(const ibv_wc& wc) {
  const uint32_t ahead = (slot_of(wc.wr_id) - sends_.done) & sends_.mask;
  if (ahead >= sends_.outstanding()) return;
  const uint32_t sequence = sends_.done + ahead;
  SendSlot& slot = sends_.at(sequence);
  slot.finished = true;
  slot.status = send_status(wc.status, device_->siw());
  note_failure(wc, slot.opcode, slot.status);
  counters_.gave_up(wc.status);
  if (int32_t(sequence + 1 - latest_send_) > 0) latest_send_ = sequence + 1;
  release_sends();
}

void VerbsQp::release_sends() {
  while (sends_.done != sends_.posted) {
    const SendSlot slot = sends_.at(sends_.done);
    // A silent one went well when the device has reported a later one.
    if (!slot.finished && !(slot.silent && int32_t(latest_send_ - sends_.done) > 0)) return;
    ++sends_.done;
    if (slot.status == WcStatus::kSuccess) succeeded(slot);
    // No request after a failed one has succeeded, even if the device reported success earlier.
    const bool behind_failure = send_failed_ && slot.status == WcStatus::kSuccess;
    const WcStatus status = behind_failure ? WcStatus::kFlushed : slot.status;
    send_failed_ = status != WcStatus::kSuccess;
    if (send_failed_) counters_.failed(status);
    if (slot.completion != nullptr && (slot.signalled || send_failed_)) {
      const Alive alive(gone_);
      slot.completion->done(completed(status, slot.opcode));
      if (alive.gone()) return;
    }
    if (send_failed_) {
      failed(status);
    } else if (state_ == State::kClosing && sends_.outstanding() == 0) {
      sent_all();
    }
  }
}

void VerbsQp::succeeded(const SendSlot& slot) {
  counters_.succeeded(slot.opcode, slot.length);
  if (slot.opcode == Opcode::kLocalInv) invalidated(slot.rkey);
}

void VerbsQp::invalidated(Rkey rkey) {
  if (WindowMr* window = pd_.window_of(rkey); window != nullptr) window->invalidated();
}

void VerbsQp::complete_recv(const ibv_wc& wc) {
  Completion* completion = nullptr;
  if (kind_of(wc.wr_id) == WrKind::kSrq) {
    completion = srq_->take(slot_of(wc.wr_id));
  } else {
    completion = recvs_.at(recvs_.done++);
  }
  // Every range was checked at post, so what is wrong with the queue is the message's length.
  const WcStatus status =
      wc.status == IBV_WC_LOC_QP_OP_ERR ? WcStatus::kLocalLength : to_status(wc.status);
  note_failure(wc, Opcode::kRecv, status);
  WorkCompletion result = completed(status, Opcode::kRecv);
  result.byte_len = wc.byte_len;
  if (result.status == WcStatus::kSuccess && (wc.wc_flags & IBV_WC_WITH_IMM) != 0) {
    result.opcode =
        wc.opcode == IBV_WC_RECV_RDMA_WITH_IMM ? Opcode::kRecvRdmaWithImm : Opcode::kRecvWithImm;
    result.imm = ntohl(wc.imm_data);
  }
  if (result.status == WcStatus::kSuccess && (wc.wc_flags & IBV_WC_WITH_INV) != 0) {
    result.invalidated = true;
    result.invalidated_rkey = Rkey{wc.invalidated_rkey};
    invalidated(result.invalidated_rkey);
  }
  if (result.status == WcStatus::kSuccess) {
    counters_.succeeded(result.opcode, result.byte_len);
  } else {
    counters_.failed(result.status);
  }
  if (completion != nullptr) {
    const Alive alive(gone_);
    completion->done(result);
    if (alive.gone()) return;
  }
  if (result.status != WcStatus::kSuccess) failed(result.status);
}

void VerbsQp::failed(WcStatus status) {
  if (state_ != State::kConnected && state_ != State::kClosing) return;
  const bool closing = state_ == State::kClosing;
  const bool flushed = status == WcStatus::kFlushed;
  if (flushed || (status == WcStatus::kTransport && device_->siw() && !closing)) {
    // The queue pair went down by itself, or the peer closed and its event is on the way.
    if (closing || timer_.armed()) return;
    unexplained_ = flushed ? DisconnectReason::kProtocol : reason_of(status);
    timer_.arm(reactor_, kReasonLimit);
    return;
  }
  // Who asked for the end has it, however it came.
  end(closing ? DisconnectReason::kLocal : reason_of(status),
      detail_.empty() ? to_string(status) : detail_);
}

void VerbsQp::note_failure(const ibv_wc& wc, Opcode opcode, WcStatus status) {
  const bool by_itself = wc.status != IBV_WC_SUCCESS && wc.status != IBV_WC_WR_FLUSH_ERR;
  if (!by_itself || !detail_.empty()) return;
  const std::string_view what = to_string(status);
  const std::string_view whose = to_string(opcode);
  detail_ = absl::StrCat(absl::string_view(what.data(), what.size()), " (",
                         absl::string_view(whose.data(), whose.size()), ": ",
                         ibv_wc_status_str(wc.status), ", vendor error ", wc.vendor_err, ")");
}

WorkCompletion VerbsQp::completed(WcStatus status, Opcode opcode) {
  WorkCompletion wc;
  wc.status = status;
  wc.opcode = opcode;
  wc.qp = this;
  return wc;
}

}  // namespace mrpool::verbs
