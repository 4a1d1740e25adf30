// Pd of uiwarp: a number that keys and Qps must share.
//
// Thread safety: as in mrpool/device.h.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "mrpool/device.h"
#include "transport/counters/pd_counters.h"

namespace mrpool::uiwarp {

class UiwarpDevice;

class UiwarpPd final : public Pd {
 public:
  UiwarpPd(std::shared_ptr<UiwarpDevice> device, uint64_t id);

  absl::StatusOr<std::unique_ptr<Mr>> reg_mr(std::span<std::byte> memory, Access access) override;
  absl::StatusOr<std::unique_ptr<FastMr>> alloc_fast_mr(const FastMrOptions& options) override;
  absl::StatusOr<std::unique_ptr<Srq>> create_srq(Reactor& reactor,
                                                  const SrqOptions& options) override;
  const DeviceCaps& caps() const override;
  PdStatistics statistics() const override { return counters_.snapshot(); }
  uint64_t id() const { return id_; }
  const UiwarpDevice& device() const { return *device_; }

 private:
  absl::StatusOr<std::unique_ptr<Mr>> make_mr(std::span<std::byte> memory, Access access);

  const std::shared_ptr<UiwarpDevice> device_;
  const uint64_t id_;
  PdCounters counters_;
};

}  // namespace mrpool::uiwarp
