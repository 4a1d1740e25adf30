#include "tests/sim/gateways/host.h"

#include <utility>

#include "tests/sim/gateways/world.h"

namespace mrpool::sim {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using Kind = GatewayCommand::Kind;
using Result = GatewayAnswer::Result;

namespace {

// A host that gets no answer for so long uses another path.
constexpr Nanoseconds kAnswerLimit = std::chrono::seconds(5);

}  // namespace

GatewayHost::GatewayHost(GatewaysWorld& world, size_t number)
    : world_(world), number_(number), versions_(world.groups()), seen_(world.groups()) {
  path_ = world.below(world.gateways());
}

void GatewayHost::after(Nanoseconds delay, void (GatewayHost::*next)()) {
  world_.events.after(delay, [this, next, attempt = attempt_] {
    if (attempt == attempt_) (this->*next)();
  });
}

void GatewayHost::think() {
  ++attempt_;
  after(milliseconds(2 + world_.below(20)), &GatewayHost::choose);
}

void GatewayHost::choose() {
  command_ = {.host = number_, .group = world_.below(world_.groups())};
  const size_t group = command_.group;
  command_.block = world_.own_block(group, number_);
  const uint64_t kind = world_.below(100);
  if (kind < 50) {
    command_.kind = Kind::kWrite;
    command_.value = {.version = ++versions_[group], .writer = uint32_t(number_)};
  } else if (kind < 70) {
    command_.kind = Kind::kCompareAndWrite;
    command_.block = world_.shared_block(group);
    command_.expected = seen_[group];
    command_.value = {.version = seen_[group].version + 1, .writer = uint32_t(number_)};
  } else if (kind < 80) {
    command_.kind = Kind::kRegister;
    command_.key = ++last_key_;
  } else if (kind < 90) {
    command_.kind = Kind::kReadKeys;
    least_keys_ = world_.ledger.keys(group);
  } else {
    command_.kind = Kind::kRead;
    if (world_.chance(500)) command_.block = world_.shared_block(group);
    least_version_ = world_.ledger.version(command_.block);
  }
  send();
}

void GatewayHost::send() {
  waiting_ = true;
  const uint64_t attempt = ++attempt_;
  after(kAnswerLimit, &GatewayHost::try_next);
  GatewayProcess& gateway = world_.gateway(path_);
  if (!gateway.running()) return after(milliseconds(1), &GatewayHost::try_next);
  world_.events.after(microseconds(20 + world_.below(100)), [this, attempt, &gateway] {
    if (attempt != attempt_) return;
    gateway.execute(command_, [this, attempt](const GatewayAnswer& answer) {
      world_.events.after(microseconds(20 + world_.below(100)), [this, attempt, answer] {
        if (attempt == attempt_) answered(answer);
      });
    });
  });
}

void GatewayHost::try_next() {
  ++attempt_;
  waiting_ = false;
  path_ = (path_ + 1) % world_.gateways();
  after(milliseconds(5 + world_.below(20)), &GatewayHost::send);
}

void GatewayHost::broken(size_t gateway) {
  if (waiting_ && gateway == path_) try_next();
}

void GatewayHost::answered(const GatewayAnswer& answer) {
  if (answer.result == Result::kTryAnotherPath) return try_next();
  if (answer.result == Result::kBusy) {
    ++attempt_;
    return after(milliseconds(1), &GatewayHost::send);
  }
  Ledger& ledger = world_.ledger;
  const size_t block = command_.block;
  switch (command_.kind) {
    case Kind::kRead:
      ledger.check_read(block, least_version_, answer.value);
      if (block == world_.shared_block(command_.group)) seen_[command_.group] = answer.value;
      break;
    case Kind::kReadKeys:
      ledger.check_keys(command_.group, least_keys_, answer.keys, "that a gateway reported");
      break;
    case Kind::kRegister:
      ledger.registered(command_.group, number_, command_.key);
      break;
    case Kind::kCompareAndWrite:
      // An attempt before this one may have done it, without an answer.
      if (answer.result == Result::kMiscompare && answer.value != command_.value) {
        seen_[command_.group] = answer.value;
        break;
      }
      seen_[command_.group] = command_.value;
      [[fallthrough]];
    case Kind::kWrite:
      ledger.written(block, command_.value, world_.cluster.stored(block));
      break;
  }
  done();
}

void GatewayHost::done() {
  waiting_ = false;
  ++completed;
  world_.completed();
  think();
}

std::string GatewayHost::state() const {
  return "host " + std::to_string(number_) + ": command " + std::to_string(int(command_.kind)) +
         " of group " + std::to_string(command_.group) + ", gateway " + std::to_string(path_) +
         (waiting_ ? ", waits\n" : "\n");
}

}  // namespace mrpool::sim
