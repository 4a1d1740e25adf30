// CmId: an identifier's address, connection and events.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "transport/provider/cm.h"
#include "transport/provider/limits.h"

namespace mrpool::provider {
namespace {

std::span<const std::byte> data_of(const rdma_conn_param* param) {
  if (param == nullptr || param->private_data == nullptr) return {};
  return {static_cast<const std::byte*>(param->private_data), param->private_data_len};
}

uint8_t limit(uint16_t reads) {
  return static_cast<uint8_t>(std::min<uint16_t>(reads, kMaxReadsOutstanding));
}

struct Outcome {
  rdma_cm_event_type type;
  int status;
};

// What a connection that was never established ended with. On InfiniBand and RoCE the status of a
// rejection is the reason of the connection manager's message, on iWARP an errno.
Outcome outcome_of(DisconnectReason reason, bool iwarp) {
  constexpr int kInvalidServiceId = 8;  // nobody listens there
  switch (reason) {
    case DisconnectReason::kTimeout:
      return {RDMA_CM_EVENT_UNREACHABLE, -ETIMEDOUT};
    case DisconnectReason::kUnreachable:
    case DisconnectReason::kUnresolved:
      return {RDMA_CM_EVENT_UNREACHABLE, -EHOSTUNREACH};
    case DisconnectReason::kRefused:
      return {RDMA_CM_EVENT_REJECTED, iwarp ? -ECONNREFUSED : kInvalidServiceId};
    case DisconnectReason::kReset:
    case DisconnectReason::kPeer:
      return {RDMA_CM_EVENT_REJECTED, -ECONNRESET};
    case DisconnectReason::kProtocol:
    case DisconnectReason::kTerminated:
      return {RDMA_CM_EVENT_CONNECT_ERROR, -EPROTO};
    case DisconnectReason::kFault:
      return {RDMA_CM_EVENT_CONNECT_ERROR, -EIO};
    default:
      return {RDMA_CM_EVENT_REJECTED, -ECONNREFUSED};
  }
}

const sockaddr& as_sockaddr(const sockaddr_storage& storage) {
  return reinterpret_cast<const sockaddr&>(storage);
}

}  // namespace

CmId::CmId(Engine& engine, CmChannel& channel, bool synchronous, void* context,
           rdma_port_space space)
    : engine_(engine), channel_(&channel), synchronous_(synchronous) {
  handle_.object = this;
  rdma_cm_id& out = handle_.abi;
  out.channel = &channel.handle.abi;
  out.context = context;
  out.ps = space;
  out.qp_type = IBV_QPT_RC;
}

CmId::~CmId() {
  if (connected_ != nullptr) connected_->forget_observer();
}

int CmId::bind(const sockaddr& address) {
  const socklen_t bytes = address_bytes(address);
  if (bytes == 0) return EAFNOSUPPORT;
  sockaddr& source = abi().route.addr.src_addr;
  std::memcpy(&source, &address, bytes);
  if (port_of(source) == 0) {
    const uint16_t port = free_port(source);
    if (port == 0) return errno;
    set_port(source, port);
  }
  if (!is_wildcard(source)) set_local(nullptr);
  return 0;
}

// The id has a device from now on.
void CmId::set_local(const sockaddr* address) {
  rdma_cm_id& out = abi();
  if (address != nullptr) std::memcpy(&out.route.addr.src_addr, address, address_bytes(*address));
  out.verbs = cm_context();
  out.port_num = 1;
  if (out.pd == nullptr) out.pd = cm_pd();
}

int CmId::resolve(const sockaddr* source, const sockaddr& target) {
  const socklen_t bytes = address_bytes(target);
  if (bytes == 0) return EAFNOSUPPORT;
  if (source != nullptr && address_bytes(*source) == 0) return EAFNOSUPPORT;
  std::memcpy(&abi().route.addr.dst_addr, &target, bytes);
  const std::optional<sockaddr_storage> local = local_address_for(target);
  if (!local.has_value()) {
    push(RDMA_CM_EVENT_ADDR_ERROR, -errno);
    return 0;
  }
  const bool named = source != nullptr && !is_wildcard(*source);
  set_local(named ? source : &as_sockaddr(*local));
  resolved_ = true;
  push(RDMA_CM_EVENT_ADDR_RESOLVED);
  return 0;
}

int CmId::listen() {
  sockaddr& source = abi().route.addr.src_addr;
  if (source.sa_family == 0) {
    sockaddr_in any{};
    any.sin_family = AF_INET;
    std::memcpy(&source, &any, sizeof any);
  }
  auto made = engine_.device().listen(engine_.reactor(), to_device_address(source), *this);
  if (!made.ok()) return to_errno(made.status());
  listener_ = *std::move(made);
  set_port(source, listener_->port());
  return 0;
}

QpObject* CmId::qp_for(const rdma_conn_param* param) {
  if (abi().qp != nullptr) return QpObject::from(abi().qp);
  return param != nullptr ? engine_.find_qp(param->qp_num) : nullptr;
}

int CmId::connect(const rdma_conn_param* param) {
  QpObject* qp = qp_for(param);
  if (!resolved_ || qp == nullptr) return EINVAL;
  const uint8_t ord = param != nullptr ? param->initiator_depth : kDefaultReads;
  const uint8_t ird = param != nullptr ? param->responder_resources : kDefaultReads;
  qp->set_rnr_retry(param != nullptr ? param->rnr_retry_count : kRetryForEver);
  const int error =
      qp->connect(to_device_address(abi().route.addr.dst_addr), data_of(param), ord, ird, *this);
  if (error == 0) take(*qp);
  return error;
}

// The QP has the id's connection from now on.
void CmId::take(QpObject& qp) {
  connected_ = &qp;
  qp.set_timeout(ack_timeout);
}

int CmId::accept(const rdma_conn_param* param) {
  QpObject* qp = qp_for(param);
  if (request_ == nullptr || qp == nullptr) return EINVAL;
  const uint8_t ord = param != nullptr ? param->initiator_depth : limit(offered_ord_);
  const uint8_t ird = param != nullptr ? param->responder_resources : limit(offered_ird_);
  qp->set_rnr_retry(param != nullptr ? param->rnr_retry_count : kRetryForEver);
  const std::unique_ptr<ConnectRequest> request = std::move(request_);
  const int error = qp->accept(*request, hello_, data_of(param), ord, ird, *this);
  if (error == 0) take(*qp);
  return error;
}

int CmId::reject(std::span<const std::byte> private_data) {
  if (request_ == nullptr) return EINVAL;
  std::exchange(request_, nullptr)->reject(private_data).IgnoreError();
  engine_.reactor().poll();  // it goes out now: the program may end
  return 0;
}

int CmId::disconnect(bool& waits) {
  waits = connected_ != nullptr;
  if (waits) connected_->disconnect();
  return waits || was_connected_ ? 0 : EINVAL;
}

std::unique_ptr<CmEvent> CmId::make_event(rdma_cm_event_type type, int status,
                                          std::span<const std::byte> data) {
  auto event = std::make_unique<CmEvent>();
  event->counted = this;
  event->abi.id = &abi();
  event->abi.event = type;
  event->abi.status = status;
  rdma_conn_param& conn = event->abi.param.conn;
  if (!data.empty()) {
    const size_t bytes = std::min<size_t>(data.size(), UINT8_MAX);
    std::memcpy(event->private_data.data(), data.data(), bytes);
    conn.private_data = event->private_data.data();
    conn.private_data_len = static_cast<uint8_t>(bytes);
  }
  if (connected_ != nullptr) conn.qp_num = connected_->attributes().dest_qp_num;
  return event;
}

void CmId::push(rdma_cm_event_type type, int status, std::span<const std::byte> data) {
  channel_->events.push(make_event(type, status, data).release());
}

void CmId::on_established(std::span<const std::byte> private_data, const ConnectionInfo* info) {
  was_connected_ = true;
  const auto local = parse_endpoint(info->local);
  if (local.has_value()) set_local(&as_sockaddr(*local));
  // A program that keeps its QP to itself moves it to RTS first and calls rdma_establish then.
  const bool own_qp = abi().qp == nullptr && request_ == nullptr && resolved_;
  push(own_qp ? RDMA_CM_EVENT_CONNECT_RESPONSE : RDMA_CM_EVENT_ESTABLISHED, 0, private_data);
}

void CmId::on_rejected(std::span<const std::byte> private_data) {
  rejected_ = true;
  constexpr int kConsumerDefined = 28;  // the peer's program said no
  push(RDMA_CM_EVENT_REJECTED, engine_.iwarp() ? -ECONNREFUSED : kConsumerDefined, private_data);
}

void CmId::on_ended(bool was_established, DisconnectReason reason) {
  connected_ = nullptr;
  if (was_established) return push(RDMA_CM_EVENT_DISCONNECTED);
  if (rejected_) return;
  const Outcome outcome = outcome_of(reason, engine_.iwarp());
  push(outcome.type, outcome.status);
}

void CmId::on_connect_request(std::unique_ptr<ConnectRequest> request) {
  auto* child = new CmId(engine_, *channel_, synchronous_, abi().context, abi().ps);
  const ConnectionInfo& info = request->info();
  std::span<const std::byte> data = info.private_data;
  if (!engine_.iwarp()) child->hello_ = take_hello(data);
  child->offered_ord_ = info.ord;
  child->offered_ird_ = info.ird;
  if (const auto local = parse_endpoint(info.local)) child->set_local(&as_sockaddr(*local));
  if (const auto peer = parse_endpoint(info.peer)) {
    std::memcpy(&child->abi().route.addr.dst_storage, &*peer, sizeof *peer);
  }
  child->request_ = std::move(request);
  auto event = child->make_event(RDMA_CM_EVENT_CONNECT_REQUEST, 0, data);
  event->counted = this;  // the event is the listener's
  event->abi.listen_id = &abi();
  rdma_conn_param& conn = event->abi.param.conn;
  conn.responder_resources = limit(child->offered_ird_);
  conn.initiator_depth = limit(child->offered_ord_);
  conn.qp_num = child->hello_.has_value() ? child->hello_->source_qp : 0;
  channel_->events.push(event.release());
}

void CmId::move_to(CmChannel& channel, bool synchronous) {
  CmChannel* const old = std::exchange(channel_, &channel);
  synchronous_ = synchronous;
  abi().channel = &channel.handle.abi;
  old->events.remove_if([&](CmEvent* each) { return each->abi.id == &abi(); },
                        [&](CmEvent* each) { channel.events.push(each); });
}

void CmId::drop_events() {
  std::vector<CmEvent*> dropped;
  channel_->events.remove_if(
      [&](CmEvent* each) { return each->abi.id == &abi() || each->abi.listen_id == &abi(); },
      [&](CmEvent* each) { dropped.push_back(each); });
  for (CmEvent* each : dropped) {
    // A connection nobody took: the peer is rejected.
    if (each->abi.listen_id == &abi()) delete CmId::from(each->abi.id);
    delete each;
  }
}

}  // namespace mrpool::provider
