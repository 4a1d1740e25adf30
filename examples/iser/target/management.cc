// Task management (RFC 7143 §4.2.3.3, §11.5; SAM-5 §7): functions answer when the tasks they end
// have ended, so that the initiator may use its buffers again.
#include <algorithm>

#include "examples/iser/target/connection.h"

namespace mrpool::iser_target {
namespace {

using Function = iscsi::TaskFunction;
using Response = iscsi::TaskResponse;

bool of_unit(const Task& task, const void* unit) { return task.unit == unit; }
bool has_tag(const Task& task, const void* tag) {
  return task.pdu.task_tag == *static_cast<const uint32_t*>(tag);
}
bool any(const Task&, const void*) { return true; }

}  // namespace

void Connection::manage(const iscsi::TaskRequest& pdu) {
  const auto complete = [this, alive = alive_, tag = pdu.task_tag] {
    if (*alive && phase_ == Phase::kFullFeature) answer_management(tag, Response::kComplete);
  };
  switch (pdu.function) {
    case Function::kAbortTask: {
      const Task* task = find(pdu.referenced_tag);
      if (task == nullptr && give_up_number(pdu)) {
        return answer_management(pdu.task_tag, Response::kComplete);
      }
      if (task == nullptr) {
        // An answer that still waits to be sent goes first: the initiator takes its buffer back
        // when it hears that there is no such task.
        const auto drain = std::make_shared<Drain>([this, alive = alive_, tag = pdu.task_tag] {
          if (*alive && phase_ == Phase::kFullFeature) answer_management(tag, Response::kNoTask);
        });
        for (Task* answered : active_) {
          if (has_tag(*answered, &pdu.referenced_tag)) answered->drains.push_back(drain);
        }
        return;
      }
      if (task->pdu.lun != pdu.lun) return answer_management(pdu.task_tag, Response::kNoLun);
      abort_tasks(has_tag, &pdu.referenced_tag, std::make_shared<Drain>(complete));
      return;
    }
    case Function::kAbortTaskSet:
    case Function::kClearTaskSet:
    case Function::kLogicalUnitReset: {
      scsi::LogicalUnit* unit = target_->device().find_structure(pdu.lun);
      if (unit == nullptr) return answer_management(pdu.task_tag, Response::kNoLun);
      const auto drain = std::make_shared<Drain>(complete);
      if (pdu.function == Function::kAbortTaskSet) return abort_tasks(of_unit, unit, drain);
      abort_everywhere(of_unit, unit, drain);
      if (pdu.function == Function::kLogicalUnitReset) unit->reset(scsi::kDeviceReset);
      return;
    }
    case Function::kTargetWarmReset:
    case Function::kTargetColdReset: {
      const bool cold = pdu.function == Function::kTargetColdReset;
      // A cold reset ends every session of the target once its tasks have ended.
      const auto drain = std::make_shared<Drain>([complete, cold, target = target_] {
        complete();
        if (!cold) return;
        const std::vector<Connection*> connections = target->connections();
        for (Connection* other : connections) {
          other->phase_ = Phase::kLogout;
          other->link_.disconnect();
        }
      });
      abort_everywhere(any, nullptr, drain);
      target_->device().reset(cold ? scsi::kPowerOn : scsi::kDeviceReset);
      return;
    }
    case Function::kTaskReassign:
      return answer_management(pdu.task_tag, Response::kNoReassign);
    case Function::kClearAca:
      return answer_management(pdu.task_tag, Response::kNotSupported);
  }
  answer_management(pdu.task_tag, Response::kRejected);
}

void Connection::abort_everywhere(Which which, const void* context,
                                  const std::shared_ptr<Drain>& drain, const std::string* port) {
  for (const auto* list : {&target_->connections(), &target_->ending()}) {
    const std::vector<Connection*> connections = *list;
    for (Connection* other : connections) {
      if (port != nullptr && other->port_ != *port) continue;
      other->abort_tasks(which, context, drain,
                         other == this ? Answer::kNone : Answer::kTaskAborted);
    }
  }
}

// RFC 7143 §11.6.1: an abort of a command that was never sent takes its place in the numbering. It
// is immediate, so it may come in front of commands with lower numbers.
bool Connection::give_up_number(const iscsi::TaskRequest& pdu) {
  const uint32_t last = exp_cmd_sn_ + (kQueueDepth - outstanding_) - 1;
  if (iscsi::sn_less(pdu.ref_cmd_sn, exp_cmd_sn_) || iscsi::sn_less(last, pdu.ref_cmd_sn) ||
      !iscsi::sn_less(pdu.ref_cmd_sn, pdu.cmd_sn)) {
    return false;
  }
  if (std::ranges::find(given_up_, pdu.ref_cmd_sn) == given_up_.end()) {
    given_up_.push_back(pdu.ref_cmd_sn);
  }
  while (std::erase(given_up_, exp_cmd_sn_) != 0) ++exp_cmd_sn_;
  return true;
}

}  // namespace mrpool::iser_target
