// A Reactor with a virtual clock: waits take no real time, events happen in the order of their
// deadlines, and every run is the same.
//
// poll() is one round at the current time and lasts `round_time`. advance() does what a real loop
// does when it would sleep: it asks the pollers to arm and, if none objects, jumps to the next
// deadline. step() is a round, or a jump if the round found nothing to do.
//
// Thread safety: the simulation's thread, also for post().
// Ownership: that of Reactor.
#pragma once

#include <vector>

#include "mrpool/reactor.h"
#include "transport/reactor/timer_heap.h"

namespace mrpool::sim {

class SimReactor final : public Reactor {
 public:
  explicit SimReactor(Nanoseconds round_time = Nanoseconds(100)) : round_time_(round_time) {}

  // A round or a jump. False if no further event is pending.
  bool step();

  void run() override;
  void stop() override { stopped_ = true; }
  size_t poll() override;
  bool arm() override;
  int fd() override { return -1; }
  void post(Task& task) override;
  bool cancel(Task& task) override;
  void add_poller(Poller& poller) override;
  void remove_poller(Poller& poller) override;
  Nanoseconds now() const override { return now_; }
  bool in_thread() const override { return true; }

 private:
  void arm_timer(Timer& timer) override { timers_.add(timer); }
  void cancel_timer(Timer& timer) override { timers_.remove(timer); }

  const Nanoseconds round_time_;
  // Not zero, because zero may mean "never" in other code.
  Nanoseconds now_ = std::chrono::seconds(1);
  TimerHeap timers_;
  std::vector<Poller*> pollers_;  // null where one was removed during a round
  Task* batch_ = nullptr;         // tasks of this round that have not run, oldest first
  Task* tasks_ = nullptr;         // those of the next one
  Task** tasks_end_ = &tasks_;
  bool stopped_ = false;
};

}  // namespace mrpool::sim
