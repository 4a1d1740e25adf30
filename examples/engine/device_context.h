// One opened device with what all workers share of it: protection domain, MR pool, and the
// registrations of namespaces that lie in memory.
//
// Thread safety: shared objects: safe (one mutex, taken when a namespace is first used).
// Ownership: outlives every queue made on it. Registrations are shared by those who use them and
// end with the last.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/statusor.h"
#include "examples/storage/storage.h"
#include "mrpool/device.h"
#include "mrpool/mr_pool.h"
#include "mrpool/rw.h"

namespace mrpool::nvmf_target {

class DeviceContext {
 public:
  struct Options {
    uint32_t mrs = 1024;    // entries of the pool, where the device needs MRs for its transfers
    bool force_mr = false;  // register local memory for every transfer
    bool relaxed_ordering = true;
  };
  static absl::StatusOr<std::unique_ptr<DeviceContext>> create(std::shared_ptr<Device> device,
                                                               const Options& options);

  Device& device() { return *device_; }
  const DeviceCaps& caps() const { return device_->caps(); }
  Pd& pd() { return *pd_; }
  MrPool* pool() { return pool_.get(); }
  const RwLimits& limits() const { return limits_; }

  // The volume's memory, registered for transfers that gather from it; null where it has none or
  // cannot be registered (locked memory), in which case reads go through staging buffers.
  std::shared_ptr<Mr> register_volume(storage::Volume& volume);
  // The rights of memory that this side only reads and writes itself.
  Access local_access(Access rights) const;
  // The same for memory that READs fill.
  Access sink_access() const;

 private:
  DeviceContext(std::shared_ptr<Device> device, const Options& options);

  const std::shared_ptr<Device> device_;
  const Options options_;
  RwLimits limits_;
  std::unique_ptr<Pd> pd_;
  std::unique_ptr<MrPool> pool_;
  std::mutex mutex_;
  std::map<storage::Volume*, std::weak_ptr<Mr>> volumes_;
};

}  // namespace mrpool::nvmf_target
