// One opened device with what all workers share of it: protection domain, MR pool, and the
// registrations of volumes that lie in memory.
//
// Thread safety: shared objects: safe (one mutex, taken when a volume is first used).
// Ownership: outlives every link made on it. Registrations are shared by those who use them and end
// with the last.
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
  MrPool* pool() { return pool_.get(); }  // null where the device needs none
  const MrPool* pool() const { return pool_.get(); }
  const RwLimits& limits() const { return limits_; }

  // The volume's memory, registered for transfers that gather from it; null where it has none or
  // cannot be registered (locked memory), in which case reads go through staging memory.
  std::shared_ptr<Mr> register_volume(storage::Volume& volume);
  // The rights of memory that this side only reads and writes itself.
  Access local_access(Access rights) const;
  // The same for memory that READs fill.
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
