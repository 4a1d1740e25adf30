#include "examples/iser/target/qp_link.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace mrpool::iser_target {
namespace {

constexpr size_t kResponseStride = 128;
static_assert(sizeof(Task::response) <= kResponseStride);
constexpr size_t kControlStride = kHeaders + kRecvData + 4;

}  // namespace

void QpLink::Unmap::operator()(std::byte* memory) const { ::munmap(memory, size); }

struct QpLink::Receive : Completion {
  explicit Receive(QpLink& owner)
      : Completion([](Completion& self, const WorkCompletion& wc) {
          auto& receive = static_cast<Receive&>(self);
          receive.link.message(receive, wc);
        }),
        link(owner) {}
  QpLink& link;
  std::byte* data = nullptr;
  size_t offset = 0;  // in the memory
};

struct QpLink::ControlSend : Completion {
  explicit ControlSend(QpLink& owner)
      : Completion([](Completion& self, const WorkCompletion&) {
          auto& send = static_cast<ControlSend&>(self);
          send.link.free_controls_.push_back(&send);
        }),
        link(owner) {}
  QpLink& link;
  size_t offset = 0;
};

// A task with what the queue pair needs for it. Its answer is out when the SEND has completed, and
// the RDMA WRITE in front of it too.
struct QpLink::Slot : Task {
  struct Sent : Completion {
    explicit Sent(Slot& owner)
        : Completion([](Completion& self, const WorkCompletion&) {
            Slot& slot = static_cast<Sent&>(self).slot;
            slot.link.half_done(slot);
          }),
          slot(owner) {}
    Slot& slot;
  };
  struct Operation : RwOperation {
    explicit Operation(Slot& owner)
        : RwOperation([](RwOperation& self, WcStatus status) {
            Slot& slot = static_cast<Operation&>(self).slot;
            if (slot.state == Task::State::kFetching) {
              slot.connection->fetched(slot, status == WcStatus::kSuccess);
              return;
            }
            // A WRITE that failed took the answer behind it along.
            if (!self.last_posted()) --slot.halves;
            slot.link.half_done(slot);
          }),
          slot(owner) {}
    Slot& slot;
  };

  explicit Slot(QpLink& owner)
      : Task(execution_done()), link(owner), sent(*this), operation(*this) {}
  QpLink& link;
  Sent sent;
  Operation operation;
  size_t offset = 0;
  uint32_t halves = 0;
  Sge sge{};
  WorkRequest answer{};
};

QpLink::QpLink(Site& site, Domain& domain, Reactor& reactor)
    : site_(site),
      domain_(domain),
      reactor_(reactor),
      receive_count_(receives(domain.negotiation.initial_r2t)),
      memory_(nullptr, Unmap{0}) {}

QpLink::~QpLink() {
  connection_.reset();
  rw_.reset();
  qp_.reset();
}

size_t QpLink::memory_bytes() const {
  return memory_.get_deleter().size + slots_.size() * sizeof(Slot) +
         (qp_ != nullptr ? qp_->memory_bytes() : 0);
}

absl::Status QpLink::allocate() {
  const size_t size =
      receive_count_ * kReceiveStride + kTasks * kResponseStride + kControlSends * kControlStride;
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        absl::StrCat(size, " bytes for a connection: ", strerror(errno)));
  }
  memory_ = {static_cast<std::byte*>(memory), Unmap{size}};
  absl::StatusOr<std::unique_ptr<Mr>> mr =
      domain_.pd->reg_mr({memory_.get(), size}, Access::kLocalWrite);
  if (!mr.ok()) return mr.status();
  mr_ = *std::move(mr);
  size_t at = 0;
  for (uint32_t i = 0; i < receive_count_; ++i, at += kReceiveStride) {
    receives_.push_back(std::make_unique<Receive>(*this));
    receives_.back()->offset = at + kReceiveOffset;
    receives_.back()->data = memory_.get() + at + kReceiveOffset;
  }
  for (uint32_t i = 0; i < kTasks; ++i, at += kResponseStride) {
    slots_.push_back(std::make_unique<Slot>(*this));
    slots_.back()->offset = at;
    free_slots_.push_back(slots_.back().get());
  }
  for (uint32_t i = 0; i < kControlSends; ++i, at += kControlStride) {
    controls_.push_back(std::make_unique<ControlSend>(*this));
    controls_.back()->offset = at;
    free_controls_.push_back(controls_.back().get());
  }
  return absl::OkStatus();
}

absl::Status QpLink::open(ConnectRequest& request) {
  local_ = request.info().local;
  peer_ = request.info().peer;
  const auto theirs = iscsi::ConnectPrivateData::decode(request.info().private_data);
  // Remote invalidation where both sides and the device do it; a peer that says nothing does not.
  remote_invalidation_ =
      theirs && !theirs->send_with_inv_not_used && domain_.device->caps().send_with_inv;
  if (absl::Status status = allocate(); !status.ok()) return status;
  connection_ = std::make_unique<Connection>(site_, site_.worker(0), *this, domain_.negotiation);

  const RwQueueNeeds needs = rw_queue_needs(domain_.device->caps(), domain_.limits);
  // One answer a task, answers to other PDUs, and the transfers.
  const uint32_t sends = kTasks + kControlSends + needs.send_wr;
  absl::StatusOr<std::unique_ptr<Cq>> cq =
      domain_.device->create_cq(reactor_, {.depth = sends + receive_count_});
  if (!cq.ok()) return cq.status();
  cq_ = *std::move(cq);
  const QpOptions options{.send_cq = cq_.get(),
                          .recv_cq = cq_.get(),
                          .max_send_wr = sends,
                          .max_recv_wr = receive_count_,
                          .max_send_sge = std::max(1u, needs.send_sge),
                          .max_recv_sge = 1};
  std::array<std::byte, iscsi::ConnectPrivateData::kSize> ours;
  iscsi::ConnectPrivateData{.zero_based_not_used = true,
                            .send_with_inv_not_used = !remote_invalidation_}
      .encode(ours);
  absl::StatusOr<std::unique_ptr<Qp>> qp =
      request.accept(*domain_.pd, options, {.private_data = ours}, *this);
  if (!qp.ok()) return qp.status();
  qp_ = *std::move(qp);
  absl::StatusOr<std::unique_ptr<RwContext>> rw =
      RwContext::create(*qp_, domain_.pool.get(), domain_.limits);
  if (!rw.ok()) return rw.status();
  rw_ = *std::move(rw);
  for (const auto& receive : receives_) post(*receive);
  return absl::OkStatus();
}

