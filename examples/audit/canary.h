// Devices that break one rule on purpose, so that the audit can be seen to catch it.
//
// A canary wraps a real device and passes every call on, with one thing changed. It
// lives here and not in the transport: no program but the audit and its test can get at one.
//
// Thread safety: as the real device. Ownership: shares the device.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "mrpool/device.h"

namespace mrpool::audit {

struct CanaryRule {
  std::string_view name;
  std::string_view meaning;
  std::string_view caught_by;  // the line of the report that must say BROKEN
};
std::span<const CanaryRule> canary_rules();

// InvalidArgument names the rules there are.
absl::StatusOr<std::shared_ptr<Device>> make_canary(std::shared_ptr<Device> device,
                                                    std::string_view rule);

}  // namespace mrpool::audit
