#include "examples/engine/worker_device.h"

#include <algorithm>

namespace mrpool::engine {

absl::StatusOr<std::unique_ptr<WorkerDevice>> WorkerDevice::create(DeviceContext& context,
                                                                   Reactor& reactor,
                                                                   Staging& staging) {
  // One registration for all staging memory. If the sink of a READ needs remote access, the pool
  // grants it for the time of the transfer, if the device supports that.
  auto mr = context.pd().reg_mr(staging.memory(), context.sink_access());
  if (!mr.ok()) return mr.status();
  std::unique_ptr<WorkerDevice> device(new WorkerDevice(context, reactor));
  device->staging_ = std::move(*mr);
  return device;
}

absl::StatusOr<CqPlaces> WorkerDevice::take_places(uint32_t places) {
  for (const auto& shared : cqs_) {
    if (shared->depth - shared->used >= places) return CqPlaces(*shared, places);
  }
  auto shared = std::make_unique<SharedCq>();
  shared->depth = std::max(kCqDepth, places);
  auto cq = context_.device().create_cq(reactor_, {.depth = shared->depth});
  if (!cq.ok()) return cq.status();
  shared->cq = std::move(*cq);
  cqs_.push_back(std::move(shared));
  return CqPlaces(*cqs_.back(), places);
}

}  // namespace mrpool::engine
