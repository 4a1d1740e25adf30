#include "transport/uiwarp/tls_network.h"

#include <mutex>
#include <string>
#include <utility>

#include "transport/uiwarp/tls_stream.h"

namespace mrpool::uiwarp {
namespace {

using Context = std::shared_ptr<const TlsContext>;

// The keys of now: a session keeps those that it began with.
class Keys {
 public:
  explicit Keys(Context context) : context_(std::move(context)) {}

  Context now() const {
    const std::lock_guard lock(mutex_);
    return context_;
  }
  absl::Status reload() {
    absl::StatusOr<Context> read = TlsContext::create(now()->options());
    if (!read.ok()) return read.status();
    const std::lock_guard lock(mutex_);
    context_ = *std::move(read);
    return absl::OkStatus();
  }

 private:
  mutable std::mutex mutex_;
  Context context_;
};

class TlsListener final : public StreamListener, public AcceptHandler {
 public:
  TlsListener(std::shared_ptr<const Keys> keys, AcceptHandler& handler)
      : keys_(std::move(keys)), handler_(handler) {}

  absl::Status open(Network& wire, Reactor& reactor, const Address& address) {
    absl::StatusOr<std::unique_ptr<StreamListener>> made = wire.listen(reactor, address, *this);
    if (made.ok()) listener_ = *std::move(made);
    return made.status();
  }

  uint16_t port() const override { return listener_->port(); }
  void on_accept(std::unique_ptr<Stream> stream) override {
    handler_.on_accept(
        std::make_unique<TlsStream>(std::move(stream), keys_->now(), /*accepts=*/true, ""));
  }
  void on_accept_error(const absl::Status& error) override { handler_.on_accept_error(error); }

 private:
  const std::shared_ptr<const Keys> keys_;
  AcceptHandler& handler_;
  std::unique_ptr<StreamListener> listener_;
};

class TlsDial final : public Dial, public DialHandler {
 public:
  TlsDial(Context keys, const Address& address, DialHandler& handler)
      : keys_(std::move(keys)), host_(address.host), handler_(handler) {}

  absl::Status call(Network& wire, Reactor& reactor, const Address& address) {
    absl::StatusOr<std::unique_ptr<Dial>> made = wire.dial(reactor, address, *this);
    if (made.ok()) dial_ = *std::move(made);
    return made.status();
  }

  void on_dialed(absl::StatusOr<std::unique_ptr<Stream>> stream) override {
    if (!stream.ok()) return handler_.on_dialed(std::move(stream));
    handler_.on_dialed(
        std::make_unique<TlsStream>(*std::move(stream), keys_, /*accepts=*/false, host_));
  }

 private:
  const Context keys_;
  const std::string host_;
  DialHandler& handler_;
  std::unique_ptr<Dial> dial_;
};

class TlsNetwork final : public Network {
 public:
  TlsNetwork(Context keys, std::shared_ptr<Network> wire)
      : keys_(std::make_shared<Keys>(std::move(keys))), wire_(std::move(wire)) {}

  absl::StatusOr<std::unique_ptr<StreamListener>> listen(Reactor& reactor, const Address& address,
                                                         AcceptHandler& handler) override {
    if (absl::Status status = check_accepts(); !status.ok()) return status;
    auto listener = std::make_unique<TlsListener>(keys_, handler);
    if (absl::Status status = listener->open(*wire_, reactor, address); !status.ok()) return status;
    return listener;
  }

  absl::StatusOr<std::unique_ptr<Dial>> dial(Reactor& reactor, const Address& address,
                                             DialHandler& handler) override {
    Context keys = keys_->now();
    if (absl::Status status = keys->check_connects(); !status.ok()) return status;
    auto dial = std::make_unique<TlsDial>(std::move(keys), address, handler);
    if (absl::Status status = dial->call(*wire_, reactor, address); !status.ok()) return status;
    return dial;
  }

  absl::Status reload() override { return keys_->reload(); }
  absl::Status check_accepts() const override { return keys_->now()->check_accepts(); }

 private:
  const std::shared_ptr<Keys> keys_;
  const std::shared_ptr<Network> wire_;
};

}  // namespace

std::shared_ptr<Network> make_tls_network(std::shared_ptr<const TlsContext> context,
                                          std::shared_ptr<Network> wire) {
  return std::make_shared<TlsNetwork>(std::move(context), std::move(wire));
}

}  // namespace mrpool::uiwarp
