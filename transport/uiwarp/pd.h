// Pd of uiwarp: a number that keys and Qps must share.
//
// Thread safety: as mrpool/device.h says.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "mrpool/device.h"

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
  uint64_t id() const { return id_; }

 private:
  const std::shared_ptr<UiwarpDevice> device_;
  const uint64_t id_;
};

}  // namespace mrpool::uiwarp
