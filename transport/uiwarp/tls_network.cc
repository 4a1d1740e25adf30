#include "transport/uiwarp/tls_network.h"

#include <utility>

#include "transport/uiwarp/tls_stream.h"

namespace mrpool::uiwarp {
namespace {

using Keys = std::shared_ptr<const TlsContext>;

class TlsListener final : public StreamListener, public AcceptHandler {
 public:
  TlsListener(Keys keys, AcceptHandler& handler) : keys_(std::move(keys)), handler_(handler) {}

  absl::Status open(Network& wire, Reactor& reactor, const Address& address) {
    absl::StatusOr<std::unique_ptr<StreamListener>> made = wire.listen(reactor, address, *this);
    if (made.ok()) listener_ = *std::move(made);
    return made.status();
  }

  uint16_t port() const override { return listener_->port(); }
  void on_accept(std::unique_ptr<Stream> stream) override {
    handler_.on_accept(std::make_unique<TlsStream>(std::move(stream), keys_, /*accepts=*/true, ""));
  }
  void on_accept_error(const absl::Status& error) override { handler_.on_accept_error(error); }

 private:
  const Keys keys_;
  AcceptHandler& handler_;
  std::unique_ptr<StreamListener> listener_;
};

class TlsDial final : public Dial, public DialHandler {
 public:
  TlsDial(Keys keys, const Address& address, DialHandler& handler)
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
  const Keys keys_;
  const std::string host_;
  DialHandler& handler_;
  std::unique_ptr<Dial> dial_;
};

class TlsNetwork final : public Network {
 public:
  TlsNetwork(Keys keys, std::shared_ptr<Network> wire)
      : keys_(std::move(keys)), wire_(std::move(wire)) {}

  absl::StatusOr<std::unique_ptr<StreamListener>> listen(Reactor& reactor, const Address& address,
                                                         AcceptHandler& handler) override {
    if (absl::Status status = keys_->check_accepts(); !status.ok()) return status;
    auto listener = std::make_unique<TlsListener>(keys_, handler);
    if (absl::Status status = listener->open(*wire_, reactor, address); !status.ok()) return status;
    return listener;
  }

  absl::StatusOr<std::unique_ptr<Dial>> dial(Reactor& reactor, const Address& address,
                                             DialHandler& handler) override {
    if (absl::Status status = keys_->check_connects(); !status.ok()) return status;
    auto dial = std::make_unique<TlsDial>(keys_, address, handler);
    if (absl::Status status = dial->call(*wire_, reactor, address); !status.ok()) return status;
    return dial;
  }

 private:
  const Keys keys_;
  const std::shared_ptr<Network> wire_;
};

}  // namespace

std::shared_ptr<Network> make_tls_network(std::shared_ptr<const TlsContext> context,
                                          std::shared_ptr<Network> wire) {
  return std::make_shared<TlsNetwork>(std::move(context), std::move(wire));
}

}  // namespace mrpool::uiwarp
