#include "transport/provider/patient_network.h"

#include <utility>

#include "mrpool/callback.h"
#include "mrpool/reactor.h"

namespace mrpool::provider {
namespace {

using uiwarp::Dial;
using uiwarp::DialHandler;
using uiwarp::Network;
using uiwarp::Stream;

constexpr std::chrono::milliseconds kBetweenCalls{5};

class PatientDial final : public Dial, public DialHandler, public Timer {
 public:
  PatientDial(Network& network, Reactor& reactor, const Address& address, DialHandler& handler,
              Nanoseconds patience)
      : Timer(to_method<&PatientDial::call_again>),
        network_(network),
        reactor_(reactor),
        address_(address),
        handler_(handler),
        until_(reactor.now() + patience) {}

  absl::Status call() {
    absl::StatusOr<std::unique_ptr<Dial>> made = network_.dial(reactor_, address_, *this);
    if (made.ok()) dial_ = *std::move(made);
    return made.status();
  }

  void on_dialed(absl::StatusOr<std::unique_ptr<Stream>> stream) override {
    const bool refused = absl::IsUnavailable(stream.status());
    if (!refused || reactor_.now() >= until_) return handler_.on_dialed(std::move(stream));
    arm(reactor_, kBetweenCalls);
  }

 private:
  void call_again() {
    dial_.reset();
    if (absl::Status status = call(); !status.ok()) handler_.on_dialed(std::move(status));
  }

  Network& network_;
  Reactor& reactor_;
  const Address address_;
  DialHandler& handler_;
  const Nanoseconds until_;
  std::unique_ptr<Dial> dial_;
};

class PatientNetwork final : public Network {
 public:
  PatientNetwork(std::shared_ptr<Network> network, Nanoseconds patience)
      : network_(std::move(network)), patience_(patience) {}
  absl::StatusOr<std::unique_ptr<uiwarp::StreamListener>> listen(
      Reactor& reactor, const Address& address, uiwarp::AcceptHandler& handler) override {
    return network_->listen(reactor, address, handler);
  }
  absl::StatusOr<std::unique_ptr<Dial>> dial(Reactor& reactor, const Address& address,
                                             DialHandler& handler) override {
    auto made = std::make_unique<PatientDial>(*network_, reactor, address, handler, patience_);
    if (absl::Status status = made->call(); !status.ok()) return status;
    return made;
  }

 private:
  const std::shared_ptr<Network> network_;
  const Nanoseconds patience_;
};

}  // namespace

std::shared_ptr<Network> make_patient_network(std::shared_ptr<Network> network,
                                              Nanoseconds patience) {
  return std::make_shared<PatientNetwork>(std::move(network), patience);
}

}  // namespace mrpool::provider
