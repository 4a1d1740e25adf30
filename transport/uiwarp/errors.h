// Set-up errors in the words of this device.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace mrpool::uiwarp {

// "max_send_wr 70000 exceeds the device's 32768".
inline absl::Status over_limit(std::string_view what, uint64_t asked, uint64_t limit) {
  return absl::InvalidArgumentError(absl::StrCat(absl::string_view(what.data(), what.size()), " ",
                                                 asked, " exceeds the device's ", limit));
}

}  // namespace mrpool::uiwarp
