#include "tests/sim/device_wrapper.h"

namespace mrpool::sim {

namespace {

class WrappedRequest final : public ConnectRequest {
 public:
  WrappedRequest(std::unique_ptr<ConnectRequest> inner, WrapQp wrap)
      : inner_(std::move(inner)), wrap_(std::move(wrap)) {}
  const ConnectionInfo& info() const override { return inner_->info(); }
  absl::StatusOr<std::unique_ptr<Qp>> accept(Pd& pd, const QpOptions& options,
                                             const ConnectParams& params,
                                             QpEvents& events) override {
    auto qp = inner_->accept(pd, options, params, events);
    if (!qp.ok()) return qp.status();
    return wrap_(std::move(*qp), options);
  }
  absl::Status reject(std::span<const std::byte> private_data) override {
    return inner_->reject(private_data);
  }

 private:
  const std::unique_ptr<ConnectRequest> inner_;
  const WrapQp wrap_;
};

class WrappedListener final : public Listener, private ListenHandler {
 public:
  WrappedListener(ListenHandler& handler, WrapQp wrap)
      : handler_(handler), wrap_(std::move(wrap)) {}
  absl::Status open(Device& device, Reactor& reactor, const Address& address) {
    auto inner = device.listen(reactor, address, *this);
    if (!inner.ok()) return inner.status();
    inner_ = std::move(*inner);
    return absl::OkStatus();
  }
  uint16_t port() const override { return inner_->port(); }

 private:
  void on_connect_request(std::unique_ptr<ConnectRequest> request) override {
    handler_.on_connect_request(std::make_unique<WrappedRequest>(std::move(request), wrap_));
  }
  void on_listen_error(const absl::Status& error) override { handler_.on_listen_error(error); }

  ListenHandler& handler_;
  const WrapQp wrap_;
  std::unique_ptr<Listener> inner_;
};

class WrappedDevice final : public Device {
 public:
  WrappedDevice(std::shared_ptr<Device> inner, WrapQp wrap)
      : inner_(std::move(inner)), wrap_(std::move(wrap)) {}

  const DeviceCaps& caps() const override { return inner_->caps(); }
  absl::StatusOr<std::unique_ptr<Pd>> alloc_pd() override { return inner_->alloc_pd(); }
  absl::StatusOr<std::unique_ptr<Cq>> create_cq(Reactor& reactor,
                                                const CqOptions& options) override {
    return inner_->create_cq(reactor, options);
  }
  absl::StatusOr<std::unique_ptr<Listener>> listen(Reactor& reactor, const Address& address,
                                                   ListenHandler& handler) override {
    auto listener = std::make_unique<WrappedListener>(handler, wrap_);
    absl::Status status = listener->open(*inner_, reactor, address);
    if (!status.ok()) return status;
    return listener;
  }
  absl::StatusOr<std::unique_ptr<Qp>> connect(const Address& address, Pd& pd,
                                              const QpOptions& options, const ConnectParams& params,
                                              QpEvents& events) override {
    auto qp = inner_->connect(address, pd, options, params, events);
    if (!qp.ok()) return qp.status();
    return wrap_(std::move(*qp), options);
  }

 private:
  const std::shared_ptr<Device> inner_;
  const WrapQp wrap_;
};

}  // namespace

std::shared_ptr<Device> wrap_device(std::shared_ptr<Device> inner, WrapQp wrap) {
  return std::make_shared<WrappedDevice>(std::move(inner), std::move(wrap));
}

}  // namespace mrpool::sim
