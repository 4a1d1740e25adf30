// Carries out the decisions of ownership.h for one gateway, on the main loop of a daemon.
//
// The lease is checked by a timer of this loop, not by the data path. So a gateway whose lease has
// ended may begin commands until the loop has handled the timer: some milliseconds, longer if the
// machine or the process stands still. What makes that safe is the fence: another gateway serves
// only after the cluster refuses everything of this one's client.
//
// Thread safety: the main loop's thread; guard(), refused() and status(): any thread.
// Ownership: the io_context, the cluster and `served` outlive it.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "examples/gateway/cluster.h"
#include "examples/gateway/daemon/served.h"
#include "examples/gateway/ownership.h"

namespace mrpool::gateway {

struct GroupStatus {
  std::string name;
  State state = State::kOut;
  std::string owner{};
  uint64_t term = 0;
  std::string problem{};
  Nanoseconds lease_left{};     // while it serves; as of the last input
  uint64_t takeovers = 0;       // how often this gateway has begun to serve it
  uint64_t losses = 0;          // how often it had to stop
  uint64_t fences = 0;          // how many clients it has fenced
  Nanoseconds last_takeover{};  // from the decision until it served
};

struct Status {
  std::string name;                    // of this gateway
  std::vector<std::string> members{};  // the others that run
  std::vector<GroupStatus> groups{};
  std::string failure{};  // of the last call to the cluster; empty: it answers
};

class Runner {
 public:
  struct Options {
    std::string name;
    std::vector<std::string> groups{};
    Times times{};
    std::string group_word{};  // for the log: "ANA group"
  };
  // `make` makes the cluster with the function that gets the failures of its calls.
  using MakeCluster =
      std::function<std::unique_ptr<Cluster>(std::function<void(const absl::Status&)> failed)>;

  Runner(boost::asio::io_context& loop, const MakeCluster& make, Served& served, Options options);
  ~Runner();

  void start();
  // Gives all groups back, then calls `done`; also if that takes too long.
  void leave(std::function<void()> done);

  // The guard of what the owner of the group saves. Nothing: this gateway is not the owner.
  std::optional<Entry> guard(std::string_view group) const;
  // A save with that guard was refused: another gateway is the owner.
  void refused(std::string_view group);
  Status status() const;

 private:
  struct Count {
    uint64_t takeovers = 0;
    uint64_t losses = 0;
    uint64_t fences = 0;
    std::optional<Nanoseconds> taking{};
    Nanoseconds last_takeover{};
  };

  static Nanoseconds now();
  // Carries out what an input has decided.
  void turn();
  void carry_out(Action action);
  void fence(const Action& action);
  void look_for_fences();
  void note_serving(const std::string& group);
  void note_stop(const std::string& group);
  void failed(const absl::Status& status);
  void log(const std::string& group, const std::string& what, bool warn) const;
  void publish();
  void wait();
  // A handler that does nothing after the end of this object.
  template <typename... Arguments>
  std::function<void(Arguments...)> handler(void (Ownership::*input)(Nanoseconds, uint64_t,
                                                                     Arguments...),
                                            uint64_t id);

  boost::asio::io_context& loop_;
  Served& served_;
  const Options options_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::unique_ptr<Cluster> cluster_;
  Ownership ownership_;
  boost::asio::steady_timer timer_;
  boost::asio::steady_timer patience_;  // of leave()
  std::map<std::string, Count, std::less<>> counts_;
  std::function<void()> left_;
  bool turning_ = false;
  absl::Status failure_;

  mutable std::mutex mutex_;  // of what other threads read
  Status status_;
  std::map<std::string, Entry, std::less<>> guards_;
};

}  // namespace mrpool::gateway
