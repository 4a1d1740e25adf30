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
// A task that is taken back may be anywhere in that list, so remove() first moves the list to
// later_, which the consumer alone reads and writes.
//
// Thread safety: push: any thread, lock-free. The rest: the consumer.
// Memory ordering: the release in push pairs with the acquire in collect, so what a producer wrote
// before push is visible when the task runs.
#pragma once

#include <atomic>
#include <utility>

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
    if (head_.load(std::memory_order_relaxed) != nullptr) collect();
    return std::exchange(later_, nullptr);
  }

  // Takes `task` out. False when it is not queued. Does not end a sleep.
  bool remove(Task& task) {
    const Task* head = head_.load(std::memory_order_relaxed);
    if (head != nullptr && head != &asleep_) collect();
    return unlink(later_, task);
  }

  // Takes `task` out of a list that take() returned.
  static bool unlink(Task*& list, Task& task) {
    for (Task** link = &list; *link != nullptr; link = &(*link)->next) {
      if (*link != &task) continue;
      *link = task.next;
      return true;
    }
    return false;
  }

  // From here on a push reports that the consumer must be woken. False when tasks wait already.
  bool sleep() {
    if (later_ != nullptr) return false;
    Task* expected = nullptr;
    return head_.compare_exchange_strong(expected, &asleep_, std::memory_order_relaxed) ||
           expected == &asleep_;
  }

 private:
  // Moves what producers queued to the end of later_.
  void collect() {
    Task* newest = head_.exchange(nullptr, std::memory_order_acquire);
    if (newest == &asleep_) return;
    Task* oldest = nullptr;
    while (newest != nullptr) {
      Task* older = newest->next;
      newest->next = oldest;
      oldest = newest;
      newest = older;
    }
    Task** end = &later_;
    while (*end != nullptr) end = &(*end)->next;
    *end = oldest;
  }

  std::atomic<Task*> head_{nullptr};
  Task* later_ = nullptr;  // oldest first
  Task asleep_{nullptr};   // never runs; its address is the mark
};

}  // namespace mrpool
