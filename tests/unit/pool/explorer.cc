#include "tests/unit/pool/explorer.h"

#include <algorithm>
#include <utility>

namespace mrpool::testing {

Explorer* Explorer::current_ = nullptr;

// ------------------------------------------------------------------------------- in the threads

// Fibers begin as ucontexts and switch by _setjmp, which makes no system call.
void Explorer::enter() {
  Explorer& self = *current_;
  Thread& thread = self.threads_[size_t(self.running_)];
  thread.body();
  thread.ended = true;
  _longjmp(self.scheduler_, 1);
}

// Announces the next action and waits until the scheduler picks it.
void Explorer::yield(const Pending& pending) {
  Thread& thread = threads_[size_t(running_)];
  thread.pending = pending;
  if (_setjmp(thread.stopped) == 0) _longjmp(scheduler_, 1);
}

// Outside of an execution (set-up, checks) memory is plain.
uint64_t Explorer::load(const uint64_t* memory) {
  Explorer* const self = current_;
  if (self == nullptr || self->running_ < 0) return *memory;
  self->yield({{memory, false}});
  const auto& buffer = self->threads_[size_t(self->running_)].buffer;
  const auto own = std::find_if(buffer.rbegin(), buffer.rend(),
                                [&](const auto& entry) { return entry.first == memory; });
  return own != buffer.rend() ? own->second : *memory;
}

void Explorer::store(uint64_t* memory, uint64_t value) {
  Explorer* const self = current_;
  if (self == nullptr || self->running_ < 0) {
    *memory = value;
    return;
  }
  // Into the buffer: an action of its own, because a fence of another thread may come before it.
  self->yield({{&self->buffer_address_[size_t(self->running_)], true}});
  Thread& thread = self->threads_[size_t(self->running_)];
  thread.buffer.emplace_back(memory, value);
  thread.buffer_clocks.push_back(self->clocks_[size_t(self->running_)]);
}

uint64_t Explorer::update(uint64_t* memory, const std::function<uint64_t(uint64_t)>& change) {
  Explorer* const self = current_;
  if (self != nullptr && self->running_ >= 0) self->yield({{memory, true}, self->running_});
  const uint64_t old = *memory;
  *memory = change(old);
  return old;
}

void Explorer::fence() {
  Explorer* const self = current_;
  if (self == nullptr || self->running_ < 0) return;
  self->yield({{nullptr, false}, self->running_});
}

void Explorer::heavy_fence() {
  Explorer* const self = current_;
  if (self == nullptr || self->running_ < 0) return;
  fence();
  for (int t = 0; t < int(self->threads_.size()); ++t) {
    if (t != self->running_) self->yield({{&self->buffer_address_[size_t(t)], false}, t});
  }
}

void Explorer::fail(const std::string& what) {
  if (current_ != nullptr && current_->failure_.empty()) current_->failure_ = what;
}

void Explorer::record(const std::string& outcome) {
  if (current_ != nullptr) current_->outcomes_.insert(outcome);
}

// ------------------------------------------------------------------------------- the scheduler

void Explorer::resume(int thread) {
  running_ = thread;
  if (_setjmp(scheduler_) == 0) {
    if (std::exchange(threads_[size_t(thread)].begun, true)) {
      _longjmp(threads_[size_t(thread)].stopped, 1);
    } else {
      setcontext(&threads_[size_t(thread)].context);
    }
  }
  running_ = -1;
}

auto Explorer::pending_of(int actor) const -> Pending {
  const Thread& thread = threads_[size_t(actor % kMaxThreads)];
  if (actor < kMaxThreads) return thread.pending;
  if (thread.buffer.empty()) return {};
  return {{thread.buffer.front().first, true}};
}

auto Explorer::enabled() const -> Mask {
  Mask mask = 0;
  for (size_t t = 0; t < threads_.size(); ++t) {
    const Thread& thread = threads_[t];
    const int guard = thread.pending.needs_empty;
    if (!thread.ended && (guard < 0 || threads_[size_t(guard)].buffer.empty())) mask |= 1u << t;
    if (!thread.buffer.empty()) mask |= 1u << (kMaxThreads + t);
  }
  return mask;
}

bool Explorer::dependent(const Pending& a, const Pending& b) {
  return a.access.address != nullptr && a.access.address == b.access.address &&
         (a.access.write || b.access.write);
}

// Event `earlier` and the event that `actor` is about to add, with the causes in `clock`, may come
// in either order: plan for the other one.
void Explorer::note_race(int earlier, int actor, const Clock& clock) {
  const Event& first = events_[size_t(earlier)];
  if (clock[size_t(first.actor)] >= first.sequence) return;  // ordered
  // Of the events since then, the first that does not depend on `earlier` can take its place.
  int instead = actor;
  for (size_t k = size_t(earlier) + 1; k < events_.size(); ++k) {
    if (events_[k].clock[size_t(first.actor)] < first.sequence) {
      instead = events_[k].actor;
      break;
    }
  }
  State& state = states_[size_t(earlier)];
  if ((state.enabled & (1u << instead)) != 0) {
    state.backtrack |= 1u << instead;
  } else {
    state.backtrack |= state.enabled;
  }
}

void Explorer::perform(int actor) {
  const Pending action = pending_of(actor);
  Thread& thread = threads_[size_t(actor % kMaxThreads)];
  Clock clock = clocks_[size_t(actor)];
  const auto join = [&](const Clock& other) {
    for (size_t i = 0; i < clock.size(); ++i) clock[i] = std::max(clock[i], other[i]);
  };
  if (actor >= kMaxThreads) join(thread.buffer_clocks.front());  // the push comes first

  History* history = nullptr;
  if (action.access.address != nullptr) {
    const auto found = std::ranges::find(histories_, action.access.address,
                                         &std::pair<const void*, History>::first);
    if (found == histories_.end()) {
      history = &histories_.emplace_back(action.access.address, History{}).second;
    } else {
      history = &found->second;
    }
    if (action.access.write) {
      for (int read : history->reads) note_race(read, actor, clock);
    }
    if (history->last_write >= 0) note_race(history->last_write, actor, clock);
    if (action.access.write) {
      for (int read : history->reads) join(events_[size_t(read)].clock);
    }
    if (history->last_write >= 0) join(events_[size_t(history->last_write)].clock);
  }
  // The flushes that made this fence possible come first as well. Not so for the races above: the
  // fence could have come before the pushes of what was flushed.
  if (action.needs_empty >= 0) join(clocks_[size_t(kMaxThreads + action.needs_empty)]);
  const uint32_t sequence = ++clock[size_t(actor)];
  clocks_[size_t(actor)] = clock;
  const int number = int(events_.size());
  events_.push_back({actor, sequence, clock});
  if (history != nullptr) {
    if (action.access.write) {
      history->last_write = number;
      history->reads.clear();
    } else {
      history->reads.push_back(number);
    }
  }

  if (actor < kMaxThreads) {
    resume(actor);
  } else {
    *thread.buffer.front().first = thread.buffer.front().second;
    thread.buffer.pop_front();
    thread.buffer_clocks.pop_front();
  }
}

// One execution along the planned prefix; false when it was cut short as redundant.
bool Explorer::run_once(const std::function<Scenario()>& make) {
  Scenario scenario = make();
  threads_ = std::vector<Thread>(scenario.threads.size());
  events_.clear();
  histories_.clear();
  clocks_ = {};
  for (size_t t = 0; t < threads_.size(); ++t) {
    Thread& thread = threads_[t];
    thread.stack = std::make_unique_for_overwrite<char[]>(kStackBytes);
    thread.body = scenario.threads[t];
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = thread.stack.get();
    thread.context.uc_stack.ss_size = kStackBytes;
    thread.context.uc_link = nullptr;
    makecontext(&thread.context, &Explorer::enter, 0);
    resume(int(t));  // to its first action
  }
  for (size_t depth = 0;; ++depth) {
    if (depth == states_.size()) {
      State state;
      state.enabled = enabled();
      for (int a = 0; a < kActors; ++a) {
        if ((state.enabled >> a) & 1) state.pending[size_t(a)] = pending_of(a);
      }
      if (depth > 0 && search_ == Search::kReduced) {
        const State& parent = states_[depth - 1];
        const Pending& taken = parent.pending[size_t(parent.chosen)];
        for (int a = 0; a < kActors; ++a) {
          const bool asleep = (((parent.sleep | parent.done) >> a) & 1) != 0;
          if (asleep && a != parent.chosen && !dependent(parent.pending[size_t(a)], taken)) {
            state.sleep |= 1u << a;
          }
        }
      }
      const Mask open = state.enabled & ~state.sleep;
      if (state.enabled == 0) break;
      if (open == 0) return false;
      state.chosen = __builtin_ctz(open);
      state.backtrack = search_ == Search::kReduced ? 1u << state.chosen : state.enabled;
      states_.push_back(state);
    }
    perform(states_[depth].chosen);
    if (failed()) return true;
  }
  for (const Thread& thread : threads_) {
    if (!thread.ended) fail("deadlock");
  }
  if (!failed()) scenario.check();
  return true;
}

// Turns the deepest state with an open alternative to it; false when there is none.
bool Explorer::next_execution() {
  while (!states_.empty()) {
    State& state = states_.back();
    state.done |= 1u << state.chosen;
    const Mask open = state.backtrack & ~state.done & ~state.sleep;
    if (open != 0) {
      state.chosen = __builtin_ctz(open);
      return true;
    }
    states_.pop_back();
  }
  return false;
}

void Explorer::explore(const std::function<Scenario()>& make, uint64_t limit, Search search) {
  current_ = this;
  search_ = search;
  while (!failed() && executions_ < limit) {
    if (run_once(make)) ++executions_;
    if (!failed() && !next_execution()) {
      exhausted_ = true;
      break;
    }
  }
  current_ = nullptr;
}

}  // namespace mrpool::testing
