#include "examples/engine/qp_link.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/engine/worker.h"
#include "mrpool/callback.h"

namespace mrpool::engine {
namespace {

size_t round_up(size_t value, size_t to) { return (value + to - 1) / to * to; }

}  // namespace

struct QpLink::PostedReceive : Receive, Completion {
  explicit PostedReceive(QpLink& owner)
      : Completion(to_method<&PostedReceive::completed>), link(owner) {}
  void completed(const WorkCompletion& wc) { link.received(*this, wc); }
  QpLink& link;
  std::byte* data = nullptr;
  Lkey key{};
  // The memory of a receive that replaced a kept one.
  Pages pages;
  std::unique_ptr<Mr> mr;
};

struct QpLink::Message : Completion {
  explicit Message(QpLink& owner) : Completion(to_method<&Message::sent>), link(owner) {}
  void sent() { link.free_messages_.push_back(this); }
  QpLink& link;
  std::byte* data = nullptr;
};

void Exchange::sent() { link_->part_done(*this); }

void Exchange::transferred(WcStatus status) {
  link_->transferred(*this, status, transfer_.last_posted());
}

QpLink::QpLink(Worker& worker, WorkerDevice& device, uint64_t id, const LinkLayout& layout,
               const ConnectionInfo& request)
    : worker_(worker), worker_device_(device), layout_(layout), ticked_(worker.reactor().now()) {
  id_ = id;
  peer_ = request.peer;
  local_ = request.local;
  device_ = &device.context();
  staging_key_ = device.staging_key();
  remote_invalidation_ = device_->caps().send_with_inv;
}

QpLink::~QpLink() {
  // ~RwContext calls its operations, so it is destroyed before the objects that they use.
  rw_.reset();
  early_.reset();
  qp_.reset();
}

absl::Status QpLink::allocate() {
  auto pages = Pages::create(round_up(layout_.registered(), 4096));
  if (!pages.ok()) return pages.status();
  pages_ = std::move(*pages);
  auto mr = device_->pd().reg_mr(pages_.memory(), device_->local_access(Access::kLocalWrite));
  if (!mr.ok()) return mr.status();
  mr_ = std::move(*mr);
  std::byte* at = pages_.memory().data() + layout_.receive_offset;
  for (uint32_t i = 0; i < layout_.receives; ++i, at += layout_.receive_stride) {
    receives_.push_back(std::make_unique<PostedReceive>(*this));
    receives_.back()->data = at;
    receives_.back()->key = mr_->lkey();
  }
  at = pages_.memory().data() + layout_.registered() -
       size_t{layout_.messages} * layout_.message_bytes;
  for (uint32_t i = 0; i < layout_.messages; ++i, at += layout_.message_bytes) {
    messages_.push_back(std::make_unique<Message>(*this));
    messages_.back()->data = at;
    free_messages_.push_back(messages_.back().get());
  }
  return absl::OkStatus();
}

absl::Status QpLink::open(ConnectRequest& request, std::span<const std::byte> private_data) {
  if (absl::Status status = allocate(); !status.ok()) return status;
  const RwQueueNeeds needs = rw_queue_needs(device_->caps(), device_->limits());
  QpOptions options;
  // The send queue must fit one answer for each exchange, the other messages, and the transfers.
  options.max_send_wr =
      needs.send_wr + EarlyRoom::send_wr(*device_) + layout_.exchanges + layout_.messages;
  options.max_recv_wr = layout_.receives;
  options.max_send_sge = std::max(needs.send_sge, 1u);
  options.max_recv_sge = 1;
  auto places = worker_device_.take_places(options.max_send_wr + options.max_recv_wr);
  if (!places.ok()) return places.status();
  cq_ = std::move(*places);
  options.send_cq = options.recv_cq = cq_.cq();
  auto qp = request.accept(device_->pd(), options, {.private_data = private_data}, *this);
  if (!qp.ok()) return qp.status();
  qp_ = std::move(*qp);
  for (const auto& receive : receives_) {
    if (post(*receive) != PostStatus::kOk) {
      return absl::InternalError("the device refuses a receive");
    }
  }
  return absl::OkStatus();
}

// Admission.

bool QpLink::admit(Standing standing, std::string_view host) {
  if (closed_ || !worker_.admit(*this, standing, host)) return false;
  standing_ = standing;
  host_ = host;
  share_ = worker_.staging().host(host);
  if (rw_ != nullptr) return true;  // a guest that has become a member
  auto rw = RwContext::create(*qp_, device_->pool(), device_->limits());
  if (rw.ok()) {
    rw_ = std::move(*rw);
    return true;
  }
  drop(std::string(rw.status().message()));
  return false;
}

void QpLink::evict() {
  evicted_ = true;
  drop(standing_ == Standing::kStranger ? "it has not logged in, and others need its place"
                                        : "it only uses discovery, and others need its place");
}

// Checks time-outs periodically.
void QpLink::tick(Nanoseconds now) {
  if (closed_) return session_->linger(now);
  if (closing_) return;
  if (standing_ != Standing::kStranger) early_.reset();
  if (too_slow(now)) return drop("a transfer was not completed in time");
  ticked_ = now;
  session_->tick(now);
}

// A minimum of progress is not enough: a peer that answers a READ only rarely could hold staging
// memory indefinitely.
bool QpLink::too_slow(Nanoseconds now) const {
  if (transfers_.empty()) return false;
  const Exchange& oldest = transfers_.front();
  const uint64_t moved = moved_ - oldest.moved_before_ + oldest.bytes_;
  const Nanoseconds allowed =
      worker_.options().stall_timeout + std::chrono::milliseconds(moved * 1000 / kLeastRate);
  return now - oldest.began_ > allowed;
}

// Receiving.

PostStatus QpLink::post(PostedReceive& receive) {
  const Sge sge{receive.data, layout_.receive_bytes, receive.key};
  RecvRequest request;
  request.completion = &receive;
  request.sges = {&sge, 1};
  return qp_->post_recv(request);
}

void QpLink::received(PostedReceive& receive, const WorkCompletion& wc) {
  if (wc.status != WcStatus::kSuccess || closing_) return;
  session_->received(receive, {receive.data, wc.byte_len});
}

void QpLink::release_receive(Receive& receive) {
  // Posting fails only if the connection has ended.
  if (post(static_cast<PostedReceive&>(receive)) != PostStatus::kOk) closing_ = true;
}

bool QpLink::keep_receive(Receive&) {
  if (closing_ || closed_) return false;
  if (spare_.empty() && !add_receive().ok()) return false;
  if (post(*spare_.back()) != PostStatus::kOk) return false;
  spare_.pop_back();
  return true;
}

void QpLink::free_receive(Receive& receive) {
  spare_.push_back(&static_cast<PostedReceive&>(receive));
}

absl::Status QpLink::add_receive() {
  if (receives_.size() >= layout_.receives + layout_.kept) {
    return absl::ResourceExhaustedError("too many receives are kept");
  }
  auto receive = std::make_unique<PostedReceive>(*this);
  auto pages = Pages::create(round_up(layout_.receive_stride, 4096));
  if (!pages.ok()) return pages.status();
  receive->pages = std::move(*pages);
  const std::span<std::byte> memory = receive->pages.memory();
  auto mr = device_->pd().reg_mr(memory, device_->local_access(Access::kLocalWrite));
  if (!mr.ok()) return mr.status();
  receive->mr = std::move(*mr);
  receive->data = memory.data() + layout_.receive_offset;
  receive->key = receive->mr->lkey();
  spare_.push_back(receive.get());
  receives_.push_back(std::move(receive));
  return absl::OkStatus();
}

// Sending.

void QpLink::bind(Exchange& exchange) {
  const size_t offset =
      size_t{layout_.receives} * layout_.receive_stride + size_t{bound_++} * layout_.answer_bytes;
  exchange.link_ = this;
  exchange.room_ = pages_.memory().subspan(offset, layout_.answer_bytes);
}

bool QpLink::send(std::span<const std::byte> bytes) {
  if (free_messages_.empty() || bytes.size() > layout_.message_bytes) return false;
  Message& message = *free_messages_.back();
  std::ranges::copy(bytes, message.data);
  const Sge sge{message.data, uint32_t(bytes.size()), mr_->lkey()};
  WorkRequest request;
  request.completion = &message;
  request.sges = {&sge, 1};
  // If posting fails, the connection has ended.
  if (qp_->post_send(request).ok()) free_messages_.pop_back();
  return true;
}

const WorkRequest& QpLink::prepare(Exchange& exchange, const Answer& answer) {
  exchange.sge_ = {exchange.room_.data(), answer.bytes, mr_->lkey()};
  WorkRequest& request = exchange.answer_;
  request = {};
  request.completion = &exchange.sent_;
  request.solicited = layout_.solicited;
  request.sges = {&exchange.sge_, 1};
  if (answer.invalidate.has_value() && remote_invalidation_) {
    request.opcode = Opcode::kSendWithInv;
    request.rkey = *answer.invalidate;
  }
  return request;
}

bool QpLink::respond(Exchange& exchange, const Answer& answer) {
  exchange.parts_ = 1;
  return qp_->post_send(prepare(exchange, answer)).ok();
}

bool QpLink::write(Exchange& exchange, std::span<const Sge> from, const RemoteBuffer& to,
                   const Answer* answer) {
  if (rw_ == nullptr) return false;
  const WorkRequest* last = nullptr;
  exchange.parts_ = 0;
  if (answer != nullptr) {
    exchange.parts_ = 2;
    last = &prepare(exchange, *answer);
  }
  begin(exchange, to.length);
  return started(exchange, rw_->start(exchange.transfer_, RwDirection::kWrite, from, to, last));
}

bool QpLink::read(Exchange& exchange, std::span<const Sge> to, const RemoteBuffer& from) {
  if (rw_ == nullptr) return false;
  exchange.parts_ = 0;
  begin(exchange, from.length);
  return started(exchange, rw_->start(exchange.transfer_, RwDirection::kRead, to, from));
}

bool QpLink::read_early(Exchange& exchange, uint32_t offset, const RemoteBuffer& from) {
  if (closed_ || closing_) return false;
  if (early_ == nullptr) {
    auto room = EarlyRoom::create(*device_, *qp_);
    if (!room.ok()) {
      drop(std::string(room.status().message()));
      return false;
    }
    early_ = *std::move(room);
  }
  exchange.parts_ = 0;
  begin(exchange, from.length);
  return started(exchange, early_->read(exchange.transfer_, offset, from));
}

void QpLink::begin(Exchange& exchange, uint64_t bytes) {
  exchange.bytes_ = bytes;
  exchange.began_ = ticked_;  // at most a tick too early
  exchange.moved_before_ = moved_;
  transfers_.push_back(exchange);
}

bool QpLink::started(Exchange& exchange, PostStatus status) {
  if (status == PostStatus::kOk) return true;
  exchange.unlink();
  return false;
}

void QpLink::transferred(Exchange& exchange, WcStatus status, bool answer_posted) {
  exchange.unlink();
  moved_ += exchange.bytes_;
  const bool success = status == WcStatus::kSuccess && !closed_;
  if (exchange.parts_ == 0) return session_->transferred(exchange, success);
  if (!success) drop("data could not be sent");  // the answer would report success
  if (!answer_posted) --exchange.parts_;
  if (--exchange.parts_ == 0) session_->sent(exchange);
}

void QpLink::part_done(Exchange& exchange) {
  if (--exchange.parts_ == 0) session_->sent(exchange);
}

// The end.

void QpLink::disconnect(std::string_view why) {
  if (closing_ || closed_) return;
  closing_ = true;
  why_ = why;
  qp_->disconnect();
}

void QpLink::drop(std::string_view why) {
  if (closed_) return;
  if (!std::exchange(closing_, true)) why_ = why;
  if (qp_ != nullptr) qp_->abort();
}

void QpLink::session_idle() {
  if (closed_) worker_.link_finished();
}

Nanoseconds QpLink::now() const { return worker_.reactor().now(); }

void QpLink::on_connected(Qp&, const ConnectionInfo& info) { local_ = info.local; }
void QpLink::on_rejected(Qp&, std::span<const std::byte>) {}

void QpLink::on_disconnected(Qp&, const Disconnect& how) {
  closing_ = closed_ = true;
  if (early_ != nullptr) early_->stop();
  if (rw_ != nullptr) rw_->stop();
  session_->disconnected(how, why_);
  worker_.link_finished();
}

}  // namespace mrpool::engine
