// Session: receiving, and the end of commands.
#include "absl/strings/str_cat.h"
#include "examples/base/big_endian.h"
#include "examples/iser/initiator/session_parts.h"

namespace mrpool::iser {

void Session::received(Receive& receive, const WorkCompletion& wc) {
  if (wc.status != WcStatus::kSuccess) return;
  const auto message = mr_->memory().subspan(receive.offset, wc.byte_len);
  if (message.size() < kHeaders) return fail(absl::InternalError("a PDU shorter than its header"));
  const iscsi::CommonHeader header = iscsi::decode_common(bhs_of(message));
  // A target may invalidate the key of a command with its answer, and no other key.
  if (wc.invalidated && header.op != iscsi::Op::kScsiResponse) {
    return fail(absl::InternalError("the target invalidated a key that is not its command's"));
  }
  switch (header.op) {
    case iscsi::Op::kLoginResponse:
      login_answer(message);
      break;
    case iscsi::Op::kScsiResponse:
      command_answer(message, wc);
      break;
    case iscsi::Op::kTextResponse:
      text_answer(message);
      break;
    case iscsi::Op::kNopIn:
      nop_in(message);
      break;
    case iscsi::Op::kTaskResponse:
      management_answer(message);
      break;
    case iscsi::Op::kLogoutResponse:
      timeout_.cancel();
      qp_->disconnect();
      break;
    case iscsi::Op::kReject: {
      const auto reject = iscsi::Reject::decode(bhs_of(message));
      fail(absl::InternalError(
          absl::StrCat("the target rejects: ", std::string(iscsi::to_string(reject.reason)))));
      break;
    }
    case iscsi::Op::kAsync:
      break;  // the announced event follows
    default:
      fail(absl::InternalError(
          absl::StrCat("unexpected ", std::string(iscsi::to_string(header.op)))));
      break;
  }
  if (state_ != State::kClosed) post(receive);
}

void Session::note_window(const iscsi::Window& window) {
  if (iscsi::sn_less(max_cmd_sn_, window.max_cmd_sn)) max_cmd_sn_ = window.max_cmd_sn;
  if (iscsi::sn_less(exp_cmd_sn_, window.exp_cmd_sn)) exp_cmd_sn_ = window.exp_cmd_sn;
}

void Session::login_answer(std::span<const std::byte> message) {
  if (state_ != State::kLogin) return fail(absl::InternalError("a login response after login"));
  const auto response = iscsi::LoginResponse::decode(bhs_of(message));
  std::optional<iscsi::InitiatorLogin::Request> next;
  absl::Status status = login_.on_response(response, data_of(message), next);
  if (!status.ok()) return fail(std::move(status));
  if (next) return send_login(*next);
  if (!login_.finished()) return fail(absl::InternalError("a login that does not progress"));
  exp_stat_sn_ = login_.exp_stat_sn();
  exp_cmd_sn_ = response.window.exp_cmd_sn;
  max_cmd_sn_ = response.window.max_cmd_sn;
  cmd_sn_ = response.window.exp_cmd_sn;
  state_ = State::kReady;
  ticker_.arm(reactor_, std::min(options_.command_timeout / 4, kLongestTick));
  told_ready(absl::OkStatus());
  pump();
}

void Session::command_answer(std::span<const std::byte> message, const WorkCompletion& wc) {
  const auto response = iscsi::ScsiResponse::decode(bhs_of(message));
  exp_stat_sn_ = response.window.stat_sn + 1;
  note_window(response.window);
  if (response.task_tag >= slots_.size() || slots_[response.task_tag]->command == nullptr ||
      slots_[response.task_tag]->answered) {
    return fail(absl::InternalError("an answer to no command"));
  }
  Slot& slot = *slots_[response.task_tag];
  Command& command = *slot.command;
  if (!end_key(slot, wc)) return;  // on_disconnected releases the slot
  slot.answered = true;
  last_answer_ = reactor_.now();
  command.status = response.response == iscsi::ScsiResponse::kCompleted
                       ? scsi::Status(response.status)
                       : scsi::Status::kTaskAborted;
  const uint32_t length = command.direction == DataDirection::kNone ? 0 : command.data.length;
  command.transferred = response.residual == iscsi::Residual::kUnderflow
                            ? length - std::min(length, response.residual_count)
                            : length;
  command.overflow = response.residual == iscsi::Residual::kOverflow ? response.residual_count : 0;
  const std::string_view data = data_of(message);
  if (data.size() > 2) {
    const size_t size = std::min<size_t>(be::load16(data.data()), data.size() - 2);
    command.sense =
        scsi::decode_sense(std::span(reinterpret_cast<const uint8_t*>(data.data()) + 2, size));
  }
  half_done(slot);
  pump();
}

void Session::management_answer(std::span<const std::byte> message) {
  const auto response = iscsi::TaskResponse::decode(bhs_of(message));
  exp_stat_sn_ = response.window.stat_sn + 1;
  note_window(response.window);
  const uint32_t index = response.task_tag - kManagementTag;
  if (index >= managements_.size() || managements_[index] == nullptr) {
    return fail(absl::InternalError("an answer to no task management function"));
  }
  Management& management = *std::exchange(managements_[index], nullptr);
  management.response = response.response;
  // Aborted commands without an answer will not be answered any more: all answers came before (RFC
  // 7143 §11.5.1, §11.6.1).
  const bool complete = response.response == iscsi::TaskResponse::kComplete;
  const auto ended = [&](const Slot& slot) {
    if (!iscsi::sn_less(slot.cmd_sn, management.cmd_sn_)) return false;
    switch (management.function) {
      case iscsi::TaskFunction::kAbortTask:
        return slot.command == management.command &&
               (complete || response.response == iscsi::TaskResponse::kNoTask);
      case iscsi::TaskFunction::kTargetWarmReset:
      case iscsi::TaskFunction::kTargetColdReset:
        return complete;
      default:
        return complete && slot.command->lun == management.lun;
    }
  };
  for (const auto& slot : slots_) {
    if (slot->command == nullptr || slot->answered || !ended(*slot)) continue;
    if (!end_key(*slot, {})) break;
    slot->answered = true;
    slot->command->status = scsi::Status::kTaskAborted;
    slot->command->transferred = 0;
    half_done(*slot);
  }
  management.done(management);
  pump();
}

// Makes sure that the command's key is invalidated, by the target's answer or by this side. False:
// the target invalidated a key that does not belong to the command, or nothing can be posted.
bool Session::end_key(Slot& slot, const WorkCompletion& answer) {
  const LoanStatus ended = lender_->end(slot.loan, answer);
  switch (ended) {
    case LoanStatus::kReturned:
      if (answer.invalidated) ++counters_.remote_invalidations;
      return true;
    case LoanStatus::kPending:
      ++slot.halves;
      ++counters_.local_invalidations;
      return true;
    case LoanStatus::kWrongKey:
      fail(absl::InternalError("the target invalidated a key that is not its command's"));
      return false;
    default:
      fail(absl::InternalError(absl::StrCat("ending a key: ", std::string(to_string(ended)))));
      return false;
  }
}

void Session::half_done(Slot& slot) {
  if (--slot.halves == 0) finish(slot);
}

void Session::finish(Slot& slot) {
  Command& command = *slot.command;
  slot.command = nullptr;
  free_.add(slot);
  pump();  // commands that wait for the slot precede new ones of the caller
  command.done(command);
}

void Session::text_answer(std::span<const std::byte> message) {
  const auto response = iscsi::TextResponse::decode(bhs_of(message));
  exp_stat_sn_ = response.window.stat_sn + 1;
  note_window(response.window);
  if (text_answer_ == nullptr) return fail(absl::InternalError("a text response to no request"));
  text_.append(data_of(message));
  if (text_.size() > kMaxText) return fail(absl::InternalError("a text response without end"));
  if (response.final) {
    std::exchange(text_answer_, nullptr)(std::move(text_));
    return;
  }
  send_control(iscsi::TextRequest{.immediate = true,
                                  .task_tag = kTextTag,
                                  .transfer_tag = response.transfer_tag,
                                  .cmd_sn = cmd_sn_,
                                  .exp_stat_sn = exp_stat_sn_});
}

void Session::nop_in(std::span<const std::byte> message) {
  const auto ping = iscsi::NopIn::decode(bhs_of(message));
  note_window(ping.window);
  if (ping.task_tag == kPingTag && ping_answer_ != nullptr) {
    exp_stat_sn_ = ping.window.stat_sn + 1;
    std::exchange(ping_answer_, nullptr)(std::string(data_of(message)));
    return pump();
  }
  if (ping.transfer_tag == iscsi::kReservedTag) return;
  send_control(iscsi::NopOut{.immediate = true,
                             .lun = ping.lun,
                             .transfer_tag = ping.transfer_tag,
                             .cmd_sn = cmd_sn_,
                             .exp_stat_sn = exp_stat_sn_});
}

}  // namespace mrpool::iser
