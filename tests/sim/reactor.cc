#include "tests/sim/reactor.h"

#include <algorithm>
#include <utility>

namespace mrpool::sim {

size_t SimReactor::poll() {
  now_ += round_time_;
  size_t worked = 0;
  batch_ = std::exchange(tasks_, nullptr);
  tasks_end_ = &tasks_;
  while (batch_ != nullptr) {
    Task& task = *batch_;
    batch_ = task.next;
    ++worked;
    task.run(task);
  }
  for (size_t i = 0; i < pollers_.size(); ++i) {
    if (pollers_[i] != nullptr && pollers_[i]->poll()) ++worked;
  }
  std::erase(pollers_, nullptr);
  // Only what was due when the round began: a timer that arms itself for now waits for the next.
  const Nanoseconds due = now_;
  while (Timer* timer = timers_.take_due(due)) {
    ++worked;
    timer->expire();
  }
  return worked;
}

bool SimReactor::arm() {
  if (tasks_ != nullptr) return false;
  return std::all_of(pollers_.begin(), pollers_.end(),
                     [](Poller* poller) { return poller == nullptr || poller->arm(); });
}

bool SimReactor::step() {
  if (poll() > 0) return true;
  if (!arm()) return true;
  if (timers_.empty()) return false;
  if (timers_.earliest() == Nanoseconds::max()) return false;
  now_ = std::max(now_, timers_.earliest() - round_time_);
  return true;
}

void SimReactor::run() {
  stopped_ = false;
  while (!stopped_ && step()) {
  }
}

void SimReactor::post(Task& task) {
  task.next = nullptr;
  *tasks_end_ = &task;
  tasks_end_ = &task.next;
}

bool SimReactor::cancel(Task& task) {
  for (Task** list : {&batch_, &tasks_}) {
    for (Task** link = list; *link != nullptr; link = &(*link)->next) {
      if (*link != &task) continue;
      *link = task.next;
      if (tasks_end_ == &task.next) tasks_end_ = link;
      return true;
    }
  }
  return false;
}

void SimReactor::add_poller(Poller& poller) { pollers_.push_back(&poller); }

void SimReactor::remove_poller(Poller& poller) {
  std::replace(pollers_.begin(), pollers_.end(), &poller, static_cast<Poller*>(nullptr));
}

}  // namespace mrpool::sim
