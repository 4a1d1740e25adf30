// The choice of a path for each command of a job: round robin, or the path with the fewest commands
// under way.
//
// Only connected paths in the best state that there is are used: optimized ones, else non-optimized
// ones. So commands return to an optimized path by themselves as soon as there is one. A command
// that failed because of its path is sent on another one, and waits while there is none. It ends
// with the error only when every path is over.
//
// Thread safety: the thread of the reactor, which is that of all its queues.
// Ownership: paths, queues and requests are the caller's, and outlive it.
#pragma once

#include <cstdint>
#include <vector>

#include "examples/nvmf/host/path.h"
#include "examples/nvmf/host/queue.h"
#include "mrpool/callback.h"

namespace mrpool::nvme::host {

class PathSelector {
 public:
  // A command that may go on any path.
  class Command : public Request {
   public:
    using Request::Request;

   private:
    friend class PathSelector;
    size_t path_ = 0;  // the last one it was sent on
  };
  // Gets the commands for which there will be no path.
  class Owner {
   public:
    virtual void on_no_path(Command& command) = 0;

   protected:
    ~Owner() = default;
  };
  struct Member {
    Path* path;
    Queue* queue;
    uint64_t commands = 0;
  };

  // At least one member.
  PathSelector(std::vector<Member> members, PathPolicy policy, Reactor& reactor, Owner& owner)
      : members_(std::move(members)), policy_(policy), reactor_(reactor), owner_(owner) {}

  void submit(Command& command);
  // A command of submit() has ended. True: it failed because of its path, and is under way again.
  bool take_back(Command& command, Status status);
  // Queue::describe() of the queue that the command went to.
  std::string describe(const Command& command, Status status) const {
    return members_[command.path_].queue->describe(status);
  }

  const std::vector<Member>& members() const { return members_; }
  uint64_t failovers() const { return failovers_; }

 private:
  Member* choose();
  bool all_over() const;
  void try_waiting();

  std::vector<Member> members_;
  const PathPolicy policy_;
  Reactor& reactor_;
  Owner& owner_;
  size_t last_ = 0;
  uint64_t failovers_ = 0;
  RequestList waiting_;  // for a path
  Bound<Timer, &PathSelector::try_waiting> timer_{*this};
};

}  // namespace mrpool::nvme::host
