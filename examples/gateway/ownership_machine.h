// The inside of Ownership (ownership.h): its groups, its view of the other gateways, its timers.
//
// Thread safety: one thread.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "examples/gateway/ownership.h"

namespace mrpool::gateway {

struct Ownership::Group {
  std::string name;
  State state = State::kOut;

  // This gateway's client of the group. Nothing was ever sent through it in vain: it is replaced
  // when the group stops before all its requests have ended.
  std::string client{};      // empty: none is connected
  uint64_t connecting = 0;   // the action under way, 0: none
  Nanoseconds connect_at{};  // not before

  // The record, as the last read showed it.
  bool known = false;       // it is as new as this gateway's own last write
  uint64_t fresh_from = 0;  // reads that began earlier show the time before a write of our own
  std::string text{}, beat{};
  OwnerRecord record{};
  std::vector<std::string> fences{};
  std::string problem{};
  // When the read that first showed this text and beat was completed. The owner sent its renewal
  // before the cluster executed that read. The time when the read was sent may be earlier than the
  // renewal; so it cannot be used.
  Nanoseconds changed{};

  // This gateway's ownership.
  uint64_t term = 0;                // the highest that was seen or taken
  std::string own_text{};           // of owner-GROUP in this term
  uint64_t beats = 0;               // of this gateway, in all terms
  Nanoseconds lease_from = kNever;  // when the last write that renewed it was sent
  uint64_t renewing = 0;            // the write under way, 0: none
  Nanoseconds renew_sent{}, renew_at{};
  Nanoseconds since{};  // of the takeover, of the drain
  bool prepared = false;
  bool has_fenced = false;     // this term began with fences
  Nanoseconds stays_until{};   // not given to another gateway that should have it
  Nanoseconds failed_until{};  // a takeover failed

  uint64_t action = 0;  // the action of this state that is under way, 0: none
  Nanoseconds action_sent{}, retry_at{};

  Nanoseconds wanted_since = kNever;  // this gateway should own it, another one does

  static constexpr Nanoseconds kNever = Nanoseconds::min();

  bool owned() const { return state != State::kOut && state != State::kTaking; }
};

struct Ownership::Machine {
  struct Member {
    std::string text{};
    MemberState state = MemberState::kReady;
    bool alive = false;
    Nanoseconds since{};    // alive
    Nanoseconds changed{};  // the last change that was seen
  };

  std::string name;
  Times times;
  Nanoseconds began, now;
  std::vector<Group> groups{};                           // by name
  std::map<std::string, Member, std::less<>> members{};  // the others
  std::map<std::string, std::string> places{};           // where each group should be

  std::vector<Action> actions{};
  uint64_t last_id = 0;
  Nanoseconds next = Nanoseconds::max();

  uint64_t reading = 0;  // the read under way, 0: none
  Nanoseconds read_sent{}, read_at{};
  uint64_t beating = 0;  // the write of the member record
  Nanoseconds beat_at{};
  uint64_t member_beats = 0;
  std::string sent_beat{}, last_beat{};  // what is being written; what is there, empty: not known
  uint64_t refused_from = 0;  // reads that began later show who changed it, 0: nobody did
  bool twin = false;         // an older process has this name, until a beat shows that it has ended
  Nanoseconds twin_until{};  // the next beat
  Nanoseconds unfit_until{};
  bool leaving = false, announced = false;  // announced: the member record shows that it leaves
  uint64_t announcing = 0;

  const Group* find(std::string_view group) const {
    const auto found = std::ranges::find(groups, group, &Group::name);
    return found == groups.end() ? nullptr : &*found;
  }
  Group* find(std::string_view group) {
    return const_cast<Group*>(std::as_const(*this).find(group));
  }

  // Whether `time` has come; else wake() is called then.
  bool due(Nanoseconds time) {
    if (time > now) next = std::min(next, time);
    return time <= now;
  }
  Nanoseconds lease_end(const Group& group) const {
    return group.lease_from == Group::kNever ? Nanoseconds() : group.lease_from + times.lease;
  }
  bool unfit() const { return now < unfit_until; }
  // Others go first from now on.
  void become_unfit() {
    if (!unfit()) beat_at = now;
    unfit_until = now + times.unfit;
  }
  // All that a takeover needs has worked.
  void become_fit() {
    if (unfit()) beat_at = now;
    unfit_until = {};
  }

  // Does everything whose time has come (ownership.cc).
  void advance(Nanoseconds time);
  Action& add(Action::Kind kind, std::string group = {});
  // An action of the group's state: one at a time.
  Action& begin(Group& group, Action::Kind kind);

  // ownership_groups.cc. step(): true if it did something.
  bool step(Group& group);
  bool step_out(Group& group);
  bool step_owner(Group& group);
  bool step_action(Group& group);
  void renew(Group& group);
  void take(Group& group);
  Nanoseconds available_at(const Group& group) const;
  void enter(Group& group, State state);
  void write_done(Group& group, Written result);
  void renewed(Group& group, Written result);
  void drop_client(Group& group);
  void stop(Group& group);
  void release(Group& group, std::vector<std::string> fences);
  void give_up(Group& group);
  void forget_record(Group& group);

  // ownership_members.cc.
  void step_read();
  void step_member();
  void beaten(Written result);
  void see(const Records& records, uint64_t read);
  void see_group(Group& group, const Records& records);
  void see_members(const Records& records);
  void see_twin(const Records& records, uint64_t read);
  void place_groups();
  bool belongs_here(const Group& group) const;
  bool has_rejoined(const Group& group);
};

}  // namespace mrpool::gateway
