// What a gateway learns from reading the records, and where the groups should be.
#include <algorithm>
#include <utility>

#include "examples/gateway/balance.h"
#include "examples/gateway/ownership_machine.h"

namespace mrpool::gateway {

void Ownership::Machine::step_read() {
  if (reading != 0) return;
  // A group that is about to be given to this gateway is looked for more often, for a while.
  const bool expecting = std::ranges::any_of(groups, [&](const Group& group) {
    return group.wanted_since != Group::kNever &&
           now - group.wanted_since < times.rejoin + times.drain_limit;
  });
  // After a write that was refused the records are another's.
  const bool unknown = std::ranges::any_of(groups, [&](const Group& group) {
    return group.state == State::kOut && !group.known && group.problem.empty();
  });
  constexpr int kFaster = 10;
  const Nanoseconds sooner = read_sent + times.poll / kFaster;
  if (!due(expecting || unknown ? std::min(read_at, sooner) : read_at)) return;
  reading = add(Action::Kind::kRead).id;
  read_sent = now;
  read_at = now + times.poll;
}

void Ownership::Machine::step_member() {
  if (beating != 0 || !due(beat_at)) return;
  // Only a guarded beat can show that the other process has ended.
  if (twin && (refused_from != 0 || !due(twin_until))) return;
  const MemberState state = leaving   ? MemberState::kLeaving
                            : unfit() ? MemberState::kUnfit
                                      : MemberState::kReady;
  Action& action = add(Action::Kind::kWrite);
  if (!last_beat.empty()) action.write.guards.push_back({member_key(name), last_beat});
  sent_beat = serialize(MemberRecord{.beat = ++member_beats, .state = state});
  action.write.sets.push_back({member_key(name), sent_beat});
  beating = action.id;
  if (leaving) announcing = action.id;
  beat_at = now + times.renew;
}

void Ownership::Machine::beaten(Written result) {
  if (result == Written::kDone) twin = false;
  last_beat = result == Written::kDone ? sent_beat : std::string();
  // Who else writes this record? The next read shows it.
  if (result == Written::kRefused || (twin && result == Written::kUnknown)) refused_from = last_id;
}

void Ownership::Machine::see(const Records& records, uint64_t read) {
  see_members(records);
  see_twin(records, read);
  for (Group& group : groups) {
    if (read > group.fresh_from) see_group(group, records);
  }
}

void Ownership::Machine::see_group(Group& group, const Records& records) {
  if (group.state == State::kTaking || group.state == State::kReleasing) return;
  const std::string_view text = text_of(records, owner_key(group.name));
  const std::string_view beat = text_of(records, beat_key(group.name));
  const std::string_view fences = text_of(records, fences_key(group.name));
  const auto record = parse_owner(text);
  const auto to_fence = parse_fences(fences);
  if (!group.known || text != group.text || beat != group.beat) group.changed = now;
  group.known = record && to_fence;
  group.problem.clear();
  if (!record) {
    group.problem = "the record " + owner_key(group.name) + " is not one of this version";
  } else if (!to_fence) {
    group.problem = "the record " + fences_key(group.name) + " is not one of this version";
  }
  group.text = text;
  group.beat = beat;
  group.record = record.value_or(OwnerRecord());
  group.fences = to_fence.value_or(std::vector<std::string>());
  group.term = std::max(group.term, group.record.term);
  if (group.owned() && text != group.own_text) {
    stop(group);
    group.known = record && to_fence;  // this read has shown why
  }
  // It was an owner's without knowing: a write without an answer has happened after all.
  if (!group.owned() && std::ranges::find(group.fences, group.client) != group.fences.end()) {
    drop_client(group);
  }
}

void Ownership::Machine::see_members(const Records& records) {
  std::erase_if(members, [&](const auto& member) {
    return text_of(records, member_key(member.first)).empty();
  });
  for (const auto& [key, text] : records) {
    const auto gateway = member_of_key(key);
    const auto record = parse_member(text);
    if (!gateway || *gateway == name || !record) continue;
    const auto [found, first] = members.try_emplace(std::string(*gateway));
    Member& member = found->second;
    // A record that was there before may be of a gateway that has ended long ago.
    if (!first && member.text != text) {
      if (!member.alive) member.since = now;
      member.alive = true;
      member.changed = now;
    }
    member.text = text;
    member.state = record->state;
  }
}

// A process that has beaten more often than this one is older. It keeps the name; else the two
// would fence each other in turn.
void Ownership::Machine::see_twin(const Records& records, uint64_t read) {
  if (refused_from == 0 || read <= refused_from) return;
  refused_from = 0;
  last_beat = text_of(records, member_key(name));
  const auto record = parse_member(last_beat);
  if (!record || record->beat <= member_beats) return;
  twin = true;
  twin_until = now + times.patience();
}

void Ownership::Machine::place_groups() {
  std::vector<std::string> fit, present;
  if (!leaving) {
    present.push_back(name);
    if (!unfit()) fit.push_back(name);
  }
  for (auto& [gateway, member] : members) {
    if (member.alive && due(member.changed + times.patience())) member.alive = false;
    if (!member.alive || member.state == MemberState::kLeaving) continue;
    if (!due(member.since + times.settle)) continue;
    present.push_back(gateway);
    if (member.state == MemberState::kReady) fit.push_back(gateway);
  }
  std::map<std::string, std::string> owners;
  for (const Group& group : groups) {
    owners[group.name] = group.owned() ? name : group.record.owner;
  }
  places = balance(owners, fit.empty() ? present : fit);
  for (Group& group : groups) {
    const bool wanted = belongs_here(group) && !group.owned();
    if (!wanted) {
      group.wanted_since = Group::kNever;
    } else if (group.wanted_since == Group::kNever) {
      group.wanted_since = now;
    }
  }
}

// The gateway that should have the group has run for so long that hosts use it.
bool Ownership::Machine::has_rejoined(const Group& group) {
  const auto place = places.find(group.name);
  if (place == places.end()) return false;
  const auto member = members.find(place->second);
  return member != members.end() && due(member->second.since + times.rejoin);
}

bool Ownership::Machine::belongs_here(const Group& group) const {
  const auto place = places.find(group.name);
  return place != places.end() && place->second == name;
}

}  // namespace mrpool::gateway
