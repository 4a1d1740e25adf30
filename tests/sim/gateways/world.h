// Gateways of one cluster and their hosts, under one seed (docs/internals/gateways.md).
//
// The gateways run gateway::Ownership, each with a clock of its own rate. Hosts write through
// whatever gateway serves. Gateways are killed and started, stopped and continued, cut off from the
// cluster; they leave and join; OSDs are slow, and requests arrive late.
//
// The invariants, checked at every event that can break them:
//   writes        what was acknowledged stays in the store, and reads do not return what was before
//   one writer    of two compare-and-writes of one version at most one succeeds
//   reservations  what was acknowledged stays, in the cluster and in answers
//   one server    when a command begins, no other gateway serves its group
//   service       every group is served some time after the last disturbance (world.cc), if a
//                 gateway and the cluster are well
//   progress      in the end every host completes more commands
//
// Thread safety: one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/sim/gateways/cluster.h"
#include "tests/sim/gateways/events.h"
#include "tests/sim/gateways/host.h"
#include "tests/sim/gateways/ledger.h"
#include "tests/sim/gateways/process.h"
#include "tests/sim/simulation.h"

namespace mrpool::sim {

class GatewaysWorld final : public Simulation {
 public:
  // What happens to gateways, and its effects.
  static constexpr std::string_view kKilled = "kill";
  static constexpr std::string_view kPaused = "pause";
  static constexpr std::string_view kCut = "cut";
  static constexpr std::string_view kNoMonitor = "no monitor";
  static constexpr std::string_view kSlow = "slow OSD";
  static constexpr std::string_view kLeft = "leave";
  static constexpr std::string_view kStopped = "stopped";
  static constexpr std::string_view kTakenOver = "takeover";
  static constexpr std::string_view kGivenBack = "given back";
  static constexpr std::string_view kLateRefused = "late request refused";
  static constexpr std::string_view kSaveRefused = "save refused";

  GatewaysWorld(uint64_t seed, Plant plant, Violated violated);
  ~GatewaysWorld() override;

  void run() override;
  std::string state() const override;
  std::vector<std::string_view> all_moves() const override {
    return {kKilled,  kPaused,    kCut,       kNoMonitor,   kSlow,       kLeft,
            kStopped, kTakenOver, kGivenBack, kLateRefused, kSaveRefused};
  }

  size_t gateways() const { return gateways_.size(); }
  size_t groups() const { return last_.size(); }
  size_t hosts() const { return host_count_; }
  GatewayProcess& gateway(size_t number) { return *gateways_[number]; }
  size_t own_block(size_t group, size_t host) const { return group * (host_count_ + 1) + host; }
  size_t shared_block(size_t group) const { return own_block(group, host_count_); }

  // Of the processes and hosts.
  void began(size_t gateway, size_t group);   // a command
  void served(size_t gateway, size_t group);  // from now on
  void drains(size_t gateway, size_t group);
  void ended(size_t gateway);  // its process
  void completed() { ++commands; }

  Events events;

 private:
  // When a group was served last, and since when it is not.
  struct Service {
    Nanoseconds seen{};
    Nanoseconds lost{};  // zero: it is served
    bool drained = false;
    uint64_t disturbances = 0;  // when it was lost
  };

  void after_step() override {}
  void advance(Nanoseconds time);
  void disturb();
  void disturb_gateway(GatewayProcess& gateway, size_t number);
  void disturbed();
  void lost(size_t gateway);
  void watch();
  void calm_down();
  void every_host_goes_on();

  const size_t host_count_;
  std::vector<Service> last_;  // by group
  std::vector<std::unique_ptr<GatewayProcess>> gateways_;
  std::vector<std::unique_ptr<GatewayHost>> hosts_;
  uint64_t disturbances_ = 0;
  Nanoseconds quiet_since_{};

 public:
  Ledger ledger;
  ModelCluster cluster;
};

}  // namespace mrpool::sim
