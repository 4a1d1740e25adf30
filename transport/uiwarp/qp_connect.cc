// UiwarpQp: making a connection, actively and passively, up to kConnected.
#include <cstring>
#include <string>
#include <utility>

#include "transport/uiwarp/qp.h"

namespace mrpool::uiwarp {

namespace {

// Of a dial (stream.h).
DisconnectReason reason_of(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kUnavailable:
      return DisconnectReason::kRefused;
    case absl::StatusCode::kNotFound:
      return DisconnectReason::kUnresolved;
    case absl::StatusCode::kDeadlineExceeded:
      return DisconnectReason::kTimeout;
    case absl::StatusCode::kResourceExhausted:
      return DisconnectReason::kFault;
    default:
      return DisconnectReason::kUnreachable;
  }
}

}  // namespace

absl::Status UiwarpQp::connect(Network& network, const Address& address,
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

void UiwarpQp::on_dialed(absl::StatusOr<std::unique_ptr<Stream>> stream) {
  if (!stream.ok()) {
    end(reason_of(stream.status().code()),
        std::string(stream.status().message().data(), stream.status().message().size()));
    return;
  }
  stream_ = *std::move(stream);
  take_stream();
  request_ = make_request(limits_, private_data_);
  setup_out_ = encode_mpa(request_);
  request_.private_data = {};
  setup_in_.resize(kMpaHeaderBytes);
  state_ = State::kRequesting;
  context_->make_dirty(*this);
  context_->make_hot(*this);
}

void UiwarpQp::take_stream() {
  stream_->attach(reactor(), *this);
  if (options_.keep_alive != KeepAlive{}) stream_->set_keep_alive(options_.keep_alive);
}

void UiwarpQp::accept(std::unique_ptr<Stream> stream, const MpaAgreement& agreement,
                      std::vector<std::byte> reply, Nanoseconds timeout) {
  stream_ = std::move(stream);
  take_stream();
  setup_out_ = std::move(reply);
  state_ = State::kAccepting;
  deadline_.arm(reactor(), timeout);
  core_.start(agreement, /*initiator=*/false);
  receiver_.set_crc(agreement.crc);
  context_->make_dirty(*this);
}

bool UiwarpQp::write_setup() {
  while (setup_sent_ < setup_out_.size()) {
    const iovec piece{setup_out_.data() + setup_sent_, setup_out_.size() - setup_sent_};
    const StreamResult result = stream_->writev({&piece, 1});
    if (result.would_block) {
      stream_->want_write();
      return false;
    }
    if (result.bytes == 0) {
      stream_failed(result.error);
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
bool UiwarpQp::read_reply() {
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
      const bool tls = is_tls_alert(std::span(setup_in_).first(setup_have_));
      end(DisconnectReason::kReset, tls ? "the peer demands TLS; add tls=... to the address"
                                        : "the peer closed instead of answering the MPA request");
      return true;
    }
    if (result.error != 0) {
      stream_failed(result.error);
      return true;
    }
    setup_have_ += result.bytes;
  }
  return true;
}

void UiwarpQp::take_reply() {
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

}  // namespace mrpool::uiwarp
