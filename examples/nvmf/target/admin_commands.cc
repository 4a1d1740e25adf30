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
  uint32_t effects = 0;  // beyond "supported", [base] 5.14.1.5
};

namespace {

constexpr uint32_t kChangesContent = NVME_CMD_EFFECTS_LBCC;
// CSE: no other command for the namespace should be outstanding.
constexpr uint32_t kAloneInNamespace = 1u << 16;

}  // namespace

const Controller::AdminCommand Controller::kAdminCommands[] = {
    {AdminOpcode::kGetLogPage, true, true, &Controller::get_log_page},
    {AdminOpcode::kIdentify, true, true, &Controller::identify},
    {AdminOpcode::kAbort, false, false, &Controller::abort},
    {AdminOpcode::kSetFeatures, true, false, &Controller::set_features},
    {AdminOpcode::kGetFeatures, true, true, &Controller::get_features},
    {AdminOpcode::kAsyncEventRequest, true, false, &Controller::park_event},
    {AdminOpcode::kKeepAlive, true, false, &Controller::keep_alive},
    {AdminOpcode::kFormat, false, false, &Controller::format, kChangesContent | kAloneInNamespace},
};

std::vector<std::pair<AdminOpcode, uint32_t>> Controller::admin_effects() {
  std::vector<std::pair<AdminOpcode, uint32_t>> all;
  for (const AdminCommand& each : kAdminCommands) all.emplace_back(each.opcode, each.effects);
  return all;
}

// There is one format, without metadata and protection information. The queue does the rest.
AdminReply Controller::format(const AdminRequest& request) {
  const uint32_t cdw10 = request.sqe.cdw10;
  if (nvme::lba_format(cdw10) != 0 || nvme::format_protection(cdw10) != 0) {
    return refuse(Status::kInvalidFormat);
  }
  if (nvme::secure_erase(cdw10) > nvme::SecureErase::kUserData) {
    return refuse(Status::kInvalidField);
  }
  AdminReply reply;
  reply.kind = AdminReply::Kind::kFormat;
  reply.nsid = request.sqe.nsid;
  return reply;
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
