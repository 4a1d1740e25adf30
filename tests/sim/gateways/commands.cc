// How a gateway of the simulation executes the commands of hosts.
#include <algorithm>
#include <utility>

#include "tests/sim/gateways/process.h"
#include "tests/sim/gateways/world.h"

namespace mrpool::sim {

using gateway::Written;
using Kind = GatewayCommand::Kind;
using Result = GatewayAnswer::Result;

namespace {

constexpr Nanoseconds kIoLimit = std::chrono::seconds(3);

}  // namespace

void GatewayProcess::execute(const GatewayCommand& command, Answered answered) {
  if (!running()) return;
  enter([this, command, answered = std::move(answered)] { begin(command, answered); });
}

void GatewayProcess::begin(const GatewayCommand& command, Answered answered) {
  const std::string name = std::to_string(command.group);
  const bool late = world_.plant == Plant::kLateLeaseCheck;
  const bool may = late ? ownership_->state(name) == gateway::State::kServing
                        : ownership_->may_serve(name, clock());
  if (!may) return answered({});
  world_.began(number_, command.group);
  const uint64_t id = ++last_command_;
  Group& group = groups_[command.group];
  group.commands[id] = std::move(answered);
  switch (command.kind) {
    case Kind::kRead:
      return read_block(command, id);
    case Kind::kWrite:
      return write_block(command, id);
    case Kind::kCompareAndWrite:
      return compare_and_write(command, id);
    case Kind::kRegister:
      return save_keys(command, id);
    case Kind::kReadKeys:
      return finish(command.group, id, {.result = Result::kDone, .keys = group.keys});
  }
}

void GatewayProcess::finish(size_t group, uint64_t id, const GatewayAnswer& answer) {
  auto command = groups_[group].commands.extract(id);
  if (!command.empty()) command.mapped()(answer);
  drained_if_idle(group);
}

void GatewayProcess::io(size_t group, size_t block, const BlockValue* value,
                        std::function<void(const BlockValue&)> done, std::function<void()> failed) {
  const std::string client = groups_[group].client;
  ++groups_[group].outstanding;
  auto result = std::make_shared<ModelCluster::Answer>();
  const auto ended = answer_or_limit(
      kIoLimit, [=, this, done = std::move(done), failed = std::move(failed)](bool answered) {
        Group& state = groups_[group];
        if (state.client != client) return;  // it has stopped meanwhile
        --state.outstanding;
        if (answered && result->fenced) {
          ownership_->fenced(clock(), std::to_string(group));
          return;
        }
        if (answered) {
          done(result->value);
        } else {
          state.clean = false;
          failed();
        }
        drained_if_idle(group);
      });
  world_.cluster.io(path_, client, block, value, [result, ended](ModelCluster::Answer answer) {
    *result = answer;
    ended();
  });
}

void GatewayProcess::read_block(const GatewayCommand& command, uint64_t id) {
  const size_t group = command.group;
  io(
      group, command.block, nullptr,
      [=, this](const BlockValue& value) {
        finish(group, id, {.result = Result::kDone, .value = value});
      },
      [=, this] { finish(group, id, {}); });
}

void GatewayProcess::write_block(const GatewayCommand& command, uint64_t id) {
  const size_t group = command.group;
  io(
      group, command.block, &command.value,
      [=, this](const BlockValue&) { finish(group, id, {.result = Result::kDone}); },
      [=, this] { finish(group, id, {}); });
}

void GatewayProcess::compare_and_write(const GatewayCommand& command, uint64_t id) {
  const size_t group = command.group;
  if (!groups_[group].locked.insert(command.block).second) {
    return finish(group, id, {.result = Result::kBusy});
  }
  const auto end = [=, this](const GatewayAnswer& answer) {
    groups_[group].locked.erase(command.block);
    finish(group, id, answer);
  };
  io(
      group, command.block, nullptr,
      [=, this](const BlockValue& found) {
        if (found != command.expected) {
          return end({.result = Result::kMiscompare, .value = found});
        }
        io(
            group, command.block, &command.value,
            [=](const BlockValue&) { end({.result = Result::kDone}); }, [=] { end({}); });
      },
      [=] { end({}); });
}

void GatewayProcess::save_keys(const GatewayCommand& command, uint64_t id) {
  const size_t group = command.group;
  const std::string name = std::to_string(group);
  const auto guard = ownership_->guard(name);
  if (groups_[group].saving || !guard) return finish(group, id, {.result = Result::kBusy});
  groups_[group].saving = true;
  Keys keys = groups_[group].keys;
  keys[command.host] = command.key;
  gateway::GuardedWrite write;
  if (world_.plant != Plant::kStaleSave) write.guards.push_back(*guard);
  write.sets.push_back({gateway::reservations_key(name), serialize_keys(keys)});
  const std::string client = groups_[group].client;
  save(std::move(write), [=, this](Written result) {
    Group& state = groups_[group];
    if (state.client != client) return;
    if (result != Written::kDone) return ownership_->fenced(clock(), name);
    state.saving = false;
    state.keys = keys;
    finish(group, id, {.result = Result::kDone});
  });
}

}  // namespace mrpool::sim
