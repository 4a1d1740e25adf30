// A connection of uiwarp to itself, for work requests to be posted to.
//
// Thread safety: one thread, which also runs both ends.
#pragma once

#include <array>
#include <cstdlib>
#include <memory>
#include <vector>

#include "mrpool/device.h"

namespace mrpool::uiwarp {

class SelfConnection final : private QpEvents, private ListenHandler {
 public:
  static constexpr uint32_t kWrites = 16;
  static constexpr uint32_t kBytes = 64;

  SelfConnection() : memory_(kBytes) {
    listener_ = device_->listen(*reactor_, Address{"uiwarp", "127.0.0.1", 0, ""}, *this).value();
    mr_ = pd_->reg_mr(memory_, Access::kLocalWrite | Access::kRemoteWrite).value();
    near_ = device_
                ->connect(Address{"uiwarp", "127.0.0.1", listener_->port(), ""}, *pd_, options(),
                          {}, *this)
                .value();
    while (connected_ < 2) reactor_->poll();
    sge_ = mr_->sge(0, kBytes);
    for (WorkRequest& wr : writes_) {
      wr.opcode = Opcode::kRdmaWrite;
      wr.signalled = false;
      wr.sges = {&sge_, 1};
      wr.remote_addr = mr_->remote_addr();
      wr.rkey = mr_->rkey();
    }
    writes_.back().signalled = true;
    writes_.back().completion = &last_;
  }

  // What is counted: sixteen WRITEs of 64 bytes, each posted by itself.
  void post() {
    for (const WorkRequest& wr : writes_) {
      if (!near_->post_send(wr).ok()) std::abort();
    }
  }
  void drain() {
    while (!last_.done) reactor_->poll();
    last_.done = false;
  }

 private:
  struct Last final : Completion {
    Last()
        : Completion([](Completion& self, const WorkCompletion& wc) {
            if (wc.status != WcStatus::kSuccess) std::abort();
            static_cast<Last&>(self).done = true;
          }) {}
    bool done = false;
  };

  QpOptions options() {
    return {.send_cq = cq_.get(), .recv_cq = cq_.get(), .max_send_wr = 64, .max_recv_wr = 1};
  }
  void on_connect_request(std::unique_ptr<ConnectRequest> request) override {
    far_ = request->accept(*pd_, options(), {}, *this).value();
  }
  void on_connected(Qp&, const ConnectionInfo&) override { ++connected_; }
  void on_rejected(Qp&, std::span<const std::byte>) override { std::abort(); }
  void on_disconnected(Qp&, const Disconnect&) override {}

  std::vector<std::byte> memory_;
  std::unique_ptr<Reactor> reactor_ = Reactor::create({}).value();
  std::shared_ptr<Device> device_ = Device::open(Address{"uiwarp", "", 0, ""}).value();
  std::unique_ptr<Pd> pd_ = device_->alloc_pd().value();
  std::unique_ptr<Cq> cq_ = device_->create_cq(*reactor_, {.depth = 256}).value();
  std::unique_ptr<Mr> mr_;
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<Qp> near_;
  std::unique_ptr<Qp> far_;
  Sge sge_;
  Last last_;
  std::array<WorkRequest, kWrites> writes_;
  int connected_ = 0;
};

}  // namespace mrpool::uiwarp
