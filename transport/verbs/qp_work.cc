// VerbsQp: requests on their way to the device, and what it says about them.
#include <cerrno>
#include <cstdlib>

#include "transport/verbs/errors.h"
#include "transport/verbs/fast_mr.h"
#include "transport/verbs/qp.h"
#include "transport/verbs/requests.h"

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
    default:
      return DisconnectReason::kReset;
  }
}

uint32_t total_length(std::span<const Sge> sges) {
  uint32_t length = 0;
  for (const Sge& sge : sges) length += sge.length;
  return length;
}

}  // namespace

// ------------------------------------------------------------------------------- posting

PostResult VerbsQp::post_send(const WorkRequest& chain) {
  check_thread(reactor_, "Qp::post_send from another thread than its reactor's");
  if (state_ != State::kConnected) return {PostStatus::kNotConnected, &chain};
  ibv_send_wr batch[kPostBatch];
  const WorkRequest* requests[kPostBatch];
  const WorkRequest* request = &chain;
  PostStatus status = PostStatus::kOk;
  while (request != nullptr && status == PostStatus::kOk) {
    size_t count = 0;
    const WorkRequest* next = request;
    for (; next != nullptr && count < kPostBatch; next = next->next) {
      if (sends_.outstanding() + count >= sends_.limit) status = PostStatus::kQueueFull;
      if (status == PostStatus::kOk) status = check_send(pd_, *next, options_.max_send_sge);
      if (status != PostStatus::kOk) break;
      const uint32_t sequence = sends_.posted + uint32_t(count);
      batch[count] = to_ibv(*next);
      batch[count].wr_id = make_wr_id(owner_, WrKind::kSend, sequence & sends_.mask);
      if (count > 0) batch[count - 1].next = &batch[count];
      if (next->opcode == Opcode::kRdmaRead) batch[count].send_flags |= IBV_SEND_SIGNALED;
      sends_.at(sequence) = {.completion = next->completion,
                             .rkey = next->rkey,
                             .opcode = next->opcode,
                             .length = total_length(next->sges),
                             .signalled = next->signalled,
                             .silent = (batch[count].send_flags & IBV_SEND_SIGNALED) == 0};
      if (next->opcode == Opcode::kRegMr) static_cast<WindowMr*>(next->mr)->claim(owner_);
      requests[count++] = next;
    }
    if (count > 0) {
      batch[count - 1].send_flags |= IBV_SEND_SIGNALED;
      sends_.at(sends_.posted + uint32_t(count) - 1).silent = false;
      ibv_send_wr* bad = nullptr;
      if (const int error = ibv_post_send(id_->qp, batch, &bad); error != 0) {
        const size_t taken = bad != nullptr ? size_t(bad - batch) : 0;
        for (size_t i = taken; i < count; ++i) {
          if (requests[i]->opcode != Opcode::kRegMr) continue;
          static_cast<WindowMr*>(requests[i]->mr)->invalidated();
        }
        next = requests[taken];
        count = taken;
        status = std::abs(error) == ENOMEM ? PostStatus::kQueueFull : PostStatus::kUnsupported;
      }
      for (size_t i = 0; i < count; ++i) {
        if (requests[i]->opcode == Opcode::kRegMr) static_cast<WindowMr*>(requests[i]->mr)->bound();
      }
      sends_.posted += uint32_t(count);
    }
    request = next;
  }
  return {status, request};
}

PostStatus VerbsQp::post_recv(const RecvRequest& chain) {
  check_thread(reactor_, "Qp::post_recv from another thread than its reactor's");
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
    // Data can overtake the event that says the connection is there.
    const Alive alive(*this);
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
  slot.status = to_status(wc.status);
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
    // Nothing behind a failure went well, even if the device was quicker to say that it did.
    const bool behind_failure = send_failed_ && slot.status == WcStatus::kSuccess;
    const WcStatus status = behind_failure ? WcStatus::kFlushed : slot.status;
    send_failed_ = status != WcStatus::kSuccess;
    if (send_failed_) counters_.failed(status);
    if (slot.completion != nullptr && (slot.signalled || send_failed_)) {
      const Alive alive(*this);
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
  WorkCompletion result = completed(status, Opcode::kRecv);
  result.byte_len = wc.byte_len;
  if (result.status == WcStatus::kSuccess && (wc.wc_flags & IBV_WC_WITH_INV) != 0) {
    result.invalidated = true;
    result.invalidated_rkey = Rkey{wc.invalidated_rkey};
    invalidated(result.invalidated_rkey);
  }
  if (result.status == WcStatus::kSuccess) {
    counters_.succeeded(Opcode::kRecv, result.byte_len);
  } else {
    counters_.failed(result.status);
  }
  if (completion != nullptr) {
    const Alive alive(*this);
    completion->done(result);
    if (alive.gone()) return;
  }
  if (result.status != WcStatus::kSuccess) failed(result.status);
}

void VerbsQp::failed(WcStatus status) {
  if (state_ != State::kConnected && state_ != State::kClosing) return;
  if (status == WcStatus::kFlushed) {
    // The queue pair went down by itself, or the peer closed and its event is on the way.
    if (state_ == State::kConnected && !timer_.armed()) timer_.arm(reactor_, kReasonLimit);
    return;
  }
  const std::string_view text = to_string(status);
  end(reason_of(status), text);
}

WorkCompletion VerbsQp::completed(WcStatus status, Opcode opcode) {
  WorkCompletion wc;
  wc.status = status;
  wc.opcode = opcode;
  wc.qp = this;
  return wc;
}

}  // namespace mrpool::verbs
