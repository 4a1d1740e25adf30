// UiwarpQp: its part in a round of its Context, receiving and sending.
#include <cerrno>
#include <utility>

#include "transport/uiwarp/qp.h"

namespace mrpool::uiwarp {

namespace {

// How many times one connection is read, or written, in a round before others have their turn.
constexpr int kReadsPerRound = 4;
constexpr int kWritesPerRound = 8;
// How long a connection is not read after a round that was full of WRITEs without payload. Reading
// them costs more than sending them: a system call for a few, and the kernel's work for the next.
constexpr Nanoseconds kFloodRest = std::chrono::milliseconds(1);

size_t total_bytes(std::span<const iovec> pieces) {
  size_t total = 0;
  for (const iovec& piece : pieces) total += piece.iov_len;
  return total;
}

}  // namespace

void UiwarpQp::wait_for_bytes() {
  if (stream_ != nullptr && state_ != State::kEnded) stream_->want_read();
}

void UiwarpQp::stop_watching() {
  if (stream_ != nullptr && state_ != State::kEnded) stream_->stop_watching();
}

bool UiwarpQp::receive() {
  drained = false;
  if (state_ == State::kRequesting) return read_reply();
  if (!announced_ || state_ == State::kEnded) {
    // Not before the owner knows of the connection; run() makes it hot again.
    hot_node.unlink();
    return false;
  }
  if (rest_.armed()) [[unlikely]] {
    hot_node.unlink();  // until rested()
    return false;
  }
  bool worked = false;
  receiver_.start_round();
  if (receiver_.holds()) [[unlikely]]
    worked = go_on();
  for (int i = 0; i < kReadsPerRound && state_ != State::kEnded && !receiver_.holds(); ++i) {
    drained = false;
    worked |= receive_once(drained);
    if (drained || receiver_.tired()) break;
  }
  if (receiver_.holds() && state_ != State::kEnded) [[unlikely]]
    wait_for_receive();
  if (state_ != State::kEnded && (core_.can_send() || state_ == State::kClosing)) {
    context_->make_dirty(*this);
  }
  if (receiver_.flooded() && state_ != State::kEnded) [[unlikely]] {
    hot_node.unlink();
    rest_.arm(context_->reactor(), kFloodRest);
  }
  return worked;
}

void UiwarpQp::rested() {
  if (state_ != State::kEnded) context_->make_hot(*this);
}

bool UiwarpQp::receive_once(bool& drained) {
  std::array<iovec, Receiver::kMaxPieces> pieces;
  const std::span<std::byte> scratch = context_->scratch();
  StreamResult result;
  bool good = true;
  {
    const Quiescence::Section section(context_->reader());
    const std::span<const iovec> planned(pieces.data(), receiver_.plan(scratch, pieces));
    result = stream_->readv(planned);
    if (result.bytes > 0) {
      drained = result.bytes < total_bytes(planned);
      good = receiver_.commit(scratch, planned, result.bytes);
    } else {
      // The receiver must be called: bytes that it keeps for later are in its plan.
      good = receiver_.commit(scratch, planned, 0);
    }
  }
  if (result.bytes > 0) {
    if (core_.withheld() != nullptr && !core_.withheld()->empty()) {
      context_->make_withholding(*this);
    }
    if (!good || core_.failed()) core_failed();
    return true;
  }
  drained = true;
  if (result.would_block) return false;
  if (result.closed && state_ == State::kClosing) {
    end(DisconnectReason::kLocal, {});
  } else if (result.closed && receiver_.at_boundary()) {
    end(DisconnectReason::kPeer, {});
  } else if (result.closed) {
    end(DisconnectReason::kReset, "the peer closed in the middle of an FPDU");
  } else {
    stream_failed(result.error);
  }
  return true;
}

// Who asked for the end has it, however it came.
void UiwarpQp::stream_failed(int error) {
  if (error == EFAULT) {
    end(DisconnectReason::kFault, "registered memory is not mapped any more");
    return;
  }
  DisconnectReason reason = DisconnectReason::kReset;
  if (error == EPROTO) reason = DisconnectReason::kProtocol;
  if (state_ == State::kClosing) reason = DisconnectReason::kLocal;
  end(reason, stream_->error_text(error));
}

bool UiwarpQp::trickle() {
  core_.withheld()->trickle();
  return !core_.withheld()->empty();
}

bool UiwarpQp::send() {
  if (state_ == State::kRequesting || state_ == State::kAccepting) return write_setup();
  if (state_ != State::kConnected && state_ != State::kClosing) return false;
  int writes = 0;
  while (writes < kWritesPerRound && write_batch() && state_ != State::kEnded) ++writes;
  const bool worked = writes > 0;
  if (state_ == State::kEnded) return true;
  if (writes == kWritesPerRound) context_->make_dirty(*this);
  if (state_ == State::kClosing) try_to_close();
  return worked;
}

// One batch, built or left over, to the stream. False when there is nothing more to do now.
bool UiwarpQp::write_batch() {
  const Quiescence::Section section(context_->reader());
  bool local_work = false;
  if (batch_ == nullptr) {
    if (!core_.can_send()) return false;
    batch_ = context_->take_batch();
    local_work = core_.build(*batch_);
    if (batch_->empty()) {
      context_->give_batch(std::move(batch_));
      if (core_.failed()) core_failed();
      return local_work;
    }
  } else if (!batch_->guards_hold()) {
    // The rest of a READ response is no longer the peer's to read, and its FPDU cannot be taken
    // back: the connection cannot go on.
    end(DisconnectReason::kProtocol, "a key was revoked while a READ of it was answered",
        term::kReadInvalidStag);
    return false;
  }
  const StreamResult result = stream_->writev(batch_->unsent());
  if (result.bytes > 0) {
    batch_->advance(result.bytes);
    core_.sent(result.bytes);
    if (batch_->empty()) context_->give_batch(std::move(batch_));
    if (batch_ == nullptr && core_.failed()) core_failed();
    return true;
  }
  if (result.error != 0) {
    write_failed(result.error);
    return false;
  }
  if (core_.failed()) {
    core_failed();
  } else {
    stream_->want_write();
  }
  return local_work;
}

void UiwarpQp::try_to_close() {
  if (shut_down_ || batch_ != nullptr || !core_.quiet()) return;
  shut_down_ = true;
  stream_->shutdown_write();
  context_->make_hot(*this);
}

// The peer may have sent the reason in a Terminate that was not read yet.
void UiwarpQp::write_failed(int error) {
  for (int i = 0; i < kReadsPerRound && state_ != State::kEnded && announced_; ++i) {
    if (receiver_.holds()) break;
    bool drained = false;
    receive_once(drained);
    if (drained) break;
  }
  if (state_ != State::kEnded) stream_failed(error);
}

}  // namespace mrpool::uiwarp
