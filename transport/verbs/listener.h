// Listening, and the connection requests that come of it.
//
// Thread safety: the listener: its reactor's thread. A request: any one thread at a time; its
// answer is given on the thread that holds it.
// Ownership: a request owns its id until a queue pair takes it over.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "mrpool/device.h"
#include "transport/verbs/cm_channel.h"

namespace mrpool::verbs {

class VerbsDevice;

class VerbsListener final : public Listener, private CmHandler {
 public:
  static absl::StatusOr<std::unique_ptr<Listener>> create(std::shared_ptr<VerbsDevice> device,
                                                          Reactor& reactor, const Address& address,
                                                          ListenHandler& handler);
  VerbsListener(std::shared_ptr<VerbsDevice> device, std::shared_ptr<CmChannel> channel,
                ListenHandler& handler);
  ~VerbsListener() override;

  uint16_t port() const override;

 private:
  void on_cm_event(const CmEvent& event) override;

  const std::shared_ptr<VerbsDevice> device_;
  const std::shared_ptr<CmChannel> channel_;
  ListenHandler& handler_;
  rdma_cm_id* id_ = nullptr;
};

class VerbsConnectRequest final : public ConnectRequest {
 public:
  VerbsConnectRequest(std::shared_ptr<VerbsDevice> device,
                      std::shared_ptr<rdma_event_channel> channel, const CmEvent& event);
  ~VerbsConnectRequest() override;

  const ConnectionInfo& info() const override { return info_; }
  absl::StatusOr<std::unique_ptr<Qp>> accept(Pd& pd, const QpOptions& options,
                                             const ConnectParams& params,
                                             QpEvents& events) override;
  absl::Status reject(std::span<const std::byte> private_data) override;

 private:
  const std::shared_ptr<VerbsDevice> device_;
  // What the id is on: the listener's; the queue pair's after an accept that failed late.
  std::shared_ptr<rdma_event_channel> channel_;
  rdma_cm_id* id_;
  std::vector<std::byte> private_data_;
  ConnectionInfo info_;
};

}  // namespace mrpool::verbs
