#include "tests/sim/planted_device.h"

#include <utility>

namespace mrpool::sim {

namespace {

class PlantedQp final : public Qp {
 public:
  PlantedQp(std::unique_ptr<Qp> inner, uint32_t receives, Simulation& simulation)
      : inner_(std::move(inner)),
        receives_(receives),
        leaks_(simulation.plant == Plant::kLostCredit && simulation.chance(500)),
        simulation_(simulation) {}

  PostResult post_send(const WorkRequest& chain) override {
    const PostResult result = inner_->post_send(chain);
    if (!result.ok()) return result;
    const WorkRequest* write = nullptr;
    for (const WorkRequest* at = &chain; at != nullptr; at = at->next) {
      if (at->opcode == Opcode::kRdmaWrite) write = at;
      const bool ends_key = at->opcode == Opcode::kSendWithInv;
      if (ends_key && write != nullptr && simulation_.planted(Plant::kStaleKey)) again(*write);
      if ((ends_key || at->opcode == Opcode::kSend) &&
          simulation_.planted(Plant::kDoubleCompletion)) {
        again(*at);
      }
    }
    return result;
  }
  PostStatus post_recv(const RecvRequest& chain) override {
    // Those that are posted before the connection is up belong to its set-up.
    if (receives_ > 0) {
      --receives_;
    } else if (leaks_ && simulation_.chance(500)) {
      return PostStatus::kOk;
    }
    return inner_->post_recv(chain);
  }
  void disconnect() override { inner_->disconnect(); }
  void abort() override { inner_->abort(); }
  bool connected() const override { return inner_->connected(); }
  ConnectionState state() const override { return inner_->state(); }
  bool supports(Opcode opcode) const override { return inner_->supports(opcode); }
  Pd& pd() override { return inner_->pd(); }
  Reactor& reactor() override { return inner_->reactor(); }
  const QpOptions& options() const override { return inner_->options(); }
  uint32_t send_room() const override { return inner_->send_room(); }
  uint16_t ord() const override { return inner_->ord(); }
  size_t memory_bytes() const override { return inner_->memory_bytes(); }

 private:
  void again(const WorkRequest& request) {
    WorkRequest copy = request;
    copy.next = nullptr;
    copy.completion = nullptr;
    copy.signalled = false;
    if (copy.opcode == Opcode::kSendWithInv) copy.opcode = Opcode::kSend;
    (void)inner_->post_send(copy);  // no room: the bug does not show this time
  }

  const std::unique_ptr<Qp> inner_;
  uint32_t receives_;
  const bool leaks_;
  Simulation& simulation_;
};

class PlantedRequest final : public ConnectRequest {
 public:
  PlantedRequest(std::unique_ptr<ConnectRequest> inner, Simulation& simulation)
      : inner_(std::move(inner)), simulation_(simulation) {}
  const ConnectionInfo& info() const override { return inner_->info(); }
  absl::StatusOr<std::unique_ptr<Qp>> accept(Pd& pd, const QpOptions& options,
                                             const ConnectParams& params,
                                             QpEvents& events) override {
    auto qp = inner_->accept(pd, options, params, events);
    if (!qp.ok()) return qp.status();
    return std::make_unique<PlantedQp>(std::move(*qp), options.max_recv_wr, simulation_);
  }
  absl::Status reject(std::span<const std::byte> private_data) override {
    return inner_->reject(private_data);
  }

 private:
  const std::unique_ptr<ConnectRequest> inner_;
  Simulation& simulation_;
};

class PlantedListener final : public Listener, private ListenHandler {
 public:
  PlantedListener(ListenHandler& handler, Simulation& simulation)
      : handler_(handler), simulation_(simulation) {}
  absl::Status open(Device& device, Reactor& reactor, const Address& address) {
    auto inner = device.listen(reactor, address, *this);
    if (!inner.ok()) return inner.status();
    inner_ = std::move(*inner);
    return absl::OkStatus();
  }
  uint16_t port() const override { return inner_->port(); }

 private:
  void on_connect_request(std::unique_ptr<ConnectRequest> request) override {
    handler_.on_connect_request(std::make_unique<PlantedRequest>(std::move(request), simulation_));
  }
  void on_listen_error(const absl::Status& error) override { handler_.on_listen_error(error); }

  ListenHandler& handler_;
  Simulation& simulation_;
  std::unique_ptr<Listener> inner_;
};

class PlantedDevice final : public Device {
 public:
  PlantedDevice(std::shared_ptr<Device> inner, Simulation& simulation)
      : inner_(std::move(inner)), simulation_(simulation) {}

  const DeviceCaps& caps() const override { return inner_->caps(); }
  absl::StatusOr<std::unique_ptr<Pd>> alloc_pd() override { return inner_->alloc_pd(); }
  absl::StatusOr<std::unique_ptr<Cq>> create_cq(Reactor& reactor,
                                                const CqOptions& options) override {
    return inner_->create_cq(reactor, options);
  }
  absl::StatusOr<std::unique_ptr<Listener>> listen(Reactor& reactor, const Address& address,
                                                   ListenHandler& handler) override {
    auto listener = std::make_unique<PlantedListener>(handler, simulation_);
    absl::Status status = listener->open(*inner_, reactor, address);
    if (!status.ok()) return status;
    return listener;
  }
  absl::StatusOr<std::unique_ptr<Qp>> connect(const Address& address, Pd& pd,
                                              const QpOptions& options, const ConnectParams& params,
                                              QpEvents& events) override {
    return inner_->connect(address, pd, options, params, events);
  }

 private:
  const std::shared_ptr<Device> inner_;
  Simulation& simulation_;
};

}  // namespace

std::shared_ptr<Device> make_planted_device(std::shared_ptr<Device> inner, Simulation& simulation) {
  switch (simulation.plant) {
    case Plant::kStaleKey:
    case Plant::kDoubleCompletion:
    case Plant::kLostCredit:
      return std::make_shared<PlantedDevice>(std::move(inner), simulation);
    default:
      return inner;
  }
}

}  // namespace mrpool::sim
