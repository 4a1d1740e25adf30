// One worker's resources on a device: the registration of the worker's staging memory, and the
// completion queues that its links share.
//
// Completion queues are never resized, because iWARP devices do not support it; another one is
// created when the existing ones are full.
//
// Thread safety: the worker's thread. Ownership: the worker owns it; it outlives its links, which
// reserve entries of its completion queues.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/engine/device_context.h"
#include "examples/engine/staging.h"
#include "mrpool/mr.h"
#include "mrpool/qp.h"

namespace mrpool::engine {

struct SharedCq {
  std::unique_ptr<Cq> cq;
  uint32_t depth = 0;
  uint32_t used = 0;
};

// Reserved entries of a completion queue; the destructor releases them.
class CqPlaces {
 public:
  CqPlaces() = default;
  CqPlaces(SharedCq& shared, uint32_t places) : shared_(&shared), places_(places) {
    shared.used += places;
  }
  CqPlaces(CqPlaces&& other) noexcept
      : shared_(std::exchange(other.shared_, nullptr)), places_(other.places_) {}
  CqPlaces& operator=(CqPlaces&& other) noexcept {
    std::swap(shared_, other.shared_);
    std::swap(places_, other.places_);
    return *this;
  }
  ~CqPlaces() {
    if (shared_ != nullptr) shared_->used -= places_;
  }
  Cq* cq() const { return shared_->cq.get(); }

 private:
  SharedCq* shared_ = nullptr;
  uint32_t places_ = 0;
};

class WorkerDevice {
 public:
  static absl::StatusOr<std::unique_ptr<WorkerDevice>> create(DeviceContext& context,
                                                              Reactor& reactor, Staging& staging);

  DeviceContext& context() { return context_; }
  Lkey staging_key() const { return staging_->lkey(); }
  absl::StatusOr<CqPlaces> take_places(uint32_t places);

 private:
  WorkerDevice(DeviceContext& context, Reactor& reactor) : context_(context), reactor_(reactor) {}

  DeviceContext& context_;
  Reactor& reactor_;
  std::unique_ptr<Mr> staging_;
  std::vector<std::unique_ptr<SharedCq>> cqs_;
};

}  // namespace mrpool::engine
