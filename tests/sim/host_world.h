// The common course of a world with one target of examples/ and its hosts.
//
// All hosts connect. For a while everything fails. The network calms down, and all hosts must make
// progress. Then all disconnect in an orderly way, and no resource may remain. nvmf_world.h and
// iser_world.h define the hosts, the faults and the checks of the target.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/bad_peers.h"
#include "tests/sim/simulation.h"

namespace mrpool::sim {

// `Host` has step, finish, idle, close, closed, check_store, check_resources, state and completed.
template <typename Host>
class HostWorld : public Simulation {
 public:
  using Simulation::Simulation;

  void run() final;
  std::string state() const final;

 protected:
  virtual void connect() {}                    // where hosts do not of themselves
  virtual void disturb() = 0;                  // perhaps one thing goes wrong now
  virtual void calm_down() {}                  // what disturb() began ends
  virtual void live_beside_bad_peers() {}      // where there are some
  virtual void go_on() {}                      // every step, for whoever else is there
  virtual bool others_left() { return true; }  // asked once the hosts have got on
  virtual void check_step() {}                 // with the comparison of the whole store
  // The connections of the target.
  virtual size_t connections() const = 0;
  virtual std::string target_state() const = 0;
  virtual void check_target() = 0;
  virtual void stop_target(std::function<void()> stopped) = 0;
  virtual void check_stopped() {}

  // A condition for run_until(): all hosts satisfy the predicate.
  template <typename Predicate>
  std::function<bool()> all(Predicate predicate) const {
    return [this, predicate] {
      return std::ranges::all_of(hosts_, [&](const auto& host) { return predicate(*host); });
    };
  }

  std::vector<std::unique_ptr<Host>> hosts_;
  std::unique_ptr<BadPeers> bad_peers_;

 private:
  static constexpr uint64_t kWildSteps = 15'000;
  // The interval, in steps, of comparing the whole store; every command compares its blocks.
  static constexpr uint64_t kCheckPeriod = 64;
  // After so many steps, hosts that have made progress pause. One host may wait for a time-out of
  // seconds, in which the commands of the others would take millions of steps.
  static constexpr uint64_t kRestAfter = 100'000;

  void after_step() final;
  void get_on();
};

template <typename Host>
void HostWorld<Host>::after_step() {
  for (const auto& host : hosts_) host->step();
  go_on();
  if (bad_peers_ != nullptr) bad_peers_->step();
  if (faults) disturb();
  if (steps % kCheckPeriod == 0) {
    for (const auto& host : hosts_) host->check_store();
    check_step();
  }
}

template <typename Host>
void HostWorld<Host>::run() {
  connect();
  if (bad_peers_ != nullptr) bad_peers_->come();
  faults = true;
  network->set_options(bad_network());
  const uint64_t end = steps + kWildSteps;
  while (steps < end) step();

  faults = false;
  calm_down();
  network->set_options({.seed = seed});
  get_on();
  if (bad_peers_ != nullptr) live_beside_bad_peers();
  for (const auto& host : hosts_) host->finish();
  run_until("the others to leave",
            [&] { return others_left() && (bad_peers_ == nullptr || bad_peers_->left()); });
  run_until("the last commands", all([](const Host& host) { return host.idle(); }));
  for (const auto& host : hosts_) host->close();
  run_until("the sessions to end", all([](const Host& host) { return host.closed(); }));
  run_until("the connections to end",
            [&] { return connections() == 0 && network->open_connections() == 0; });
  for (const auto& host : hosts_) {
    host->check_store();
    host->check_resources();
  }
  check_target();
  bool stopped = false;
  stop_target([&] { stopped = true; });
  run_until("the target to stop", [&] { return stopped; });
  check_stopped();
}

template <typename Host>
void HostWorld<Host>::get_on() {
  std::vector<uint64_t> goals;
  for (const auto& host : hosts_) goals.push_back(host->completed + 20);
  const uint64_t rest = steps + kRestAfter;
  run_until("commands to complete", [&] {
    bool all_got_on = true;
    for (size_t i = 0; i < hosts_.size(); ++i) {
      const bool got_on = hosts_[i]->completed >= goals[i];
      if (got_on && steps > rest) hosts_[i]->finish();
      all_got_on = all_got_on && got_on;
    }
    return all_got_on;
  });
}

template <typename Host>
std::string HostWorld<Host>::state() const {
  std::string text;
  for (size_t i = 0; i < hosts_.size(); ++i) {
    text += "host " + std::to_string(i) + ": " + hosts_[i]->state() + "\n";
  }
  return text + "target: " + target_state() + "\n";
}

}  // namespace mrpool::sim
