// Limits of the rate of commands, with SPDK's names, as configurations and clients give them.
//
//   {"rw_ios_per_sec": 20000, "rw_mbytes_per_sec": 100, "qos_burst_ms": 50}
//
// 0, or a missing key, means unlimited. A megabyte is 1 MiB, as in SPDK. SPDK rounds rw_ios_per_sec
// up to a multiple of 1000; here every limit is used as it is given.
//
// Thread safety: values. Ownership: none.
#pragma once

#include <boost/json/object.hpp>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "examples/control/parameters.h"
#include "examples/storage/spec.h"

namespace mrpool::base {
class JsonObject;
}  // namespace mrpool::base

namespace mrpool::engine {

inline constexpr uint64_t kMaxIosPerSec = 100'000'000;
inline constexpr uint64_t kMaxMbytesPerSec = 1'000'000;
// How much of a limit may be used at once after a pause: what it allows in this time.
inline constexpr uint32_t kDefaultBurstMs = 10;
inline constexpr uint32_t kMaxBurstMs = 60'000;

struct RateLimits {
  uint64_t rw_ios_per_sec = 0;
  uint64_t rw_mbytes_per_sec = 0;
  uint64_t r_mbytes_per_sec = 0;
  uint64_t w_mbytes_per_sec = 0;
  uint32_t burst_ms = kDefaultBurstMs;

  // True if something is limited.
  bool any() const {
    return (rw_ios_per_sec | rw_mbytes_per_sec | r_mbytes_per_sec | w_mbytes_per_sec) != 0;
  }
  friend bool operator==(const RateLimits&, const RateLimits&) = default;
};

// Of a configuration file: the keys of an object.
void read_limits(base::JsonObject& object, RateLimits& limits);
// Only what differs from no limits.
void write_limits(const RateLimits& limits, boost::json::object& to);
// What bdev_get_bdevs shows, all four; the burst too if something is limited.
boost::json::object show_limits(const RateLimits& limits);

// For the help of an option that takes a storage.
inline constexpr char kLimitsHelp[] =
    "[,rw_ios_per_sec=N], [,rw_mbytes_per_sec=N], [,r_mbytes_per_sec=N], [,w_mbytes_per_sec=N] and "
    "[,qos_burst_ms=N] limit its rate";

// The names of the limits as options of a storage, "ram:64MiB,rw_ios_per_sec=1000".
std::span<const std::string_view> limit_names();
// Moves them out of `options` into `limits`, which has those of the keys. InvalidArgument names the
// value and what is possible.
absl::Status take_limits(std::vector<storage::StoreSpec::Option>& options, RateLimits& limits);

// The parameters of methods that set limits.
std::vector<control::Parameter> limit_parameters();
// Sets those that are given; an error if there are none.
absl::Status set_limits(const control::Given& given, RateLimits& limits);

// "1000 I/Os/s, reading 100 MiB/s; burst 10 ms"; "no limit".
std::string describe(const RateLimits& limits);

}  // namespace mrpool::engine
