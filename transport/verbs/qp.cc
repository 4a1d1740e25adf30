#include "transport/verbs/qp.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "transport/verbs/device.h"
#include "transport/verbs/errors.h"

namespace mrpool::verbs {
namespace {

// How long a close waits for what was posted to go out, and then for the peer's answer.
constexpr Nanoseconds kDrainLimit = std::chrono::seconds(5);
constexpr Nanoseconds kCloseLimit = std::chrono::seconds(1);

}  // namespace

template <typename Slot>
VerbsQp::Ring<Slot>::Ring(uint32_t capacity)
    : slots(new Slot[std::bit_ceil(std::max(capacity, 1u))]()),
      mask(std::bit_ceil(std::max(capacity, 1u)) - 1),
      limit(capacity) {}

VerbsQp::VerbsQp(std::shared_ptr<VerbsDevice> device, std::shared_ptr<CmChannel> channel,
                 VerbsPd& pd, const QpOptions& options, const checks::CqShares& shares,
                 const ConnectParams& params, QpEvents& events)
    : device_(std::move(device)),
      channel_(std::move(channel)),
      pd_(pd),
      reactor_(options.send_cq->reactor()),
      send_cq_(static_cast<VerbsCq&>(*options.send_cq)),
      recv_cq_(static_cast<VerbsCq&>(*options.recv_cq)),
      srq_(static_cast<VerbsSrq*>(options.srq)),
      events_(events),
      options_(options),
      shares_(shares),
      owner_(device_->next_owner()),
      private_data_(params.private_data.begin(), params.private_data.end()),
      sends_(options.max_send_wr),
      recvs_(options.srq != nullptr ? 0 : options.max_recv_wr) {
  send_cq_.take_room(shares_.send);
  recv_cq_.take_room(shares_.recv);
  device_->registry().add(counters_);
}

VerbsQp::~VerbsQp() {
  if (gone_ != nullptr) *gone_ = true;
  if (id_ != nullptr && state_ != State::kEnding) counters_.end(DisconnectReason::kLocal);
  state_ = State::kEnded;
  if (number_ != 0 && id_ == nullptr) leave_cqs();  // from inside its own tear_down
  tear_down();
  send_cq_.give_room(shares_.send);
  recv_cq_.give_room(shares_.recv);
  device_->registry().remove(counters_);
}

void VerbsQp::disconnect() {
  check_thread(reactor_, "Qp::disconnect");
  if (state_ == State::kConnecting) {
    end(DisconnectReason::kLocal, "");
  } else if (state_ == State::kConnected) {
    state_ = State::kClosing;
    timer_.arm(reactor_, kDrainLimit);
    if (sends_.outstanding() == 0) sent_all();
  }
}

void VerbsQp::sent_all() {
  told_peer_ = true;
  rdma_disconnect(id_);
  timer_.arm(reactor_, kCloseLimit);
}

void VerbsQp::abort() {
  check_thread(reactor_, "Qp::abort");
  if (state_ == State::kEnding || state_ == State::kEnded) return;
  end(DisconnectReason::kLocal, "");
}

void VerbsQp::on_timer() {
  switch (state_) {
    case State::kConnecting:
      if (accepting_ && !told_peer_) {
        told_peer_ = true;
        if (answer_connection() != 0) {
          end(DisconnectReason::kReset, absl::StrCat("rdma_accept: ", std::strerror(errno)));
        } else {
          timer_.arm(reactor_, kDrainLimit);
        }
        return;
      }
      end(DisconnectReason::kTimeout, "no answer in time");
      return;
    case State::kConnected:  // flushed, and nobody said why
      end(unexplained_, detail_.empty() ? "the queue pair failed" : detail_);
      return;
    case State::kClosing:
      end(DisconnectReason::kLocal, "");
      return;
    case State::kEnding:
      finish();
      return;
    case State::kEnded:
      return;
  }
}

void VerbsQp::end(DisconnectReason reason, std::string_view detail, Nanoseconds delay) {
  const bool was_connected = state_ == State::kConnected || state_ == State::kClosing;
  if (state_ != State::kEnding && state_ != State::kEnded) counters_.end(reason);
  state_ = State::kEnding;
  reason_ = reason;
  detail_ = std::string(detail);
  if (was_connected && id_ != nullptr) rdma_disconnect(id_);
  timer_.arm(reactor_, delay);
}

bool VerbsQp::tear_down() {
  timer_.cancel();
  const Alive alive(gone_);
  if (rdma_cm_id* const id = std::exchange(id_, nullptr); id != nullptr) {
    pd_.release_windows(owner_);
    if (id->qp != nullptr) rdma_destroy_qp(id);
    rdma_destroy_id(id);
  }
  if (number_ != 0) {
    send_cq_.drain(owner_, number_);
    if (alive.gone()) return false;
    recv_cq_.drain(owner_, number_);
    if (alive.gone()) return false;
    leave_cqs();
  }
  const auto flush = [&](Completion* completion, Opcode opcode) {
    counters_.failed(WcStatus::kFlushed);
    if (completion != nullptr) completion->done(completed(WcStatus::kFlushed, opcode));
    return !alive.gone();
  };
  while (sends_.done != sends_.posted) {
    const SendSlot slot = sends_.at(sends_.done++);
    if (!flush(slot.completion, slot.opcode)) return false;
  }
  while (recvs_.done != recvs_.posted) {
    if (!flush(recvs_.at(recvs_.done++), Opcode::kRecv)) return false;
  }
  const std::vector<EarlyRecv> early = std::exchange(early_recvs_, {});
  for (const EarlyRecv& recv : early) {
    if (!flush(recv.completion, Opcode::kRecv)) return false;
  }
  return true;
}

void VerbsQp::leave_cqs() {
  send_cq_.detach(owner_, number_);
  recv_cq_.detach(owner_, number_);
  number_ = 0;
}

void VerbsQp::finish() {
  state_ = State::kEnded;
  if (!tear_down()) return;
  const std::string detail = std::move(detail_);
  Disconnect why;
  why.reason = reason_;
  why.detail = detail;
  events_.on_disconnected(*this, why);
}

ConnectionState VerbsQp::state() const {
  switch (state_) {
    case State::kConnecting:
      break;
    case State::kConnected:
      return ConnectionState::kConnected;
    case State::kClosing:
      return ConnectionState::kClosing;
    case State::kEnding:
    case State::kEnded:
      return ConnectionState::kClosed;
  }
  return ConnectionState::kConnecting;
}

bool VerbsQp::supports(Opcode opcode) const {
  if (state_ != State::kConnected) return false;
  const DeviceCaps& caps = device_->caps();
  switch (opcode) {
    case Opcode::kSend:
    case Opcode::kRdmaWrite:
      return true;
    case Opcode::kSendWithInv:
      return caps.send_with_inv;
    case Opcode::kRdmaRead:
      return ord_ > 0;
    case Opcode::kRegMr:
    case Opcode::kLocalInv:
      return caps.registration == Registration::kMemoryWindow;
    case Opcode::kSendWithImm:
    case Opcode::kRdmaWriteWithImm:
      return caps.immediate_data;
    case Opcode::kCompareSwap:
    case Opcode::kFetchAdd:
      return caps.atomics != AtomicScope::kNone && ord_ > 0;
    case Opcode::kRdmaReadWithInv:
    case Opcode::kRecv:
    case Opcode::kRecvWithImm:
    case Opcode::kRecvRdmaWithImm:
      break;
  }
  return false;
}

size_t VerbsQp::memory_bytes() const {
  return sizeof(*this) + (sends_.mask + 1) * sizeof(SendSlot) +
         (recvs_.mask + 1) * sizeof(Completion*) +
         // The device's own queues, as verbs lays them out at the least.
         sends_.limit * (64 + options_.max_send_sge * sizeof(ibv_sge)) +
         recvs_.limit * (16 + options_.max_recv_sge * sizeof(ibv_sge));
}

}  // namespace mrpool::verbs
