// The commands of one host that a limit holds back on one thread, in the order of their arrival.
//
// A protocol asks pass() for each command before the command takes memory or an MR. So a command
// that is held back costs nothing but its entry in its queue. When its turn comes, `go` is called
// from the loop, and the protocol starts it as if it had just arrived.
//
// If reads and writes have limits of their own, a host has a line for each of the two, so that they
// do not wait for each other. Each line gets one part of the limit in a round of the loop
// (limiter.h).
//
// Thread safety: the reactor's thread. Ownership: Throttles owns throttles; a protocol keeps what
// it uses and owns its commands. No call but Throttles::get() allocates memory.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "examples/engine/limiter.h"
#include "examples/engine/list.h"
#include "mrpool/callback.h"
#include "mrpool/reactor.h"

namespace mrpool::engine {

class HeldLine;

// Embedded in a command.
class HeldCommand : public ListHook {
 public:
  using Go = void (*)(HeldCommand& self);
  explicit HeldCommand(Go go) : go_(go) {}
  HeldCommand(const HeldCommand&) = delete;
  HeldCommand& operator=(const HeldCommand&) = delete;

  bool held() const { return line_ != nullptr; }
  // Takes a held command out: `go` is not called.
  void cancel();

 private:
  friend class HeldLine;
  const Go go_;
  HeldLine* line_ = nullptr;  // while it is held
  IoCost cost_;
};

// The held commands of a host that wait for each other.
class HeldLine {
 public:
  HeldLine(Reactor& reactor, Limiter& limiter, HostTurns& turns);

  // As Throttle::pass().
  bool pass(HeldCommand& command, const IoCost& cost);
  void remove(HeldCommand& command);
  // False: it may be destroyed.
  bool busy() const { return turning_ || !held_.empty(); }

 private:
  void wait();
  void turn();

  Reactor& reactor_;
  Limiter& limiter_;
  List<HeldCommand> held_;
  IoCost waiting_{};  // of all these
  Credit credit_;
  Nanoseconds due_{};  // of the credit's reservation
  bool turning_ = false;
  Bound<Timer, &HeldLine::turn> timer_{*this};
};

class Throttle {
 public:
  Throttle(Reactor& reactor, std::shared_ptr<Limiter> limiter, std::string_view host);

  // True: the command may start. False: it is held, and `go` follows, unless it is cancelled.
  [[nodiscard]] bool pass(HeldCommand& command, const IoCost& cost) {
    return (limiter_->by_direction() && cost.written != 0 ? writes_ : reads_).pass(command, cost);
  }
  bool busy() const { return reads_.busy() || writes_.busy(); }

 private:
  const std::shared_ptr<Limiter> limiter_;
  const std::shared_ptr<HostTurns> turns_;
  HeldLine reads_;  // and writes, if they have no limits of their own
  HeldLine writes_;
};

// The throttles of one thread.
class Throttles {
 public:
  explicit Throttles(Reactor& reactor) : reactor_(reactor) {}

  // Equal arguments return the same object while it is used.
  std::shared_ptr<Throttle> get(const std::shared_ptr<Limiter>& limiter, std::string_view host);

 private:
  Reactor& reactor_;
  std::map<std::pair<std::shared_ptr<Limiter>, std::string>, std::shared_ptr<Throttle>> all_;
};

}  // namespace mrpool::engine
