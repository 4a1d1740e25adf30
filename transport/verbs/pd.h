// Protection domains, and the tables of what is registered in them (mr.h, fast_mr.h).
//
// Thread safety: registration from any thread; region_of() from any thread without locks.
// Ownership: VerbsPd shares the device; regions and windows borrow the Pd.
#pragma once

#include <infiniband/verbs.h>

#include <memory>
#include <mutex>
#include <unordered_set>

#include "mrpool/device.h"
#include "transport/counters/pd_counters.h"
#include "transport/verbs/mr_table.h"

namespace mrpool::verbs {

class VerbsDevice;
class VerbsMr;
class WindowMr;

class VerbsPd final : public Pd {
 public:
  static absl::StatusOr<std::unique_ptr<VerbsPd>> create(std::shared_ptr<VerbsDevice> device);
  VerbsPd(std::shared_ptr<VerbsDevice> device, ibv_pd* pd);
  ~VerbsPd() override;

  absl::StatusOr<std::unique_ptr<Mr>> reg_mr(std::span<std::byte> memory, Access access) override;
  absl::StatusOr<std::unique_ptr<Mr>> reg_dmabuf_mr(const DmabufRange& range,
                                                    Access access) override;
  absl::StatusOr<std::unique_ptr<FastMr>> alloc_fast_mr(const FastMrOptions& options) override;
  absl::StatusOr<std::unique_ptr<Srq>> create_srq(Reactor& reactor,
                                                  const SrqOptions& options) override;
  const DeviceCaps& caps() const override;
  PdStatistics statistics() const override { return counters_.snapshot(); }

  ibv_pd* get() const { return pd_; }
  VerbsDevice& device() const { return *device_; }
  PdCounters& counters() { return counters_; }
  VerbsMr* region_of(Lkey lkey) const { return regions_.find(lkey.value); }
  // The window with this key, whatever its key part.
  WindowMr* window_of(Rkey rkey) const { return windows_.find(rkey.value >> 8); }

  // Unbinds what is still bound to a queue pair or a region that is about to be destroyed.
  void release_windows(uint32_t owner);
  void release_windows(const VerbsMr& base);

 private:
  absl::StatusOr<std::unique_ptr<Mr>> make_mr(std::span<std::byte> memory, Access access);

  friend class VerbsMr;
  friend class WindowMr;

  const std::shared_ptr<VerbsDevice> device_;
  ibv_pd* const pd_;
  PdCounters counters_;
  std::mutex mutex_;  // changes of the tables, and re-creation of windows
  MrTable<VerbsMr> regions_;
  MrTable<WindowMr> windows_;  // by the part of the key that stays
  std::unordered_set<WindowMr*> all_windows_;
};

}  // namespace mrpool::verbs
