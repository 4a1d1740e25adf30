#include "examples/nvmf/host/queue.h"

#include <algorithm>
#include <bit>

#include "absl/strings/str_cat.h"
#include "examples/base/units.h"
#include "examples/nvmf/host/connect_error.h"

namespace mrpool::nvme::host {
namespace {

// A command identifier is slot | round << kSlotBits. That distinguishes an answer to an earlier use
// of a slot from the answer to its present use.
constexpr int kSlotBits = 10;
constexpr uint16_t kSlotMask = (1u << kSlotBits) - 1;
static_assert(kMaxDepth == kSlotMask);

constexpr size_t kConnectDataBytes = sizeof(ConnectData);
// The capsule, and what its key needs.
constexpr uint32_t kSendsPerCommand = 1 + Lender::kSendRequests;
constexpr Nanoseconds kCloseTimeout = std::chrono::seconds(1);

// What must have happened before a command is over.
constexpr uint8_t kSent = 1;
constexpr uint8_t kAnswered = 2;
constexpr uint8_t kKeyDead = 4;

absl::string_view view(std::string_view text) { return {text.data(), text.size()}; }

DataDirection direction_of(const Sqe& command) {
  if (command.opcode != kFabricsOpcode) return data_direction(command.opcode);
  return data_direction(uint8_t(read_struct<FabricsCommand>(bytes_of(command)).type));
}

// The right a peer needs on the host's buffer, and no more.
Access right_for(DataDirection direction) {
  return direction == DataDirection::kToController ? Access::kRemoteRead
                                                   : Access::kLocalWrite | Access::kRemoteWrite;
}

}  // namespace

std::string Queue::describe(Status status, bool fabrics) const {
  if (ended_here(status) && !why_.empty()) return why_;
  if (code(status) == kHostPathing) return "the connection was lost";
  if (code(status) == kAbortedByHost) return "aborted by this host";
  return to_string(status, fabrics);
}

QueueCounters& QueueCounters::operator+=(const QueueCounters& other) {
  commands += other.commands;
  keys += other.keys;
  remote_invalidations += other.remote_invalidations;
  local_invalidations += other.local_invalidations;
  in_capsule += other.in_capsule;
  resubmitted += other.resubmitted;
  retried += other.retried;
  authentications += other.authentications;
  return *this;
}

// A place for one command at the controller: its capsule, key and completions.
struct Queue::Slot {
  Slot(Queue& owner, uint16_t index)
      : queue(owner), loan(*this, *owner.options_.reactor), command_id(index) {}

  void sent(const WorkCompletion& wc) {
    // Flushed ones are seen to by on_disconnected, all at once.
    if (wc.status == WcStatus::kSuccess) queue.part_done(*this, kSent);
  }
  void key_done(LoanStatus status) { queue.key_done(*this, status); }

