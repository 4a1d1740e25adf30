#include "transport/uiwarp/listener.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "mrpool/callback.h"
#include "mrpool/internal/report.h"
#include "transport/checks/limits.h"
#include "transport/uiwarp/cq.h"
#include "transport/uiwarp/device.h"

namespace mrpool::uiwarp {

namespace {

// A peer that has asked and waits for an answer. It takes the stream out of its listener's hands.
class UiwarpConnectRequest final : public ConnectRequest {
 public:
  UiwarpConnectRequest(std::shared_ptr<UiwarpDevice> device, std::shared_ptr<Context> context,
                       std::unique_ptr<Stream> stream, std::vector<std::byte> bytes)
      : device_(std::move(device)),
        context_(std::move(context)),
        home_(context_->reactor()),
        stream_(std::move(stream)),
        bytes_(std::move(bytes)),
        request_(*decode_mpa(bytes_, /*reply=*/false)) {
    info_ = {.local = stream_->local_name(),
             .peer = stream_->peer_name(),
             .private_data = request_.private_data};
    stream_->detach();  // another reactor's thread may take it from here
    // What it may become: the peer's offer, or what this side can where it makes none.
    info_.ord = device_->caps().max_ord;
    info_.ird = device_->caps().max_ird;
    if (request_.enhanced) {
      info_.ord = std::min(known_depth(request_.ird, info_.ord), info_.ord);
      info_.ird = std::min(known_depth(request_.ord, info_.ird), info_.ird);
    }
  }
  ~UiwarpConnectRequest() override { reject({}).IgnoreError(); }

  const ConnectionInfo& info() const override { return info_; }

  absl::StatusOr<std::unique_ptr<Qp>> accept(Pd& pd, const QpOptions& options,
                                             const ConnectParams& params,
                                             QpEvents& events) override {
    if (stream_ == nullptr) return absl::FailedPreconditionError("the request was answered");
    absl::StatusOr<std::unique_ptr<UiwarpQp>> qp =
        device_->make_qp(pd, options, params.private_data, events, "accept");
    if (!qp.ok()) return qp.status();
    MpaFrame reply;
    MpaAgreement agreement;
    answer_request(request_, device_->limits(options), params.private_data, reply, agreement);
    (*qp)->accept(std::move(stream_), agreement, encode_mpa(reply), params.timeout);
    return std::unique_ptr<Qp>(*std::move(qp));
  }

  absl::Status reject(std::span<const std::byte> private_data) override {
    if (stream_ == nullptr) return absl::FailedPreconditionError("the request was answered");
    if (absl::Status status = checks::check_private_data("reject", private_data.size(),
                                                         kMaxPrivateData, device_->caps().name);
        !status.ok()) {
      return status;
    }
    device_->registry().count(&TransportStatistics::connections_rejected);
    auto* farewell = new Farewell(std::move(context_), std::move(stream_),
                                  encode_mpa(make_reject(request_, private_data)));
    if (home_.in_thread()) {
      farewell->send();
    } else {
      home_.post(*farewell);
    }
    return absl::OkStatus();
  }

 private:
  // The reject, sent from the thread the stream lives on; deletes itself, also where that has
  // ended.
  struct Farewell : Task {
    Farewell(std::shared_ptr<Context> context_in, std::unique_ptr<Stream> stream_in,
             std::vector<std::byte> frame_in)
        : Task(to_method<&Farewell::send>, to_method<&Farewell::end>),
          context(std::move(context_in)),
          stream(std::move(stream_in)),
          frame(std::move(frame_in)) {}
    void send() {
      context->linger(std::move(stream), frame);
      end();
    }
    void end() { delete this; }
    std::shared_ptr<Context> context;
    std::unique_ptr<Stream> stream;
    std::vector<std::byte> frame;
  };

  std::shared_ptr<UiwarpDevice> device_;
  std::shared_ptr<Context> context_;
  Reactor& home_;
  std::unique_ptr<Stream> stream_;
  std::vector<std::byte> bytes_;
  MpaFrame request_;
  ConnectionInfo info_;
};

}  // namespace

// One stream whose MPA request is being read.
class UiwarpListener::Handshake final : public StreamEvents, public Deferred {
 public:
  Handshake(UiwarpListener& listener, std::unique_ptr<Stream> stream)
      : listener_(listener), stream_(std::move(stream)), bytes_(kMpaHeaderBytes) {
    stream_->attach(listener_.context_->reactor(), *this);
    timer_.arm(listener_.context_->reactor(), kSetupTime);
    listener_.context_->defer(*this);
  }

