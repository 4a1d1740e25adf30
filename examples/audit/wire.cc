#include "examples/audit/wire.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace mrpool::audit {
namespace {

constexpr uint32_t kDepth = 16;

}  // namespace

QpOptions Wire::options_for(End& end) const {
  QpOptions options;
  options.send_cq = end.cq.get();
  options.recv_cq = end.cq.get();
  options.max_send_wr = kDepth;
  options.max_recv_wr = kDepth;
  options.max_send_sge = 1;
  return options;
}

absl::StatusOr<std::unique_ptr<Wire>> Wire::create(Device& device, const Address& address,
                                                   Reactor& reactor, Pd& owner_pd, Pd& peer_pd) {
  std::unique_ptr<Wire> wire(new Wire(reactor, owner_pd));
  for (End* end : {&wire->owner, &wire->peer}) {
    absl::StatusOr<std::unique_ptr<Cq>> cq = device.create_cq(reactor, {.depth = 2 * kDepth});
    if (!cq.ok()) return cq.status();
    end->cq = *std::move(cq);
  }
  Address where = address;
  where.port = 0;
  absl::StatusOr<std::unique_ptr<Listener>> listener = device.listen(reactor, where, *wire);
  if (!listener.ok()) return listener.status();
  wire->listener_ = *std::move(listener);
  where.port = wire->listener_->port();

  absl::StatusOr<std::unique_ptr<Qp>> qp =
      device.connect(where, peer_pd, wire->options_for(wire->peer), {}, wire->peer);
  if (!qp.ok()) return qp.status();
  wire->peer.qp = *std::move(qp);
  const bool done = wire->run_until([&] {
    return (wire->owner.connected && wire->peer.connected) || wire->peer.ended ||
           !wire->accepted_.ok();
  });
  if (!wire->accepted_.ok()) return wire->accepted_;
  if (!done || wire->peer.ended) {
    return absl::UnavailableError(absl::StrCat("no connection over ", where.to_string(), ": ",
                                               done ? wire->peer.reason : "no answer"));
  }
  return wire;
}

void Wire::on_connect_request(std::unique_ptr<ConnectRequest> request) {
  absl::StatusOr<std::unique_ptr<Qp>> qp =
      request->accept(owner_pd_, options_for(owner), {}, owner);
  accepted_ = qp.status();
  if (qp.ok()) owner.qp = *std::move(qp);
}

}  // namespace mrpool::audit
