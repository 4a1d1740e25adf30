// The admin commands of a controller, [base] 5. kAdminCommands lists them all; dispatch and the
// Commands Supported and Effects log use it. To add one, add a member and its line.
#include <algorithm>
#include <iterator>

#include "examples/nvmf/target/controller.h"
#include "examples/nvmf/target/pages.h"

namespace mrpool::nvmf_target {

using nvme::AdminOpcode;
using nvme::Status;

struct Controller::AdminCommand {
  AdminOpcode opcode;
  bool discovery;     // also for discovery controllers
  bool returns_data;  // its SGL must have exactly the length of the data
  AdminReply (Controller::*run)(const AdminRequest& request);
};

const Controller::AdminCommand Controller::kAdminCommands[] = {
    {AdminOpcode::kGetLogPage, true, true, &Controller::get_log_page},
    {AdminOpcode::kIdentify, true, true, &Controller::identify},
    {AdminOpcode::kAbort, false, false, &Controller::abort},
    {AdminOpcode::kSetFeatures, true, false, &Controller::set_features},
    {AdminOpcode::kGetFeatures, true, true, &Controller::get_features},
    {AdminOpcode::kAsyncEventRequest, true, false, &Controller::park_event},
    {AdminOpcode::kKeepAlive, true, false, &Controller::keep_alive},
};

std::vector<AdminOpcode> Controller::admin_opcodes() {
  std::vector<AdminOpcode> opcodes;
  std::ranges::transform(kAdminCommands, std::back_inserter(opcodes), &AdminCommand::opcode);
  return opcodes;
}

AdminReply Controller::admin(const nvme::Sqe& sqe, uint64_t data_length, Nanoseconds now) {
  const auto opcode = AdminOpcode(sqe.opcode);
  AdminRequest request{.sqe = sqe, .data_length = data_length, .now = now, .discovery = {}};
  // The target calls its controllers while it holds its own lock, so call it before taking this
  // lock.
  if (opcode == AdminOpcode::kGetLogPage && identity_.discovery &&
      (sqe.cdw10 & 0xff) == NVME_LOG_LID_DISCOVER) {
    request.discovery = discovery_.discovery_log(identity_.host_nqn, identity_.local_address);
  }
  std::unique_lock lock(mutex_);
  // Before CC.EN only property commands are allowed, [fab] 3.3.
  if ((csts_ & nvme::kCstsReady) == 0) return refuse(Status::kCommandSequence);
  const auto* command = std::ranges::find(kAdminCommands, opcode, &AdminCommand::opcode);
  if (command == std::end(kAdminCommands) || (identity_.discovery && !command->discovery)) {
    return refuse(Status::kInvalidOpcode);
  }
  AdminReply reply = (this->*command->run)(request);
  const bool wake = std::exchange(events_came_, false);
  const QueueRef admin = admin_queue_locked();
  lock.unlock();
  if (wake) host_.events_ready(admin);
  if (command->returns_data && ok(reply.status) && reply.data.size() != data_length) {
    return refuse(Status::kSglDataLength);
  }
  return reply;
}

}  // namespace mrpool::nvmf_target
