#include "tests/sim/place.h"

#include <algorithm>
#include <utility>

#include "mrpool/callback.h"

namespace mrpool::sim {

namespace {

using uiwarp::Stream;
using uiwarp::StreamEvents;
using uiwarp::StreamResult;

constexpr size_t kMouthful = 256;  // bytes

// The first `bytes` of `pieces`.
std::vector<iovec> first_of(std::span<const iovec> pieces, size_t bytes) {
  std::vector<iovec> first;
  for (const iovec& piece : pieces) {
    if (bytes == 0) break;
    first.push_back({piece.iov_base, std::min(piece.iov_len, bytes)});
    bytes -= first.back().iov_len;
  }
  return first;
}

class HabitStream final : public Stream {
 public:
  HabitStream(std::unique_ptr<Stream> inner, Reactor& reactor, const Habits& habits,
              Recordings::One recording)
      : inner_(std::move(inner)),
        reactor_(&reactor),
        habits_(habits),
        recording_(std::move(recording)) {}

  StreamResult readv(std::span<const iovec> to) override {
    if (!reads_now()) return {.would_block = true};
    const bool prompt = read_ < habits_.prompt;
    const StreamResult result =
        inner_->readv(first_of(to, prompt ? habits_.prompt - read_ : kMouthful));
    read_ += result.bytes;
    if (result.bytes > 0 && read_ >= habits_.prompt) rests_until_ = reactor_->now() + habits_.rest;
    return result;
  }
  StreamResult writev(std::span<const iovec> from) override {
    if (said_ >= habits_.says) return {.would_block = true};
    const std::vector<iovec> first = first_of(from, habits_.says - said_);
    const StreamResult result = inner_->writev(first);
    if (recording_ != nullptr) record(first, result.bytes);
    said_ += result.bytes;
    return result;
  }
  void want_read() override {
    if (reads_now()) {
      inner_->want_read();
    } else if (reads_on()) {
      rested_.arm(*reactor_, rests_until_ - reactor_->now());
    }
  }
  void want_write() override {
    if (said_ < habits_.says) inner_->want_write();
  }
  void stop_watching() override { inner_->stop_watching(); }
  void shutdown_write() override { inner_->shutdown_write(); }
  void attach(Reactor& reactor, StreamEvents& events) override {
    reactor_ = &reactor;
    inner_->attach(reactor, events);
  }
  void detach() override {
    rested_.cancel();
    inner_->detach();
  }
  std::string local_name() const override { return inner_->local_name(); }
  std::string peer_name() const override { return inner_->peer_name(); }

 private:
  bool reads_on() const { return read_ < habits_.prompt || habits_.rest != Nanoseconds{}; }
  bool reads_now() const { return reads_on() && reactor_->now() >= rests_until_; }
  void rested() { inner_->want_read(); }
  void record(std::span<const iovec> pieces, size_t bytes) {
    for (const iovec& piece : first_of(pieces, bytes)) {
      const auto* from = static_cast<const std::byte*>(piece.iov_base);
      const size_t room = Recordings::kBytes - recording_->size();
      recording_->insert(recording_->end(), from, from + std::min(piece.iov_len, room));
    }
  }

  const std::unique_ptr<Stream> inner_;
  Reactor* reactor_;
  const Habits habits_;
  const Recordings::One recording_;
  size_t said_ = 0;
  size_t read_ = 0;
  Nanoseconds rests_until_{};
  Bound<Timer, &HabitStream::rested> rested_{*this};
};

class PlaceDial final : public uiwarp::Dial, private uiwarp::DialHandler {
 public:
  PlaceDial(Reactor& reactor, const Habits& habits, Recordings::One recording,
            uiwarp::DialHandler& handler)
      : reactor_(reactor), habits_(habits), recording_(std::move(recording)), handler_(handler) {}

  std::unique_ptr<uiwarp::Dial> start(SimNetwork& network, const std::string& from,
                                      const Address& address) {
    const NetworkOptions* const link = habits_.link ? &*habits_.link : nullptr;
    return network.dial_from(from, link, address, *this);
  }
  std::unique_ptr<uiwarp::Dial> inner;

 private:
  void on_dialed(absl::StatusOr<std::unique_ptr<Stream>> stream) override {
    const bool plain = habits_.ordinary() && recording_ == nullptr;
    if (!stream.ok() || plain) return handler_.on_dialed(std::move(stream));
    handler_.on_dialed(std::make_unique<HabitStream>(std::move(*stream), reactor_, habits_,
                                                     std::move(recording_)));
  }

  Reactor& reactor_;
  const Habits habits_;
  Recordings::One recording_;
  uiwarp::DialHandler& handler_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<uiwarp::Dial>> Place::dial(Reactor& reactor, const Address& address,
                                                          uiwarp::DialHandler& handler) {
  auto dial = std::make_unique<PlaceDial>(
      reactor, habits(), recordings != nullptr ? recordings->add() : nullptr, handler);
  dial->inner = dial->start(*network_, address_, address);
  return dial;
}

}  // namespace mrpool::sim
