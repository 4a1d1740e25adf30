// A queue's commands: receiving, dispatch, answers, and its end. queue_io.cc has the processing of
// I/O commands.
#include "examples/nvmf/target/queue.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/base/log.h"
#include "examples/engine/ending.h"

namespace mrpool::nvmf_target {

using nvme::Status;
using nvme::with_dnr;

namespace {

// In-capsule data must have the alignment of O_DIRECT buffers, so the SQE ends at such a boundary.
constexpr uint32_t kDataAlignment = 512;
constexpr uint32_t kSlab = 16;  // commands allocated at once

uint32_t round_up(uint32_t value, uint32_t to) { return (value + to - 1) / to * to; }

// The log text of a refused Connect: "HOST to SUBSYSTEM refused: WHY".
std::string explain(const nvme::ConnectData& data, Status status, uint64_t result) {
  std::string why = nvme::to_string(status, true);
  if (nvme::code(status) == Status::kConnectInvalidHost) {
    why = nvme::field_string(data.subsysnqn) == nvme::kDiscoveryNqn
              ? "the host has no key, and discovery_authentication is \"required\""
              : "the host is not in the list of those that may connect";
  } else if (nvme::code(status) == Status::kConnectInvalidParameters) {
    const auto names = [result](size_t offset) {
      return result == nvme::connect_invalid_parameter(true, uint16_t(offset));
    };
    if (names(offsetof(nvme::ConnectData, subsysnqn))) why = "there is no such subsystem";
    if (names(offsetof(nvme::ConnectData, hostnqn))) why = "the name of the host is not an NQN";
  }
  return absl::StrCat(std::string(nvme::field_string(data.hostnqn)), " to ",
                      std::string(nvme::field_string(data.subsysnqn)), " refused: ", why);
}

}  // namespace

struct QueueCallbacks {
  static void released(engine::HeldCommand& self) {
    Command& command = static_cast<Command::Held&>(self).command;
    command.queue.released(command);
  }
  static void staged(engine::StagingClaim& self) {
    Command& command = static_cast<Command::Claim&>(self).command;
    command.queue.staged(command);
  }
  static void stored(storage::Io& self) {
    Command& command = static_cast<Command::Request&>(self).command;
    command.queue.stored(command);
  }
  static void admitted(Task& self) {
    Command& command = static_cast<Command::Pass&>(self).command;
    command.partner != nullptr ? command.queue.compare_pair(command)
                               : command.queue.submit(command);
  }
  static void again(Task& self) {
    Command& command = static_cast<Command::Again&>(self).command;
    command.queue.stored(command);
  }
  static void behind(Task& self) {
    Command& command = static_cast<Command::Behind&>(self).command;
    command.queue.submit(command);
  }
};

Queue::Queue(const QueueContext& context, engine::Link& link, const QueueRequest& request)
    : Session(link),
      context_(context),
      link_(link),
      queue_id_(request.queue_id),
      entries_(request.entries),
      opened_(link.now()),
      max_commands_(most_commands(request.entries)),
      ids_(std::make_unique<std::bitset<65536>>()),
      sq_entries_(request.entries) {}

Queue::~Queue() { release_handles(); }

engine::LinkLayout Queue::layout(const QueueRequest& request, uint32_t in_capsule) {
  const uint32_t data = request.queue_id == 0 ? kAdminInCapsule : in_capsule;
  return {.receives = request.entries,
          .receive_bytes = uint32_t(sizeof(nvme::Sqe)) + data,
          .receive_stride = round_up(data, kDataAlignment) + kDataAlignment,
          .receive_offset = kDataAlignment - uint32_t(sizeof(nvme::Sqe)),
          .kept = request.queue_id == 0 ? 0 : most_late(request.entries),
          .exchanges = most_commands(request.entries),
          .exchange_bytes = sizeof(Command),
          .answer_bytes = sizeof(nvme::Cqe)};
}

// The connection has ended, so nothing can be answered. Waiting commands end now; commands in the
// storage end when it answers.
void Queue::disconnected(const Disconnect& how, std::string_view why) {
  const std::string ending = engine::ending(how, why);
  note_unproven(ending);
  log_end(ending);
  for (const auto& command : commands_) {
    if (command->stage == Stage::kHeld) {
      stop_waiting(*command);
      finish(*command);
    } else if (command->stage == Stage::kStaging) {
      context_.staging.cancel(command->staging);
      finish(*command);
    } else if (command->stage == Stage::kJoining) {
      context_.target.forget_waiter({context_.worker, link_.id()});
      finish(*command);
    } else if (command->stage == Stage::kBehind) {
      command->channel->volume->late().cancel(command->behind);
      finish(*command);
    } else if (command->stage == Stage::kGate || command->stage == Stage::kPairing) {
      finish(*command);
    } else if (command->stage == Stage::kParked || command->stage == Stage::kAborting ||
               command->stage == Stage::kAside || command->stage == Stage::kProving) {
      finish(*command);
    }
  }
  disconnected_ = link_.now();
  if (controller_ != nullptr) context_.target.disconnected(*controller_, queue_id_);
}

void Queue::drained() {
  if (controller_ != nullptr && !detached_) context_.target.drained(*controller_, queue_id_);
  detached_ = true;
}

// After a disconnect, commands in the storage get the same time limit as aborted commands.
void Queue::linger(Nanoseconds now) {
  if (detached_ || now - disconnected_ <= engine::kAbortPatience) return;
  for (const auto& command : commands_) {
    if (command->stage != Stage::kStorage || command->late) continue;
    (void)give_up(*command);
    end_partner(*command);
    if (!command->waiter.set) continue;
    context_.aborts.route_answer(std::exchange(command->waiter, {}), true);
  }
  if (outstanding_ == late_) drained();
}

void Queue::tick(Nanoseconds now) {
  if (controller_ == nullptr) {
    if (now - opened_ > kConnectTimeout) link_.drop("no Connect command in time");
    return;
  }
  if (traffic_) {
    traffic_ = false;
    if (!must_prove()) controller_->note_traffic(now);
  }
  if (proof_overdue(now)) return;
  if (first_ != nullptr && now - first_->began > kFusedPatience) miss_second();
  if (aborts_wait_) look_at_aborts(now);
  if (queue_id_ == 0) {
    if (controller_->keep_alive_expired(now)) {
      base::log({.event = base::Event::kHostDropped,
                 .peer = link_.peer(),
                 .host = controller_->identity().host_nqn,
                 .target = controller_->subsystem().nqn,
                 .message = absl::StrCat(link_.peer(), " controller ", controller_->identity().id,
                                         " of ", controller_->identity().host_nqn,
                                         ": keep-alive timeout, connections dropped")});
      controller_->terminate();
    }
    if (table_ != nullptr) refresh_namespaces();  // releases volumes that are no longer served
    return;
  }
  if (keeps_writers_waiting(now)) return link_.drop("it reads too slowly what others write");
  const Nanoseconds before = std::exchange(ticked_, now);
  if (outstanding_ != 0) counters_->busy(before, now);
  refresh_namespaces();  // releases volumes that are no longer served
}

// Receiving.

void Queue::grow() {
  for (uint32_t i = 0; i < kSlab && commands_.size() < max_commands_; ++i) {
    commands_.push_back(std::make_unique<Command>(
        *this, uint32_t(commands_.size()),
        Command::Callbacks{&QueueCallbacks::released, &QueueCallbacks::staged,
                           &QueueCallbacks::stored, &QueueCallbacks::behind,
                           &QueueCallbacks::admitted, &QueueCallbacks::again}));
    link_.bind(*commands_.back());
    free_.push_back(commands_.back().get());
  }
}

Command* Queue::take_command() {
  if (free_.empty()) grow();
  if (free_.empty()) return nullptr;
  Command* command = free_.back();
  free_.pop_back();
  ++outstanding_;
  ++command->serial;
  return command;
}

void Queue::received(engine::Receive& receive, std::span<std::byte> message) {
  if (message.size() < sizeof(nvme::Sqe)) return link_.drop("a capsule shorter than 64 bytes");
  if ((controller_ == nullptr || must_prove()) && ++early_commands_ > kMaxEarlyCommands) {
    return link_.drop(controller_ == nullptr ? "too many commands before Connect"
                                             : "too many commands before its authentication");
  }
  Command* command = take_command();
  if (command == nullptr) return link_.drop("more commands than the queue has entries");
  traffic_ = true;
  if (++sq_head_ >= sq_entries_) sq_head_ = 0;
  command->receive = &receive;
  command->sqe = nvme::read_struct<nvme::Sqe>(message);
  dispatch(*command, message);
}

// The second command of a fused operation is the one that follows the first.
void Queue::dispatch(Command& command, std::span<const std::byte> capsule) {
  const bool second = command.sqe.fuse() == nvme::Fuse::kSecond;
  if (first_ != nullptr && !second) miss_second();
  route(command, capsule);
  if (first_ != nullptr && second) miss_second();
}

void Queue::route(Command& command, std::span<const std::byte> capsule) {
  command.data = {};
  const uint16_t id = command.sqe.command_id;
  if (ids_->test(id)) return respond(command, with_dnr(Status::kCommandIdConflict));
  ids_->set(id);
  command.owns_id = true;
  if (const Status s = check_flags(command.sqe, queue_id_ != 0); !ok(s)) {
    return respond(command, s);
  }
  if (const Status s = parse_sgl(capsule, command.data); !ok(s)) {
    command.data = {};
    return respond(command, s);
  }
  if (command.sqe.opcode == nvme::kFabricsOpcode) return dispatch_fabrics(command);
  if (controller_ == nullptr) return respond(command, with_dnr(Status::kCommandSequence));
  if (must_prove()) return respond(command, with_dnr(Status::kAuthRequired));
  if (queue_id_ == 0) return dispatch_admin(command);
  dispatch_io(command);
}

void Queue::dispatch_fabrics(Command& command) {
  const auto wire = std::bit_cast<nvme::PropertyCommand>(command.sqe);
  if (wire.type == nvme::FabricsType::kConnect) return dispatch_connect(command);
  if (controller_ == nullptr) return respond(command, with_dnr(Status::kCommandSequence));
  if (wire.type == nvme::FabricsType::kAuthSend || wire.type == nvme::FabricsType::kAuthReceive) {
    return dispatch_auth(command);
  }
  if (must_prove() && wire.type != nvme::FabricsType::kDisconnect) {
    return respond(command, with_dnr(Status::kAuthRequired));
  }
  const bool admin = queue_id_ == 0;
  const Nanoseconds now = link_.now();
  if (wire.type == nvme::FabricsType::kPropertyGet && admin) {
    const AdminReply reply = controller_->property_get(wire);
    return respond(command, reply.status, reply.result);
  }
  if (wire.type == nvme::FabricsType::kPropertySet && admin) {
    const AdminReply reply = controller_->property_set(wire, now);
    deliver_events();  // a reset ended the parked ones
    return respond(command, reply.status, reply.result);
  }
  if (wire.type == nvme::FabricsType::kDisconnect && !admin) {
    // [fab] 3.2: the queue is deleted after the answer was sent.
    respond(command, Status::kSuccess);
    return link_.disconnect("the host deleted the queue");
  }
  respond(command, with_dnr(wire.type == nvme::FabricsType::kDisconnect ? Status::kInvalidQueueType
                                                                        : Status::kInvalidOpcode));
}

void Queue::dispatch_connect(Command& command) {
  // One Connect at a time, because the host is not admitted yet.
  if (controller_ != nullptr || connecting_) {
    return respond(command, with_dnr(Status::kCommandSequence));
  }
  if (command.data.length != sizeof(nvme::ConnectData)) {
    return respond(command, with_dnr(Status::kSglDataLength));
  }
  command.purpose = Purpose::kConnect;
  connecting_ = true;
  command.data.remote() ? fetch(command) : connect(command);
}

std::span<const std::byte> Queue::connect_data(const Command& command) const {
  return command.data.remote() ? link_.early_data() : command.data.in_capsule;
}

void Queue::connect(Command& command) {
  const auto wire = std::bit_cast<nvme::ConnectCommand>(command.sqe);
  const auto data = nvme::read_struct<nvme::ConnectData>(connect_data(command));
  QueueFacts facts;
  facts.ref = {context_.worker, link_.id()};
  facts.cm_queue_id = queue_id_;
  facts.entries = entries_;
  facts.local_address = link_.local();
  facts.peer_address = link_.peer();
  Connected connected = context_.target.connect(wire, data, facts, link_.now());
  if (connected.wait) {
    command.stage = Stage::kJoining;
    return;
  }
  if (ok(connected.status)) {
    controller_ = std::move(connected.controller);
    counters_ = &controller_->subsystem().counters(context_.worker);
    sq_entries_ = uint32_t(wire.sq_size0) + 1;
    sq_flow_ = (wire.attributes & nvme::kConnectDisableSqFlow) == 0;
    // The Connect command itself was the first entry.
    sq_head_ = 1 % sq_entries_;
    begin_proof();
    if (must_prove()) connected.result |= nvme::kConnectMustAuthenticate;
    if (!admitted()) connected.status = Status::kConnectControllerBusy;
  }
  if (!ok(connected.status)) {
    base::log({.event = base::Event::kLoginRefused,
               .peer = link_.peer(),
               .host = nvme::field_string(data.hostnqn),
               .target = nvme::field_string(data.subsysnqn),
               .queue = queue_id_,
               .message = absl::StrCat(link_.peer(), " queue ", queue_id_, ": Connect of ",
                                       explain(data, connected.status, connected.result))});
  } else if (!must_prove()) {
    log_begin();
  }
  respond(command, connected.status, connected.result);
  if (controller_ != nullptr && link_.standing() == engine::Standing::kStranger) {
    link_.disconnect("its host has too many connections");
  }
}

// The host may send another Connect as soon as it has the answer.
void Queue::end_connect(Command& command) {
  if (command.purpose != Purpose::kConnect) return;
  command.purpose = Purpose::kIo;
  connecting_ = false;
}

// Logs a new connection; the association's first queue at a level that is enabled by default.
void Queue::log_begin() {
  announced_ = true;
  const Controller::Identity& identity = controller_->identity();
  const bool association = queue_id_ == 0 && !identity.discovery;
  const auto event = association ? base::Event::kHostConnected : base::Event::kQueueConnected;
  if (!base::logged(base::facts(event).severity)) return;
  base::log({.event = event,
             .peer = link_.peer(),
             .host = identity.host_nqn,
             .target = controller_->subsystem().nqn,
             .queue = queue_id_,
             .message = absl::StrCat(
                 link_.peer(), association ? "" : " queue ",
                 association ? "" : absl::StrCat(queue_id_), ": ", identity.host_nqn,
                 " connected to ", controller_->subsystem().nqn, ", controller ", identity.id,
                 prover_ == nullptr ? std::string()
                                    : absl::StrCat(", authenticated by DH-HMAC-CHAP (",
                                                   prover_->description(), ")"))});
}

void Queue::log_end(const std::string& ending) const {
  const bool known = controller_ != nullptr;
  const std::string_view host = known ? controller_->identity().host_nqn : std::string_view();
  const std::string_view target = known ? controller_->subsystem().nqn : std::string_view();
  if (base::logged(base::facts(base::Event::kQueueDisconnected).severity)) {
    base::log({.event = base::Event::kQueueDisconnected,
               .peer = link_.peer(),
               .host = host,
               .target = target,
               .queue = queue_id_,
               .message = absl::StrCat(link_.peer(), " queue ", queue_id_, ": disconnected (",
                                       ending, ")")});
  }
  if (!announced_ || queue_id_ != 0 || controller_->identity().discovery) return;
  base::log(
      {.event = base::Event::kHostDisconnected,
       .peer = link_.peer(),
       .host = host,
       .target = target,
       .message = absl::StrCat(link_.peer(), ": ", controller_->identity().host_nqn,
                               " disconnected from ", controller_->subsystem().nqn, ", controller ",
                               controller_->identity().id, " (", ending, ")")});
}

// Counts the queue as one of its host's connections; false if the host has too many.
bool Queue::admitted() {
  const Controller::Identity& identity = controller_->identity();
  const bool admitted = identity.discovery || must_prove()
                            ? link_.admit(engine::Standing::kGuest, {})
                            : link_.admit(engine::Standing::kMember, identity.host_nqn);
  if (admitted) admin_ = context_.staging.flow(link_.share(), nullptr);
  return admitted;
}

void Queue::connect_again() {
  for (const auto& command : commands_) {
    if (!link_.closing() && command->stage == Stage::kJoining) connect(*command);
  }
}

// Administration.

void Queue::dispatch_admin(Command& command) {
  AdminReply reply = controller_->admin(command.sqe, command.data.length, link_.now());
  switch (reply.kind) {
    case AdminReply::Kind::kPark:
      command.stage = Stage::kParked;
      return deliver_events();
    case AdminReply::Kind::kAbort:
      command.stage = Stage::kAborting;
      return context_.aborts.route_abort(
          reply.abort_queue, reply.abort_cid,
          {{context_.worker, link_.id()}, command.slot, command.serial, true});
    case AdminReply::Kind::kAside:
      command.stage = Stage::kAside;
      return context_.aside.run_aside(ref_of(command), std::move(reply.job));
    case AdminReply::Kind::kFormat:
      return format(command, reply.nsid);
    case AdminReply::Kind::kProtect:
      command.stage = Stage::kAside;
      command.step = reply.nsid;  // to flush
      return context_.aside.protect(ref_of(command), controller_, reply.nsid, reply.result != 0);
    case AdminReply::Kind::kReply:
      break;
  }
  if (!ok(reply.status) || reply.data.empty()) {
    return respond(command, reply.status, reply.result);
  }
  // Data for the host requires a remote buffer.
  if (!command.data.remote()) return respond(command, with_dnr(Status::kInvalidField));
  command.purpose = Purpose::kReply;
  command.reply = std::move(reply.data);
  if (take_staging(command, *admin_, engine::chunks_for(command.reply.size()))) {
    send_reply(command);
  }
}

void Queue::send_reply(Command& command) {
  const std::span<const std::byte> reply = command.reply;
  for (size_t at = 0; at < reply.size(); at += engine::kChunk) {
    const std::span<const std::byte> part =
        reply.subspan(at, std::min<size_t>(reply.size() - at, engine::kChunk));
    std::ranges::copy(part, context_.staging.at(command.staging, at));
  }
  command.reply = {};
  send_data(command);
  if (prover_ != nullptr && prover_->over()) link_.disconnect("its authentication failed");
}

void Queue::deliver_events() {
  if (controller_ == nullptr || link_.closing()) return;
  for (const AsyncCompletion& event : controller_->take_events()) {
    const auto at = std::find_if(commands_.begin(), commands_.end(), [&](const auto& command) {
      return command->stage == Stage::kParked && command->sqe.command_id == event.command_id;
    });
    if (at != commands_.end()) respond(**at, event.status, event.result);
  }
}

Queue::AbortResult Queue::abort_command(uint16_t command_id, const AbortWaiter& waiter) {
  if (link_.closing() || !ids_->test(command_id)) return AbortResult::kNotAborted;
  const auto at = std::find_if(commands_.begin(), commands_.end(), [&](const auto& command) {
    return command->stage != Stage::kFree && command->owns_id &&
           command->sqe.command_id == command_id;
  });
  if (at == commands_.end()) return AbortResult::kNotAborted;
  Command& command = **at;
  switch (command.stage) {
    case Stage::kParked:
      if (!controller_->unpark(command_id)) return AbortResult::kNotAborted;
      respond(command, Status::kAbortRequested);
      return AbortResult::kAborted;
    case Stage::kHeld:
      stop_waiting(command);
      respond(command, Status::kAbortRequested);
      return AbortResult::kAborted;
    case Stage::kStaging:
      context_.staging.cancel(command.staging);
      respond(command, Status::kAbortRequested);
      return AbortResult::kAborted;
    case Stage::kBehind:
      command.channel->volume->late().cancel(command.behind);
      respond(command, Status::kAbortRequested);
      return AbortResult::kAborted;
    case Stage::kGate:
    case Stage::kPairing:
      respond(command, Status::kAbortRequested);
      return AbortResult::kAborted;
    case Stage::kStorage:
      // If it completes in time, it was not aborted.
      if (command.waiter.set) return AbortResult::kNotAborted;
      command.waiter = waiter;
      command.abort_asked = link_.now();
      aborts_wait_ = true;
      return AbortResult::kLater;
    case Stage::kFetching:
      // The RDMA transfer must end first; the answer waits for it.
      if (command.waiter.set) return AbortResult::kNotAborted;
      command.aborted = true;
      command.waiter = waiter;
      return AbortResult::kLater;
    default:
      return AbortResult::kNotAborted;
  }
}

void Queue::abort_answered(uint32_t slot, uint32_t serial, bool aborted) {
  if (controller_ != nullptr) controller_->abort_finished();
  if (slot >= commands_.size()) return;
  Command& command = *commands_[slot];
  if (command.stage != Stage::kAborting || command.serial != serial) return;
  respond(command, Status::kSuccess, aborted ? 0 : 1);
}

// Answers.

engine::Answer Queue::answer(Command& command, Status status, uint64_t result) {
  if (command.account != nullptr) settle(command, status);
  auto& cqe = *reinterpret_cast<nvme::Cqe*>(command.answer_room().data());
  cqe.result = result;
  cqe.sq_head = sq_flow_ ? uint16_t(sq_head_) : uint16_t{0xffff};
  cqe.sq_id = uint16_t{0};  // reserved in Fabrics
  cqe.command_id = command.sqe.command_id;
  cqe.set_status(status);
  // The host may reuse the id and the entry as soon as it sees the completion.
  if (command.owns_id) {
    ids_->reset(command.sqe.command_id);
    command.owns_id = false;
  }
  if (command.receive != nullptr) link_.release_receive(*command.receive);
  command.receive = nullptr;
  return {.bytes = sizeof(nvme::Cqe), .invalidate = command.data.invalidate};
}

void Queue::respond(Command& command, Status status, uint64_t result) {
  if (command.partner != nullptr) return respond_pair(command, status);
  if (&command == first_) first_ = nullptr;
  if (command.gated) leave_gate(command);
  if (!ok(status)) note_failure(command, status);
  end_connect(command);
  if (link_.closing()) return finish(command);
  command.stage = Stage::kAnswering;
  if (link_.respond(command, answer(command, status, result))) return;
  finish(command);
  link_.drop("a completion could not be sent");
}

void Queue::note_failure(Command& command, Status status) {
  if (controller_ == nullptr) return;
  const Status bare = code(status);
  if (bare == Status::kUnrecoveredRead || bare == Status::kWriteFault) {
    ++counters_->media_errors;
  }
  controller_->record_error(queue_id_, command.sqe.command_id, status, command.sqe.nsid,
                            queue_id_ == 0 ? 0 : command.sqe.slba());
}

void Queue::sent(engine::Exchange& exchange) { finish(static_cast<Command&>(exchange)); }

// Releases all shared resources of the command.
void Queue::release(Command& command) {
  end_connect(command);
  context_.staging.put(command.staging);
  if (command.holding) let_go(command);
  if (command.gated) leave_gate(command);
  if (command.channel != nullptr) {
    --command.channel->uses;
    command.channel = nullptr;
  }
}

void Queue::finish(Command& command) {
  if (command.late) {  // late_stored() finishes it
    command.stage = Stage::kLate;
    return;
  }
  if (command.partner != nullptr) end_partner(command);
  if (&command == first_) first_ = nullptr;
  release(command);
  if (command.owns_id) {
    ids_->reset(command.sqe.command_id);
    command.owns_id = false;
  }
  if (command.waiter.set) {
    command.waiter.set = false;
    context_.aborts.route_answer(command.waiter, command.aborted);
  }
  command.stage = Stage::kFree;
  command.account = nullptr;  // for a command without an answer
  command.aborted = false;
  command.taken = Status::kSuccess;
  command.drain.reset();
  command.passed = 0;
  command.waits_at = nullptr;
  command.paid = 0;
  command.fences.clear();
  command.gather = nullptr;
  command.receive = nullptr;
  command.reply = {};
  command.step = 0;
  command.copied = 0;
  command.read_back = 0;
  command.data_at = 0;
  command.clears_marks = false;
  command.compared = false;
  command.purpose = Purpose::kIo;
  free_.push_back(&command);
  --outstanding_;
  if (outstanding_ == 0 && link_.closed()) link_.session_idle();
}

}  // namespace mrpool::nvmf_target
