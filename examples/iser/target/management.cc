// Task management (RFC 7143 §4.2.3.3, §11.5; SAM-5 §7): a function is answered when the aborted
// tasks have ended, so that the initiator may reuse its buffers.
#include <algorithm>

#include "examples/iser/target/connection.h"
#include "examples/protocol/scsi/target_device.h"

namespace mrpool::iser_target {
namespace {

using Function = iscsi::TaskFunction;
using Response = iscsi::TaskResponse;

}  // namespace

bool TaskFilter::matches(const Task& task) const {
  const bool of_lun = lun && scsi::decode_lun(task.pdu.lun) == lun;
  if (unit != nullptr && !of_lun &&
      (task.handle == nullptr || !task.handle->unit->same_line(*unit))) {
    return false;
  }
  return !tag || task.pdu.task_tag == *tag;
}

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
        // A pending answer is sent first, because the initiator reuses its buffer after the
        // response that the task does not exist.
        const auto drain =
            std::make_shared<Drain>(worker_, [this, alive = alive_, tag = pdu.task_tag] {
              if (*alive && phase_ == Phase::kFullFeature) {
                answer_management(tag, Response::kNoTask);
              }
            });
        for (Task* answered : active_) {
          const bool over = answered->late && answered->state != Task::State::kResponding;
          if (answered->pdu.task_tag == pdu.referenced_tag && !over) {
            answered->drains.push_back(drain);
          }
        }
        return;
      }
      if (task->pdu.lun != pdu.lun) return answer_management(pdu.task_tag, Response::kNoLun);
      abort_tasks({.tag = pdu.referenced_tag}, std::make_shared<Drain>(worker_, complete));
      return;
    }
    case Function::kAbortTaskSet:
    case Function::kClearTaskSet:
    case Function::kLogicalUnitReset: {
      const UnitHandle* handle = find_unit(pdu.lun);
      if (handle == nullptr) return answer_management(pdu.task_tag, Response::kNoLun);
      const TaskFilter of_unit{.unit = handle->unit, .lun = scsi::decode_lun(pdu.lun)};
      const auto drain = std::make_shared<Drain>(worker_, complete);
      if (pdu.function == Function::kAbortTaskSet) {
        return abort_tasks({.unit = of_unit.unit, .lun = of_unit.lun, .copies = false}, drain);
      }
      const std::shared_ptr<Unit> unit = handle->unit;
      abort_everywhere(of_unit, drain);
      if (pdu.function == Function::kLogicalUnitReset) unit->logical.reset(scsi::kDeviceReset);
      return;
    }
    case Function::kTargetWarmReset:
    case Function::kTargetColdReset:
      return reset_target(pdu.function == Function::kTargetColdReset,
                          std::make_shared<Drain>(worker_, complete));
    case Function::kTaskReassign:
      return answer_management(pdu.task_tag, Response::kNoReassign);
    case Function::kClearAca:
      return answer_management(pdu.task_tag, Response::kNotSupported);
  }
  answer_management(pdu.task_tag, Response::kRejected);
}

void Connection::reset_target(bool cold, const std::shared_ptr<Drain>& answered) {
  // A cold reset ends every session of the target once its tasks have ended.
  const auto drain = std::make_shared<Drain>(
      worker_, [cold, answered = std::shared_ptr<Drain>(answered), &site = site_, &worker = worker_,
                target = target_]() mutable {
        answered.reset();
        if (!cold) return;
        const auto disconnect = [target](SiteWorker& each) {
          const std::vector<Connection*> connections = target->sessions(each.index()).open;
          for (Connection* other : connections) {
            other->phase_ = Phase::kLogout;
            other->link_.disconnect();
          }
        };
        site.on_workers(disconnect, &worker);
      });
  abort_everywhere({}, drain);
  const std::shared_ptr<const UnitTable> table = target_->units();
  for (const auto& [lun, unit] : table->units) {
    unit->logical.reset(cold ? scsi::kPowerOn : scsi::kDeviceReset);
  }
}

void Connection::abort_everywhere(const TaskFilter& which, const std::shared_ptr<Drain>& drain,
                                  const std::string& port) {
  const auto abort = [target = target_, which, drain, port,
                      asking = admission_](SiteWorker& worker) {
    Target::Sessions& sessions = target->sessions(worker.index());
    for (const auto* list : {&sessions.open, &sessions.ending}) {
      const std::vector<Connection*> connections = *list;
      for (Connection* other : connections) {
        if (!port.empty() && other->port_ != port) continue;
        other->abort_tasks(which, drain,
                           other->admission_ == asking ? Answer::kNone : Answer::kTaskAborted);
      }
    }
  };
  site_.on_workers(abort, &worker_);
}

// RFC 7143 §11.6.1: an abort of a command that was never received uses up that command's CmdSN. The
// abort is immediate, so it may arrive before commands with lower numbers.
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
