// Qps, listeners and connection requests in C.
#include "mrpool/qp.h"

#include <string>

#include "transport/c/attributes.h"
#include "transport/c/handles.h"

using mrpool::Address, mrpool::ConnectParams, mrpool::ConnectRequest, mrpool::QpOptions;
using mrpool::c::failed, mrpool::c::guarded, mrpool::c::is_null, mrpool::c::object,
    mrpool::c::or_default;

namespace {

mrpool_connection told(const mrpool::ConnectionInfo& info) {
  return {info.local.c_str(),
          info.peer.c_str(),
          info.ord,
          info.ird,
          uint32_t(info.private_data.size()),
          info.private_data.data()};
}

uint16_t credits(uint32_t given, uint16_t otherwise) {
  return uint16_t(std::min(or_default<uint32_t>(given, otherwise), uint32_t{UINT16_MAX}));
}

// A Qp that is about to be made, and what it is made with.
struct Plan {
  std::unique_ptr<mrpool_qp> qp;
  QpOptions options;
  ConnectParams params;
};

int plan(const mrpool_qp_attr* attr, Plan& plan) {
  mrpool_qp_attr given;
  if (const int error = mrpool::c::read(attr, given, "attr")) return error;
  if (given.send_cq == nullptr || given.recv_cq == nullptr)
    return is_null("attr->send_cq or recv_cq");
  plan.qp = std::make_unique<mrpool_qp>();
  if (given.events != nullptr) {
    if (const int error = mrpool::c::read(given.events, plan.qp->events, "attr->events"))
      return error;
  }
  plan.qp->context = given.context;
  QpOptions& options = plan.options;
  options.send_cq = object(given.send_cq);
  options.recv_cq = object(given.recv_cq);
  options.max_send_wr = or_default(given.max_send_wr, options.max_send_wr);
  options.max_recv_wr = or_default(given.max_recv_wr, options.max_recv_wr);
  options.max_send_sge = or_default(given.max_send_sge, options.max_send_sge);
  options.max_recv_sge = or_default(given.max_recv_sge, options.max_recv_sge);
  options.ord = credits(given.ord, options.ord);
  options.ird = credits(given.ird, options.ird);
  if (given.private_data == nullptr && given.private_data_length > 0) {
    return is_null("attr->private_data");
  }
  plan.params.private_data = mrpool::c::bytes(given.private_data, given.private_data_length);
  if (given.timeout != 0) {
    plan.params.timeout =
        mrpool::Nanoseconds(int64_t(std::min(given.timeout, uint64_t{INT64_MAX})));
  }
  return 0;
}

int finish(absl::StatusOr<std::unique_ptr<mrpool::Qp>> made, Plan& plan, mrpool_qp** qp) {
  if (!made.ok()) return failed(made.status());
  plan.qp->qp = std::move(*made);
  *qp = plan.qp.release();
  return 0;
}

}  // namespace

void mrpool_qp::on_connected(mrpool::Qp&, const mrpool::ConnectionInfo& info) {
  const mrpool_connection connection = told(info);
  if (events.connected != nullptr) events.connected(this, context, &connection);
}

void mrpool_qp::on_rejected(mrpool::Qp&, std::span<const std::byte> private_data) {
  if (events.rejected == nullptr) return;
  events.rejected(this, context, private_data.data(), private_data.size());
}

void mrpool_qp::on_disconnected(mrpool::Qp&, const mrpool::Disconnect& why) {
  if (events.disconnected == nullptr) return;
  const std::string detail(why.detail);  // ends with NUL
  const mrpool_disconnect disconnect{uint32_t(why.reason), why.layer, why.error_type,
                                     why.error_code,       0,         detail.c_str()};
  events.disconnected(this, context, &disconnect);
}

int mrpool_connect(mrpool_device* device, const char* address, mrpool_pd* pd,
                   const mrpool_qp_attr* attr, mrpool_qp** qp) {
  return guarded([&] {
    if (device == nullptr || address == nullptr || pd == nullptr || qp == nullptr) {
      return is_null("device, address, pd or qp");
    }
    const auto parsed = Address::parse(address);
    if (!parsed.ok()) return failed(parsed.status());
    Plan made;
    if (const int error = plan(attr, made)) return error;
    return finish(
        device->device->connect(*parsed, *object(pd), made.options, made.params, *made.qp), made,
        qp);
  });
}

void mrpool_qp_destroy(mrpool_qp* qp) { delete qp; }
void mrpool_disconnect_qp(mrpool_qp* qp) { qp->qp->disconnect(); }
void mrpool_abort_qp(mrpool_qp* qp) { qp->qp->abort(); }
int mrpool_qp_connected(const mrpool_qp* qp) { return qp->qp->connected(); }
void* mrpool_qp_context(const mrpool_qp* qp) { return qp->context; }
uint32_t mrpool_qp_send_room(const mrpool_qp* qp) { return qp->qp->send_room(); }

void mrpool_listener::on_connect_request(std::unique_ptr<ConnectRequest> request) {
  const mrpool_connection offered = told(request->info());
  events.connect_request(context, mrpool::c::handle<mrpool_connect_request>(std::move(request)),
                         &offered);
}

void mrpool_listener::on_listen_error(const absl::Status& error) {
  if (events.error == nullptr) return ListenHandler::on_listen_error(error);
  const int code = failed(error);
  events.error(context, code, mrpool_error());
}

int mrpool_listen(mrpool_device* device, mrpool_reactor* reactor, const char* address,
                  const mrpool_listen_events* events, void* context, mrpool_listener** listener) {
  return guarded([&] {
    if (device == nullptr || reactor == nullptr || address == nullptr || listener == nullptr) {
      return is_null("device, reactor, address or listener");
    }
    const auto parsed = Address::parse(address);
    if (!parsed.ok()) return failed(parsed.status());
    auto made = std::make_unique<mrpool_listener>();
    if (const int error = mrpool::c::read(events, made->events, "events")) return error;
    if (made->events.connect_request == nullptr) return is_null("events->connect_request");
    made->context = context;
    auto listening = device->device->listen(*object(reactor), *parsed, *made);
    if (!listening.ok()) return failed(listening.status());
    made->listener = std::move(*listening);
    *listener = made.release();
    return 0;
  });
}

void mrpool_listener_destroy(mrpool_listener* listener) { delete listener; }
uint16_t mrpool_listener_port(const mrpool_listener* listener) {
  return listener->listener->port();
}

int mrpool_accept(mrpool_connect_request* request, mrpool_pd* pd, const mrpool_qp_attr* attr,
                  mrpool_qp** qp) {
  if (request == nullptr) return is_null("request");
  const std::unique_ptr<ConnectRequest> owned(object(request));
  return guarded([&] {
    if (pd == nullptr || qp == nullptr) return is_null("pd or qp");
    Plan made;
    if (const int error = plan(attr, made)) return error;
    return finish(owned->accept(*object(pd), made.options, made.params, *made.qp), made, qp);
  });
}

int mrpool_reject(mrpool_connect_request* request, const void* private_data, size_t length) {
  if (request == nullptr) return is_null("request");
  const std::unique_ptr<ConnectRequest> owned(object(request));
  return guarded([&] {
    if (private_data == nullptr && length > 0) return is_null("private_data");
    const absl::Status answered = owned->reject(mrpool::c::bytes(private_data, length));
    return answered.ok() ? 0 : failed(answered);
  });
}
