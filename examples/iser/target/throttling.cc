// The limits of a session's tasks: of the initiator, then of the unit. A task that a limit holds
// back has its unsolicited data and its entry in the window, and nothing else. When it is released,
// it is planned again, because units, sizes and reservations may have changed meanwhile.
#include <utility>

#include "examples/engine/io_accounts.h"
#include "examples/iser/target/connection.h"

namespace mrpool::iser_target {
namespace {

using Kind = scsi::Plan::Kind;

constexpr uint8_t kUnmap = 0x42;
constexpr uint8_t kLimits = 2;

// Nothing for tasks that are never held back.
engine::IoCost cost_of(const Task& task) {
  const uint64_t bytes = task.plan.blocks * task.handle->facts().block_size;
  switch (task.plan.kind) {
    case Kind::kRead:
    case Kind::kVerify:
      return {.commands = 1, .read = bytes, .written = 0};
    case Kind::kCompareAndWrite:
      return {.commands = 1, .read = bytes, .written = bytes};
    case Kind::kWrite:
    case Kind::kWriteAndVerify:
    case Kind::kWriteSame:  // one block: it may turn out to write zeroes
    case Kind::kZero:
    case Kind::kMark:
      return {.commands = 1, .read = 0, .written = task.transfer};
    case Kind::kParameters:  // ranges of UNMAP are among the parameters
      return {.commands = task.pdu.cdb[0] == kUnmap ? 1u : 0u, .read = 0, .written = 0};
    case Kind::kDone:
    case Kind::kUnmap:
    case Kind::kReserve:
    case Kind::kCopy:  // copy_held_back()
    case Kind::kFlush:
      break;
  }
  return {};
}

}  // namespace

bool Connection::limited(const Task& task) {
  if (task.handle == nullptr || target_ == nullptr) return false;
  if (limiter_ == nullptr) [[unlikely]]
    limiter_ = target_->initiator_limits().limiter(initiator());
  return limiter_->limits_something() || task.handle->unit->limiter->limits_something();
}

// True: released() follows.
bool Connection::held_back(Task& task) {
  const engine::IoCost cost = cost_of(task);
  if (cost.free()) return false;
  UnitHandle& handle = *task.handle;
  if (limit_ == nullptr) limit_ = worker_.throttles().get(limiter_, initiator());
  if (handle.limit == nullptr) {
    handle.limit = worker_.throttles().get(handle.unit->limiter, initiator());
  }
  for (; task.passed < kLimits; ++task.passed) {
    engine::Throttle* const limit = task.passed == 0 ? limit_.get() : handle.limit.get();
    if (limit->pass(task.held, cost)) continue;
    begin_wait(task);
    return true;
  }
  return false;
}

void Connection::begin_wait(Task& task) {
  task.state = Task::State::kHeld;
  task.waits_since = link_.now();
  if (!std::exchange(task.waited, true) && task.account != nullptr) task.account->held_back();
}

// Its wait has ended. Its latency does not include it.
void Connection::count_wait(Task& task) {
  if (task.account != nullptr) task.account->held_for(link_.now() - task.waits_since);
  task.began = link_.now();
}

void Connection::released(Task& task) {
  count_wait(task);
  if (task.copy != nullptr) {
    ++task.copy->passed;
    return copy_on(task);
  }
  ++task.passed;
  if (find_unit(task.pdu.lun) != task.handle) {
    leave_unit(task);
    take_unit(task);
  }
  data_complete(task);
}

// It will not be released: the caller ends it.
void Connection::stop_waiting(Task& task) {
  task.held.cancel();
  count_wait(task);
}

}  // namespace mrpool::iser_target
