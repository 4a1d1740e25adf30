// A Pd whose MRs are bookkeeping only, so that a benchmark measures the cost of the pool alone.
//
// Thread safety: as in mrpool/device.h.
#pragma once

#include <memory>

#include "absl/status/status.h"
#include "mrpool/device.h"

namespace mrpool::bench {

class NopFastMr final : public FastMr {
 public:
  size_t map(std::span<const Sge> segments) override { return segments.size(); }
  void advance_key() override { ++rkey_.value; }
  bool needs_registration() const override { return true; }
  Sge sge() const override { return {}; }
  absl::Status renew() override { return absl::OkStatus(); }
};

class NopPd final : public Pd {
 public:
  NopPd() {
    caps_.name = "nop";
    caps_.registration = Registration::kFastReg;
    caps_.access.known = Access::kLocalWrite | kRemoteRights;
    caps_.max_mr = UINT32_MAX;
    caps_.max_fast_reg_segments = 256;
  }
  absl::StatusOr<std::unique_ptr<Mr>> reg_mr(std::span<std::byte>, Access) override {
    return absl::UnimplementedError("no memory");
  }
  absl::StatusOr<std::unique_ptr<FastMr>> alloc_fast_mr(const FastMrOptions&) override {
    return std::make_unique<NopFastMr>();
  }
  absl::StatusOr<std::unique_ptr<Srq>> create_srq(Reactor&, const SrqOptions&) override {
    return absl::UnimplementedError("no receives");
  }
  const DeviceCaps& caps() const override { return caps_; }

 private:
  DeviceCaps caps_;
};

}  // namespace mrpool::bench
