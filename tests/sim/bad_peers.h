// Peers next to the hosts of a world that take shared resources and do not return them:
//
//   slow readers    admitted hosts that read the hosts' own blocks: after some bytes they receive a
//                   few bytes at a time, or nothing
//   silent peers    programs whose connections stop sending: immediately, during set-up, in the
//                   middle of a message, or between two messages
//   refused peers   try to log in again and again, with a name or secret that is not admitted
//   a flood         as many raw connections as possible: flood.h
//
// Each has its own address. host_world.h has the promises to the hosts next to them.
//
// Thread safety: one thread. Ownership: the simulation outlives them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/sim/flood.h"
#include "tests/sim/place.h"
#include "tests/sim/simulation.h"
#include "transport/uiwarp/open.h"

namespace mrpool::sim {

enum class BadKind : uint8_t { kSlowReader, kSilent, kRefused };

inline constexpr uint32_t kSlowReaders = 2;
// Longer than the time in which the hosts are measured next to them.
inline constexpr Nanoseconds kPatienceOfBadPeers = std::chrono::seconds(5);

// The interface to a world with any kind of visitor.
class BadPeers {
 public:
  virtual ~BadPeers() = default;
  virtual void come() = 0;
  virtual void step() = 0;  // once a step
  // Makes them stop reconnecting; true when none is connected.
  virtual bool left() = 0;
  virtual std::string state() const = 0;
};

// The habits of such a peer's connections, from a separate seed.
std::function<Habits()> bad_habits(Simulation& simulation, BadKind kind, uint64_t seed);

template <typename Visitor>
class BadVisitors final : public BadPeers {
 public:
  // `options` returns a visitor's options by kind and number; `port` is the target's.
  template <typename Options>
  BadVisitors(Simulation& simulation, uint16_t port, const Options& options)
      : simulation_(simulation),
        recordings_(std::make_shared<Recordings>()),
        flood_(simulation, "10.0.9.9", port, recordings_) {
    for (const BadKind kind : {BadKind::kSlowReader, BadKind::kSilent, BadKind::kRefused}) {
      for (uint32_t number = 0; number < kOfEachKind; ++number) add(kind, number, options);
    }
  }

  void come() override {
    there_ = true;
    flood_.begin();
  }
  void step() override {
    for (const auto& each : peers_) {
      each->visitor->step();
      const Nanoseconds now = simulation_.reactor.now();
      if (each->visitor->visiting()) each->comes_at = now + kRest;
      if (!each->visitor->visiting() && there_ && now >= each->comes_at) each->visitor->visit();
    }
  }
  bool left() override {
    there_ = false;
    flood_.end();
    return std::ranges::none_of(peers_, [](const auto& each) { return each->visitor->visiting(); });
  }
  std::string state() const override {
    std::string text = "; a flood of " + std::to_string(flood_.open());
    for (const auto& each : peers_) text += "; a bad peer " + each->visitor->state();
    return text;
  }

 private:
  static constexpr uint32_t kOfEachKind = kSlowReaders;
  static constexpr Nanoseconds kRest = std::chrono::milliseconds(10);
  struct Peer {
    std::shared_ptr<Device> device;
    std::unique_ptr<Visitor> visitor;
    Nanoseconds comes_at{};
  };

  template <typename Options>
  void add(BadKind kind, uint32_t number, const Options& options) {
    const auto index = static_cast<uint32_t>(peers_.size());
    auto place = std::make_shared<Place>(simulation_.network, "10.0.2." + std::to_string(index));
    place->habits = bad_habits(simulation_, kind, simulation_.seed * 16 + index);
    if (kind != BadKind::kSlowReader) place->recordings = recordings_;
    auto peer = std::make_unique<Peer>();
    peer->device =
        uiwarp::make_device({.crc = false, .seed = simulation_.seed + 32 + index}, place);
    peer->visitor = std::make_unique<Visitor>(simulation_, *peer->device, options(kind, number));
    peers_.push_back(std::move(peer));
  }

  Simulation& simulation_;
  const std::shared_ptr<Recordings> recordings_;
  Flood flood_;
  std::vector<std::unique_ptr<Peer>> peers_;
  bool there_ = false;
};

}  // namespace mrpool::sim
