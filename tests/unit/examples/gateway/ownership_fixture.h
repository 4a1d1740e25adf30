// Gateways of one group on records in memory, each with its own clock, driven by hand.
//
// Thread safety: one thread.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "examples/gateway/ownership.h"

namespace mrpool::gateway {

using Kind = Action::Kind;

// Of the tests' clocks.
inline constexpr Nanoseconds kTick = std::chrono::milliseconds(10);

// The cluster's side of a guarded write.
inline Written apply(Records& records, const GuardedWrite& write) {
  for (const Entry& guard : write.guards) {
    if (text_of(records, guard.key) != guard.text) return Written::kRefused;
  }
  for (const Entry& entry : write.sets) records[entry.key] = entry.text;
  return Written::kDone;
}

class TestGateway {
 public:
  TestGateway(Records& records, std::string name, std::vector<std::string> groups = {"1"})
      : records_(records), name_(name), ownership(std::move(name), std::move(groups), {}, now) {}

  // Takes the oldest action of this kind; fails if there is none.
  Action expect(Kind kind) {
    collect();
    const auto found = std::ranges::find(actions_, kind, &Action::kind);
    if (found == actions_.end()) {
      ADD_FAILURE() << name_ << " has no action " << int(kind);
      return {};
    }
    const Action action = *found;
    actions_.erase(found);
    return action;
  }
  bool has(Kind kind) {
    collect();
    return std::ranges::find(actions_, kind, &Action::kind) != actions_.end();
  }
  // Takes the write that sets `key`.
  std::optional<Action> write_of(const std::string& key) {
    collect();
    for (auto action = actions_.begin(); action != actions_.end(); ++action) {
      if (action->kind != Kind::kWrite || action->write.sets.front().key != key) continue;
      Action found = *action;
      actions_.erase(action);
      return found;
    }
    return std::nullopt;
  }
  // Reads, writes and connects as they come, all else stays.
  void exchange() {
    collect();
    for (size_t i = 0; i < actions_.size();) {
      const Action action = actions_[i];
      if (action.kind != Kind::kRead && action.kind != Kind::kWrite &&
          action.kind != Kind::kConnect) {
        ++i;
        continue;
      }
      actions_.erase(actions_.begin() + std::ptrdiff_t(i));
      if (action.kind == Kind::kRead) ownership.read_done(now, action.id, records_);
      if (action.kind == Kind::kWrite) do_write(action);
      if (action.kind == Kind::kConnect) {
        ownership.connected(now, action.id, name_ + "#" + std::to_string(++clients_));
      }
      collect();
      i = 0;
    }
  }
  Written do_write(const Action& action) {
    const Written result = apply(records_, action.write);
    ownership.write_done(now, action.id, result);
    return result;
  }
  void sleep(Nanoseconds time) {
    now += time;
    ownership.wake(now);
  }
  // Exchanges for so long.
  void live(Nanoseconds time) {
    for (const Nanoseconds end = now + time; now < end;) {
      exchange();
      sleep(std::min(end - now, kTick));
    }
    exchange();
  }
  // All actions as they come, without faults.
  void live_well(Nanoseconds time) {
    for (const Nanoseconds end = now + time; now < end;) {
      serve_all();
      sleep(std::min(end - now, kTick));
    }
    serve_all();
  }
  void serve_all() {
    exchange();
    while (has(Kind::kFence) || has(Kind::kPrepare) || has(Kind::kDrain) || has(Kind::kServe) ||
           has(Kind::kStop)) {
      if (has(Kind::kFence)) {
        const Action action = expect(Kind::kFence);
        fenced.insert(fenced.end(), action.clients.begin(), action.clients.end());
        ownership.fence_done(now, action.id, true);
      } else if (has(Kind::kPrepare)) {
        ownership.prepared(now, expect(Kind::kPrepare).id, true);
      } else if (has(Kind::kDrain)) {
        ownership.drained(now, expect(Kind::kDrain).id, true);
      } else if (has(Kind::kServe)) {
        expect(Kind::kServe);
      } else {
        expect(Kind::kStop);
      }
      exchange();
    }
  }
  State state(std::string_view group = "1") const { return ownership.state(group); }
  bool serves(std::string_view group = "1") const { return ownership.may_serve(group, now); }

 private:
  Records& records_;
  std::string name_;
  std::deque<Action> actions_;
  unsigned clients_ = 0;

 public:
  Nanoseconds now = std::chrono::seconds(1000);
  std::vector<std::string> fenced;
  Ownership ownership;

 private:
  void collect() {
    for (Action& action : ownership.take_actions()) actions_.push_back(std::move(action));
  }
};

class OwnershipTest : public testing::Test {
 protected:
  // Both for so long, each by its own clock.
  static void live_well(TestGateway& a, TestGateway& b, Nanoseconds time) {
    for (Nanoseconds t{}; t < time; t += kTick) {
      a.live_well(kTick);
      b.live_well(kTick);
    }
  }
  // Until `a` owns group 1 and serves it.
  static void serve(TestGateway& a) {
    a.live_well(std::chrono::seconds(3));
    ASSERT_TRUE(a.serves());
  }
  Records records_;
};

}  // namespace mrpool::gateway
