// The armed timers of a loop, earliest first: a binary heap of intrusive timers.
//
// Each timer knows its place (Timer::Slot::index), so cancelling one is as cheap as arming it and
// arming allocates only when more timers are armed than ever before.
//
// Thread safety: one thread.
#pragma once

#include <cstddef>
#include <vector>

#include "mrpool/reactor.h"

namespace mrpool {

class TimerHeap {
 public:
  bool empty() const { return heap_.empty(); }
  Nanoseconds earliest() const { return heap_.front()->slot().deadline; }

  void add(Timer& timer) {
    heap_.push_back(&timer);
    sift_up(heap_.size() - 1, timer);
  }

  void remove(Timer& timer) {
    const size_t index = timer.slot().index;
    Timer& last = *heap_.back();
    heap_.pop_back();
    if (&last == &timer) return;
    if (index > 0 && earlier(last, *heap_[parent(index)])) {
      sift_up(index, last);
    } else {
      sift_down(index, last);
    }
  }

  // The earliest timer if it is due, taken out of the heap; null when none is.
  Timer* take_due(Nanoseconds now) {
    if (heap_.empty() || earliest() > now) return nullptr;
    Timer* due = heap_.front();
    remove(*due);
    return due;
  }

 private:
  static size_t parent(size_t index) { return (index - 1) / 2; }
  static bool earlier(Timer& a, Timer& b) { return a.slot().deadline < b.slot().deadline; }

  void place(size_t index, Timer& timer) {
    heap_[index] = &timer;
    timer.slot().index = index;
  }

  void sift_up(size_t index, Timer& timer) {
    while (index > 0 && earlier(timer, *heap_[parent(index)])) {
      place(index, *heap_[parent(index)]);
      index = parent(index);
    }
    place(index, timer);
  }

  void sift_down(size_t index, Timer& timer) {
    for (size_t child = 2 * index + 1; child < heap_.size(); child = 2 * index + 1) {
      if (child + 1 < heap_.size() && earlier(*heap_[child + 1], *heap_[child])) ++child;
      if (!earlier(*heap_[child], timer)) break;
      place(index, *heap_[child]);
      index = child;
    }
    place(index, timer);
  }

  std::vector<Timer*> heap_;
};

}  // namespace mrpool
