#include "transport/checker/watch/memory_watch.h"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>

namespace mrpool::watch {
namespace {

// Tries until a call gives up. The table is held for microseconds, but a signal handler that
// interrupted its holder would wait forever.
constexpr int kTries = 1000;

// The thread is inside the table, or reports a loss: what it frees meanwhile is ours.
constinit thread_local bool inside __attribute__((tls_model("initial-exec"))) = false;

// Before other handlers of this kind, so that it runs first in the child.
[[gnu::constructor]] void register_for_fork() {
  ::pthread_atfork(nullptr, nullptr, [] { MemoryWatch::get().forget(); });
}

}  // namespace

constinit MemoryWatch MemoryWatch::instance_;

// Acquires what leave() before released.
bool MemoryWatch::enter(bool wait) {
  if (inside) return false;
  inside = true;
  for (int tries = 0; held_.exchange(true, std::memory_order_acquire); ++tries) {
    if (!wait && tries == kTries) {
      inside = false;
      return false;
    }
    ::sched_yield();
  }
  return true;
}

void MemoryWatch::leave() {
  held_.store(false, std::memory_order_release);
  inside = false;
}

void MemoryWatch::start(Told told) {
  told_ = told;
  prepare_heap_calls();
}

void MemoryWatch::set_bounds() {
  uintptr_t highest = 0;
  for (const auto& [begin, end] : *regions_) highest = std::max(highest, end);
  lowest_.store(regions_->empty() ? UINTPTR_MAX : regions_->begin()->first);
  highest_.store(highest);
  count_.store(regions_->size());
}

void MemoryWatch::add(Range region) {
  if (!enter(true)) return;
  if (regions_ == nullptr) regions_ = new Regions;
  regions_->emplace(region.begin, region.end);
  lowest_.store(std::min(lowest_.load(), region.begin));
  highest_.store(std::max(highest_.load(), region.end));
  count_.store(regions_->size());
  leave();
}

void MemoryWatch::remove(Range region) {
  if (!enter(true)) return;
  if (regions_ != nullptr) {
    const auto [first, last] = regions_->equal_range(region.begin);
    const auto found =
        std::find_if(first, last, [&](const auto& each) { return each.second == region.end; });
    if (found != last) regions_->erase(found);
    if (region.end == highest_.load() || region.begin == lowest_.load()) set_bounds();
    count_.store(regions_->size());
  }
  leave();
}

bool MemoryWatch::concerns(const Loss& loss) {
  if (!may_touch(loss.memory) || !enter(false)) return false;
  const auto concerned = [&](const auto& region) {
    return watch::concerns(loss, {region.first, region.second});
  };
  // Of a block, those that begin in it. Regions overlap: the others may begin anywhere before.
  const auto first = loss.block ? regions_->lower_bound(loss.memory.begin) : regions_->begin();
  const bool found = std::any_of(first, regions_->lower_bound(loss.memory.end), concerned);
  leave();
  return found;
}

void MemoryWatch::lose(const Loss& loss) {
  const int before = errno;
  if (concerns(loss) && told_ != nullptr) {
    inside = true;
    told_(loss);
    inside = false;
  }
  errno = before;
}

void MemoryWatch::forget() {
  count_.store(0);
  lowest_.store(UINTPTR_MAX);
  highest_.store(0);
  regions_ = nullptr;  // another thread may have been changing it
  held_.store(false);
}

}  // namespace mrpool::watch