  Queue& queue;
  Bound<Completion, &Slot::sent> send_done{*this};
  Bound<Loan, &Slot::key_done> loan;
  Request* request = nullptr;
  Sge sges[2];  // capsule, and data that travels in it
  Sge lent;     // data that does not
  Outcome outcome;
  Nanoseconds started{0};
  uint16_t command_id;
  uint8_t missing = 0;  // parts that have not happened yet
};

struct Queue::Response final : Completion {
  Response(Queue& owner, const Sge& place)
      : Completion(to_method<&Response::received>), queue(owner), sge(place) {
    receive.completion = this;
    receive.sges = {&sge, 1};
  }
  void received(const WorkCompletion& wc) {
    if (wc.status == WcStatus::kSuccess) queue.on_response(*this, wc);
  }
  Queue& queue;
  Sge sge;
  RecvRequest receive;
};

absl::StatusOr<std::unique_ptr<Queue>> Queue::create(const QueueOptions& options, Owner& owner) {
  if (options.depth == 0 || options.depth > kMaxDepth) {
    return absl::InvalidArgumentError(
        absl::StrCat("a queue depth of ", options.depth, " is not within 1..", kMaxDepth));
  }
  std::unique_ptr<Queue> queue(new Queue(options, owner));
  if (absl::Status status = queue->allocate(); !status.ok()) return status;
  return queue;
}

Queue::Queue(const QueueOptions& options, Owner& owner)
    : options_(options), owner_(owner), retries_(retry_timer_, options.command_timeout) {}

absl::Status Queue::allocate() {
  const uint16_t depth = options_.depth;
  // Receives: one per command; the controller sends nothing but responses.
  const size_t capsule_bytes = size_t(depth) * sizeof(Sqe);
  const size_t response_bytes = size_t(depth) * sizeof(Cqe);
  auto rings =
      load::Buffer::create(*options_.pd, capsule_bytes + response_bytes, Access::kLocalWrite);
  if (!rings.ok()) return rings.status();
  rings_ = std::make_unique<load::Buffer>(*std::move(rings));
  auto connect_data = load::Buffer::create(*options_.pd, kConnectDataBytes);
  if (!connect_data.ok()) return connect_data.status();
  connect_data_ = std::make_unique<load::Buffer>(*std::move(connect_data));

  for (uint16_t i = 0; i < depth; ++i) {
    slots_.push_back(std::make_unique<Slot>(*this, i));
    slots_.back()->sges[0] = rings_->sge(i * sizeof(Sqe), sizeof(Sqe));
    responses_.push_back(std::make_unique<Response>(
        *this, rings_->sge(capsule_bytes + i * sizeof(Cqe), sizeof(Cqe))));
  }
  for (auto slot = slots_.rbegin(); slot != slots_.rend(); ++slot) free_.add(**slot);
  const DeviceCaps& caps = options_.pd->caps();
  peer_ends_keys_ = peer_may_invalidate(caps);
  registers_ = caps.registration != Registration::kPreRegistered;

  // A command posts its registration and its capsule, and its local invalidation where the
  // controller did not see to it; then there is one receive for its response.
  auto cq = options_.device->create_cq(*options_.reactor,
                                       {.depth = uint32_t(depth) * (kSendsPerCommand + 1)});
  if (!cq.ok()) return cq.status();
  cq_ = *std::move(cq);
  return absl::OkStatus();
}

Queue::~Queue() { end(); }

void Queue::end() {
  state_ = State::kGivenUp;
  qp_.reset();  // flushes; retrieve() has the rest
  if (lender_ != nullptr) lender_->stop();
  for (const auto& slot : slots_) retrieve(*slot);
  retries_.move_all(waiting_);
  fail_waiting(kAbortedByHost);
  while (!failed_.empty()) {
    Request& request = failed_.pop();
    request.done_(request, {.status = request.ended_with_});
  }
  if (std::exchange(ender_posted_, false)) options_.reactor->cancel(ender_);
}

bool Queue::hopeless() const {
  return state_ == State::kGivenUp ||
         (!options_.retain && (state_ == State::kDown || state_ == State::kClosing));
}

// --- Connections ---

Async<absl::Status> Queue::open(uint16_t controller_id) {
  if (state_ == State::kGivenUp) co_return absl::CancelledError("the queue was closed");
  if (qp_ != nullptr) co_return absl::FailedPreconditionError("the queue is open");
  RdmaRequest hello;
  hello.queue_id = options_.queue_id;
  hello.host_receive_size = uint16_t(options_.depth + 1);
  hello.host_send_size0 = options_.depth;
  if (options_.queue_id != 0) hello.controller_id = controller_id;
  const DeviceCaps& caps = options_.pd->caps();
  const QpOptions qp_options{
      .send_cq = cq_.get(),
      .recv_cq = cq_.get(),
      .max_send_wr = options_.depth * kSendsPerCommand,
      .max_recv_wr = options_.depth,
      .max_send_sge = 2,
      .max_recv_sge = 1,
      .ord = 1,  // a host starts no READs; 0 is refused by some stacks
      .ird = std::min<uint16_t>(caps.max_ird, 128),
  };
  refused_ = absl::OkStatus();
  why_.clear();
  broken_ = held_ = authenticated_ = false;
  changed_.reset();
  state_ = State::kConnecting;
  auto qp = options_.device->connect(
      options_.address, *options_.pd, qp_options,
      {.private_data = bytes_of(hello), .timeout = options_.connect_timeout}, *this);
  if (!qp.ok()) {
    state_ = State::kDown;
    co_return qp.status();
  }
  qp_ = *std::move(qp);
  auto lender = Lender::create(*qp_, *options_.pool);
  if (lender.ok()) lender_ = *std::move(lender);
  absl::Status status = lender.ok() ? post_responses() : lender.status();
  if (status.ok()) {
    co_await changed_;
    if (qp_ != nullptr) {
      status = co_await join(controller_id);
    } else {
      status = !refused_.ok() ? refused_ : absl::UnavailableError(why_);
    }
  }
  if (status.ok()) {
    state_ = State::kReady;
    if (authenticated_ && options_.reauthenticate.count() > 0) {
      again_timer_.arm(*options_.reactor, options_.reauthenticate);
    }
    run_waiting();
  } else if (qp_ != nullptr) {
    co_await close();
  }
  co_return status;
}

absl::Status Queue::post_responses() {
  for (const auto& response : responses_) {
    const PostStatus status = qp_->post_recv(response->receive);
    if (status != PostStatus::kOk) {
      return absl::InternalError(absl::StrCat("posting receives: ", view(to_string(status))));
    }
  }
  return absl::OkStatus();
}

Async<absl::Status> Queue::join(uint16_t controller_id) {
  auto& data = *reinterpret_cast<ConnectData*>(connect_data_->bytes().data());
  data = ConnectData{};
  std::copy(options_.host.id.begin(), options_.host.id.end(), reinterpret_cast<uint8_t*>(&data));
  data.cntlid = le(controller_id);
  set_field(data.subsysnqn, options_.subnqn);
  set_field(data.hostnqn, options_.host.nqn);

  ConnectCommand connect;
  connect.queue_id = options_.queue_id;
  connect.sq_size0 = options_.depth;
  connect.keep_alive_ms = options_.keep_alive_ms;
  Execution execution = execute(read_struct<Sqe>(bytes_of(connect)), connect_data_->sge());
  const Outcome outcome = co_await execution;
  if (!ok(outcome.status)) {
    co_return connect_error(outcome, options_, describe(outcome.status, true));
  }
  controller_id_ = uint16_t(outcome.result);
  if ((outcome.result & kConnectMustSecure) != 0) {
    co_return absl::UnauthenticatedError(
        absl::StrCat("the subsystem '", options_.subnqn,
                     "' requires a secure channel (TLS) after the authentication; RDMA has none"));
  }
  const bool asked = (outcome.result & kConnectMustAuthenticate) != 0;
  if (asked && options_.secrets == nullptr) {
    co_return absl::UnauthenticatedError(
        absl::StrCat("the subsystem '", options_.subnqn, "' requires DH-HMAC-CHAP of the host '",
                     options_.host.nqn, "'; give --dhchap-secret the file of its key"));
  }
  // An impostor would not ask, so a host that requires the controller's proof always authenticates.
  const bool wanted = options_.secrets != nullptr && !options_.secrets->controller_key.empty();
  if (!asked && !wanted) co_return absl::OkStatus();
  co_return co_await authenticate();
}

void Queue::on_connected(Qp&, const ConnectionInfo&) {
  if (state_ != State::kConnecting) return;  // it is being closed meanwhile
  state_ = State::kJoining;
  ticker_.arm(*options_.reactor, std::min(options_.command_timeout / 4, kCloseTimeout));
  changed_.set();
}

void Queue::on_rejected(Qp&, std::span<const std::byte> private_data) {
  refused_ = rejection(options_.address, private_data);
}

void Queue::on_disconnected(Qp&, const Disconnect& why) {
  const State before = state_;
  ticker_.cancel();
  again_timer_.cancel();
  if (why_.empty()) why_ = explain(options_.address, why);
  if (state_ != State::kGivenUp) state_ = State::kDown;
  if (lender_ != nullptr) lender_->stop();
  qp_.reset();
  drop_place();
  // Before the commands end: code that acts on their failure should find the loss reported.
  if (before == State::kReady) owner_.on_lost(*this, why_);
  for (const auto& slot : slots_) retrieve(*slot);
  RequestList refused;
  retries_.move_all(refused);
  while (!refused.empty()) give_back(refused.pop());
  if (!waiting_.empty() && joins(waiting_.front())) fail(waiting_.pop(), kHostPathing);
  if (hopeless()) fail_waiting(before == State::kClosing ? kAbortedByHost : kHostPathing);
  quiet_.set();
  changed_.set();
}

Async<> Queue::hold() {
  held_ = true;
  quiet_.reset();
  if (outstanding_ != 0) co_await quiet_;
}

void Queue::release() {
  held_ = false;
  run_waiting();
}

void Queue::abort(std::string why) {
  if (qp_ != nullptr) broken(std::move(why));
}

void Queue::broken(std::string why) {
  broken_ = true;
  if (why_.empty()) why_ = absl::StrCat(options_.address.to_string(), ": ", why);
  qp_->abort();
}

Async<> Queue::close(std::string why) {
  if (qp_ == nullptr) co_return;
  if (why_.empty()) why_ = std::move(why);
  if (state_ != State::kGivenUp) state_ = State::kClosing;
  closing_since_ = options_.reactor->now();
  changed_.reset();
  // Without an orderly end if commands are outstanding, because the peer may still use their keys.
  if (outstanding_ == 0) {
    qp_->disconnect();
  } else {
    qp_->abort();
  }
  co_await changed_;
}

void Queue::give_up() {
  state_ = State::kGivenUp;
  if (qp_ != nullptr) qp_->abort();
  retries_.move_all(waiting_);
  fail_waiting(kHostPathing);
}

void Queue::tick() {
  const Nanoseconds now = options_.reactor->now();
  if (state_ == State::kClosing && now - closing_since_ > kCloseTimeout) {
    broken("no answer to the closing of the connection");
  }
  for (const auto& slot : slots_) {
    if (slot->request == nullptr || slot->request->never_late) continue;
    if (now - slot->started <= options_.command_timeout) continue;
    broken(absl::StrCat("no answer within ", base::format_duration(options_.command_timeout),
                        " to ", name_of(slot->request->command, options_.queue_id == 0)));
    break;
  }
  if (qp_ != nullptr) {
    ticker_.arm(*options_.reactor, std::min(options_.command_timeout / 4, kCloseTimeout));
  }
}

// --- Commands ---

void Queue::submit(Request& request) {
  request.retries_ = 0;
  if (joins(request)) {
    if (state_ != State::kJoining && state_ != State::kReady) return fail(request, kHostPathing);
    // Goes ahead of what waits for it, also when it has to wait for an MR.
    if (!free_.available() || !start(request)) waiting_.push_front(request);
    return;
  }
  if (hopeless()) return fail(request, kHostPathing);
  const bool open = state_ == State::kReady && waiting_.empty() && !held_;
  if (open && free_.available() && start(request)) return;
  waiting_.push(request);
}

void Queue::submit_fused(Request& first, Request& second) {
  first.command.flags = uint8_t(Fuse::kFirst);
  second.command.flags = uint8_t(Fuse::kSecond);
  first.second_ = &second;
  if (options_.depth < 2) return fail(first, with_dnr(Status::kMissingFused));
  submit(first);
}

// Small data to the controller goes with the command.
bool Queue::fits_capsule(const Request& request) const {
  return state_ == State::kReady && request.data.length <= in_capsule_bytes_ &&
         direction_of(request.command) == DataDirection::kToController;
}

// False: the request is to wait, for an MR or because the connection is broken.
bool Queue::start(Request& request) {
  if (request.second_ != nullptr) return start_pair(request);
  const bool has_data = request.data.length != 0;
  const bool keyed = has_data && (free_.keeps_place() || !fits_capsule(request));
  Slot* taken = nullptr;
  const LoanStatus begun = free_.take(*lender_, keyed ? request.data : Sge{},
                                      right_for(direction_of(request.command)), taken);
  if (begun == LoanStatus::kPending) return false;
  if (begun != LoanStatus::kReady) {
    key_refused(begun);
    return false;
  }
  Slot& slot = *taken;
  SglDescriptor sgl = SglDescriptor::keyed({}, false);
  if (keyed) {
    if (registers_) ++counters_.keys;
    sgl = SglDescriptor::keyed(slot.loan.remote(), peer_ends_keys_);
  } else if (has_data) {
    ++counters_.in_capsule;
    slot.sges[1] = request.data;
    sgl = SglDescriptor::in_capsule(0, request.data.length);
  }
  place(slot, request, sgl);
  WorkRequest send;
  send.completion = &slot.send_done;
  send.sges = {slot.sges, has_data && !keyed ? 2u : 1u};
  const PostResult result = keyed ? lender_->post(slot.loan, send) : qp_->post_send(send);
  if (!result.ok()) broken(absl::StrCat("posting a command: ", view(to_string(result.status))));
  return true;
}

// The slot has the command from now on.
void Queue::place(Slot& slot, Request& request, const SglDescriptor& sgl) {
  slot.command_id = uint16_t(slot.command_id + (1u << kSlotBits));
  request.command.command_id = slot.command_id;
  Sqe command = request.command;
  command.sgl = sgl;
  command.flags = uint8_t((command.flags & kFuseMask) | kPsdtSgl);
  std::memcpy(slot.sges[0].addr, &command, sizeof command);
  slot.request = &request;
  slot.missing = kSent | kAnswered;
  slot.started = options_.reactor->now();
  ++outstanding_;
  ++counters_.commands;
}

// The commands of a fused operation. One key is for the data of both: two keys could wait for each
// other. The second command has it, and its answer ends it.
bool Queue::start_pair(Request& first) {
  Request& second = *first.second_;
  if (!free_.available(2)) return false;
  const Sge whole{first.data.addr, first.data.length + second.data.length, first.data.lkey};
  Slot* taken = nullptr;
  const LoanStatus begun = free_.take(*lender_, whole, Access::kRemoteRead, taken);
  if (begun == LoanStatus::kPending) return false;
  if (begun != LoanStatus::kReady) {
    key_refused(begun);
    return false;
  }
  if (registers_) ++counters_.keys;
  Slot* const slots[2] = {&free_.take_plain(), taken};
  Request* const requests[2] = {&first, &second};
  RemoteBuffer part = taken->loan.remote();
  WorkRequest sends[2];
  for (size_t i = 0; i < 2; ++i) {
    part.length = requests[i]->data.length;
    place(*slots[i], *requests[i], SglDescriptor::keyed(part, i == 1 && peer_ends_keys_));
    part.addr.value += part.length;
    sends[i].completion = &slots[i]->send_done;
    sends[i].sges = {slots[i]->sges, 1};
  }
  sends[0].next = &sends[1];
  first.second_ = nullptr;
  const PostResult result = lender_->post(taken->loan, sends[0]);
  if (!result.ok()) broken(absl::StrCat("posting a command: ", view(to_string(result.status))));
  return true;
}

// A loan has its MR after a wait, or its key is dead.
void Queue::key_done(Slot& slot, LoanStatus status) {
  switch (status) {
    case LoanStatus::kReady:
      run_waiting();
      if (free_.keeps_place(slot)) drop_place();  // not of use now: others may have the MR
      break;
    case LoanStatus::kReturned:
      part_done(slot, kKeyDead);
      break;
    case LoanStatus::kLost:
      break;  // on_disconnected retrieves the slot
    default:
      drop_place();
      key_refused(status);
      break;
  }
}

void Queue::key_refused(LoanStatus status) {
  broken(absl::StrCat("a key for the data of a command: ", view(to_string(status))));
}

void Queue::drop_place() {
  if (lender_ != nullptr) free_.drop(*lender_);
}

void Queue::on_response(Response& response, const WorkCompletion& wc) {
  if (broken_) return;
  if (wc.byte_len != sizeof(Cqe)) {
    broken(absl::StrCat("a response of ", wc.byte_len, " bytes"));
    return;
  }
  Cqe cqe;
  std::memcpy(static_cast<void*>(&cqe), response.sge.addr, sizeof cqe);
  const uint16_t id = cqe.command_id;
  const uint16_t index = id & kSlotMask;
  Slot* slot = index < slots_.size() ? slots_[index].get() : nullptr;
  if (slot == nullptr || slot->command_id != id || (slot->missing & kAnswered) == 0) {
    broken(absl::StrCat("a response to command ", id, ", which is not outstanding"));
    return;
  }
  // The place is free again before the controller can get a further command.
  const PostStatus posted = qp_->post_recv(response.receive);
  if (posted != PostStatus::kOk) {
    broken(absl::StrCat("posting a receive: ", view(to_string(posted))));
    return;
  }
  slot->outcome = {.status = cqe.status(), .result = cqe.result};
  if (end_key(*slot, wc)) part_done(*slot, kAnswered);
}

// False when the controller broke the rules of invalidation.
bool Queue::end_key(Slot& slot, const WorkCompletion& wc) {
  const LoanStatus ended = lender_->end(slot.loan, wc);
  switch (ended) {
    case LoanStatus::kReturned:
      if (wc.invalidated) ++counters_.remote_invalidations;
      return true;
    case LoanStatus::kPending:
      ++counters_.local_invalidations;
      slot.missing |= kKeyDead;
      return true;
    case LoanStatus::kWrongKey:
      broken(absl::StrCat("a response invalidated key ", wc.invalidated_rkey.value,
                          slot.loan.state() == Loan::State::kIdle
                              ? ", which its command did not carry"
                              : absl::StrCat(" instead of ", slot.loan.remote().rkey.value)));
      return false;
    default:
      broken(absl::StrCat("ending a key: ", view(to_string(ended))));
      return false;
  }
}

void Queue::part_done(Slot& slot, uint8_t part) {
  slot.missing &= uint8_t(~part);
  if (slot.missing != 0) return;
  Request& request = *slot.request;
  slot.request = nullptr;
  --outstanding_;
  free_.add(slot);
  const Outcome outcome = slot.outcome;
  if (!waiting_.empty() && state_ == State::kReady) run_waiting();
  const bool may_retry = !ok(outcome.status) && state_ == State::kReady && !request.never_late &&
                         request.command.fuse() == Fuse::kNone &&
                         request.command.opcode != kFabricsOpcode;
  if (held_ && outstanding_ == 0) quiet_.set();
  const bool for_others = options_.one_of_many && is_path_error(outcome.status);
  if (may_retry && !for_others && retries_.take(request, outcome.status, *options_.reactor)) {
    ++counters_.retried;
    return;
  }
  request.done_(request, outcome);  // may destroy the queue
}

// The time of some refused commands has come.
void Queue::retry_now() {
  retries_.move_due(waiting_, *options_.reactor);
  run_waiting();
}

// The connection is gone: what the controller had not finished is ours again.
void Queue::retrieve(Slot& slot) {
  if (slot.request == nullptr) return;
  (void)lender_->end(slot.loan);
  slot.missing = 0;
  Request& request = *std::exchange(slot.request, nullptr);
  --outstanding_;
  free_.add(slot);
  give_back(request);
}

// A command that a lost connection gave back goes to the next one, or has failed.
void Queue::give_back(Request& request) {
  // Connect and what set-up asks must not outlive their connection.
  if (options_.retain && options_.queue_id != 0 && request.command.fuse() == Fuse::kNone &&
      request.command.opcode != kFabricsOpcode && state_ != State::kGivenUp) {
    ++counters_.resubmitted;
    waiting_.push(request);
  } else {
    fail(request, state_ == State::kGivenUp ? kAbortedByHost : kHostPathing);
  }
}

// Whether the command belongs to the set-up of a queue, so that it precedes waiting commands.
bool Queue::joins(const Request& request) {
  if (request.command.opcode != kFabricsOpcode) return false;
  const FabricsType type = std::bit_cast<FabricsCommand>(request.command).type;
  return type == FabricsType::kConnect || type == FabricsType::kAuthSend ||
         type == FabricsType::kAuthReceive;
}

void Queue::run_waiting() {
  while (!waiting_.empty() && free_.available()) {
    // While the queue joins its controller, nothing but Connect and its proof may go out.
    const bool first = state_ == State::kJoining && joins(waiting_.front());
    if (((state_ != State::kReady || held_) && !first) || !start(waiting_.front())) return;
    waiting_.pop();
  }
}

void Queue::fail(Request& request, Status status) {
  Request* const second = std::exchange(request.second_, nullptr);
  request.ended_with_ = status;
  failed_.push(request);
  if (second != nullptr) {
    second->ended_with_ = status;
    failed_.push(*second);
  }
  if (!std::exchange(ender_posted_, true)) options_.reactor->post(ender_);
}

void Queue::fail_waiting(Status status) {
  drop_place();
  while (!waiting_.empty()) fail(waiting_.pop(), status);
}

void Queue::end_one() {
  ender_posted_ = false;
  if (failed_.empty()) return;
  Request& request = failed_.pop();
  if (!failed_.empty()) {
    ender_posted_ = true;
    options_.reactor->post(ender_);
  }
  request.done_(request, {.status = request.ended_with_});  // may destroy the queue
}

}  // namespace mrpool::nvme::host
