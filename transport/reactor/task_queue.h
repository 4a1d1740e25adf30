// Tasks on their way to a reactor: an intrusive queue with many producers and one consumer. It also
// records whether the consumer sleeps.
//
// head_ is one of
//   nullptr   the consumer is awake, nothing is queued;
//   asleep_   the consumer is about to sleep or sleeps, nothing is queued;
//   a task    the newest one; `next` leads to the older ones, the last one's to end_.
// So `next` of a task is null if and only if it is not queued, which shows one that is posted
// twice.
//
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

#include "mrpool/internal/report.h"
#include "mrpool/reactor.h"

namespace mrpool {

class TaskQueue {
 public:
  TaskQueue() = default;
  TaskQueue(const TaskQueue&) = delete;
  TaskQueue& operator=(const TaskQueue&) = delete;
  ~TaskQueue() { discard(); }

  // What is queued does not run: it is discarded, where it has a way, or may be posted elsewhere.
  void discard() {
    for (Task* left = take(); left != &end_; left = take()) {
      while (Task* const task = pop(left)) {
        if (task->discard != nullptr) task->discard(*task);
      }
    }
  }

  // True when the consumer sleeps and the caller must wake it.
  bool push(Task& task) {
    if (task.next != nullptr) [[unlikely]] {
      internal::misuse("Reactor::post", "Task", &task, "is queued already");
    }
    Task* head = head_.load(std::memory_order_relaxed);
    do {
      task.next = head == nullptr || head == &asleep_ ? &end_ : head;
    } while (!head_.compare_exchange_weak(head, &task, std::memory_order_release,
                                          std::memory_order_relaxed));
    return head == &asleep_;
  }

  // Everything queued, oldest first, for pop(); ends a sleep.
  Task* take() {
    // Nothing there in most rounds: a load is cheaper than an exchange.
    if (head_.load(std::memory_order_relaxed) != nullptr) collect();
    return std::exchange(later_, &end_);
  }

  // The first task of a list that take() returned; null when there is none.
  static Task* pop(Task*& list) {
    if (list == &end_) return nullptr;
    Task* const task = list;
    list = task->next;
    task->next = nullptr;
    return task;
  }
  static Task* empty_list() { return &end_; }

  // Takes `task` out. False when it is not queued. Does not end a sleep.
  bool remove(Task& task) {
    const Task* head = head_.load(std::memory_order_relaxed);
    if (head != nullptr && head != &asleep_) collect();
    return unlink(later_, task);
  }

  // Takes `task` out of a list that take() returned.
  static bool unlink(Task*& list, Task& task) {
    for (Task** link = &list; *link != &end_; link = &(*link)->next) {
      if (*link != &task) continue;
      *link = task.next;
      task.next = nullptr;
      return true;
    }
    return false;
  }

  // From here on a push reports that the consumer must be woken. False when tasks wait already.
  bool sleep() {
    if (later_ != &end_) return false;
    Task* expected = nullptr;
    return head_.compare_exchange_strong(expected, &asleep_, std::memory_order_relaxed) ||
           expected == &asleep_;
  }

 private:
  // Moves what producers queued to the end of later_.
  void collect() {
    Task* newest = head_.exchange(nullptr, std::memory_order_acquire);
    if (newest == &asleep_ || newest == nullptr) return;
    Task* oldest = &end_;
    while (newest != &end_) {
      Task* older = newest->next;
      newest->next = oldest;
      oldest = newest;
      newest = older;
    }
    Task** end = &later_;
    while (*end != &end_) end = &(*end)->next;
    *end = oldest;
  }

  static inline Task end_{nullptr};  // never runs; its address ends every list

  std::atomic<Task*> head_{nullptr};
  Task* later_ = &end_;   // oldest first
  Task asleep_{nullptr};  // never runs; its address is the mark
};

}  // namespace mrpool
