// Tasks on their way to a reactor: an intrusive queue with many producers and one consumer that
// also says whether the consumer sleeps.
//
// head_ is one of
//   nullptr   the consumer is awake, nothing is queued;
//   asleep_   the consumer is about to sleep or sleeps, nothing is queued;
//   a task    the newest one; `next` leads to the older ones.
// The producer that replaces asleep_ is the only one that has to wake the consumer, so a sleep
// costs one wake-up however many tasks arrive.
//
// Thread safety: push: any thread, lock-free. The rest: the consumer.
// Memory ordering: the release in push pairs with the acquire in take, so what a producer wrote
// before push is visible when the task runs.
#pragma once

#include <atomic>

#include "mrpool/reactor.h"

namespace mrpool {

class TaskQueue {
 public:
  // True when the consumer sleeps and the caller must wake it.
  bool push(Task& task) {
    Task* head = head_.load(std::memory_order_relaxed);
    do {
      task.next = head == &asleep_ ? nullptr : head;
    } while (!head_.compare_exchange_weak(head, &task, std::memory_order_release,
                                          std::memory_order_relaxed));
    return head == &asleep_;
  }

  // Everything queued, oldest first, linked by `next`; ends a sleep.
  Task* take() {
    // Nothing there in most rounds: a load is cheaper than an exchange.
    if (head_.load(std::memory_order_relaxed) == nullptr) return nullptr;
    Task* newest = head_.exchange(nullptr, std::memory_order_acquire);
    if (newest == &asleep_) return nullptr;
    Task* oldest = nullptr;
    while (newest != nullptr) {
      Task* older = newest->next;
      newest->next = oldest;
      oldest = newest;
      newest = older;
    }
    return oldest;
  }

  // From here on a push reports that the consumer must be woken. False when tasks wait already.
  bool sleep() {
    Task* expected = nullptr;
    return head_.compare_exchange_strong(expected, &asleep_, std::memory_order_relaxed) ||
           expected == &asleep_;
  }

 private:
  std::atomic<Task*> head_{nullptr};
  Task asleep_{nullptr};  // never runs; its address is the mark
};

}  // namespace mrpool
