#include "tests/sim/gateways/process.h"

#include <algorithm>
#include <utility>

#include "tests/sim/gateways/world.h"

namespace mrpool::sim {

using gateway::Action;
using gateway::Written;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Result = GatewayAnswer::Result;

namespace {

// Of one call for the records, of other requests.
constexpr Nanoseconds kCallLimit = milliseconds(800);
constexpr Nanoseconds kIoLimit = seconds(3);
// A process that does not get rid of its groups ends all the same.
constexpr Nanoseconds kLeaveLimit = seconds(8);

// The name of a group, and its number.
std::string group_name(size_t group) { return std::to_string(group); }
size_t group_number(const std::string& name) { return size_t(name[0] - '0'); }

}  // namespace

GatewayProcess::GatewayProcess(GatewaysWorld& world, size_t number)
    : world_(world),
      number_(number),
      name_(std::string("gw") + char('a' + number)),
      rate_(0.92 + 0.01 * double(world.below(19))),
      offset_(seconds(world.below(100'000))) {}

Nanoseconds GatewayProcess::clock() const {
  return offset_ + Nanoseconds(int64_t(double(world_.events.now().count()) * rate_));
}

void GatewayProcess::start() {
  ++life_;
  paused_ = leaving_ = false;
  next_wake_ = Nanoseconds::max();
  groups_.assign(world_.groups(), Group());
  for (Group& group : groups_) group.keys.resize(world_.hosts());
  std::vector<std::string> names;
  for (size_t i = 0; i < groups_.size(); ++i) names.push_back(group_name(i));
  gateway::Times times;
  times.rejoin = times.settle;  // groups move often
  ownership_ = std::make_unique<gateway::Ownership>(name_, names, times, clock());
  pump();
}

void GatewayProcess::kill() {
  ++life_;
  ownership_.reset();
  groups_.clear();
  stopped_.clear();
  path_.held.clear();
  paused_ = leaving_ = false;
}

void GatewayProcess::pause() { paused_ = true; }

void GatewayProcess::resume() {
  paused_ = false;
  for (auto& work : std::exchange(stopped_, {})) {
    if (!running()) return;
    enter(std::move(work));
  }
}

void GatewayProcess::leave() {
  leaving_ = true;
  ownership_->leave(clock());
  world_.events.after(kLeaveLimit, [this, life = life_] {
    if (life == life_) world_.ended(number_);
  });
  pump();
}

void GatewayProcess::heal() { world_.cluster.heal(path_); }

bool GatewayProcess::serves(size_t group) const {
  return running() && ownership_->may_serve(group_name(group), clock());
}

void GatewayProcess::enter(std::function<void()> work) {
  if (paused_) {
    stopped_.push_back(std::move(work));
    return;
  }
  work();
  pump();
}

std::function<void()> GatewayProcess::bound(std::function<void()> work) {
  return [this, life = life_, work = std::move(work)] {
    if (life == life_) enter(work);
  };
}

void GatewayProcess::pump() {
  while (running()) {
    std::vector<Action> actions = ownership_->take_actions();
    if (actions.empty()) break;
    for (Action& action : actions) carry_out(std::move(action));
  }
  if (leaving_ && running() && ownership_->left()) {
    const auto end = bound([this] { world_.ended(number_); });
    world_.events.after(milliseconds(1), end);
  }
  schedule();
}

void GatewayProcess::schedule() {
  if (!running()) return;
  const Nanoseconds wake = ownership_->next_wake();
  if (wake == Nanoseconds::max()) return;
  const Nanoseconds time =
      Nanoseconds(int64_t(double((wake - offset_).count()) / rate_)) + Nanoseconds(2);
  if (time >= next_wake_ && next_wake_ > world_.events.now()) return;
  next_wake_ = time;
  world_.events.at(time, bound([this, time] {
                     if (next_wake_ == time) next_wake_ = Nanoseconds::max();
                     ownership_->wake(clock());
                   }));
}

void GatewayProcess::carry_out(const Action& action) {
  const uint64_t id = action.id;
  const size_t group = action.group.empty() ? 0 : group_number(action.group);
  switch (action.kind) {
    case Action::Kind::kRead:
      return read(id);
    case Action::Kind::kWrite:
      return save(action.write,
                  [this, id](Written result) { ownership_->write_done(clock(), id, result); });
    case Action::Kind::kConnect:
      return connect(id, group);
    case Action::Kind::kFence:
      return world_.cluster.fence(path_, groups_[group].client, action.clients,
                                  answer_or_limit(kIoLimit, [this, id](bool done) {
                                    ownership_->fence_done(clock(), id, done);
                                  }));
    case Action::Kind::kPrepare:
      return prepare(id, group);
    case Action::Kind::kServe:
      return world_.served(number_, group);
    case Action::Kind::kStop:
      return stop(group);
    case Action::Kind::kDrain:
      groups_[group].drain = id;
      world_.drains(number_, group);
      return drained_if_idle(group);
  }
}

std::function<void()> GatewayProcess::answer_or_limit(Nanoseconds limit, Done done) {
  auto open = std::make_shared<bool>(true);
  world_.events.after(limit, bound([open, done] {
                        if (std::exchange(*open, false)) done(false);
                      }));
  return bound([open, done] {
    if (std::exchange(*open, false)) done(true);
  });
}

void GatewayProcess::call(std::function<void(gateway::Records&)> work, Done done) {
  world_.cluster.call(path_, std::move(work), answer_or_limit(kCallLimit, std::move(done)));
}

void GatewayProcess::save(gateway::GuardedWrite write, std::function<void(Written)> done) {
  auto result = std::make_shared<Written>(Written::kUnknown);
  call(
      [this, result, write = std::move(write)](gateway::Records& records) {
        const bool holds = std::ranges::all_of(write.guards, [&](const gateway::Entry& guard) {
          return gateway::text_of(records, guard.key) == guard.text;
        });
        *result = holds ? Written::kDone : Written::kRefused;
        if (!holds) {
          if (write.sets.front().key.starts_with("pr-")) world_.moved(GatewaysWorld::kSaveRefused);
          return;
        }
        for (const gateway::Entry& entry : write.sets) records[entry.key] = entry.text;
      },
      [result, done = std::move(done)](bool answered) {
        done(answered ? *result : Written::kUnknown);
      });
}

void GatewayProcess::read(uint64_t id) {
  auto found = std::make_shared<gateway::Records>();
  call([found](gateway::Records& records) { *found = records; },
       [this, id, found](bool answered) {
         ownership_->read_done(clock(), id, answered ? std::optional(*found) : std::nullopt);
       });
}

void GatewayProcess::connect(uint64_t id, size_t group) {
  auto client = std::make_shared<std::string>();
  call([this, client](gateway::Records&) { *client = world_.cluster.new_client(); },
       [this, id, group, client](bool answered) {
         if (answered) groups_[group] = Group{.client = *client, .keys = Keys(world_.hosts())};
         ownership_->connected(clock(), id, answered ? *client : std::string());
       });
}

void GatewayProcess::prepare(uint64_t id, size_t group) {
  auto text = std::make_shared<std::string>();
  const std::string key = gateway::reservations_key(group_name(group));
  call([text, key](gateway::Records& records) { *text = gateway::text_of(records, key); },
       [this, id, group, text](bool answered) {
         if (!answered) return ownership_->prepared(clock(), id, false);
         groups_[group].keys = parse_keys(*text, world_.hosts());
         // The sizes of images: a request that a fenced client is refused.
         io(
             group, world_.shared_block(group), nullptr,
             [this, id](const BlockValue&) { ownership_->prepared(clock(), id, true); },
             [this, id] { ownership_->prepared(clock(), id, false); });
       });
}

void GatewayProcess::stop(size_t group) {
  world_.moved(GatewaysWorld::kStopped);
  Group old = std::exchange(groups_[group], Group{.keys = Keys(world_.hosts())});
  for (const auto& [id, answered] : old.commands) answered({});
}

void GatewayProcess::drained_if_idle(size_t group) {
  Group& state = groups_[group];
  if (state.drain == 0 || state.outstanding != 0 || !state.commands.empty()) return;
  ownership_->drained(clock(), std::exchange(state.drain, 0), state.clean);
}

std::string GatewayProcess::state() const {
  std::string text = name_ + ":";
  if (!running()) return text + " does not run\n";
  if (paused_) text += " stopped;";
  if (leaving_) text += " leaves;";
  if (path_.cut) text += " cut off;";
  for (size_t i = 0; i < groups_.size(); ++i) {
    const std::string group = group_name(i);
    text.append(" ").append(group).append(" ").append(to_string(ownership_->state(group)));
    text += " term " + std::to_string(ownership_->term(group)) + " by " + groups_[i].client + ", " +
            std::to_string(groups_[i].commands.size()) + " commands;";
  }
  return text + "\n";
}

}  // namespace mrpool::sim
