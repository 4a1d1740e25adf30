// A queue's connection: receives, dispatch, answers, and its end. The way of I/O commands through
// storage is in queue_io.cc.
#include "examples/nvmf/target/queue.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "examples/base/peer_log.h"
#include "examples/engine/worker.h"

namespace mrpool::nvmf_target {

using nvme::Status;
using nvme::with_dnr;

namespace {

// In-capsule data is to be aligned as O_DIRECT wants its buffers, so the SQE ends on such a
// boundary.
constexpr uint32_t kDataAlignment = 512;
constexpr uint32_t kSlab = 16;  // commands made at once

size_t round_up(size_t value, size_t to) { return (value + to - 1) / to * to; }

}  // namespace

struct QueueCallbacks {
  static void received(Completion& self, const WorkCompletion& wc) {
    Receive& receive = static_cast<Receive&>(self);
    receive.queue->received(receive, wc);
  }
  static void sent(Completion& self, const WorkCompletion&) {
    Command& command = static_cast<Command::Send&>(self).command;
    command.queue->sent(command);
  }
  static void transferred(RwOperation& self, WcStatus status) {
    Command& command = static_cast<Command::Transfer&>(self).command;
    command.queue->transferred(command, status);
  }
  static void stored(storage::Io& self) {
    Command& command = static_cast<Command::Request&>(self).command;
    command.queue->stored(command);
  }
};

Queue::Queue(Worker& worker, WorkerDevice& device, uint64_t id, const QueueRequest& request)
    : worker_(worker),
      device_(device),
      id_(id),
      queue_id_(request.queue_id),
      entries_(request.entries),
      opened_(worker.reactor().now()),
      max_commands_(2 * request.entries),
      stalled_since_(opened_),
      ids_(std::make_unique<std::bitset<65536>>()),
      sq_entries_(request.entries) {}

Queue::~Queue() {
  release_handles();
  rw_.reset();
  qp_.reset();
  if (completion_queue_ != nullptr) completion_queue_->used -= completions_;
}

absl::Status Queue::open(ConnectRequest& request, uint32_t in_capsule) {
  DeviceContext& context = *device_.context;
  peer_ = request.info().peer;
  local_ = request.info().local;
  receive_bytes_ = uint32_t(sizeof(nvme::Sqe)) + (queue_id_ == 0 ? 1024 : in_capsule);
  receive_stride_ =
      uint32_t(round_up(receive_bytes_ - sizeof(nvme::Sqe), kDataAlignment)) + kDataAlignment;
  const size_t receive_area = size_t(entries_) * receive_stride_;
  const size_t completion_area = size_t(max_commands_) * sizeof(nvme::Cqe);
  auto memory = Pages::create(round_up(receive_area + completion_area, 4096));
  if (!memory.ok()) return memory.status();
  memory_ = std::move(*memory);
  auto mr = context.pd().reg_mr(memory_.memory(), context.local_access(Access::kLocalWrite));
  if (!mr.ok()) return mr.status();
  mr_ = std::move(*mr);

  const RwQueueNeeds needs = rw_queue_needs(context.caps(), context.limits());
  QpOptions options;
  // Every command may have its completion in the queue, besides what the transfers take.
  options.max_send_wr = needs.send_wr + max_commands_;
  options.max_recv_wr = entries_;
  options.max_send_sge = std::max(needs.send_sge, 1u);
  options.max_recv_sge = 1;
  completions_ = options.max_send_wr + options.max_recv_wr;
  auto cq = worker_.take_cq(device_, completions_);
  if (!cq.ok()) return cq.status();
  completion_queue_ = *cq;
  completion_queue_->used += completions_;
  options.send_cq = options.recv_cq = completion_queue_->cq.get();

  nvme::RdmaAccept accept;
  accept.controller_receive_size = uint16_t(entries_);
  ConnectParams params;
  params.private_data = nvme::bytes_of(accept);
  auto qp = request.accept(context.pd(), options, params, *this);
  if (!qp.ok()) return qp.status();
  qp_ = std::move(*qp);
  auto rw = RwContext::create(*qp_, context.pool(), context.limits());
  if (!rw.ok()) return rw.status();
  rw_ = std::move(*rw);
  for (uint32_t i = 0; i < entries_; ++i) {
    auto receive = std::make_unique<Receive>(&QueueCallbacks::received);
    receive->queue = this;
    receive->buffer = memory_.memory().data() + size_t(i) * receive_stride_ +
                      (kDataAlignment - sizeof(nvme::Sqe));
    const Sge sge{receive->buffer, receive_bytes_, mr_->lkey()};
    RecvRequest post;
    post.completion = receive.get();
    post.sges = {&sge, 1};
    receives_.push_back(std::move(receive));
    if (qp_->post_recv(post) != PostStatus::kOk) {
      return absl::InternalError("the device refuses a receive");
    }
  }
  return absl::OkStatus();
}

void Queue::on_connected(Qp&, const ConnectionInfo& info) {
  local_ = info.local;
  connected_ = true;
}

void Queue::on_rejected(Qp&, std::span<const std::byte>) {}

void Queue::on_disconnected(Qp&, const Disconnect& why) {
  if (worker_.options().verbose) {
    std::fprintf(stderr, "%s queue %u: disconnected (%s%s%s)\n", peer_.c_str(), queue_id_,
                 std::string(to_string(why.reason)).c_str(), why_.empty() ? "" : ": ",
                 why_.empty() ? std::string(why.detail).c_str() : why_.c_str());
  }
  close();
}

void Queue::drop(std::string_view why) {
  if (closing_ || closed_) return;
  closing_ = true;
  why_ = why;
  if (qp_ != nullptr) qp_->abort();
}

// The connection is gone: nothing can be answered any more. Commands that only wait are done; those
// in the hands of the storage finish when it answers.
void Queue::close() {
  closing_ = closed_ = true;
  if (rw_ != nullptr) rw_->stop();
  for (const auto& command : commands_) {
    if (command->stage == Stage::kBuffers) {
      worker_.forget_waiter(*command);
      command->chunk_count = 0;
      finish(*command);
    } else if (command->stage == Stage::kJoining) {
      worker_.target().forget_waiter({worker_.index(), id_});
      finish(*command);
    } else if (command->stage == Stage::kParked || command->stage == Stage::kAborting) {
      finish(*command);
    }
  }
  if (controller_ != nullptr) worker_.target().disconnected(*controller_, queue_id_);
  worker_.queue_finished();
}

void Queue::tick(Nanoseconds now) {
  if (closing_ || closed_) return;
  if (controller_ == nullptr) {
    if (now - opened_ > kConnectTimeout) drop("no Connect command in time");
    return;
  }
  if (traffic_) {
    traffic_ = false;
    controller_->note_traffic(now);
  }
  if (queue_id_ == 0) {
    if (controller_->keep_alive_expired(now)) {
      daemon::say_of_peers(absl::StrCat(peer_, " controller ", controller_->identity().id, " of ",
                                        controller_->identity().host_nqn,
                                        ": keep-alive timeout, connections dropped"));
      controller_->terminate();
      return;
    }
  } else {
    if (outstanding_ != 0) IoCounters::add(counters_->busy_ns, uint64_t(kTick.count()));
    refresh_namespaces();  // lets go of volumes that are no longer served
  }
  if (transfers_ == 0 || progress_ != seen_progress_) {
    seen_progress_ = progress_;
    stalled_since_ = now;
  } else if (now - stalled_since_ > worker_.options().stall_timeout) {
    drop("transfers make no progress");
  }
}

uint64_t Queue::worst_memory(uint32_t entries, uint32_t in_capsule) {
  const uint64_t receive = round_up(in_capsule, kDataAlignment) + kDataAlignment;
  return entries * (receive + 2 * (sizeof(Command) + sizeof(nvme::Cqe)));
}

size_t Queue::memory_bytes() const {
  return memory_.memory().size() + commands_.size() * sizeof(Command) +
         (qp_ == nullptr ? 0 : qp_->memory_bytes()) + sizeof *ids_ + sizeof *this;
}

// Receiving.

void Queue::grow() {
  auto* cqes =
      reinterpret_cast<nvme::Cqe*>(memory_.memory().data() + size_t(entries_) * receive_stride_);
  for (uint32_t i = 0; i < kSlab && commands_.size() < max_commands_; ++i) {
    auto command = std::make_unique<Command>(&QueueCallbacks::sent, &QueueCallbacks::transferred,
                                             &QueueCallbacks::stored);
    command->queue = this;
    command->slot = uint32_t(commands_.size());
    command->cqe = cqes + command->slot;
    free_.push_back(command.get());
    commands_.push_back(std::move(command));
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

void Queue::received(Receive& receive, const WorkCompletion& wc) {
  if (wc.status != WcStatus::kSuccess || closing_) return;
  if (wc.byte_len < sizeof(nvme::Sqe)) return drop("a capsule shorter than 64 bytes");
  Command* command = take_command();
  if (command == nullptr) return drop("more commands than the queue has entries");
  traffic_ = true;
  if (++sq_head_ >= sq_entries_) sq_head_ = 0;
  command->receive = &receive;
  const std::span<const std::byte> capsule(receive.buffer, wc.byte_len);
  command->sqe = nvme::read_struct<nvme::Sqe>(capsule);
  dispatch(*command, capsule);
}

void Queue::dispatch(Command& command, std::span<const std::byte> capsule) {
  command.data = {};
  const uint16_t id = command.sqe.command_id;
  if (ids_->test(id)) return respond(command, with_dnr(Status::kCommandIdConflict));
  ids_->set(id);
  command.owns_id = true;
  if (const Status s = check_flags(command.sqe); !ok(s)) return respond(command, s);
  if (const Status s = parse_sgl(capsule, command.data); !ok(s)) {
    command.data = {};
    return respond(command, s);
  }
  if (command.sqe.opcode == nvme::kFabricsOpcode) return dispatch_fabrics(command);
  if (controller_ == nullptr) return respond(command, with_dnr(Status::kCommandSequence));
  if (queue_id_ == 0) return dispatch_admin(command);
  dispatch_io(command);
}

void Queue::dispatch_fabrics(Command& command) {
  const auto wire = std::bit_cast<nvme::PropertyCommand>(command.sqe);
  if (wire.type == nvme::FabricsType::kConnect) {
    if (controller_ != nullptr) return respond(command, with_dnr(Status::kCommandSequence));
    if (command.data.length != sizeof(nvme::ConnectData)) {
      return respond(command, with_dnr(Status::kSglDataLength));
    }
    command.purpose = Purpose::kConnect;
    if (!command.data.remote()) return connect(command);
    if (take_buffers(command, 1)) fetch(command);
    return;
  }
  if (controller_ == nullptr) return respond(command, with_dnr(Status::kCommandSequence));
  const bool admin = queue_id_ == 0;
  const Nanoseconds now = worker_.reactor().now();
  if (wire.type == nvme::FabricsType::kPropertyGet && admin) {
    const AdminReply reply = controller_->property_get(wire);
    return respond(command, reply.status, reply.result);
  }
  if (wire.type == nvme::FabricsType::kPropertySet && admin) {
    const AdminReply reply = controller_->property_set(wire, now);
    deliver_events();  // a reset ended those that were parked
    return respond(command, reply.status, reply.result);
  }
  if (wire.type == nvme::FabricsType::kDisconnect && !admin) {
    // [fab] 3.2: the queue is deleted once the answer is out.
    respond(command, Status::kSuccess);
    if (!closing_) {
      closing_ = true;
      why_ = "the host deleted the queue";
      qp_->disconnect();
    }
    return;
  }
  respond(command, with_dnr(wire.type == nvme::FabricsType::kDisconnect ? Status::kInvalidQueueType
                                                                        : Status::kInvalidOpcode));
}

void Queue::connect(Command& command) {
  // Another Connect may have come in while this one's data was fetched.
  if (controller_ != nullptr) return respond(command, with_dnr(Status::kCommandSequence));
  const auto wire = std::bit_cast<nvme::ConnectCommand>(command.sqe);
  const auto data = nvme::read_struct<nvme::ConnectData>(host_data(command, 0));
  QueueFacts facts;
  facts.ref = {worker_.index(), id_};
  facts.cm_queue_id = queue_id_;
  facts.entries = entries_;
  facts.local_address = local_;
  Connected connected = worker_.target().connect(wire, data, facts, worker_.reactor().now());
  if (connected.wait) {
    command.stage = Stage::kJoining;
    return;
  }
  if (ok(connected.status)) {
    controller_ = std::move(connected.controller);
    counters_ = &controller_->subsystem().counters(worker_.index());
    sq_entries_ = uint32_t(wire.sq_size0) + 1;
    sq_flow_ = (wire.attributes & nvme::kConnectDisableSqFlow) == 0;
    // The Connect command itself was the first entry.
    sq_head_ = 1 % sq_entries_;
  }
  respond(command, connected.status, connected.result);
}

void Queue::connect_again() {
  for (const auto& command : commands_) {
    if (!closing_ && command->stage == Stage::kJoining) connect(*command);
  }
}

void Queue::drained() {
  if (controller_ != nullptr) worker_.target().drained(*controller_, queue_id_);
}

// Administration.

void Queue::dispatch_admin(Command& command) {
  AdminReply reply = controller_->admin(command.sqe, command.data.length, worker_.reactor().now());
  switch (reply.kind) {
    case AdminReply::Kind::kPark:
      command.stage = Stage::kParked;
      return deliver_events();
    case AdminReply::Kind::kAbort:
      command.stage = Stage::kAborting;
      return worker_.aborts().route_abort(
          reply.abort_queue, reply.abort_cid,
          {{worker_.index(), id_}, command.slot, command.serial, true});
    case AdminReply::Kind::kReply:
      break;
  }
  if (!ok(reply.status) || reply.data.empty()) {
    return respond(command, reply.status, reply.result);
  }
  // Data for the host needs the host's memory.
  if (!command.data.remote()) return respond(command, with_dnr(Status::kInvalidField));
  command.purpose = Purpose::kAdminReply;
  command.reply = std::move(reply.data);
  if (take_buffers(command, BufferPool::chunks_for(command.reply.size()))) send_reply(command);
}

void Queue::send_reply(Command& command) {
  std::span<const std::byte> rest = command.reply;
  for (uint32_t i = 0; !rest.empty(); ++i) {
    const size_t n = std::min<size_t>(rest.size(), BufferPool::kChunk);
    std::copy_n(rest.begin(), n, worker_.buffers().chunk(command.chunks[i]));
    rest = rest.subspan(n);
  }
  command.reply = {};
  send_data(command);
}

void Queue::deliver_events() {
  if (controller_ == nullptr || closing_) return;
  for (const AsyncCompletion& event : controller_->take_events()) {
    const auto at = std::find_if(commands_.begin(), commands_.end(), [&](const auto& command) {
      return command->stage == Stage::kParked && command->sqe.command_id == event.command_id;
    });
    if (at != commands_.end()) respond(**at, event.status, event.result);
  }
}

Queue::AbortResult Queue::abort_command(uint16_t command_id, const AbortWaiter& waiter) {
  if (closing_ || !ids_->test(command_id)) return AbortResult::kNotAborted;
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
    case Stage::kBuffers:
      worker_.forget_waiter(command);
      command.chunk_count = 0;
      respond(command, Status::kAbortRequested);
      return AbortResult::kAborted;
    case Stage::kFetching:
      // What is on the wire has to end first; the answer waits for it.
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

const WorkRequest& Queue::answer(Command& command, Status status, uint64_t result) {
  nvme::Cqe& cqe = *command.cqe;
  cqe.result = result;
  cqe.sq_head = sq_flow_ ? uint16_t(sq_head_) : uint16_t{0xffff};
  cqe.sq_id = uint16_t{0};  // reserved in Fabrics
  cqe.command_id = command.sqe.command_id;
  cqe.set_status(status);
  command.answer_sge = {reinterpret_cast<std::byte*>(&cqe), sizeof cqe, mr_->lkey()};
  WorkRequest& wr = command.answer;
  wr = {};
  wr.completion = &command.send;
  wr.sges = {&command.answer_sge, 1};
  if (command.data.invalidate.has_value() && device_.context->caps().send_with_inv) {
    wr.opcode = Opcode::kSendWithInv;
    wr.rkey = *command.data.invalidate;
  } else {
    wr.opcode = Opcode::kSend;
  }
  // The id and the entry are the host's again as soon as it sees the completion.
  if (command.owns_id) {
    ids_->reset(command.sqe.command_id);
    command.owns_id = false;
  }
  if (command.receive != nullptr) {
    const Sge sge{command.receive->buffer, receive_bytes_, mr_->lkey()};
    RecvRequest post;
    post.completion = command.receive;
    post.sges = {&sge, 1};
    // Refused only when the connection has ended.
    if (qp_->post_recv(post) != PostStatus::kOk) closing_ = true;
    command.receive = nullptr;
  }
  return wr;
}

void Queue::respond(Command& command, Status status, uint64_t result) {
  if (!ok(status)) note_failure(command, status);
  if (closing_) return finish(command);
  command.stage = Stage::kAnswering;
  const WorkRequest& wr = answer(command, status, result);
  command.sending = true;
  if (!qp_->post_send(wr).ok()) {
    command.sending = false;
    finish(command);
    drop("a completion could not be sent");
  }
}

void Queue::note_failure(Command& command, Status status) {
  if (controller_ == nullptr) return;
  const Status bare = code(status);
  if (bare == Status::kUnrecoveredRead || bare == Status::kWriteFault) {
    IoCounters::add(counters_->media_errors, 1);
  }
  controller_->record_error(queue_id_, command.sqe.command_id, status, command.sqe.nsid,
                            queue_id_ == 0 ? 0 : command.sqe.slba());
}

void Queue::sent(Command& command) {
  command.sending = false;
  ++progress_;
  if (!command.transferring) finish(command);
}

// Gives back what the command holds of others.
void Queue::release(Command& command) {
  if (command.holding) {
    command.holding = false;
    command.channel->channel->release(command.io);
  }
  if (command.channel != nullptr) {
    --command.channel->uses;
    command.channel = nullptr;
  }
  if (command.chunk_count != 0) worker_.put_buffers(command);
}

void Queue::finish(Command& command) {
  release(command);
  if (command.owns_id) {
    ids_->reset(command.sqe.command_id);
    command.owns_id = false;
  }
  if (command.waiter.set) {
    command.waiter.set = false;
    worker_.aborts().route_answer(command.waiter, command.aborted);
  }
  command.stage = Stage::kFree;
  command.aborted = false;
  command.gather = nullptr;
  command.receive = nullptr;
  command.reply = {};
  command.step = 0;
  command.chunk_base = 0;
  command.purpose = Purpose::kIo;
  free_.push_back(&command);
  --outstanding_;
  if (closed_ && outstanding_ == 0) worker_.queue_finished();
}

}  // namespace mrpool::nvmf_target
