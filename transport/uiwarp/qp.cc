#include "transport/uiwarp/qp.h"

#include <utility>

#include "transport/uiwarp/check.h"
#include "transport/uiwarp/peer_rights.h"
#include "transport/uiwarp/srq.h"

namespace mrpool::uiwarp {

namespace {

// How long disconnect() waits for what was posted and for the peer to close too.
constexpr Nanoseconds kCloseTime = std::chrono::seconds(5);

}  // namespace

void UiwarpQp::deadline_passed() {
  if (state_ == State::kClosing) {
    end(DisconnectReason::kLocal, "the peer did not close in time");
  } else {
    end(DisconnectReason::kTimeout, "the peer did not answer in time");
  }
}

UiwarpQp::UiwarpQp(const Params& params)
    : pd_(params.pd),
      context_(params.send_cq.shared_context()),
      send_cq_(&params.send_cq),
      recv_cq_(&params.recv_cq),
      options_(params.options),
      shares_(params.shares),
      limits_(params.limits),
      registry_(params.registry),
      events_(params.events),
      core_(*this, params.keys, {.pd = params.pd_id, .qp = params.qp_id}, params.caps,
            params.options, params.send_cq, params.recv_cq,
            params.srq != nullptr ? &params.srq->queue() : nullptr,
            params.sanitizer != nullptr ? params.sanitizer->withhold_for_qp(this) : nullptr,
            &params.pd),
      receiver_(core_.segments()) {
  send_cq_->attach(shares_.send);
  recv_cq_->attach(shares_.recv);
  registry_.add(core_.counters());
}

UiwarpQp::~UiwarpQp() {
  if (state_ == State::kDetached) {
    end_detached();
    return;
  }
  check_thread(reactor(), "~Qp");
  end(DisconnectReason::kLocal, {});
  registry_.remove(core_.counters());
  deferred_node.unlink();
  send_cq_->dispatch_for(this);
  if (recv_cq_ != send_cq_) recv_cq_->dispatch_for(this);
  send_cq_->detach(shares_.send);
  recv_cq_->detach(shares_.recv);
}

Reactor& UiwarpQp::reactor() {
  if (context_ == nullptr) [[unlikely]] {
    internal::misuse("a call", "Qp", this, "is detached: only attach() and ~Qp may follow");
  }
  return context_->reactor();
}

PostResult UiwarpQp::post_send(const WorkRequest& chain) {
  if (state_ != State::kConnected) [[unlikely]] {
    if (context_ != nullptr) check_post_thread(context_->reactor(), "Qp::post_send");
    return {PostStatus::kNotConnected, &chain};
  }
  check_post_thread(context_->reactor(), "Qp::post_send");
  const PostResult result = core_.post_send(chain);
  if (!dirty_node.linked() && core_.can_send()) context_->make_dirty(*this);
  return result;
}

PostStatus UiwarpQp::post_recv(const RecvRequest& chain) {
  if (state_ == State::kEnded || state_ == State::kDetached) return PostStatus::kNotConnected;
  check_post_thread(context_->reactor(), "Qp::post_recv");
  return core_.post_recv(chain);
}

void UiwarpQp::disconnect() {
  if (destroyed_detached()) return;
  check_thread(reactor(), "Qp::disconnect");
  if (state_ == State::kClosing || state_ == State::kEnded) return;
  if (state_ != State::kConnected) {
    end(DisconnectReason::kLocal, {});
    return;
  }
  state_ = State::kClosing;
  core_.close();
  deadline_.arm(reactor(), kCloseTime);
  context_->make_dirty(*this);
  if (receiver_.holds()) context_->make_hot(*this);  // it is dropped now
}

void UiwarpQp::abort() {
  if (destroyed_detached()) return;
  check_thread(reactor(), "Qp::abort");
  end(DisconnectReason::kLocal, {});
}

ConnectionState UiwarpQp::state() const {
  switch (state_) {
    case State::kDialing:
    case State::kRequesting:
    case State::kAccepting:
      break;
    case State::kConnected:
      return ConnectionState::kConnected;
    case State::kClosing:
      return ConnectionState::kClosing;
    case State::kEnded:
      return ConnectionState::kClosed;
    case State::kDetached:
      return ConnectionState::kDetached;
  }
  return ConnectionState::kConnecting;
}

bool UiwarpQp::supports(Opcode opcode) const {
  if (state_ != State::kConnected || is_receive(opcode)) return false;
  const bool reads = opcode == Opcode::kRdmaRead || opcode == Opcode::kRdmaReadWithInv;
  const bool atomic = is_atomic(opcode);
  const bool extension =
      atomic || opcode == Opcode::kSendWithImm || opcode == Opcode::kRdmaWriteWithImm;
  if ((reads || atomic) && core_.ord() == 0) return false;
  return !extension || core_.extensions();
}

size_t UiwarpQp::memory_bytes() const {
  return sizeof(*this) - sizeof(core_) + core_.memory_bytes() + receiver_.memory_bytes() +
         (batch_ != nullptr ? sizeof(TxBatch) : 0) + setup_out_.capacity() + setup_in_.capacity() +
         private_data_.capacity() + (stream_ != nullptr ? stream_->memory_bytes() : 0);
}

void UiwarpQp::core_failed() {
  if (core_.peer_terminate()) {
    const TerminateCode code = core_.peer_terminate()->code;
    end(DisconnectReason::kTerminated, std::string(to_string(code)), code);
    return;
  }
  const TerminateCode code = core_.violation()->code;
  if (core_.local_fault()) {
    end(DisconnectReason::kFault, "a posted request could not be carried out", code);
  } else {
    end(DisconnectReason::kProtocol, std::string(to_string(code)), code);
  }
}

void UiwarpQp::send_terminate(const Terminate& terminate) {
  std::array<std::byte, kMaxSegmentHeaderBytes + kMaxTerminateBytes + kMaxTrailerBytes> fpdu;
  std::byte* const payload = fpdu.data() + kMaxSegmentHeaderBytes;
  const size_t bytes = encode_terminate(terminate, payload);
  const size_t ulpdu = kUntaggedHeaderBytes + bytes;
  store_be16(fpdu.data(), static_cast<uint16_t>(ulpdu));
  const SegmentHeader header{
      .kind = MessageKind::kTerminate, .last = true, .queue = kTerminateQueue, .msn = 1};
  encode_segment(header, fpdu.data() + kLengthBytes);
  const size_t covered = kLengthBytes + ulpdu + pad_bytes(ulpdu);
  std::memset(payload + bytes, 0, pad_bytes(ulpdu) + kCrcBytes);
  if (core_.crc()) {
    Crc32c crc;
    crc.update(fpdu.data(), covered);
    store_le32(fpdu.data() + covered, crc.value());
  }
  const iovec piece{fpdu.data(), covered + kCrcBytes};
  const StreamResult result = stream_->writev({&piece, 1});
  if (result.error != 0) return;
  core_.counters().sent.count(header, bytes);
  core_.counters().terminate_sent.set(terminate.code);
  context_->linger(std::move(stream_),
                   std::span(fpdu).subspan(result.bytes, piece.iov_len - result.bytes));
}

void UiwarpQp::end(DisconnectReason reason, std::string detail, TerminateCode code) {
  if (state_ == State::kEnded) return;
  const bool was_up = state_ == State::kConnected || state_ == State::kClosing;
  state_ = State::kEnded;
  reason_ = reason;
  core_.counters().end(reason);
  code_ = code;
  detail_ = std::move(detail);
  deadline_.cancel();
  end_wait();
  dial_.reset();
  hot_node.unlink();
  dirty_node.unlink();
  withholding_node.unlink();
  if (core_.withheld() != nullptr) core_.withheld()->end();
  // After a batch that is sent in part the peer would read it as payload.
  if (stream_ != nullptr && was_up && batch_ == nullptr && core_.violation()) {
    send_terminate(*core_.violation());
  }
  stream_.reset();
  batch_.reset();
  core_.flush();
  context_->defer(*this);
}

// Calls the owner; the last thing it does, because the owner may destroy the Qp from any of these.
void UiwarpQp::run() {
  if (state_ == State::kEnded) {
    if (send_cq_->holds(this) || recv_cq_->holds(this)) {
      context_->defer(*this);  // the end is heard of after the last completion
      return;
    }
    if (std::exchange(rejected_, false)) {
      context_->defer(*this);
      events_.on_rejected(*this, private_data_);
      return;
    }
    // The text outlives the Qp, should the owner destroy it.
    const std::string detail = std::move(detail_);
    events_.on_disconnected(*this, {.reason = reason_,
                                    .layer = code_.layer,
                                    .error_type = code_.type,
                                    .error_code = code_.code,
                                    .detail = detail});
    return;
  }
  if (announced_) return ask_how_long();
  announced_ = true;
  core_.counters().opened.add();
  context_->make_hot(*this);
  context_->make_dirty(*this);
  const std::string local = stream_->local_name();
  const std::string peer = stream_->peer_name();
  const std::vector<std::byte> private_data = std::exchange(private_data_, {});
  const ConnectionInfo info{.local = local,
                            .peer = peer,
                            .ord = core_.ord(),
                            .ird = core_.ird(),
                            .private_data = private_data};
  events_.on_connected(*this, info);
}

void deny_peer(Qp& qp, Access rights, Rkey except) {
  static_cast<UiwarpQp&>(qp).deny_peer(rights, except);
}

}  // namespace mrpool::uiwarp
