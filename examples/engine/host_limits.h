// The limits of the hosts of one target, each for all that it does there. In a configuration:
//
//   [{"nqn": "nqn.2024-01.example:a", "rw_ios_per_sec": 20000},
//    {"nqn": "*", "rw_mbytes_per_sec": 100}]      each host that is not named
//
// Thread safety: HostLimitMap: a value. HostLimits: shared objects: safe (one mutex; not for the
// data path). Ownership: limiters are shared.
#pragma once

#include <boost/json/array.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "examples/control/parameters.h"
#include "examples/engine/limiter.h"
#include "examples/engine/rate_limits.h"

namespace mrpool::base {
class JsonObject;
}  // namespace mrpool::base

namespace mrpool::engine {

// The name that stands for all hosts that have no limits of their own.
inline constexpr std::string_view kOtherHosts = "*";

using HostLimitMap = std::map<std::string, RateLimits, std::less<>>;  // by name

// Reads and writes the list `key`; `name` is the key of a host's name, "nqn" or "name".
void read_host_limits(base::JsonObject& object, std::string_view key, const char* name,
                      HostLimitMap& to);
boost::json::array write_host_limits(const HostLimitMap& limits, const char* name);

// The same of a method: sets what is given of one host; without any limit the entry goes.
absl::Status set_host_limits(const control::Given& given, const std::string& host,
                             HostLimitMap& limits);

class HostLimits {
 public:
  // Changes the limits of connected hosts too.
  void set(HostLimitMap limits);
  // The host's limiter; equal names return the same object while a reference to it exists.
  std::shared_ptr<Limiter> limiter(std::string_view host);

 private:
  const RateLimits& limits_of(std::string_view host) const;

  std::mutex mutex_;
  HostLimitMap limits_;
  std::map<std::string, std::weak_ptr<Limiter>, std::less<>> limiters_;
};

}  // namespace mrpool::engine
