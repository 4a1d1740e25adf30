// Devices that wrap other devices: they replace queue pairs and forward everything else.
//
// Thread safety: that of the device. Ownership: shares the inner device.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "mrpool/device.h"

namespace mrpool::sim {

// Forwards all calls that a derived class does not override.
class QpWrapper : public Qp {
 public:
  explicit QpWrapper(std::unique_ptr<Qp> inner) : inner_(std::move(inner)) {}

  PostResult post_send(const WorkRequest& chain) override { return inner_->post_send(chain); }
  PostStatus post_recv(const RecvRequest& chain) override { return inner_->post_recv(chain); }
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

 protected:
  // Destroys the inner Qp, before the objects that it uses.
  void end_inner() { inner_.reset(); }
  Qp& inner() { return *inner_; }

 private:
  std::unique_ptr<Qp> inner_;
};

using WrapQp =
    std::function<std::unique_ptr<Qp>(std::unique_ptr<Qp> inner, const QpOptions& options)>;

// `wrap` wraps every queue pair that is accepted or connected.
std::shared_ptr<Device> wrap_device(std::shared_ptr<Device> inner, WrapQp wrap);

}  // namespace mrpool::sim