void QpLink::post(Receive& receive) {
  const Sge sge = mr_->sge(receive.offset, kReceiveSize);
  const RecvRequest request{.completion = &receive, .sges = {&sge, 1}};
  // Refused only when the connection has ended, and then nobody waits for it.
  (void)qp_->post_recv(request);
}

void QpLink::message(Receive& receive, const WorkCompletion& wc) {
  if (wc.status != WcStatus::kSuccess) return;
  if (!connection_->received({receive.data, wc.byte_len}, &receive)) post(receive);
}

void QpLink::half_done(Slot& slot) {
  if (--slot.halves == 0) slot.connection->sent(slot);
}

// --- Link ---

Task* QpLink::take_task() {
  if (free_slots_.empty()) return nullptr;
  Slot* slot = free_slots_.back();
  free_slots_.pop_back();
  return slot;
}

void QpLink::release(Task& task) { free_slots_.push_back(&static_cast<Slot&>(task)); }

void QpLink::release_receive(void* receive) { post(*static_cast<Receive*>(receive)); }

bool QpLink::send(std::span<const std::byte> pdu) {
  if (free_controls_.empty() || pdu.size() > kControlStride) return false;
  ControlSend& send = *free_controls_.back();
  std::ranges::copy(pdu, memory_.get() + send.offset);
  const Sge sge = mr_->sge(send.offset, uint32_t(pdu.size()));
  const WorkRequest request{.completion = &send, .sges = {&sge, 1}};
  // One that cannot be posted any more has nobody to reach.
  if (qp_->post_send(request).ok()) free_controls_.pop_back();
  return true;
}

namespace {

void prepare_answer(WorkRequest& request, Completion& completion, std::span<const Sge> sges,
                    std::optional<Rkey> invalidate) {
  request = {};
  request.completion = &completion;
  request.opcode = invalidate ? Opcode::kSendWithInv : Opcode::kSend;
  request.solicited = true;
  request.sges = sges;
  if (invalidate) request.rkey = *invalidate;
}

}  // namespace

bool QpLink::respond(Task& task, std::optional<Rkey> invalidate) {
  Slot& slot = static_cast<Slot&>(task);
  std::memcpy(memory_.get() + slot.offset, task.response.data(), task.response_size);
  slot.sge = mr_->sge(slot.offset, task.response_size);
  prepare_answer(slot.answer, slot.sent, {&slot.sge, 1}, invalidate);
  slot.halves = 1;
  return qp_->post_send(slot.answer).ok();
}

bool QpLink::push(Task& task, const RemoteBuffer& to, std::optional<Rkey> invalidate) {
  Slot& slot = static_cast<Slot&>(task);
  std::memcpy(memory_.get() + slot.offset, task.response.data(), task.response_size);
  slot.sge = mr_->sge(slot.offset, task.response_size);
  prepare_answer(slot.answer, slot.sent, {&slot.sge, 1}, invalidate);
  slot.halves = 2;
  std::array<Sge, kMaxChunks> sges;
  const size_t count = domain_.staging->sges(task, 0, to.length, sges);
  return rw_->start(slot.operation, RwDirection::kWrite, {sges.data(), count}, to, &slot.answer) ==
         PostStatus::kOk;
}

bool QpLink::fetch(Task& task, const RemoteBuffer& from, uint64_t offset) {
  Slot& slot = static_cast<Slot&>(task);
  std::array<Sge, kMaxChunks> sges;
  const size_t count = domain_.staging->sges(task, offset, from.length, sges);
  return rw_->start(slot.operation, RwDirection::kRead, {sges.data(), count}, from) ==
         PostStatus::kOk;
}

bool QpLink::take_chunks(Task& task, uint64_t bytes) { return domain_.staging->take(task, bytes); }
void QpLink::give_chunks(Task& task) { domain_.staging->put(task); }
void QpLink::cancel_chunks(Task& task) { domain_.staging->cancel(task); }
std::span<std::byte> QpLink::chunk(uint16_t index) { return domain_.staging->chunk(index); }

void QpLink::disconnect() { qp_->disconnect(); }

void QpLink::drop(std::string_view why) {
  site_.log(absl::StrCat(peer_, ": dropped: ", std::string(why)));
  qp_->abort();
}

// --- QpEvents ---

void QpLink::on_connected(Qp&, const ConnectionInfo&) {}
void QpLink::on_rejected(Qp&, std::span<const std::byte>) {}

void QpLink::on_disconnected(Qp&, const Disconnect& why) {
  if (why.reason != DisconnectReason::kLocal && why.reason != DisconnectReason::kPeer) {
    site_.log(absl::StrCat(peer_, ": ", std::string(to_string(why.reason)), " ",
                           std::string(why.detail)));
  }
  closed_ = true;
  if (rw_ != nullptr) rw_->stop();
  connection_->closed();
}

}  // namespace mrpool::iser_target
