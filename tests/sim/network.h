// A Network in memory with all faults that TCP allows, under a seed: it splits and merges writes,
// delays and stalls them, limits bytes in transit, and breaks connections.
//
// Bytes arrive in order and uncorrupted, or the connection breaks: TCP's promise. Everything random
// comes from the seed, so a run repeats exactly.
//
// A dialing peer has an address ("10.0.0.1"); a Place (place.h) has its own. Listeners are at
// 127.0.0.1.
//
// Thread safety: the simulation's thread. Ownership: the reactor outlives the network and all
// streams; the network outlives listeners and dials, streams may outlive it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "transport/uiwarp/stream.h"

namespace mrpool::sim {

struct NetworkOptions {
  uint64_t seed = 1;
  // A transfer moves at most a random number of bytes up to this; 1 splits everywhere.
  size_t max_transfer = 64 * 1024;
  // Bytes that one direction of a connection holds.
  size_t window = 256 * 1024;
  Nanoseconds min_delay = std::chrono::microseconds(5);
  Nanoseconds max_delay = std::chrono::microseconds(20);
  // Chance in a million, per write, that its bytes arrive `stall` later.
  uint32_t stall_per_million = 0;
  Nanoseconds stall = std::chrono::milliseconds(50);
  // Chance in a million, per transfer, that the connection breaks.
  uint32_t reset_per_million = 0;
};

// Bugs that a simulation may plant below its programs.
struct NetworkBugs {
  // A listener treats all dialing peers as one.
  bool one_address = false;
  // A listener waits for the slowest peer: while one peer does not read, it writes to no other.
  bool one_writer = false;
};

// Shared by a connection's two streams; defined in network.cc.
class Link;

class SimNetwork final : public uiwarp::Network {
 public:
  SimNetwork(Reactor& reactor, const NetworkOptions& options);
  ~SimNetwork() override;

  absl::StatusOr<std::unique_ptr<uiwarp::StreamListener>> listen(
      Reactor& reactor, const Address& address, uiwarp::AcceptHandler& handler) override;
  absl::StatusOr<std::unique_ptr<uiwarp::Dial>> dial(Reactor& reactor, const Address& address,
                                                     uiwarp::DialHandler& handler) override;

  // dial() of a peer with this address; null options: those of set_options().
  std::unique_ptr<uiwarp::Dial> dial_from(std::string from, const NetworkOptions* options,
                                          const Address& address, uiwarp::DialHandler& handler);

  // A connected pair without set-up, for tests that play one side themselves.
  std::pair<std::unique_ptr<uiwarp::Stream>, std::unique_ptr<uiwarp::Stream>> connect() {
    return connect(kSomePeer, 0, options_);
  }

  // Applies to new connections.
  void set_options(const NetworkOptions& options) { options_ = options; }
  void plant(const NetworkBugs& bugs) { bugs_ = bugs; }
  // Breaks one open connection, chosen by the seed, or all. False when there is none.
  bool break_one();
  void break_all();
  size_t open_connections();

 private:
  friend class Link;
  class SimListener;
  class SimDial;

  static constexpr const char* kSomePeer = "10.0.0.1";

  std::pair<std::unique_ptr<uiwarp::Stream>, std::unique_ptr<uiwarp::Stream>> connect(
      const std::string& from, uint16_t port, const NetworkOptions& options);
  uint64_t below(uint64_t limit) { return limit == 0 ? 0 : random_() % limit; }
  Nanoseconds delay();

  Reactor& reactor_;
  NetworkOptions options_;
  NetworkBugs bugs_;
  // Links whose dialing side does not read; shared with the links, which may outlive the network.
  const std::shared_ptr<std::set<const Link*>> stuck_;
  std::mt19937_64 random_;
  std::map<uint16_t, SimListener*> listeners_;
  uint16_t next_port_ = 40'000;
  std::vector<std::weak_ptr<Link>> links_;
};

}  // namespace mrpool::sim