  void on_readable() override { listener_.context_->defer(*this); }
  void on_writable() override {}

  void run() override {
    bool finished = expired_;
    while (!finished) {
      if (have_ == bytes_.size()) {
        if (have_ > kMpaHeaderBytes || !more_to_read()) break;
        continue;
      }
      const iovec piece{bytes_.data() + have_, bytes_.size() - have_};
      const StreamResult result = stream_->readv({&piece, 1});
      if (result.would_block) {
        stream_->want_read();
        return;
      }
      if (result.bytes == 0) finished = true;
      if (result.error == EPROTO) listener_.report(*stream_, stream_->error_text(EPROTO));
      have_ += result.bytes;
    }
    if (broken_ && is_tls_hello(bytes_)) {
      listener_.report(*stream_, "the peer uses TLS, and this address has no option tls");
    }
    UiwarpListener& listener = listener_;
    std::unique_ptr<ConnectRequest> request;
    if (!finished && !broken_) request = answer();
    if (request == nullptr) listener.count_dropped();
    listener.forget(*this);  // destroys this
    if (request != nullptr) listener.handler_.on_connect_request(std::move(request));
  }

 private:
  void expire() {
    expired_ = true;
    listener_.context_->defer(*this);
  }

  // The header is there. True when private data follows that must still come.
  bool more_to_read() {
    const absl::StatusOr<size_t> more = mpa_private_bytes(bytes_, /*reply=*/false);
    broken_ = !more.ok();
    if (broken_ || *more == 0) return false;
    bytes_.resize(kMpaHeaderBytes + *more);
    return true;
  }

  // Null when the request is one that no program could accept.
  std::unique_ptr<ConnectRequest> answer() {
    const absl::StatusOr<MpaFrame> frame = decode_mpa(bytes_, /*reply=*/false);
    if (!frame.ok()) return nullptr;
    MpaFrame reply;
    MpaAgreement agreement;
    if (!answer_request(*frame, {}, {}, reply, agreement)) {
      listener_.context_->linger(std::move(stream_), encode_mpa(reply));
      return nullptr;
    }
    return std::make_unique<UiwarpConnectRequest>(listener_.device_, listener_.context_,
                                                  std::move(stream_), std::move(bytes_));
  }

  UiwarpListener& listener_;
  std::unique_ptr<Stream> stream_;
  Bound<Timer, &Handshake::expire> timer_{*this};
  std::vector<std::byte> bytes_;
  size_t have_ = 0;
  bool broken_ = false;
  bool expired_ = false;
};

UiwarpListener::UiwarpListener(std::shared_ptr<UiwarpDevice> device,
                               std::shared_ptr<Context> context, ListenHandler& handler)
    : device_(std::move(device)), context_(std::move(context)), handler_(handler) {}

UiwarpListener::~UiwarpListener() = default;

absl::Status UiwarpListener::open(Network& network, const Address& address) {
  absl::StatusOr<std::unique_ptr<StreamListener>> listener =
      network.listen(context_->reactor(), address, *this);
  if (!listener.ok()) return listener.status();
  listener_ = *std::move(listener);
  return absl::OkStatus();
}

void UiwarpListener::on_accept(std::unique_ptr<Stream> stream) {
  if (pending_.size() == kMaxPending) {
    pending_.erase(pending_.begin());
    count_dropped();
  }
  pending_.push_back(std::make_unique<Handshake>(*this, std::move(stream)));
}

void UiwarpListener::on_accept_error(const absl::Status& error) { handler_.on_listen_error(error); }

void UiwarpListener::count_dropped() {
  device_->registry().count(&TransportStatistics::connections_dropped);
}

void UiwarpListener::report(const Stream& stream, const std::string& why) {
  const Nanoseconds now = context_->reactor().now();
  if (now >= report_end_) {
    report_end_ = now + kReportTime;
    reports_ = 0;
  }
  if (reports_ == kMaxReports) {
    ++unreported_;
    return;
  }
  ++reports_;
  std::string line = absl::StrCat("uiwarp: a connection of ", stream.peer_name(), " to port ",
                                  port(), " is refused: ", why);
  if (unreported_ > 0) absl::StrAppend(&line, " (and ", unreported_, " more before it)");
  unreported_ = 0;
  internal::report(line, LogLevel::kInfo);
}

void UiwarpListener::forget(const Handshake& handshake) {
  std::erase_if(pending_, [&](const auto& each) { return each.get() == &handshake; });
}

}  // namespace mrpool::uiwarp
