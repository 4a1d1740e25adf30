#include "transport/verbs/qp.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "transport/verbs/device.h"
#include "transport/verbs/errors.h"
#include "transport/verbs/requests.h"

namespace mrpool::verbs {
namespace {

constexpr int kRouteMs = 2000;
// How long a close waits for what was posted to go out, and then for the peer's answer.
constexpr Nanoseconds kDrainLimit = std::chrono::seconds(5);
constexpr Nanoseconds kCloseLimit = std::chrono::seconds(1);
// A queue pair that fails by itself flushes before its reason arrives, if one arrives at all.
constexpr Nanoseconds kReasonLimit = std::chrono::milliseconds(100);
// Requests given to the device in one call.
constexpr size_t kPostBatch = 16;

WorkCompletion completed(WcStatus status, Opcode opcode, Qp& qp) {
  WorkCompletion wc;
  wc.status = status;
  wc.opcode = opcode;
  wc.qp = &qp;
  return wc;
}

DisconnectReason reason_of(WcStatus status) {
  switch (status) {
    case WcStatus::kRemoteAccess:
    case WcStatus::kRemoteInvalidRequest:
    case WcStatus::kRemoteOperation:
      return DisconnectReason::kTerminated;
    case WcStatus::kFlushed:
    case WcStatus::kLocalLength:
      return DisconnectReason::kProtocol;
    default:
      return DisconnectReason::kReset;
  }
}

}  // namespace

template <typename Slot>
VerbsQp::Ring<Slot>::Ring(uint32_t capacity)
    : slots(new Slot[std::bit_ceil(std::max(capacity, 1u))]()),
      mask(std::bit_ceil(std::max(capacity, 1u)) - 1),
      limit(capacity) {}

VerbsQp::VerbsQp(std::shared_ptr<VerbsDevice> device, std::shared_ptr<CmChannel> channel,
                 VerbsPd& pd, const QpOptions& options, const ConnectParams& params,
                 QpEvents& events)
    : device_(std::move(device)),
      channel_(std::move(channel)),
      pd_(pd),
      reactor_(options.send_cq->reactor()),
      send_cq_(static_cast<VerbsCq&>(*options.send_cq)),
      recv_cq_(static_cast<VerbsCq&>(*options.recv_cq)),
      srq_(static_cast<VerbsSrq*>(options.srq)),
      events_(events),
      options_(options),
      owner_(device_->next_owner()),
      timer_([](Timer& timer) { static_cast<QpTimer&>(timer).qp.on_timer(); }, *this),
      private_data_(params.private_data.begin(), params.private_data.end()),
      sends_(options.max_send_wr),
      recvs_(options.srq != nullptr ? 0 : options.max_recv_wr) {}

VerbsQp::~VerbsQp() {
  if (gone_ != nullptr) *gone_ = true;
  state_ = State::kEnded;
  if (number_ != 0 && id_ == nullptr) detach();  // from inside its own tear_down
  tear_down();
}

// --- making a connection
// --------------------------------------------------------------------------

absl::Status VerbsQp::check_options(const VerbsDevice& device, const VerbsPd& pd,
                                    const QpOptions& options, const ConnectParams& params,
                                    rdma_cm_event_type message) {
  if (options.send_cq == nullptr || options.recv_cq == nullptr) {
    return absl::InvalidArgumentError("QpOptions needs send_cq and recv_cq");
  }
  if (&options.send_cq->reactor() != &options.recv_cq->reactor()) {
    return absl::InvalidArgumentError("send_cq and recv_cq belong to different reactors");
  }
  const std::string& name = device.caps().name;
  if (&pd.device() != &device) {
    return absl::InvalidArgumentError(
        absl::StrCat("the Pd belongs to ", pd.caps().name, ", the connection to ", name));
  }
  const DeviceCaps& caps = device.caps();
  for (const absl::Status& status : {
           check_limit("max_qp_wr", std::max(options.max_send_wr, options.max_recv_wr),
                       caps.max_qp_wr, name),
           check_limit("max_sge", std::max(options.max_send_sge, options.max_recv_sge),
                       caps.max_sge, name),
       }) {
    if (!status.ok()) return status;
  }
  if (const size_t limit = device.max_private_data(message); params.private_data.size() > limit) {
    return absl::InvalidArgumentError(absl::StrCat(
        params.private_data.size(), " bytes of private data; ", name, " carries up to ", limit));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Qp>> VerbsQp::connect(std::shared_ptr<VerbsDevice> device,
                                                     const Address& address, VerbsPd& pd,
                                                     const QpOptions& options,
                                                     const ConnectParams& params,
                                                     QpEvents& events) {
  absl::StatusOr<sockaddr_storage> where = socket_address(address);
  if (!where.ok()) return where.status();
  if (absl::Status status =
          check_options(*device, pd, options, params, RDMA_CM_EVENT_CONNECT_REQUEST);
      !status.ok()) {
    return status;
  }
  absl::StatusOr<std::shared_ptr<CmChannel>> channel =
      device->channel_for(options.send_cq->reactor());
  if (!channel.ok()) return channel.status();
  std::unique_ptr<VerbsQp> qp(new VerbsQp(device, *channel, pd, options, params, events));
  const std::string& name = device->caps().name;
  if (rdma_create_id((*channel)->get(), &qp->id_, static_cast<CmHandler*>(qp.get()), RDMA_PS_TCP) !=
      0) {
    return errno_status(errno, "creating a connection id", name);
  }
  const auto limit = std::chrono::duration_cast<std::chrono::milliseconds>(params.timeout).count();
  if (rdma_resolve_addr(qp->id_, nullptr, reinterpret_cast<sockaddr*>(&*where),
                        int(std::clamp<int64_t>(limit, 1, INT32_MAX))) != 0) {
    return errno_status(errno, absl::StrCat("resolving ", address.to_string()), name);
  }
  qp->timer_.arm(qp->reactor_, params.timeout);
  return qp;
}

absl::StatusOr<std::unique_ptr<Qp>> VerbsQp::accept(std::shared_ptr<VerbsDevice> device,
                                                    rdma_cm_id* id, const ConnectionInfo& offer,
                                                    VerbsPd& pd, const QpOptions& options,
                                                    const ConnectParams& params, QpEvents& events) {
  if (absl::Status status =
          check_options(*device, pd, options, params, RDMA_CM_EVENT_CONNECT_RESPONSE);
      !status.ok()) {
    return status;
  }
  absl::StatusOr<std::shared_ptr<CmChannel>> channel =
      device->channel_for(options.send_cq->reactor());
  if (!channel.ok()) return channel.status();
  std::unique_ptr<VerbsQp> qp(new VerbsQp(device, *channel, pd, options, params, events));
  qp->accepting_ = true;
  qp->ord_ = std::min(options.ord, offer.ord);
  qp->ird_ = std::min(options.ird, offer.ird);
  qp->peer_data_.assign(offer.private_data.begin(), offer.private_data.end());
  qp->info_ = offer;
  qp->info_.private_data = qp->peer_data_;
  qp->info_.ord = qp->ord_;
  qp->info_.ird = qp->ird_;
  if (id->channel != (*channel)->get() && rdma_migrate_id(id, (*channel)->get()) != 0) {
    return errno_status(errno, "moving a connection to its reactor", device->caps().name);
  }
  qp->id_ = id;
  if (absl::Status status = qp->create_qp(); !status.ok()) {
    qp->id_ = nullptr;  // still the caller's
    return status;
  }
  id->context = static_cast<CmHandler*>(qp.get());
  // Answered from the loop: until then receives can be posted, and the peer may send at once.
  qp->timer_.arm(qp->reactor_, Nanoseconds(0));
  return qp;
}

absl::Status VerbsQp::create_qp() {
  ibv_qp_init_attr attr{};
  attr.send_cq = send_cq_.get();
  attr.recv_cq = recv_cq_.get();
  attr.srq = srq_ != nullptr ? srq_->get() : nullptr;
  attr.qp_type = IBV_QPT_RC;
  attr.cap.max_send_wr = std::max(options_.max_send_wr, 1u);
  attr.cap.max_recv_wr = srq_ != nullptr ? 0 : std::max(options_.max_recv_wr, 1u);
  attr.cap.max_send_sge = std::max(options_.max_send_sge, 1u);
  attr.cap.max_recv_sge = srq_ != nullptr ? 0 : std::max(options_.max_recv_sge, 1u);
  if (rdma_create_qp(id_, pd_.get(), &attr) != 0) {
    if (errno == ENOMEM) {
      return absl::ResourceExhaustedError(
          absl::StrCat("no queue pair on ", device_->caps().name, " with ", options_.max_send_wr,
                       " sends and ", options_.max_recv_wr, " receives of ", options_.max_send_sge,
                       " sges; the device has max_qp = ", device_->attributes().max_qp));
    }
    return errno_status(errno, "creating a queue pair", device_->caps().name);
  }
  number_ = id_->qp->qp_num;
  send_cq_.attach(owner_, number_, *this);
  recv_cq_.attach(owner_, number_, *this);
  return absl::OkStatus();
}

rdma_conn_param VerbsQp::conn_param() {
  rdma_conn_param param{};
  param.private_data = private_data_.empty() ? nullptr : private_data_.data();
  param.private_data_len = uint8_t(private_data_.size());
  param.responder_resources = uint8_t(ird_);
  param.initiator_depth = uint8_t(ord_);
  param.flow_control = 1;
  param.retry_count = 7;
  // A peer that has no receive posted yet is waited for, as iWARP's TCP window would.
  param.rnr_retry_count = 7;
  param.srq = srq_ != nullptr;
  return param;
}

void VerbsQp::route_found() {
  ord_ = std::min(options_.ord, device_->caps().max_ord);
  ird_ = std::min(options_.ird, device_->caps().max_ird);
  if (absl::Status status = create_qp(); !status.ok()) {
    end(DisconnectReason::kReset, {status.message().data(), status.message().size()});
    return;
  }
  for (const EarlyRecv& early : early_recvs_) {
    const RecvRequest request{.completion = early.completion, .sges = early.sges};
    if (post_recv_now(request) != PostStatus::kOk) {
      end(DisconnectReason::kReset, "the device refuses a receive");
      return;
    }
  }
  early_recvs_ = {};
  rdma_conn_param param = conn_param();
  if (rdma_connect(id_, &param) != 0) {
    end(DisconnectReason::kReset, absl::StrCat("rdma_connect: ", std::strerror(errno)));
  }
}

int VerbsQp::answer_connection() {
  rdma_conn_param param = conn_param();
  return rdma_accept(id_, &param);
}

void VerbsQp::on_cm_event(const CmEvent& event) {
  if (state_ == State::kEnding || state_ == State::kEnded) return;
  switch (event.type) {
    case RDMA_CM_EVENT_ADDR_RESOLVED:
      if (id_->verbs != device_->context()) {
        end(DisconnectReason::kReset,
            absl::StrCat("the address is reached through ", ibv_get_device_name(id_->verbs->device),
                         ", this device is ", device_->caps().name));
      } else if (rdma_resolve_route(id_, kRouteMs) != 0) {
        end(DisconnectReason::kReset, absl::StrCat("no route: ", std::strerror(errno)));
      }
      break;
    case RDMA_CM_EVENT_ROUTE_RESOLVED:
      route_found();
      break;
    case RDMA_CM_EVENT_ESTABLISHED:
      if (state_ != State::kConnecting) break;  // a completion was quicker
      if (!accepting_) {
        // Both numbers speak of this side, but iWARP's answer comes with the two in each other's
        // place (siw of Linux 6.1).
        const bool iwarp = device_->caps().iwarp;
        const rdma_conn_param& param = event.param;
        const uint16_t starts = iwarp ? param.responder_resources : param.initiator_depth;
        const uint16_t serves = iwarp ? param.initiator_depth : param.responder_resources;
        ord_ = std::min(ord_, starts);
        ird_ = std::min(ird_, serves);
        info_ = {.local = to_string(rdma_get_local_addr(id_)),
                 .peer = to_string(rdma_get_peer_addr(id_)),
                 .ord = ord_,
                 .ird = ird_,
                 .private_data = event.private_data};
      }
      established(info_.private_data);
      break;
    case RDMA_CM_EVENT_REJECTED: {
      // The kernel says "rejected" too when nobody listens there.
      end(DisconnectReason::kRejected, absl::StrCat("status ", event.status));
      events_.on_rejected(*this, event.private_data);
      break;
    }
    case RDMA_CM_EVENT_ADDR_ERROR:
    case RDMA_CM_EVENT_ROUTE_ERROR:
    case RDMA_CM_EVENT_UNREACHABLE:
    case RDMA_CM_EVENT_CONNECT_ERROR:
      end(event.status == -ETIMEDOUT ? DisconnectReason::kTimeout : DisconnectReason::kReset,
          absl::StrCat(rdma_event_str(event.type), ": ", std::strerror(std::abs(event.status))));
      break;
    case RDMA_CM_EVENT_DISCONNECTED:
      // With one reason known already, by a completion, the peer's closing is only its echo.
      end(reason_ != DisconnectReason::kLocal || state_ == State::kClosing
              ? reason_
              : DisconnectReason::kPeer,
          detail_);
      break;
    case RDMA_CM_EVENT_DEVICE_REMOVAL:
      end(DisconnectReason::kReset, "the device was removed");
      break;
    default:
      break;
  }
}

void VerbsQp::established(std::span<const std::byte> private_data) {
  timer_.cancel();
  state_ = State::kConnected;
  info_.private_data = private_data;
  const Alive alive(*this);
  events_.on_connected(*this, info_);
  for (size_t i = 0; !alive.gone() && i < early_wcs_.size(); ++i) {
    const ibv_wc wc = early_wcs_[i];
    on_wc(wc);
  }
  if (alive.gone()) return;
  early_wcs_ = {};
  peer_data_ = {};
  info_ = {};
}

// --- posting
// --------------------------------------------------------------------------------------

PostResult VerbsQp::post_send(const WorkRequest& chain) {
  check_thread(reactor_, "Qp::post_send from another thread than its reactor's");
  if (state_ != State::kConnected) return {PostStatus::kNotConnected, &chain};
  ibv_send_wr batch[kPostBatch];
  const WorkRequest* requests[kPostBatch];
  const WorkRequest* request = &chain;
  PostStatus status = PostStatus::kOk;
  while (request != nullptr && status == PostStatus::kOk) {
    size_t count = 0;
    const WorkRequest* next = request;
    for (; next != nullptr && count < kPostBatch; next = next->next) {
      if (sends_.outstanding() + count >= sends_.limit) status = PostStatus::kQueueFull;
      if (status == PostStatus::kOk) status = check_send(pd_, *next, options_.max_send_sge);
      if (status != PostStatus::kOk) break;
      const uint32_t sequence = sends_.posted + uint32_t(count);
      batch[count] = to_ibv(*next);
      batch[count].wr_id = make_wr_id(owner_, WrKind::kSend, sequence & sends_.mask);
      if (count > 0) batch[count - 1].next = &batch[count];
      if (next->opcode == Opcode::kRdmaRead) batch[count].send_flags |= IBV_SEND_SIGNALED;
      sends_.at(sequence) = {.completion = next->completion,
                             .rkey = next->rkey,
                             .opcode = next->opcode,
                             .signalled = next->signalled,
                             .silent = (batch[count].send_flags & IBV_SEND_SIGNALED) == 0};
      if (next->opcode == Opcode::kRegMr) static_cast<WindowMr*>(next->mr)->claim(owner_);
      requests[count++] = next;
    }
    if (count > 0) {
      batch[count - 1].send_flags |= IBV_SEND_SIGNALED;
      sends_.at(sends_.posted + uint32_t(count) - 1).silent = false;
      ibv_send_wr* bad = nullptr;
      if (const int error = ibv_post_send(id_->qp, batch, &bad); error != 0) {
        const size_t taken = bad != nullptr ? size_t(bad - batch) : 0;
        for (size_t i = taken; i < count; ++i) {
          if (requests[i]->opcode != Opcode::kRegMr) continue;
          static_cast<WindowMr*>(requests[i]->mr)->invalidated();
        }
        next = requests[taken];
        count = taken;
        status = std::abs(error) == ENOMEM ? PostStatus::kQueueFull : PostStatus::kUnsupported;
      }
      for (size_t i = 0; i < count; ++i) {
        if (requests[i]->opcode == Opcode::kRegMr) static_cast<WindowMr*>(requests[i]->mr)->bound();
      }
      sends_.posted += uint32_t(count);
    }
    request = next;
  }
  return {status, request};
}

PostStatus VerbsQp::post_recv(const RecvRequest& chain) {
  check_thread(reactor_, "Qp::post_recv from another thread than its reactor's");
  if (srq_ != nullptr) return PostStatus::kUnsupported;
  if (state_ != State::kConnecting && state_ != State::kConnected) {
    return PostStatus::kNotConnected;
  }
  for (const RecvRequest* request = &chain; request != nullptr; request = request->next) {
    if (recvs_.outstanding() + early_recvs_.size() >= recvs_.limit) return PostStatus::kQueueFull;
    if (const PostStatus status = check_recv(pd_, *request, options_.max_recv_sge);
        status != PostStatus::kOk) {
      return status;
    }
    if (id_->qp == nullptr) {
      early_recvs_.push_back({request->completion, {request->sges.begin(), request->sges.end()}});
    } else if (const PostStatus status = post_recv_now(*request); status != PostStatus::kOk) {
      return status;
    }
  }
  return PostStatus::kOk;
}

PostStatus VerbsQp::post_recv_now(const RecvRequest& request) {
  ibv_recv_wr wr = to_ibv(request);
  wr.wr_id = make_wr_id(owner_, WrKind::kRecv, recvs_.posted & recvs_.mask);
  // siw takes no receive without a list; an empty range does the same everywhere.
  ibv_sge nothing{};
  if (wr.num_sge == 0) {
    wr.sg_list = &nothing;
    wr.num_sge = 1;
  }
  ibv_recv_wr* bad = nullptr;
  if (ibv_post_recv(id_->qp, &wr, &bad) != 0) return PostStatus::kQueueFull;
  recvs_.at(recvs_.posted++) = request.completion;
  return PostStatus::kOk;
}

// --- completions
// ----------------------------------------------------------------------------------

void VerbsQp::on_wc(const ibv_wc& wc) {
  if (state_ == State::kConnecting && wc.status == IBV_WC_SUCCESS) {
    // Data can overtake the event that says the connection is there.
    const Alive alive(*this);
    if (accepting_) {
      established(peer_data_);
    } else {
      channel_->on_readable();
    }
    if (alive.gone()) return;
    if (state_ == State::kConnecting) {
      early_wcs_.push_back(wc);
      return;
    }
  }
  if (kind_of(wc.wr_id) == WrKind::kSend) {
    complete_send(wc);
  } else {
    complete_recv(wc);
  }
}

void VerbsQp::complete_send(const ibv_wc& wc) {
  const uint32_t ahead = (slot_of(wc.wr_id) - sends_.done) & sends_.mask;
  if (ahead >= sends_.outstanding()) return;
  const uint32_t sequence = sends_.done + ahead;
  SendSlot& slot = sends_.at(sequence);
  slot.finished = true;
  slot.status = to_status(wc.status);
  if (int32_t(sequence + 1 - latest_send_) > 0) latest_send_ = sequence + 1;
  release_sends();
}

void VerbsQp::release_sends() {
  while (sends_.done != sends_.posted) {
    const SendSlot slot = sends_.at(sends_.done);
    // A silent one went well when the device has reported a later one.
    if (!slot.finished && !(slot.silent && int32_t(latest_send_ - sends_.done) > 0)) return;
    ++sends_.done;
    if (slot.status == WcStatus::kSuccess) succeeded(slot);
    // Nothing behind a failure went well, even if the device was quicker to say that it did.
    const bool behind_failure = send_failed_ && slot.status == WcStatus::kSuccess;
    const WcStatus status = behind_failure ? WcStatus::kFlushed : slot.status;
    send_failed_ = status != WcStatus::kSuccess;
    if (slot.completion != nullptr && (slot.signalled || send_failed_)) {
      const Alive alive(*this);
      slot.completion->done(completed(status, slot.opcode, *this));
      if (alive.gone()) return;
    }
    if (send_failed_) {
      failed(status);
    } else if (state_ == State::kClosing && sends_.outstanding() == 0) {
      sent_all();
    }
  }
}

void VerbsQp::succeeded(const SendSlot& slot) {
  if (slot.opcode == Opcode::kLocalInv) invalidated(slot.rkey);
}

void VerbsQp::invalidated(Rkey rkey) {
  if (WindowMr* window = pd_.window_of(rkey); window != nullptr) window->invalidated();
}

void VerbsQp::complete_recv(const ibv_wc& wc) {
  Completion* completion = nullptr;
  if (kind_of(wc.wr_id) == WrKind::kSrq) {
    completion = srq_->take(slot_of(wc.wr_id));
  } else {
    completion = recvs_.at(recvs_.done++);
  }
  // Every range was checked at post, so what is wrong with the queue is the message's length.
  const WcStatus status =
      wc.status == IBV_WC_LOC_QP_OP_ERR ? WcStatus::kLocalLength : to_status(wc.status);
  WorkCompletion result = completed(status, Opcode::kRecv, *this);
  result.byte_len = wc.byte_len;
  if (result.status == WcStatus::kSuccess && (wc.wc_flags & IBV_WC_WITH_INV) != 0) {
    result.invalidated = true;
    result.invalidated_rkey = Rkey{wc.invalidated_rkey};
    invalidated(result.invalidated_rkey);
  }
  if (completion != nullptr) {
    const Alive alive(*this);
    completion->done(result);
    if (alive.gone()) return;
  }
  if (result.status != WcStatus::kSuccess) failed(result.status);
}

void VerbsQp::failed(WcStatus status) {
  if (state_ != State::kConnected && state_ != State::kClosing) return;
  if (status == WcStatus::kFlushed) {
    // The queue pair went down by itself, or the peer closed and its event is on the way.
    if (state_ == State::kConnected && !timer_.armed()) timer_.arm(reactor_, kReasonLimit);
    return;
  }
  const std::string_view text = to_string(status);
  end(reason_of(status), text);
}

// --- the end
// --------------------------------------------------------------------------------------

void VerbsQp::disconnect() {
  check_thread(reactor_, "Qp::disconnect from another thread than its reactor's");
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
  check_thread(reactor_, "Qp::abort from another thread than its reactor's");
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
      end(DisconnectReason::kProtocol, "the queue pair failed");
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
  state_ = State::kEnding;
  reason_ = reason;
  detail_ = std::string(detail);
  if (was_connected && id_ != nullptr) rdma_disconnect(id_);
  timer_.arm(reactor_, delay);
}

bool VerbsQp::tear_down() {
  timer_.cancel();
  const Alive alive(*this);
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
    detach();
  }
  const auto flush = [&](Completion* completion, Opcode opcode) {
    if (completion != nullptr) completion->done(completed(WcStatus::kFlushed, opcode, *this));
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

void VerbsQp::detach() {
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

size_t VerbsQp::memory_bytes() const {
  return sizeof(*this) + (sends_.mask + 1) * sizeof(SendSlot) +
         (recvs_.mask + 1) * sizeof(Completion*) +
         // The device's own queues, as verbs lays them out at the least.
         sends_.limit * (64 + options_.max_send_sge * sizeof(ibv_sge)) +
         recvs_.limit * (16 + options_.max_recv_sge * sizeof(ibv_sge));
}

}  // namespace mrpool::verbs
