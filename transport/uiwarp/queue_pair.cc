#include "transport/uiwarp/queue_pair.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "transport/uiwarp/check.h"
#include "transport/uiwarp/srq.h"

namespace mrpool::uiwarp {

namespace {

// How many times one connection is read, or written, in a round before others have their turn.
constexpr int kReadsPerRound = 4;
constexpr int kWritesPerRound = 8;
// How long disconnect() waits for what was posted and for the peer to close too.
constexpr Nanoseconds kCloseTime = std::chrono::seconds(5);

size_t total_bytes(std::span<const iovec> pieces) {
  size_t total = 0;
  for (const iovec& piece : pieces) total += piece.iov_len;
  return total;
}

}  // namespace

QueuePair::Deadline::Deadline(QueuePair& owner_in)
    : Timer([](Timer& self) {
        QueuePair& qp = static_cast<Deadline&>(self).owner;
        if (qp.state_ == State::kClosing) {
          qp.end(DisconnectReason::kLocal, "the peer did not close in time");
        } else {
          qp.end(DisconnectReason::kTimeout, "the peer did not answer in time");
        }
      }),
      owner(owner_in) {}

QueuePair::QueuePair(const Params& params)
    : pd_(params.pd),
      context_(params.send_cq.shared_context()),
      send_cq_(params.send_cq),
      recv_cq_(params.recv_cq),
      send_entries_(params.options.max_send_wr),
      recv_entries_(params.srq != nullptr ? params.srq->queue().capacity()
                                          : params.options.max_recv_wr),
      limits_(params.limits),
      events_(params.events),
      core_(*this, params.keys, {.pd = params.pd_id, .qp = params.qp_id}, params.caps,
            params.options, params.send_cq, params.recv_cq,
            params.srq != nullptr ? &params.srq->queue() : nullptr,
            params.sanitizer != nullptr ? params.sanitizer->withhold_for_qp() : nullptr),
      receiver_(core_),
      deadline_(*this) {
  send_cq_.attach(send_entries_);
  recv_cq_.attach(recv_entries_);
}

QueuePair::~QueuePair() {
  check_thread(reactor(), "~Qp");
  end(DisconnectReason::kLocal, {});
  deferred_node.unlink();
  send_cq_.dispatch_for(this);
  if (&recv_cq_ != &send_cq_) recv_cq_.dispatch_for(this);
  send_cq_.detach(send_entries_);
  recv_cq_.detach(recv_entries_);
}

absl::Status QueuePair::connect(Network& network, const Address& address,
                                const ConnectParams& params) {
  private_data_.assign(params.private_data.begin(), params.private_data.end());
  absl::StatusOr<std::unique_ptr<Dial>> dial = network.dial(reactor(), address, *this);
  if (!dial.ok()) {
    state_ = State::kEnded;
    return dial.status();
  }
  dial_ = *std::move(dial);
  deadline_.arm(reactor(), params.timeout);
  return absl::OkStatus();
}

void QueuePair::on_dialed(absl::StatusOr<std::unique_ptr<Stream>> stream) {
  if (!stream.ok()) {
    end(DisconnectReason::kReset,
        std::string(stream.status().message().data(), stream.status().message().size()));
    return;
  }
  stream_ = *std::move(stream);
  stream_->attach(reactor(), *this);
  request_ = make_request(limits_, private_data_);
  setup_out_ = encode_mpa(request_);
  request_.private_data = {};
  setup_in_.resize(kMpaHeaderBytes);
  state_ = State::kRequesting;
  context_->make_dirty(*this);
  context_->make_hot(*this);
}

void QueuePair::accept(std::unique_ptr<Stream> stream, const MpaAgreement& agreement,
                       std::vector<std::byte> reply, Nanoseconds timeout) {
  stream_ = std::move(stream);
  stream_->attach(reactor(), *this);
  setup_out_ = std::move(reply);
  state_ = State::kAccepting;
  deadline_.arm(reactor(), timeout);
  core_.start(agreement, /*initiator=*/false);
  receiver_.set_crc(agreement.crc);
  context_->make_dirty(*this);
}

PostResult QueuePair::post_send(const WorkRequest& chain) {
  check_thread(reactor(), "Qp::post_send");
  if (state_ != State::kConnected) return {PostStatus::kNotConnected, &chain};
  const PostResult result = core_.post_send(chain);
  if (core_.can_send()) context_->make_dirty(*this);
  return result;
}

PostStatus QueuePair::post_recv(const RecvRequest& chain) {
  check_thread(reactor(), "Qp::post_recv");
  if (state_ == State::kEnded) return PostStatus::kNotConnected;
  return core_.post_recv(chain);
}

void QueuePair::disconnect() {
  check_thread(reactor(), "Qp::disconnect");
  if (state_ == State::kClosing || state_ == State::kEnded) return;
  if (state_ != State::kConnected) {
    end(DisconnectReason::kLocal, {});
    return;
  }
  state_ = State::kClosing;
  deadline_.arm(reactor(), kCloseTime);
  context_->make_dirty(*this);
}

void QueuePair::abort() {
  check_thread(reactor(), "Qp::abort");
  end(DisconnectReason::kLocal, {});
}

size_t QueuePair::memory_bytes() const {
  return sizeof(*this) - sizeof(core_) + core_.memory_bytes() + receiver_.memory_bytes() +
         (batch_ != nullptr ? sizeof(TxBatch) : 0) + setup_out_.capacity() + setup_in_.capacity() +
         private_data_.capacity();
}

void QueuePair::wait_for_bytes() {
  if (stream_ != nullptr && state_ != State::kEnded) stream_->want_read();
}

void QueuePair::stop_watching() {
  if (stream_ != nullptr && state_ != State::kEnded) stream_->stop_watching();
}

bool QueuePair::receive() {
  if (state_ == State::kRequesting) return read_reply();
  if (!announced_ || state_ == State::kEnded) {
    // Not before the owner knows of the connection; run() makes it hot again.
    hot_node.unlink();
    return false;
  }
  bool worked = false;
  for (int i = 0; i < kReadsPerRound && state_ != State::kEnded; ++i) {
    bool drained = false;
    worked |= receive_once(drained);
    if (drained) break;
  }
  if (state_ != State::kEnded && (core_.can_send() || state_ == State::kClosing)) {
    context_->make_dirty(*this);
  }
  return worked;
}

bool QueuePair::receive_once(bool& drained) {
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
      // The receiver is told: bytes it keeps for later are in its plan.
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
    end(DisconnectReason::kReset, std::strerror(result.error));
  }
  return true;
}

