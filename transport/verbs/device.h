// One RDMA device, opened through the connection manager so that connections share its context.
//
// Thread safety: as mrpool/device.h; channel_for and next_owner from any thread.
// Ownership: shared by everything made from it.
#pragma once

#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>

#include "mrpool/device.h"
#include "transport/counters/registry.h"
#include "transport/verbs/cm_channel.h"
#include "transport/verbs/qp_counters.h"
#include "transport/verbs/siw.h"

namespace mrpool::verbs {

class VerbsDevice final : public Device, public std::enable_shared_from_this<VerbsDevice> {
 public:
  // Takes `id`, which is bound to the device and keeps its context open.
  static absl::StatusOr<std::shared_ptr<VerbsDevice>> create(rdma_cm_id* id);
  explicit VerbsDevice(rdma_cm_id* id) : id_(id) {}
  ~VerbsDevice() override;

  const DeviceCaps& caps() const override { return caps_; }
  absl::StatusOr<std::unique_ptr<Pd>> alloc_pd() override;
  absl::StatusOr<std::unique_ptr<Cq>> create_cq(Reactor& reactor,
                                                const CqOptions& options) override;
  absl::StatusOr<std::unique_ptr<Listener>> listen(Reactor& reactor, const Address& address,
                                                   ListenHandler& handler) override;
  absl::StatusOr<std::unique_ptr<Qp>> connect(const Address& address, Pd& pd,
                                              const QpOptions& options, const ConnectParams& params,
                                              QpEvents& events) override;
  TransportStatistics statistics() const override { return registry_.total(); }

  ibv_context* context() const { return id_->verbs; }
  const ibv_device_attr& attributes() const { return attributes_; }
  bool siw() const { return attributes_.vendor_id == siw::kVendor; }  // Linux's iWARP in software

  absl::StatusOr<std::shared_ptr<CmChannel>> channel_for(Reactor& reactor);
  CounterRegistry& registry() { return registry_; }
  uint32_t next_owner() { return owners_.fetch_add(1, std::memory_order_relaxed); }

 private:
  absl::Status query();

  rdma_cm_id* const id_;
  ibv_cq* plug_ = nullptr;  // siw only, see device.cc
  ibv_device_attr attributes_{};
  DeviceCaps caps_;
  CounterRegistry registry_{zero_statistics()};
  std::atomic<uint32_t> owners_{1};
  std::mutex mutex_;
  std::map<Reactor*, std::weak_ptr<CmChannel>> channels_;
};

}  // namespace mrpool::verbs
