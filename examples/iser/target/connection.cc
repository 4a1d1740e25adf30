#include "examples/iser/target/connection.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/protocol/iscsi/discovery.h"
#include "examples/protocol/scsi/target_device.h"

namespace mrpool::iser_target {
namespace {

constexpr Nanoseconds kLoginTimeout = std::chrono::seconds(15);
constexpr Nanoseconds kPingAfter = std::chrono::seconds(20);  // of silence
constexpr Nanoseconds kGiveUpAfter = std::chrono::seconds(40);
constexpr size_t kMaxText = 65536;

std::span<const std::byte, iscsi::kIserHeaderSize> iser_of(std::span<const std::byte> message) {
  return message.first<iscsi::kIserHeaderSize>();
}
std::span<const std::byte, iscsi::kBhsSize> bhs_of(std::span<const std::byte> message) {
  return message.subspan<iscsi::kIserHeaderSize, iscsi::kBhsSize>();
}

// The data segment; nothing if the message is shorter than its header specifies.
std::optional<std::span<const std::byte>> data_of(std::span<const std::byte> message) {
  const iscsi::CommonHeader header = iscsi::decode_common(bhs_of(message));
  const size_t offset = kHeaders + header.ahs_bytes();
  if (message.size() < offset || message.size() - offset < header.data_length) return std::nullopt;
  return message.subspan(offset, header.data_length);
}

std::string_view text_of(std::span<const std::byte> data) {
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}
std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace

Connection::Connection(Site& site, SiteWorker& worker, Link& link, const iscsi::Limits& limits)
    : site_(site),
      worker_(worker),
      link_(link),
      limits_(limits),
      login_(*this, limits, site.environment().random),
      started_(link.now()),
      heard_(started_) {}

Connection::~Connection() {
  *alive_ = false;
  closed();
  if (target_ != nullptr && !idle()) std::erase(target_->sessions(worker_.index()).ending, this);
}

// --- Numbering ---

iscsi::Window Connection::window(bool advance) {
  const iscsi::Window now{.stat_sn = stat_sn_,
                          .exp_cmd_sn = exp_cmd_sn_,
                          .max_cmd_sn = exp_cmd_sn_ + (kQueueDepth - outstanding_) - 1};
  if (advance) ++stat_sn_;
  return now;
}

Connection::Order Connection::order(uint32_t cmd_sn, bool immediate) {
  if (immediate) return Order::kTake;
  const uint32_t last = exp_cmd_sn_ + (kQueueDepth - outstanding_) - 1;
  if (iscsi::sn_less(cmd_sn, exp_cmd_sn_) || iscsi::sn_less(last, cmd_sn)) return Order::kIgnore;
  // One connection delivers in order, so a gap is a protocol error.
  if (cmd_sn != exp_cmd_sn_) return Order::kBroken;
  ++exp_cmd_sn_;
  while (!given_up_.empty() && std::erase(given_up_, exp_cmd_sn_) != 0) ++exp_cmd_sn_;
  return Order::kTake;
}

template <typename Pdu>
void Connection::send_control(Pdu& pdu, std::span<const std::byte> data, bool advance) {
  // Padded to four bytes, like every data segment of iSCSI (RFC 7143 §11.2.3).
  const size_t padded = (data.size() + 3) / 4 * 4;
  std::vector<std::byte> message(kHeaders + padded);
  const std::span<std::byte> out(message);
  iscsi::IserControl{}.encode(out.first<iscsi::kIserHeaderSize>());
  pdu.window = window(advance);
  pdu.encode(out.subspan<iscsi::kIserHeaderSize, iscsi::kBhsSize>());
  std::ranges::copy(data, message.begin() + kHeaders);
  if (!link_.send(message)) drop("more outstanding PDUs than negotiated");
}

// --- Login ---

Connection::Found Connection::find_target(std::string_view target, std::string_view initiator) {
  if (target.empty()) return site_.discovery_for(initiator);
  const std::shared_ptr<Target> found = site_.find(target);
  if (found == nullptr) return {.status = iscsi::LoginStatus::kTargetNotFound};
  const auto account = found->account(initiator);
  if (!account) return {.status = iscsi::LoginStatus::kAuthorizationFailure};
  return {.authentication = *account,
          .alias = found->config()->alias,
          .portal_group_tag = found->portal_group_tag()};
}

bool Connection::may_prove() { return site_.guesses().allows(link_.peer(), link_.now()); }

void Connection::proof_failed() { site_.guesses().wrong(link_.peer(), link_.now()); }

Connection::Admitted Connection::admit(const iscsi::Identity& identity) {
  if (identity.tsih != 0) {
    // At error recovery level 0 a session has one connection, which is never replaced.
    return {.status = site_.has_tsih(identity.tsih) ? iscsi::LoginStatus::kTooManyConnections
                                                    : iscsi::LoginStatus::kSessionDoesNotExist};
  }
  std::shared_ptr<Target> target;
  if (!identity.target.empty()) {
    // It may have been removed, or its access list or secrets changed, while the initiator logged
    // in.
    target = site_.find(identity.target);
    if (target == nullptr) return {.status = iscsi::LoginStatus::kTargetRemoved};
    const auto account = target->account(identity.initiator);
    if (!account) return {.status = iscsi::LoginStatus::kAuthorizationFailure};
    if (account->incoming && account->incoming != login_.proven()) {
      return {.status = iscsi::LoginStatus::kAuthenticationFailure};
    }
  }
  if (!link_.admit(target == nullptr ? std::string_view() : identity.initiator)) {
    return {.status = iscsi::LoginStatus::kOutOfResources};
  }
  tsih_ = site_.take_tsih();
  if (tsih_ == 0) return {.status = iscsi::LoginStatus::kOutOfResources};
  if (target != nullptr) {
    target_ = std::move(target);
    port_ = port_name(identity.initiator, identity.isid);
    admission_ = target_->next_admission();
    link_.entered(identity.initiator, target_->name(), tsih_, identity.cid);
    target_->sessions(worker_.index()).open.push_back(this);
    replace_older_sessions();
  }
  return {.tsih = tsih_};
}

// Session reinstatement: the same initiator port at the same target. The older session's tasks end
// before the login is answered (RFC 7143 §6.3.5). Otherwise an old write could overwrite data that
// the initiator writes later.
void Connection::replace_older_sessions() {
  replacing_ = true;
  const auto drain = std::make_shared<Drain>(worker_, [this, alive = alive_] {
    if (!*alive) return;
    replacing_ = false;
    if (!held_login_ || phase_ != Phase::kLogin) return;
    iscsi::Login::Answer answer = *std::exchange(held_login_, std::nullopt);
    answer_login(answer);
  });
  // Without authentication any peer can use this name, so the log has the peer's address.
  const std::string why = absl::StrCat("its initiator logged in again, from ", link_.peer());
  const auto replace = [target = target_, drain, why, port = port_,
                        admission = admission_](SiteWorker& worker) {
    Target::Sessions& sessions = target->sessions(worker.index());
    const auto older = [&](const Connection& other) {
      return other.admission_ < admission && other.port_ == port;
    };
    const std::vector<Connection*> open = sessions.open;
    for (Connection* other : open) {
      if (!older(*other)) continue;
      other->abort_tasks({}, drain);
      other->drop(why);
    }
    const std::vector<Connection*> ending = sessions.ending;
    for (Connection* other : ending) {
      if (older(*other)) other->abort_tasks({}, drain);
    }
  };
  site_.on_workers(replace, &worker_);
}

bool Connection::login(std::span<const std::byte> message) {
  if (held_login_) {
    drop("a PDU before the login was answered");
    return false;
  }
  const iscsi::CommonHeader header = iscsi::decode_common(bhs_of(message));
  const auto data = data_of(message);
  if (!data) {
    drop("a login request shorter than its length field");
    return false;
  }
  iscsi::Login::Answer answer =
      header.op == iscsi::Op::kLoginRequest
          ? login_.on_request(iscsi::LoginRequest::decode(bhs_of(message)), text_of(*data))
          : login_.on_other_pdu(header.task_tag);
  if (answer.finished && replacing_) {
    held_login_ = std::move(answer);
    return false;
  }
  answer_login(answer);
  return false;
}

void Connection::answer_login(iscsi::Login::Answer& answer) {
  if (answer.finished) enter_full_feature();
  if (answer.failed) {
    ++worker_.counters.refused_logins;
    site_.log({.event = base::Event::kLoginRefused,
               .peer = link_.peer(),
               .host = login_.identity().initiator,
               .target = login_.identity().target,
               .message = absl::StrCat(link_.peer(), ": login refused: ", login_.reason())});
  }
  // The login numbers its own responses; the session provides the window.
  const uint32_t stat_sn = answer.response.window.stat_sn;
  exp_cmd_sn_ = login_.cmd_sn();
  stat_sn_ = stat_sn;
  send_control(answer.response, bytes_of(answer.text));
  if (answer.failed) {
    phase_ = Phase::kLogout;
    link_.disconnect();
  }
}

void Connection::enter_full_feature() {
  ++worker_.counters.logins;
  phase_ = Phase::kFullFeature;
  parameters_ = login_.parameters();
  if (target_ == nullptr) return;
  look_at_units();
  site_.log({.event = base::Event::kHostConnected,
             .peer = link_.peer(),
             .host = login_.identity().initiator,
             .target = login_.identity().target,
             .message = absl::StrCat(link_.peer(), ": ", login_.identity().initiator,
                                     " logged in to ", login_.identity().target)});
}

// --- Units ---

void Connection::look_at_units() {
  if (table_ != nullptr && table_->version == target_->version()) [[likely]]
    return;
  const bool first = table_ == nullptr;
  // An initiator port that connects for the first time has no outdated knowledge.
  const bool knows_something = !first || target_->lost(port_).has_value();
  SeenUnits former = first ? target_->lost(port_).value_or(SeenUnits()) : SeenUnits();
  table_ = target_->units();
  for (auto at = units_.begin(); at != units_.end();) {
    const auto served = table_->units.find(at->first);
    if (served != table_->units.end() && served->second == at->second->unit) {
      if (!first) at->second->nexus.raise(scsi::kLunsChanged);
      ++at;
      continue;
    }
    former[at->first] = at->second->seen();
    if (at->second->users != 0) leaving_.push_back(std::move(at->second));
    at = units_.erase(at);
  }
  for (const auto& [lun, unit] : table_->units) {
    if (units_.contains(lun)) continue;
    auto handle = std::make_unique<UnitHandle>(unit, port_);
    if (knows_something) tell_changes(former[lun], *handle);
    units_.emplace(lun, std::move(handle));
  }
}

// `now` has the LUN at which the initiator may still expect `former`.
void Connection::tell_changes(const SeenUnit& former, UnitHandle& now) {
  if (former.uuid != now.facts().uuid || former.identity != now.unit->volume->identity()) {
    now.nexus.raise_until_seen(scsi::kInquiryDataChanged);
  }
  if (!former.identity) return;
  if (former.block_size != now.facts().block_size) {
    now.nexus.raise_until_seen(scsi::kCapacityChanged);
  } else if (former.blocks != now.logical().blocks()) {
    now.nexus.raise(scsi::kCapacityChanged);
  }
}

// Saves the port's knowledge, because it may reconnect and repeat its active commands.
void Connection::remember(bool for_good) {
  SeenUnits seen;
  for (const auto& [lun, handle] : units_) seen.emplace(lun, handle->seen());
  for_good ? target_->forget(port_) : target_->lose(port_, std::move(seen));
}

void Connection::let_go_of_units() {
  std::erase_if(leaving_, [](const auto& handle) { return handle->users == 0; });
}

UnitHandle* Connection::find_unit(uint64_t lun) {
  look_at_units();
  const auto number = scsi::decode_lun(lun);
  if (!number) return nullptr;
  const auto found = units_.find(*number);
  return found == units_.end() ? nullptr : found->second.get();
}

// --- Receiving ---

bool Connection::received(std::span<std::byte> message, void* receive) {
  if (phase_ == Phase::kClosed || phase_ == Phase::kLogout) return false;
  heard_ = link_.now();
  if (message.size() < iscsi::kIserHeaderSize) {
    drop("a message shorter than an iSER header");
    return false;
  }
  switch (iscsi::iser_op(iser_of(message))) {
    case iscsi::IserOp::kControl:
      break;
    case iscsi::IserOp::kHello:
      hello(message);
      return false;
    default:
      drop("an iSER message of an unknown type");
      return false;
  }
  if (message.size() < kHeaders) {
    drop("a PDU shorter than its header");
    return false;
  }
  return phase_ == Phase::kLogin ? login(message) : control(message, receive);
}

bool Connection::control(std::span<std::byte> message, void* receive) {
  const iscsi::CommonHeader header = iscsi::decode_common(bhs_of(message));
  const auto data = data_of(message);
  if (!data) {
    violation(iscsi::RejectReason::kInvalidField, message, "a PDU shorter than its length field");
    return false;
  }
  const auto take = [&](uint32_t cmd_sn) {
    switch (order(cmd_sn, header.immediate)) {
      case Order::kTake:
        return true;
      case Order::kIgnore:
        return false;
      case Order::kBroken:
        drop("a gap in CmdSN");
        return false;
    }
    return false;
  };
  switch (header.op) {
    case iscsi::Op::kScsiCommand:
      if (target_ == nullptr) {
        // A discovery session supports text and logout only; the command uses its CmdSN anyway.
        if (take(iscsi::ScsiCommand::decode(bhs_of(message)).cmd_sn)) {
          reject(iscsi::RejectReason::kProtocolError, message);
        }
        return false;
      }
      return command(message, receive);
    case iscsi::Op::kDataOut:
      return data_out(message, receive);
    case iscsi::Op::kNopOut: {
      const auto pdu = iscsi::NopOut::decode(bhs_of(message));
      if (take(pdu.cmd_sn)) nop_out(pdu, *data);
      return false;
    }
    case iscsi::Op::kTextRequest: {
      const auto pdu = iscsi::TextRequest::decode(bhs_of(message));
      if (take(pdu.cmd_sn)) text(pdu, *data);
      return false;
    }
    case iscsi::Op::kTaskRequest: {
      const auto pdu = iscsi::TaskRequest::decode(bhs_of(message));
      if (!take(pdu.cmd_sn)) return false;
      if (target_ == nullptr) {
        reject(iscsi::RejectReason::kProtocolError, message);
      } else {
        manage(pdu);
      }
      return false;
    }
    case iscsi::Op::kLogoutRequest: {
      const auto pdu = iscsi::LogoutRequest::decode(bhs_of(message));
      if (take(pdu.cmd_sn)) logout(pdu);
      return false;
    }
    case iscsi::Op::kLoginRequest:
      violation(iscsi::RejectReason::kProtocolError, message, "a login request after login");
      return false;
    case iscsi::Op::kSnack:
      reject(iscsi::RejectReason::kSnack, message);  // nothing is retransmitted at level 0
      return false;
    default:
      reject(iscsi::RejectReason::kNotSupported, message);
      return false;
  }
}

void Connection::hello(std::span<const std::byte> message) {
  const iscsi::IserHelloReply reply =
      iscsi::answer_hello(iscsi::IserHello::decode(iser_of(message)), link_.read_depth());
  std::array<std::byte, iscsi::kIserHeaderSize> bytes;
  reply.encode(bytes);
  if (!link_.send(bytes)) return drop("more outstanding PDUs than negotiated");
  if (reply.reject) link_.disconnect();
}

void Connection::nop_out(const iscsi::NopOut& pdu, std::span<const std::byte> data) {
  if (pdu.task_tag == iscsi::kReservedTag) {
    pinged_ = false;  // the answer to the target's ping, or a NOP without answer
    return;
  }
  const auto echoed = data.first(std::min<size_t>(data.size(), parameters_.initiator_recv));
  iscsi::NopIn answer{
      .data_length = uint32_t(echoed.size()), .lun = pdu.lun, .task_tag = pdu.task_tag};
  send_control(answer, echoed);
}

void Connection::ping() {
  pinged_ = true;
  iscsi::NopIn request{.transfer_tag = 1};
  send_control(request, {}, /*advance=*/false);
}

void Connection::text(const iscsi::TextRequest& pdu, std::span<const std::byte> data) {
  if (pdu.transfer_tag == iscsi::kReservedTag) {
    text_.clear();  // a new request discards the rest of an older answer
    asked_.clear();
  } else if (pdu.transfer_tag != text_tag_) {
    return drop("a text request that continues no other");
  }
  text_tag_ = iscsi::kReservedTag;
  if (!text_.empty()) return text_part(pdu);
  asked_.append(text_of(data));
  if (asked_.size() > kMaxText) return drop("a text request without end");
  if (pdu.more) {
    iscsi::TextResponse go_on{
        .final = false, .lun = pdu.lun, .task_tag = pdu.task_tag, .transfer_tag = new_text_tag()};
    return send_control(go_on);
  }
  const std::string request = std::move(asked_);
  asked_.clear();
  const iscsi::Identity& who = login_.identity();
  const auto answer = iscsi::answer_text(
      request, site_.visible(who.initiator, login_.proven(), link_.local()), who.target);
  if (!answer) return drop("malformed text");
  text_ = *answer;
  text_part(pdu);
}

void Connection::text_part(const iscsi::TextRequest& pdu) {
  const size_t limit = std::min<size_t>(
      parameters_.rdma_extensions ? parameters_.initiator_recv : parameters_.max_recv, kRecvData);
  const std::string part = text_.substr(0, limit);
  text_.erase(0, part.size());
  const bool last = text_.empty();
  iscsi::TextResponse answer{.final = last,
                             .more = !last,
                             .data_length = uint32_t(part.size()),
                             .lun = pdu.lun,
                             .task_tag = pdu.task_tag,
                             .transfer_tag = last ? iscsi::kReservedTag : new_text_tag()};
  send_control(answer, bytes_of(part));
}

uint32_t Connection::new_text_tag() {
  if (++last_text_tag_ == iscsi::kReservedTag) ++last_text_tag_;
  return text_tag_ = last_text_tag_;
}

void Connection::logout(const iscsi::LogoutRequest& pdu) {
  if (pdu.reason == iscsi::LogoutRequest::kRemoveForRecovery) {
    iscsi::LogoutResponse refused{.response = iscsi::LogoutResponse::kRecoveryNotSupported,
                                  .task_tag = pdu.task_tag};
    return send_control(refused);
  }
  if (pdu.reason == iscsi::LogoutRequest::kCloseConnection && pdu.cid != login_.identity().cid) {
    iscsi::LogoutResponse refused{.response = iscsi::LogoutResponse::kCidNotFound,
                                  .task_tag = pdu.task_tag};
    return send_control(refused);
  }
  // Tasks end first, because the initiator reuses its buffers after the answer.
  phase_ = Phase::kLogout;
  const auto drain = std::make_shared<Drain>(worker_, [this, alive = alive_, tag = pdu.task_tag] {
    if (!*alive || phase_ == Phase::kClosed) return;
    iscsi::LogoutResponse answer{.task_tag = tag};
    send_control(answer);
    link_.disconnect();
  });
  abort_tasks({}, drain);
}

void Connection::answer_management(uint32_t task_tag, uint8_t response) {
  iscsi::TaskResponse answer{.response = response, .task_tag = task_tag};
  send_control(answer);
}

void Connection::reject(iscsi::RejectReason reason, std::span<const std::byte> message) {
  ++worker_.counters.rejects;
  iscsi::Reject pdu{.reason = reason};
  send_control(pdu, bhs_of(message));
}

void Connection::violation(iscsi::RejectReason reason, std::span<const std::byte> message,
                           std::string_view why) {
  reject(reason, message);
  if (phase_ == Phase::kClosed) return;
  ++worker_.counters.protocol_errors;
  site_.log({.event = base::Event::kProtocolError,
             .peer = link_.peer(),
             .host = login_.identity().initiator,
             .target = login_.identity().target,
             .message = absl::StrCat(link_.peer(), ": ", std::string(why))});
  phase_ = Phase::kLogout;
  link_.disconnect();
}

void Connection::drop(std::string_view why) {
  if (phase_ == Phase::kClosed) return;
  ++worker_.counters.protocol_errors;
  phase_ = Phase::kLogout;
  link_.drop(why);
}

void Connection::tick() {
  const Nanoseconds now = link_.now();
  if (phase_ == Phase::kLogin) {
    if (now - started_ > kLoginTimeout) drop("the login took too long");
    return;
  }
  if (phase_ == Phase::kClosed) return;
  give_up_late_tasks();
  if (phase_ != Phase::kFullFeature) return;  // the initiator or the target has begun a logout
  if (target_ != nullptr) look_at_units();
  if (now - heard_ > kGiveUpAfter) return drop("the initiator does not respond");
  if (now - heard_ > kPingAfter && !pinged_) ping();
}

void Connection::linger() { give_up_late_tasks(); }

void Connection::closed() {
  if (phase_ == Phase::kClosed) return;
  if (table_ != nullptr) remember(/*for_good=*/phase_ == Phase::kLogout);
  phase_ = Phase::kClosed;
  abort_tasks({}, nullptr);
  if (tsih_ != 0) site_.give_tsih(tsih_);
  if (target_ == nullptr) return;
  Target::Sessions& sessions = target_->sessions(worker_.index());
  std::erase(sessions.open, this);
  if (!idle()) sessions.ending.push_back(this);
}

}  // namespace mrpool::iser_target
