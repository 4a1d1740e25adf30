// A gateway of the simulation: a process with its own clock that runs gateway::Ownership, carries
// out its actions on the model of the cluster, and executes the commands of hosts.
//
// It does what a daemon has to do: check the lease before a command begins, guard what it saves,
// count what is outstanding, end commands with an error when it stops.
//
// Thread safety: one thread. Ownership: the world's; it stays through crashes and restarts.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "examples/gateway/ownership.h"
#include "tests/sim/gateways/cluster.h"

namespace mrpool::sim {

class GatewaysWorld;

// A host's command, and its answer.
struct GatewayCommand {
  enum class Kind : uint8_t { kRead, kWrite, kCompareAndWrite, kRegister, kReadKeys };
  Kind kind = Kind::kRead;
  size_t host = 0;
  size_t group = 0;
  size_t block = 0;
  BlockValue expected{};  // kCompareAndWrite
  BlockValue value{};     // writes
  uint64_t key = 0;       // kRegister
};
struct GatewayAnswer {
  enum class Result : uint8_t { kDone, kMiscompare, kBusy, kTryAnotherPath };
  Result result = Result::kTryAnotherPath;
  BlockValue value{};
  Keys keys{};
};

class GatewayProcess {
 public:
  using Answered = std::function<void(const GatewayAnswer& answer)>;

  GatewayProcess(GatewaysWorld& world, size_t number);

  void start();
  void kill();  // nothing of it remains but what it has sent
  void pause();
  void resume();
  void leave();  // SIGTERM
  void cut() { path_.cut = true; }
  void heal();
  void reach_monitors(bool reach) { path_.no_monitor = !reach; }

  bool running() const { return ownership_ != nullptr; }
  bool paused() const { return paused_; }
  bool leaving() const { return leaving_; }
  bool is_sick() const { return path_.no_monitor; }
  bool healthy() const {
    return running() && !paused_ && !leaving_ && !path_.cut && !path_.no_monitor;
  }
  bool serves(size_t group) const;
  // A command has arrived. `answered` is not called when the process ends first.
  void execute(const GatewayCommand& command, Answered answered);
  std::string state() const;

 private:
  struct Group {
    std::string client{};
    Keys keys{};  // the reservations in memory
    bool saving = false;
    uint64_t drain = 0;        // the action that waits for the end of all requests
    uint64_t outstanding = 0;  // requests to the store
    bool clean = true;         // every request of this client was answered
    std::map<uint64_t, Answered> commands{};
    std::set<size_t> locked{};  // blocks under compare-and-write
  };

  Nanoseconds clock() const;
  // Runs it in this process; later if it is stopped.
  void enter(std::function<void()> work);
  // The same, unless the process of now has ended by then.
  std::function<void()> bound(std::function<void()> work);
  void pump();
  void schedule();
  void carry_out(const gateway::Action& action);

  // Calls of the cluster. `done(false)`: there was no answer in time.
  using Done = std::function<void(bool answered)>;
  // Two ways to one call of `done`, for what comes first.
  std::function<void()> answer_or_limit(Nanoseconds limit, Done done);
  void call(std::function<void(gateway::Records&)> work, Done done);
  void save(gateway::GuardedWrite write, std::function<void(gateway::Written)> done);
  void read(uint64_t id);
  void connect(uint64_t id, size_t group);
  void prepare(uint64_t id, size_t group);
  void stop(size_t group);
  void drained_if_idle(size_t group);

  void begin(const GatewayCommand& command, Answered answered);
  void finish(size_t group, uint64_t id, const GatewayAnswer& answer);
  // By the client of the group. `done` is not called when the group stops first.
  void io(size_t group, size_t block, const BlockValue* value,
          std::function<void(const BlockValue&)> done, std::function<void()> failed);
  void read_block(const GatewayCommand& command, uint64_t id);
  void write_block(const GatewayCommand& command, uint64_t id);
  void compare_and_write(const GatewayCommand& command, uint64_t id);
  void save_keys(const GatewayCommand& command, uint64_t id);

  GatewaysWorld& world_;
  const size_t number_;
  const std::string name_;
  const double rate_;  // of its clock
  const Nanoseconds offset_;
  ClusterPath path_;
  std::unique_ptr<gateway::Ownership> ownership_;
  std::vector<Group> groups_;
  uint64_t life_ = 0;  // +1 with each start and end
  bool paused_ = false, leaving_ = false;
  std::vector<std::function<void()>> stopped_{};  // what happens when it continues
  uint64_t last_command_ = 0;
  Nanoseconds next_wake_ = Nanoseconds::max();  // true time of the scheduled one
};

}  // namespace mrpool::sim
