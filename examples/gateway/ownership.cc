#include "examples/gateway/ownership.h"

#include <algorithm>
#include <utility>

#include "examples/gateway/ownership_machine.h"

namespace mrpool::gateway {

std::string_view to_string(State state) {
  constexpr std::string_view kNames[] = {"out",       "taking",  "fencing",  "clearing",
                                         "preparing", "serving", "draining", "releasing"};
  return kNames[size_t(state)];
}

void Ownership::Machine::advance(Nanoseconds time) {
  now = std::max(now, time);
  next = Nanoseconds::max();
  place_groups();
  for (Group& group : groups) {
    while (step(group)) {
    }
  }
  step_member();
  step_read();
}

Action& Ownership::Machine::add(Action::Kind kind, std::string group) {
  actions.push_back({.kind = kind, .id = ++last_id, .group = std::move(group)});
  return actions.back();
}

Action& Ownership::Machine::begin(Group& group, Action::Kind kind) {
  Action& action = add(kind, group.name);
  group.action = action.id;
  group.action_sent = now;
  return action;
}

Ownership::Ownership(std::string name, std::vector<std::string> groups, const Times& times,
                     Nanoseconds now)
    : machine_(std::make_unique<Machine>(
          Machine{.name = std::move(name), .times = times, .began = now, .now = now})) {
  std::ranges::sort(groups);
  for (std::string& group : groups) machine_->groups.push_back({.name = std::move(group)});
  machine_->advance(now);
}

Ownership::~Ownership() = default;

void Ownership::wake(Nanoseconds now) { machine_->advance(now); }

void Ownership::read_done(Nanoseconds now, uint64_t id, const std::optional<Records>& records) {
  Machine& machine = *machine_;
  machine.now = std::max(machine.now, now);
  if (id == machine.reading && id != 0) {
    machine.reading = 0;
    if (records) machine.see(*records, id);
  }
  machine.advance(now);
}

void Ownership::write_done(Nanoseconds now, uint64_t id, Written result) {
  Machine& machine = *machine_;
  machine.now = std::max(machine.now, now);
  if (id == machine.beating && id != 0) {
    machine.beating = 0;
    if (id == machine.announcing) machine.announced = true;
    machine.beaten(result);
  }
  for (Group& group : machine.groups) {
    if (id == 0) break;
    if (group.renewing == id) {
      machine.renewed(group, result);
    } else if (group.action == id) {
      group.action = 0;
      machine.write_done(group, result);
    }
  }
  machine.advance(now);
}

void Ownership::connected(Nanoseconds now, uint64_t id, std::string client) {
  Machine& machine = *machine_;
  machine.now = std::max(machine.now, now);
  for (Group& group : machine.groups) {
    if (id == 0 || group.connecting != id) continue;
    group.connecting = 0;
    group.connect_at = machine.now + machine.times.retry;
    if (valid_name(client)) {
      group.client = std::move(client);
    } else {
      machine.become_unfit();
    }
  }
  machine.advance(now);
}

void Ownership::fence_done(Nanoseconds now, uint64_t id, bool done) {
  Machine& machine = *machine_;
  machine.now = std::max(machine.now, now);
  for (Group& group : machine.groups) {
    if (id == 0 || group.action != id || group.state != State::kFencing) continue;
    group.action = 0;
    group.retry_at = machine.now + machine.times.retry;
    if (!done) continue;
    machine.enter(group, group.has_fenced ? State::kClearing : State::kPreparing);
  }
  machine.advance(now);
}

void Ownership::prepared(Nanoseconds now, uint64_t id, bool done) {
  Machine& machine = *machine_;
  machine.now = std::max(machine.now, now);
  for (Group& group : machine.groups) {
    if (id == 0 || group.action != id || group.state != State::kPreparing) continue;
    group.action = 0;
    group.retry_at = machine.now + machine.times.retry;
    group.prepared = done;
  }
  machine.advance(now);
}

void Ownership::drained(Nanoseconds now, uint64_t id, bool clean) {
  Machine& machine = *machine_;
  machine.now = std::max(machine.now, now);
  for (Group& group : machine.groups) {
    if (id == 0 || group.action != id || group.state != State::kDraining) continue;
    group.action = 0;
    if (clean) {
      machine.release(group, {});
    } else {
      machine.give_up(group);
    }
  }
  machine.advance(now);
}

void Ownership::fenced(Nanoseconds now, std::string_view group) {
  Machine& machine = *machine_;
  machine.now = std::max(machine.now, now);
  if (Group* found = machine.find(group)) {
    if (found->owned()) {
      machine.stop(*found);
    } else if (found->state == State::kOut) {
      machine.drop_client(*found);
    }
  }
  machine.advance(now);
}

void Ownership::leave(Nanoseconds now) {
  machine_->leaving = true;
  machine_->beat_at = {};
  machine_->advance(now);
}

std::vector<Action> Ownership::take_actions() { return std::exchange(machine_->actions, {}); }

Nanoseconds Ownership::next_wake() const { return machine_->next; }

Nanoseconds Ownership::serve_until(std::string_view group) const {
  const Group* found = machine_->find(group);
  if (found == nullptr || found->state != State::kServing) return {};
  return machine_->lease_end(*found);
}

std::optional<Entry> Ownership::guard(std::string_view group) const {
  const Group* found = machine_->find(group);
  if (found == nullptr || !found->owned()) return std::nullopt;
  return Entry{.key = owner_key(group), .text = found->own_text};
}

State Ownership::state(std::string_view group) const {
  const Group* found = machine_->find(group);
  return found == nullptr ? State::kOut : found->state;
}

uint64_t Ownership::term(std::string_view group) const {
  const Group* found = machine_->find(group);
  return found == nullptr ? 0 : found->term;
}

std::string_view Ownership::owner(std::string_view group) const {
  const Group* found = machine_->find(group);
  if (found == nullptr) return {};
  return found->owned() ? std::string_view(machine_->name) : std::string_view(found->record.owner);
}

std::string Ownership::problem(std::string_view group) const {
  const Group* found = machine_->find(group);
  if (found == nullptr) return {};
  if (machine_->twin) return "another gateway is called " + machine_->name;
  return found->problem;
}

std::vector<std::string> Ownership::members() const {
  std::vector<std::string> names;
  for (const auto& [name, member] : machine_->members) {
    if (member.alive) names.push_back(name);
  }
  return names;
}

bool Ownership::left() const {
  return machine_->leaving && (machine_->announced || machine_->twin) &&
         std::ranges::all_of(machine_->groups,
                             [](const Group& group) { return group.state == State::kOut; });
}

}  // namespace mrpool::gateway