bool QueuePair::trickle() {
  core_.withheld()->trickle();
  return !core_.withheld()->empty();
}

bool QueuePair::send() {
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
bool QueuePair::write_batch() {
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

void QueuePair::try_to_close() {
  if (shut_down_ || batch_ != nullptr || !core_.quiet()) return;
  shut_down_ = true;
  stream_->shutdown_write();
  context_->make_hot(*this);
}

// The peer may have said why in a Terminate that was not read yet.
void QueuePair::write_failed(int error) {
  for (int i = 0; i < kReadsPerRound && state_ != State::kEnded && announced_; ++i) {
    bool drained = false;
    receive_once(drained);
    if (drained) break;
  }
  if (state_ != State::kEnded) end(DisconnectReason::kReset, std::strerror(error));
}

void QueuePair::core_failed() {
  if (core_.peer_terminate()) {
    const TerminateCode code = core_.peer_terminate()->code;
    end(DisconnectReason::kTerminated, std::string(to_string(code)), code);
    return;
  }
  const TerminateCode code = core_.violation()->code;
  if (core_.local_fault()) {
    end(DisconnectReason::kLocal, "a posted request could not be carried out", code);
  } else {
    end(DisconnectReason::kProtocol, std::string(to_string(code)), code);
  }
}

void QueuePair::send_terminate(const Terminate& terminate) {
  std::array<std::byte, kMaxSegmentHeaderBytes + kMaxTerminateBytes + kMaxTrailerBytes> fpdu;
  std::byte* const payload = fpdu.data() + kMaxSegmentHeaderBytes;
  const size_t bytes = encode_terminate(terminate, payload);
  const size_t ulpdu = kUntaggedHeaderBytes + bytes;
  store_be16(fpdu.data(), static_cast<uint16_t>(ulpdu));
  encode_segment(
      {.kind = MessageKind::kTerminate, .last = true, .queue = kTerminateQueue, .msn = 1},
      fpdu.data() + kLengthBytes);
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
  context_->linger(std::move(stream_),
                   std::span(fpdu).subspan(result.bytes, piece.iov_len - result.bytes));
}

void QueuePair::end(DisconnectReason reason, std::string detail, TerminateCode code) {
  if (state_ == State::kEnded) return;
  const bool was_up = state_ == State::kConnected || state_ == State::kClosing;
  state_ = State::kEnded;
  reason_ = reason;
  code_ = code;
  detail_ = std::move(detail);
  deadline_.cancel();
  dial_.reset();
  hot_node.unlink();
  dirty_node.unlink();
  withholding_node.unlink();
  if (core_.withheld() != nullptr) core_.withheld()->order_all();
  // Behind a batch that is stuck half way it would be taken for payload.
  if (stream_ != nullptr && was_up && batch_ == nullptr && core_.violation()) {
    send_terminate(*core_.violation());
  }
  stream_.reset();
  batch_.reset();
  core_.flush();
  context_->defer(*this);
}

bool QueuePair::write_setup() {
  while (setup_sent_ < setup_out_.size()) {
    const iovec piece{setup_out_.data() + setup_sent_, setup_out_.size() - setup_sent_};
    const StreamResult result = stream_->writev({&piece, 1});
    if (result.would_block) {
      stream_->want_write();
      return false;
    }
    if (result.bytes == 0) {
      end(DisconnectReason::kReset, std::strerror(result.error));
      return true;
    }
    setup_sent_ += result.bytes;
  }
  if (state_ == State::kAccepting) {
    state_ = State::kConnected;
    deadline_.cancel();
    setup_out_ = {};
    context_->defer(*this);
  }
  return true;
}

// Reads the reply and not a byte more: what follows it belongs to the receiver.
bool QueuePair::read_reply() {
  while (state_ == State::kRequesting) {
    if (setup_have_ == setup_in_.size()) {
      if (setup_in_.size() == kMpaHeaderBytes) {
        const absl::StatusOr<size_t> more = mpa_private_bytes(setup_in_, /*reply=*/true);
        if (!more.ok()) {
          const auto why = more.status().message();
          end(DisconnectReason::kProtocol, std::string(why.data(), why.size()), term::kMpaBadFrame);
          return true;
        }
        setup_in_.resize(kMpaHeaderBytes + *more);
        if (*more > 0) continue;
      }
      take_reply();
      return true;
    }
    const iovec piece{setup_in_.data() + setup_have_, setup_in_.size() - setup_have_};
    const StreamResult result = stream_->readv({&piece, 1});
    if (result.would_block) return false;
    if (result.closed) {
      end(DisconnectReason::kReset, "the peer closed instead of answering the MPA request");
      return true;
    }
    if (result.error != 0) {
      end(DisconnectReason::kReset, std::strerror(result.error));
      return true;
    }
    setup_have_ += result.bytes;
  }
  return true;
}

void QueuePair::take_reply() {
  const absl::StatusOr<MpaFrame> reply = decode_mpa(setup_in_, /*reply=*/true);
  if (!reply.ok()) {
    const auto why = reply.status().message();
    end(DisconnectReason::kProtocol, std::string(why.data(), why.size()), term::kMpaBadFrame);
    return;
  }
  private_data_.assign(reply->private_data.begin(), reply->private_data.end());
  if (reply->rejected) {
    rejected_ = true;
    end(DisconnectReason::kRejected, {});
    return;
  }
  MpaAgreement agreement;
  TerminateCode why;
  if (!conclude(request_, *reply, limits_, agreement, why)) {
    end(DisconnectReason::kProtocol, std::string(to_string(why)), why);
    return;
  }
  core_.start(agreement, /*initiator=*/true);
  receiver_.set_crc(agreement.crc);
  state_ = State::kConnected;
  deadline_.cancel();
  setup_in_ = {};
  setup_out_ = {};
  context_->defer(*this);
}

// Calls the owner; the last thing it does, because the owner may destroy the Qp from any of these.
void QueuePair::run() {
  if (state_ == State::kEnded) {
    if (send_cq_.holds(this) || recv_cq_.holds(this)) {
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
  if (announced_) return;
  announced_ = true;
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

}  // namespace mrpool::uiwarp
