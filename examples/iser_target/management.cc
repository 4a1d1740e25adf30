// Task management (RFC 7143 §4.2.3.3, §11.5; SAM-5 §7): functions answer when the tasks they end
// have ended, so that the initiator may use its buffers again.
#include "examples/iser_target/connection.h"

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
      const std::vector<Connection*> connections = target_->connections();
      for (Connection* other : connections) other->abort_tasks(of_unit, unit, drain);
      if (pdu.function == Function::kClearTaskSet) {
        unit->raise_for_all(scsi::kCommandsCleared, &nexus(*unit));
      } else {
        unit->reset(scsi::kDeviceReset);
      }
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
      const std::vector<Connection*> connections = target_->connections();
      for (Connection* other : connections) other->abort_tasks(any, nullptr, drain);
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

}  // namespace mrpool::iser_target
