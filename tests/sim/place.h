// A machine on the simulated network with its own address. Its habits change the traffic between
// its programs and the network.
//
// A peer that reads slowly, stops in the middle of a message, or never sends anything is an
// ordinary program in such a place.
//
// Thread safety: one thread. Ownership: shares the network; the reactor outlives the streams.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/network.h"

namespace mrpool::sim {

// The limits of one connection, independent of its program.
struct Habits {
  static constexpr size_t kAll = SIZE_MAX;
  size_t says = kAll;    // bytes that are sent, and then nothing
  size_t prompt = kAll;  // bytes that are read as they come; then a few after each rest
  Nanoseconds rest{};    // zero: then nothing more is read
  std::optional<NetworkOptions> link{};  // instead of the network's

  bool ordinary() const { return says == kAll && prompt == kAll; }
};

// The first bytes that programs sent on each of the last connections, so that others can send them
// again.
class Recordings {
 public:
  static constexpr size_t kBytes = 4096;
  static constexpr size_t kConnections = 16;
  using One = std::shared_ptr<std::vector<std::byte>>;

  One add() {
    if (all_.size() == kConnections) all_.pop_front();
    return all_.emplace_back(std::make_shared<std::vector<std::byte>>());
  }
  size_t size() const { return all_.size(); }
  const std::vector<std::byte>& operator[](size_t index) const { return *all_[index]; }

 private:
  std::deque<One> all_;
};

class Place final : public uiwarp::Network {
 public:
  Place(std::shared_ptr<SimNetwork> network, std::string address)
      : network_(std::move(network)), address_(std::move(address)) {}

  // Called for each connection.
  std::function<Habits()> habits = [] { return Habits{}; };
  std::shared_ptr<Recordings> recordings;  // null: nothing is recorded

  absl::StatusOr<std::unique_ptr<uiwarp::StreamListener>> listen(
      Reactor& reactor, const Address& address, uiwarp::AcceptHandler& handler) override {
    return network_->listen(reactor, address, handler);
  }
  absl::StatusOr<std::unique_ptr<uiwarp::Dial>> dial(Reactor& reactor, const Address& address,
                                                     uiwarp::DialHandler& handler) override;

 private:
  const std::shared_ptr<SimNetwork> network_;
  const std::string address_;
};

}  // namespace mrpool::sim
