// A world in which some runs have bad peers (bad_peers.h) next to the hosts: all the time, and for
// some seconds without any other fault. In these seconds no host waits longer than kLongestStall
// for an answer or a new connection, and it gets its share of its throughput alone.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "examples/engine/options.h"
#include "tests/sim/bad_peers.h"
#include "tests/sim/host_world.h"
#include "tests/sim/meter.h"
#include "tests/sim/planted_device.h"
#include "transport/uiwarp/open.h"

namespace mrpool::sim {

// Limits jumps of the clock, for code that reads it once a step.
class Beat final : private Timer {
 public:
  explicit Beat(Reactor& reactor)
      : Timer([](Timer& self) { static_cast<Beat&>(self).again(); }), reactor_(reactor) {
    again();
  }
  ~Beat() { cancel(); }

 private:
  void again() { arm(reactor_, std::chrono::milliseconds(1)); }
  Reactor& reactor_;
};

// `Host` has pace, drop, connected and oldest_command, in addition to HostWorld's requirements.
template <typename Host>
class AttackedWorld : public HostWorld<Host> {
 public:
  using HostWorld<Host>::HostWorld;

  bool crc() const { return crc_; }

 protected:
  // Opens the target's device and the network.
  std::shared_ptr<Device> open_target_device() {
    this->open_network();
    crc_ = this->chance(700);
    return make_planted_device(
        uiwarp::make_device({.crc = crc_, .seed = this->seed + 1}, this->network), *this);
  }
  // Computed from the seed without drawing a random number, so that other runs do not change.
  bool has_bad_peers() const {
    return this->seed % 20 == 0 || this->plant == Plant::kOneAddress ||
           this->plant == Plant::kOneWriter;
  }
  // True if slow readers delay writers of the same blocks.
  virtual bool reads_in_place() const { return false; }
  // Scales the shared resources in proportion to a daemon's.
  static void share_out(engine::Options& options) {
    options.staging = 2 * engine::kMinStaging;
    options.mrs = 2 * engine::chunks_for(options.staging) * kMostWorkers;
    options.max_connections = 64;
  }

 private:
  // The promises to a host next to bad peers, and the interval of its commands.
  // With reads in place, a new connection waits for writes of the earlier one, each of which may
  // wait for a slow reader.
  static constexpr Nanoseconds kLongestStall = std::chrono::seconds(1);
  static constexpr Nanoseconds kLongestStallInPlace = std::chrono::seconds(2);
  static constexpr double kLeastShare = 0.5;
  static constexpr double kLeastShareInPlace = 0.1;
  static constexpr Nanoseconds kPace = std::chrono::milliseconds(4);
  // The pace while bad peers disconnect, which takes some time.
  static constexpr Nanoseconds kSlowPace = std::chrono::milliseconds(200);
  static constexpr Nanoseconds kAlone = std::chrono::milliseconds(500);
  static constexpr Nanoseconds kBeside = std::chrono::seconds(2);
  static constexpr Nanoseconds kBetweenDrops = std::chrono::milliseconds(400);
  static constexpr uint32_t kMostWorkers = 3;

  void live_beside_bad_peers() final;
  Meter measure(Nanoseconds time, Nanoseconds between_drops);

  bool crc_ = false;
};

template <typename Host>
void AttackedWorld<Host>::live_beside_bad_peers() {
  for (const auto& host : this->hosts_) host->pace(kSlowPace);
  this->run_until("the bad peers to leave", [&] { return this->bad_peers_->left(); });
  for (const auto& host : this->hosts_) host->pace(kPace);
  const Meter alone = measure(kAlone, kAlone);
  this->bad_peers_->come();
  const Meter beside = measure(kBeside, kBetweenDrops);
  for (size_t i = 0; i < this->hosts_.size(); ++i) {
    this->longest_stall = std::max(this->longest_stall, beside.longest_stall(i));
    const double share = beside.rate(i) / alone.rate(i);
    this->least_share = std::min(this->least_share, share);
    if (share < (reads_in_place() ? kLeastShareInPlace : kLeastShare)) {
      this->violate("beside bad peers host " + std::to_string(i) + " has a share of " +
                    std::to_string(share));
    }
  }
}

// Measures the hosts for that time; sometimes each drops a connection and must reconnect.
template <typename Host>
Meter AttackedWorld<Host>::measure(Nanoseconds time, Nanoseconds between_drops) {
  Beat beat(this->reactor);
  Meter meter(this->hosts_.size(), this->reactor.now());
  const Nanoseconds end = this->reactor.now() + time;
  Nanoseconds drop_at = this->reactor.now() + between_drops;
  while (this->reactor.now() < end) {
    this->step();
    const Nanoseconds now = this->reactor.now();
    for (size_t i = 0; i < this->hosts_.size(); ++i) {
      const Host& host = *this->hosts_[i];
      meter.look(i, host.completed, host.connected(), host.oldest_command(), now);
      if (meter.longest_stall(i) > (reads_in_place() ? kLongestStallInPlace : kLongestStall)) {
        this->violate("beside bad peers host " + std::to_string(i) + " waits too long");
      }
      if (now >= drop_at) this->hosts_[i]->drop();
    }
    if (now >= drop_at) drop_at = now + between_drops;
  }
  return meter;
}

}  // namespace mrpool::sim
