// One opened device and the objects on it that all workers share: the protection domain, the MR
// pool, and the registrations of volumes in memory.
//
// Thread safety: shared objects: safe (one mutex, taken when a volume is first used).
// Ownership: outlives every link made on it. Registrations are shared by their users and end with
// the last user.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/statusor.h"
#include "examples/engine/options.h"
#include "examples/storage/storage.h"
#include "mrpool/device.h"
#include "mrpool/mr_pool.h"
#include "mrpool/rw.h"

namespace mrpool::engine {

class DeviceContext {
 public:
  static absl::StatusOr<std::unique_ptr<DeviceContext>> create(std::shared_ptr<Device> device,
                                                               const Options& options);

  Device& device() { return *device_; }
  const Device& device() const { return *device_; }
  const DeviceCaps& caps() const { return device_->caps(); }
  Pd& pd() { return *pd_; }
  MrPool* pool() { return pool_.get(); }  // null if the device does not need one
  const MrPool* pool() const { return pool_.get(); }
  const RwLimits& limits() const { return limits_; }

  // The volume's memory, registered so that transfers can gather from it. Null if the volume is not
  // in memory or if registration failed (limit of locked memory); reads then use staging memory.
  std::shared_ptr<Mr> register_volume(storage::Volume& volume);
  // The access flags for memory that only this side reads and writes.
  Access local_access(Access rights) const;
  // The same for memory that RDMA READs fill.
  Access sink_access() const;

 private:
  DeviceContext(std::shared_ptr<Device> device, const Options& options);

  const std::shared_ptr<Device> device_;
  const bool relaxed_ordering_;
  RwLimits limits_;
  std::unique_ptr<Pd> pd_;
  std::unique_ptr<MrPool> pool_;
  std::mutex mutex_;
  std::map<storage::Volume*, std::weak_ptr<Mr>> volumes_;
};

}  // namespace mrpool::engine
