// Session: set-up, sending and the end.
#include "examples/iser/initiator/session.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "examples/base/units.h"
#include "examples/iser/initiator/session_parts.h"

namespace mrpool::iser {
namespace {

std::string explain(const Address& address, const Disconnect& why) {
  std::string text(why.detail.empty() ? to_string(why.reason) : why.detail);
  const std::string where = address.to_string();
  return text.find(where) != text.npos ? text : absl::StrCat(where, ": ", text);
}

std::string name_of(const scsi::Cdb& cdb) {
  const scsi::Operation* const known = scsi::find_operation(cdb);
  return known != nullptr ? std::string(known->name)
                          : absl::StrCat("command 0x", absl::Hex(cdb[0], absl::kZeroPad2));
}

Sge part(const Sge& whole, uint32_t offset, uint32_t length) {
  return {whole.addr + offset, length, whole.lkey};
}

// The access that a target needs to a command's data, and no more.
Access right_for(DataDirection direction) {
  return direction == DataDirection::kIn ? Access::kLocalWrite | Access::kRemoteWrite
                                         : Access::kRemoteRead;
}

// The unsolicited part of a write's data: with the command, and in Data-Outs after it.
struct Unsolicited {
  uint32_t immediate = 0;
  uint32_t total = 0;
};

Unsolicited unsolicited_part(const iscsi::Parameters& agreed, uint32_t length, bool first_burst) {
  const uint32_t burst = std::min(length, agreed.first_burst);
  Unsolicited unasked;
  if (agreed.immediate_data) unasked.immediate = std::min(burst, agreed.target_recv);
  unasked.total = unasked.immediate;
  // Data-Outs must fill the whole burst, so it must fit into kMaxDataOuts.
  if (!agreed.initial_r2t && burst - unasked.immediate <= kMaxDataOuts * agreed.target_recv) {
    unasked.total = burst;
  }
  if (!first_burst && unasked.total != length) return {};
  return unasked;
}

}  // namespace

std::string describe(const Command& command) {
  if (command.lost) return "the connection was lost";
  if (command.good()) return "good";
  if (command.status == scsi::Status::kReservationConflict) return "reservation conflict";
  if (!command.sense) return absl::StrCat("SCSI status ", int(command.status));
  return absl::StrCat("check condition: ", scsi::to_string(*command.sense));
}

void Session::Free::operator()(std::byte* memory) const { std::free(memory); }

Session::Session(Reactor& reactor, Device& device, Pd& pd, MrPool& pool, SessionOptions options)
    : reactor_(reactor),
      device_(device),
      pd_(pd),
      pool_(pool),
      options_(std::move(options)),
      login_(options_.login) {}

Session::~Session() {
  state_ = State::kClosed;
  qp_.reset();  // flushes
  if (lender_ != nullptr) lender_->stop();
  drop_place();
  if (telling_) reactor_.cancel(teller_);
}

// --- Set-up ---

void Session::start(std::function<void(absl::Status)> ready) {
  ready_ = std::move(ready);
  state_ = State::kConnecting;
  timeout_.arm(reactor_, options_.timeout);
  if (absl::Status status = open(); !status.ok()) {
    state_ = State::kClosed;
    error_ = status;
    timeout_.cancel();
    tell_later();
  }
}

absl::Status Session::open() {
  const uint32_t receives = options_.depth + kMisc;
  constexpr size_t kSlotHeaders = (1 + kMaxDataOuts) * kHeaders;
  const size_t send_area = options_.depth * kSlotHeaders;
  const size_t size = receives * size_t{kMessage} + send_area + kMisc * size_t{kMessage};
  memory_.reset(static_cast<std::byte*>(std::aligned_alloc(4096, (size + 4095) / 4096 * 4096)));
  if (memory_ == nullptr) return absl::ResourceExhaustedError("no memory for a session");
  auto mr = pd_.reg_mr({memory_.get(), size}, Access::kLocalWrite);
  if (!mr.ok()) return mr.status();
  mr_ = *std::move(mr);
  size_t at = 0;
  for (uint32_t i = 0; i < receives; ++i, at += kMessage) {
    receives_.push_back(std::make_unique<Receive>(*this));
    receives_.back()->offset = at;
  }
  for (uint32_t i = 0; i < options_.depth; ++i, at += kSlotHeaders) {
    slots_.push_back(std::make_unique<Slot>(*this));
    slots_.back()->index = i;
    slots_.back()->offset = at;
    free_.add(*slots_.back());
  }
  for (uint32_t i = 0; i < kMisc; ++i, at += kMessage) {
    controls_.push_back(std::make_unique<Control>(*this));
    controls_.back()->offset = at;
    free_controls_.push_back(controls_.back().get());
  }
  // For each command: its key, the command and its Data-Outs. For other PDUs: one SEND each.
  const uint32_t sends = (Lender::kSendRequests + 1 + kMaxDataOuts) * options_.depth + kMisc;
  auto cq = device_.create_cq(reactor_, {.depth = sends + receives});
  if (!cq.ok()) return cq.status();
  cq_ = *std::move(cq);
  const QpOptions qp_options{.send_cq = cq_.get(),
                             .recv_cq = cq_.get(),
                             .max_send_wr = sends,
                             .max_recv_wr = receives,
                             .max_send_sge = 2,
                             .max_recv_sge = 1};
  std::array<std::byte, iscsi::ConnectPrivateData::kSize> ours;
  iscsi::ConnectPrivateData{.zero_based_not_used = true,
                            .send_with_inv_not_used = !options_.remote_invalidation}
      .encode(ours);
  auto qp = device_.connect(options_.address, pd_, qp_options,
                            {.private_data = ours, .timeout = options_.timeout}, *this);
  if (!qp.ok()) return qp.status();
  qp_ = *std::move(qp);
  auto lender = Lender::create(*qp_, pool_);
  if (!lender.ok()) return lender.status();
  lender_ = *std::move(lender);
  for (const auto& receive : receives_) post(*receive);
  return absl::OkStatus();
}

void Session::on_connected(Qp&, const ConnectionInfo& info) {
  const auto theirs = iscsi::ConnectPrivateData::decode(info.private_data);
  remote_invalidation_ = options_.remote_invalidation && theirs && !theirs->send_with_inv_not_used;
  state_ = State::kLogin;
  send_login(login_.first());
}

void Session::on_rejected(Qp&, std::span<const std::byte>) {
  error_ = absl::UnavailableError(absl::StrCat(options_.address.to_string(),
                                               ": the target refused the connection, for example "
                                               "because its limit of connections is reached"));
}

void Session::on_disconnected(Qp&, const Disconnect& why) {
  state_ = State::kClosed;
  timeout_.cancel();
  ticker_.cancel();
  ended_by_ = why.reason;
  if (lender_ != nullptr) lender_->stop();
  drop_place();
  if (error_.ok()) error_ = absl::UnavailableError(explain(options_.address, why));
  for (const auto& slot : slots_) {
    if (slot->command == nullptr) continue;
    (void)lender_->end(slot->loan);
    lost_.push_back(std::exchange(slot->command, nullptr));
  }
  lost_.insert(lost_.end(), waiting_.begin(), waiting_.end());
  waiting_.clear();
  tell_later();
}

void Session::tell_later() {
  if (!std::exchange(telling_, true)) reactor_.post(teller_);
}

void Session::tell_one() {
  telling_ = false;
  if (!lost_.empty()) {
    Command& command = *lost_.front();
    lost_.pop_front();
    command.lost = true;
    tell_later();
    return command.done(command);
  }
  for (auto* const answer : {&text_answer_, &ping_answer_}) {
    if (*answer == nullptr) continue;
    tell_later();
    return std::exchange(*answer, nullptr)(error_);
  }
  for (Management*& place : managements_) {
    if (place == nullptr) continue;
    Management& management = *std::exchange(place, nullptr);
    management.lost = true;
    tell_later();
    return management.done(management);
  }
  told_ = true;
  if (gone_ != nullptr && ready_ != nullptr) tell_later();
  if (ready_ != nullptr) return std::exchange(ready_, nullptr)(error_);
  if (gone_ != nullptr) return std::exchange(gone_, nullptr)();
}

void Session::timed_out() {
  const bool login = state_ == State::kConnecting || state_ == State::kLogin;
  fail(absl::DeadlineExceededError(absl::StrCat(options_.address.to_string(), ": the ",
                                                login ? "login" : "logout", " did not end within ",
                                                base::format_duration(options_.timeout))));
}

// Ends the session if an answer is overdue.
void Session::tick() {
  const auto late = [this](Nanoseconds since) {
    return reactor_.now() - since > options_.command_timeout;
  };
  std::string what;
  for (const auto& slot : slots_) {
    if (slot->command == nullptr || !late(slot->command->since_)) continue;
    what = name_of(slot->command->cdb);
  }
  // Waiting commands are not overdue while others are answered.
  if (!waiting_.empty() && late(std::max(waiting_.front()->since_, last_answer_))) {
    what = "any command; the target does not open its window";
  }
  for (const Management* management : managements_) {
    if (management != nullptr && late(management->since_)) what = "a task management function";
  }
  if (text_answer_ != nullptr && late(text_since_)) what = "a text request";
  if (ping_answer_ != nullptr && late(ping_since_)) what = "a ping";
  if (what.empty()) {
    ticker_.arm(reactor_, std::min(options_.command_timeout / 4, kLongestTick));
    return;
  }
  fail(absl::DeadlineExceededError(absl::StrCat(options_.address.to_string(), ": no answer within ",
                                                base::format_duration(options_.command_timeout),
                                                " to ", what)));
}

void Session::told_ready(absl::Status status) {
  timeout_.cancel();
  if (ready_ != nullptr) std::exchange(ready_, nullptr)(std::move(status));
}

void Session::fail(absl::Status status) {
  if (error_.ok()) error_ = std::move(status);
  if (qp_ != nullptr && state_ != State::kClosed) {
    qp_->abort();  // on_disconnected notifies all
  } else {
    tell_later();
  }
}

// --- Sending ---

void Session::post(Receive& receive) {
  const Sge sge = mr_->sge(receive.offset, kMessage);
  (void)qp_->post_recv({.completion = &receive, .sges = {&sge, 1}});  // refused: it has ended
}

template <typename Pdu>
void Session::send_control(const Pdu& pdu, std::string_view text) {
  if (free_controls_.empty() || text.size() > kMessage - kHeaders) {
    return fail(absl::InternalError("a PDU that does not fit"));
  }
  Control& control = *free_controls_.back();
  const std::span<std::byte> out = mr_->memory().subspan(control.offset, kMessage);
  iscsi::IserControl{}.encode(out.template first<iscsi::kIserHeaderSize>());
  pdu.encode(out.template subspan<iscsi::kIserHeaderSize, iscsi::kBhsSize>());
  std::ranges::copy(std::as_bytes(std::span(text)), out.begin() + kHeaders);
  const Sge sge = mr_->sge(control.offset, uint32_t(kHeaders + text.size()));
  const WorkRequest request{.completion = &control, .sges = {&sge, 1}};
  if (qp_->post_send(request).ok()) free_controls_.pop_back();
}

void Session::send_login(const iscsi::InitiatorLogin::Request& request) {
  send_control(request.header, request.text);
}

void Session::submit(Command& command) {
  command.since_ = reactor_.now();
  if (state_ == State::kClosed) {
    lost_.push_back(&command);
    return tell_later();
  }
  waiting_.push_back(&command);
  pump();
}

void Session::pump() {
  while (state_ == State::kReady && !waiting_.empty() && free_.available() &&
         iscsi::sn_less_equal(cmd_sn_, max_cmd_sn_)) {
    if (!begin(*waiting_.front())) return;
    waiting_.pop_front();
  }
}

// A loan got its MR after a wait, or its key was invalidated.
void Session::key_done(Slot& slot, LoanStatus status) {
  switch (status) {
    case LoanStatus::kReady:
      pump();
      if (free_.keeps_place(slot)) drop_place();  // not needed now: others may use the MR
      break;
    case LoanStatus::kReturned:
    case LoanStatus::kLost:
      half_done(slot);
      break;
    default:
      drop_place();
      key_refused(status);
      break;
  }
}

void Session::key_refused(LoanStatus status) {
  fail(absl::InvalidArgumentError(
      absl::StrCat("a key for the data of a command: ", std::string(to_string(status)))));
}

void Session::drop_place() {
  if (lender_ != nullptr) free_.drop(*lender_);
}

bool Session::begin(Command& command) {
  const uint32_t length = command.direction == DataDirection::kNone ? 0 : command.data.length;
  const Unsolicited unasked =
      command.direction == DataDirection::kOut
          ? unsolicited_part(parameters(), length, options_.send_first_burst)
          : Unsolicited{};
  const bool keyed = length > unasked.total;
  // The key starts at the first byte that the target transfers (iser_header.h).
  const Sge solicited = keyed ? part(command.data, unasked.total, length - unasked.total) : Sge{};
  Slot* taken = nullptr;
  const LoanStatus begun = free_.take(*lender_, solicited, right_for(command.direction), taken);
  if (begun == LoanStatus::kPending) return false;  // continues when an MR is returned
  if (begun != LoanStatus::kReady) {
    key_refused(begun);
    return false;
  }
  Slot& slot = *taken;
  slot.command = &command;
  slot.answered = false;
  slot.halves = 2;  // the SEND and the answer
  command.lost = false;
  command.sense.reset();
  command.since_ = reactor_.now();

  if (keyed) ++counters_.keys;
  if (unasked.immediate != 0) ++counters_.immediate;
  encode(slot, length, unasked.immediate, unasked.total == unasked.immediate);
  send(slot, unasked.immediate, unasked.total);
  return true;
}

// Encodes the headers of the slot's command and assigns its number.
void Session::encode(Slot& slot, uint32_t length, uint32_t immediate, bool final) {
  const Command& command = *slot.command;
  const bool in = command.direction == DataDirection::kIn;
  iscsi::IserControl iser;
  if (slot.loan.state() == Loan::State::kReady) {
    const RemoteBuffer lent = slot.loan.remote();
    (in ? iser.read_valid : iser.write_valid) = true;
    (in ? iser.read_stag : iser.write_stag) = lent.rkey.value;
    (in ? iser.read_va : iser.write_va) = lent.addr.value;
  }
  slot.cmd_sn = cmd_sn_;
  const iscsi::ScsiCommand pdu{.final = final,
                               .read = in,
                               .write = command.direction == DataDirection::kOut,
                               .data_length = immediate,
                               .lun = command.lun,
                               .task_tag = slot.index,
                               .expected_length = length,
                               .cmd_sn = cmd_sn_++,
                               .exp_stat_sn = exp_stat_sn_,
                               .cdb = command.cdb};
  const std::span<std::byte> out = mr_->memory().subspan(slot.offset, kHeaders);
  iser.encode(out.first<iscsi::kIserHeaderSize>());
  pdu.encode(out.subspan<iscsi::kIserHeaderSize, iscsi::kBhsSize>());
}

// Posts the registration of the key, the command, and its Data-Outs; the completion of the last one
// stands for all.
void Session::send(Slot& slot, uint32_t immediate, uint32_t unasked) {
  const Command& command = *slot.command;
  std::array<std::array<Sge, 2>, 1 + kMaxDataOuts> sges;
  std::array<WorkRequest, 1 + kMaxDataOuts> sends;
  sges[0] = {mr_->sge(slot.offset, kHeaders), part(command.data, 0, immediate)};
  sends[0].sges = {sges[0].data(), immediate != 0 ? 2u : 1u};
  WorkRequest* last = &sends[0];
  uint32_t sent = immediate;
  for (uint32_t i = 0; sent < unasked; ++i) {
    const uint32_t size = std::min(unasked - sent, parameters().target_recv);
    const size_t offset = slot.offset + (1 + i) * kHeaders;
    const std::span<std::byte> headers = mr_->memory().subspan(offset, kHeaders);
    iscsi::IserControl{}.encode(headers.first<iscsi::kIserHeaderSize>());
    iscsi::DataOut{.final = sent + size == unasked,
                   .data_length = size,
                   .lun = command.lun,
                   .task_tag = slot.index,
                   .exp_stat_sn = exp_stat_sn_,
                   .data_sn = i,
                   .buffer_offset = sent}
        .encode(headers.subspan<iscsi::kIserHeaderSize, iscsi::kBhsSize>());
    sges[1 + i] = {mr_->sge(offset, kHeaders), part(command.data, sent, size)};
    sends[1 + i].sges = sges[1 + i];
    last->signalled = false;
    last = last->next = &sends[1 + i];
    sent += size;
    ++counters_.data_outs;
  }
  last->completion = &slot.sent;
  const bool keyed = slot.loan.state() == Loan::State::kReady;
  const PostResult posted = keyed ? lender_->post(slot.loan, sends[0]) : qp_->post_send(sends[0]);
  if (!posted.ok()) {
    // No completion will follow: on_disconnected releases the slot.
    --slot.halves;
    fail(absl::InternalError(
        absl::StrCat("a command could not be sent: ", std::string(to_string(posted.status)))));
  }
}

bool Session::manage(Management& management) {
  const auto place = std::ranges::find(managements_, nullptr);
  if (place == managements_.end()) return false;
  iscsi::TaskRequest request{.function = management.function,
                             .lun = management.lun,
                             .task_tag = kManagementTag + uint32_t(place - managements_.begin()),
                             .cmd_sn = cmd_sn_,
                             .exp_stat_sn = exp_stat_sn_};
  if (management.function == iscsi::TaskFunction::kAbortTask) {
    const auto slot = std::ranges::find_if(slots_, [&](const auto& each) {
      return each->command == management.command && !each->answered;
    });
    if (slot == slots_.end()) return false;
    request.lun = management.command->lun;
    request.referenced_tag = (*slot)->index;
    request.ref_cmd_sn = (*slot)->cmd_sn;
  }
  *place = &management;
  management.lost = false;
  management.cmd_sn_ = cmd_sn_;
  management.since_ = reactor_.now();
  send_control(request);
  return true;
}

void Session::ping(const std::string& data,
                   std::function<void(absl::StatusOr<std::string>)> answer) {
  ping_answer_ = std::move(answer);
  ping_since_ = reactor_.now();
  if (state_ == State::kClosed) return tell_later();
  send_control(iscsi::NopOut{.data_length = uint32_t(data.size()),
                             .task_tag = kPingTag,
                             .cmd_sn = cmd_sn_,
                             .exp_stat_sn = exp_stat_sn_},
               data);
}

void Session::text(const std::string& request,
                   std::function<void(absl::StatusOr<std::string>)> answer) {
  text_answer_ = std::move(answer);
  text_since_ = reactor_.now();
  text_.clear();
  if (state_ == State::kClosed) return tell_later();
  send_control(iscsi::TextRequest{.immediate = true,
                                  .data_length = uint32_t(request.size()),
                                  .task_tag = kTextTag,
                                  .cmd_sn = cmd_sn_,
                                  .exp_stat_sn = exp_stat_sn_},
               request);
}

void Session::close(std::function<void()> gone) {
  gone_ = std::move(gone);
  if (state_ == State::kClosed) return tell_later();
  if (state_ != State::kReady) return fail(absl::CancelledError("closed"));
  state_ = State::kClosing;
  timeout_.arm(reactor_, options_.timeout);
  send_control(iscsi::LogoutRequest{.immediate = true,
                                    .reason = iscsi::LogoutRequest::kCloseSession,
                                    .task_tag = kLogoutTag,
                                    .cmd_sn = cmd_sn_,
                                    .exp_stat_sn = exp_stat_sn_});
}
}  // namespace mrpool::iser
