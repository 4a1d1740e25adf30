// The states of one group at one gateway (ownership.h has the table).
#include <algorithm>
#include <utility>

#include "examples/gateway/ownership_machine.h"

namespace mrpool::gateway {

// From when this gateway may take the group, by what it knows now.
Nanoseconds Ownership::Machine::available_at(const Group& group) const {
  // A process before this one, a term that was stopped, or a write whose answer was lost. No
  // gateway of this name serves the group, so nobody has to be waited for.
  if (group.record.owner == name) return group.changed;
  Nanoseconds from = group.changed;
  if (group.record.owner.empty()) {
    // At a start all gateways find all groups free. They wait until each has seen the others.
    from = std::max(from, began + times.settle);
  } else {
    from += times.patience();
  }
  // The gateway that should have it goes first. After takeovers that failed those go first that did
  // not fail, or not lately.
  const bool failed = now < group.failed_until;
  if (failed || !belongs_here(group)) from += 2 * times.poll;
  if (failed) from += (group.failed_until - now) / 10;
  return from;
}

bool Ownership::Machine::step(Group& group) {
  if (group.client.empty() && group.connecting == 0 && !leaving && due(group.connect_at)) {
    group.connecting = add(Action::Kind::kConnect, group.name).id;
  }
  switch (group.state) {
    case State::kOut:
      return step_out(group);
    case State::kTaking:
    case State::kReleasing:
      return false;  // their writes end
    default:
      return step_owner(group);
  }
}

bool Ownership::Machine::step_out(Group& group) {
  if (leaving || twin || !group.known || group.client.empty()) return false;
  if (!due(available_at(group))) return false;
  take(group);
  return true;
}

bool Ownership::Machine::step_owner(Group& group) {
  const bool in_use = group.state == State::kServing || group.state == State::kDraining;
  if (in_use && due(lease_end(group))) {
    stop(group);
    return true;
  }
  if (group.renewing == 0 && due(group.renew_at)) renew(group);
  if (group.state == State::kServing) {
    const bool stays = belongs_here(group) || !due(group.stays_until) || !has_rejoined(group);
    if (stays && !leaving) return false;
    enter(group, State::kDraining);
    group.since = now;
    begin(group, Action::Kind::kDrain);
    return true;
  }
  if (group.state == State::kDraining) {
    if (!due(group.since + times.drain_limit)) return false;
    give_up(group);
    return true;
  }
  const bool late = due(group.since + times.takeover_limit);
  if (late) {
    become_unfit();
    group.failed_until = unfit_until;
  }
  if (late || leaving) {
    give_up(group);
    return true;
  }
  return step_action(group);
}

// Fencing, clearing and preparing: one action each, repeated until it succeeds.
bool Ownership::Machine::step_action(Group& group) {
  if (group.prepared) {
    // A lease that has ended meanwhile is renewed first.
    if (lease_end(group) <= now) return false;
    enter(group, State::kServing);
    group.failed_until = {};
    if (group.has_fenced) become_fit();
    add(Action::Kind::kServe, group.name);
    return true;
  }
  if (group.action != 0 || !due(group.retry_at)) return false;
  if (group.state == State::kFencing) {
    begin(group, Action::Kind::kFence).clients = group.fences;
  } else if (group.state == State::kClearing) {
    Action& action = begin(group, Action::Kind::kWrite);
    action.write.guards.push_back({owner_key(group.name), group.own_text});
    action.write.sets.push_back({fences_key(group.name), {}});
  } else {
    begin(group, Action::Kind::kPrepare);
  }
  return true;
}

void Ownership::Machine::enter(Group& group, State state) {
  group.state = state;
  group.action = 0;
  group.retry_at = now;
  group.prepared = false;
}

void Ownership::Machine::take(Group& group) {
  std::vector<std::string> fences = group.fences;
  // A client of this gateway that was never served through, or was given back, is still good.
  const OwnerRecord& before = group.record;
  if (!before.owner.empty() && before.client != group.client &&
      std::ranges::find(fences, before.client) == fences.end()) {
    fences.push_back(before.client);
  }
  group.own_text =
      serialize(OwnerRecord{.term = ++group.term, .owner = name, .client = group.client});
  // The gateway that should have it did not take it; it would not take it from this one either.
  const bool instead = before.owner != name && !belongs_here(group);
  group.stays_until = instead ? now + times.unfit : Nanoseconds();
  enter(group, State::kTaking);
  Action& action = begin(group, Action::Kind::kWrite);
  action.write.guards = {{owner_key(group.name), group.text}, {beat_key(group.name), group.beat}};
  action.write.sets = {{owner_key(group.name), group.own_text},
                       {beat_key(group.name), beat_text(group.term, ++group.beats)},
                       {fences_key(group.name), serialize_fences(fences)}};
  group.has_fenced = !fences.empty();
  group.fences = std::move(fences);
}

void Ownership::Machine::renew(Group& group) {
  Action& action = add(Action::Kind::kWrite, group.name);
  action.write.guards.push_back({owner_key(group.name), group.own_text});
  action.write.sets.push_back({beat_key(group.name), beat_text(group.term, ++group.beats)});
  group.renewing = action.id;
  group.renew_sent = now;
  group.renew_at = now + times.renew;
}

void Ownership::Machine::renewed(Group& group, Written result) {
  group.renewing = 0;
  if (result == Written::kRefused) return stop(group);
  if (result == Written::kDone) {
    // From when it was sent: nobody can have seen it earlier.
    group.lease_from = std::max(group.lease_from, group.renew_sent);
  } else {
    group.renew_at = std::min(group.renew_at, now + times.retry);
  }
}

void Ownership::Machine::write_done(Group& group, Written result) {
  if (group.state == State::kTaking) {
    if (result != Written::kDone) {
      enter(group, State::kOut);
      return forget_record(group);
    }
    forget_record(group);
    group.lease_from = group.action_sent;
    group.renew_at = group.action_sent + times.renew;
    group.since = now;
    enter(group, State::kFencing);
  } else if (group.state == State::kClearing) {
    if (result == Written::kRefused) return stop(group);
    if (result == Written::kDone) return enter(group, State::kPreparing);
    group.retry_at = now + times.retry;
  } else if (group.state == State::kReleasing) {
    // Without an answer, or refused: perhaps it has happened, perhaps another gateway has taken
    // the group and fences this one's client.
    if (result != Written::kDone) return stop(group);
    enter(group, State::kOut);
    forget_record(group);
  }
}

void Ownership::Machine::forget_record(Group& group) {
  group.known = false;
  group.fresh_from = last_id;
}

void Ownership::Machine::drop_client(Group& group) {
  group.client.clear();
  group.connecting = 0;
  group.connect_at = now;
}

void Ownership::Machine::stop(Group& group) {
  add(Action::Kind::kStop, group.name);
  enter(group, State::kOut);
  group.renewing = 0;
  group.lease_from = Group::kNever;
  drop_client(group);
  forget_record(group);
}

void Ownership::Machine::release(Group& group, std::vector<std::string> fences) {
  enter(group, State::kReleasing);
  group.renewing = 0;
  group.lease_from = Group::kNever;
  Action& action = begin(group, Action::Kind::kWrite);
  action.write.guards.push_back({owner_key(group.name), group.own_text});
  action.write.sets.push_back({owner_key(group.name), serialize(OwnerRecord{.term = group.term})});
  if (!fences.empty()) {
    action.write.sets.push_back({fences_key(group.name), serialize_fences(fences)});
  }
}

// Gives the group back although not all has ended.
void Ownership::Machine::give_up(Group& group) {
  std::vector<std::string> fences;
  // Before it served, nothing was written through this client, and the record's fences stay.
  if (group.state == State::kDraining) fences.push_back(group.client);
  add(Action::Kind::kStop, group.name);
  drop_client(group);
  release(group, std::move(fences));
}

}  // namespace mrpool::gateway
