#include "examples/engine/rate_limits.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "examples/base/json_object.h"
#include "examples/base/units.h"

namespace mrpool::engine {
namespace {

constexpr std::string_view kBurst = "qos_burst_ms";
constexpr char kBurstAlone[] = "nothing is limited; give a limit too, or leave it out";

struct Rate {
  const char* name;
  uint64_t RateLimits::*member;
  uint64_t most;
  const char* help;
};

constexpr Rate kRates[] = {
    {"rw_ios_per_sec", &RateLimits::rw_ios_per_sec, kMaxIosPerSec,
     "commands a second; 0: no limit"},
    {"rw_mbytes_per_sec", &RateLimits::rw_mbytes_per_sec, kMaxMbytesPerSec,
     "MiB a second, read and written; 0: no limit"},
    {"r_mbytes_per_sec", &RateLimits::r_mbytes_per_sec, kMaxMbytesPerSec,
     "MiB read a second; 0: no limit"},
    {"w_mbytes_per_sec", &RateLimits::w_mbytes_per_sec, kMaxMbytesPerSec,
     "MiB written a second; 0: no limit"},
};

constexpr std::string_view kNames[] = {kRates[0].name, kRates[1].name, kRates[2].name,
                                       kRates[3].name, kBurst};

}  // namespace

void read_limits(base::JsonObject& object, RateLimits& limits) {
  for (const Rate& rate : kRates) {
    object.number(rate.name, limits.*rate.member, {.least = 0, .most = rate.most});
  }
  object.number(kBurst, limits.burst_ms, {.least = 1, .most = kMaxBurstMs});
  if (object.has(kBurst) && !limits.any()) object.refuse(kBurst, kBurstAlone);
}

void write_limits(const RateLimits& limits, boost::json::object& to) {
  for (const Rate& rate : kRates) {
    if (limits.*rate.member != 0) to[rate.name] = limits.*rate.member;
  }
  if (limits.any() && limits.burst_ms != kDefaultBurstMs) to[kBurst] = limits.burst_ms;
}

boost::json::object show_limits(const RateLimits& limits) {
  boost::json::object all;
  for (const Rate& rate : kRates) all[rate.name] = limits.*rate.member;
  if (limits.any()) all[kBurst] = limits.burst_ms;
  return all;
}

std::span<const std::string_view> limit_names() { return kNames; }

namespace {

bool is_limit(std::string_view name) { return std::ranges::find(kNames, name) != std::end(kNames); }

absl::Status set_limit(std::string_view name, std::string_view value, RateLimits& limits) {
  const auto rate = std::ranges::find(kRates, name, &Rate::name);
  const bool burst = rate == std::end(kRates);
  const base::Range range{.least = burst ? 1u : 0u, .most = burst ? kMaxBurstMs : rate->most};
  const auto number = base::parse_count(value, range);
  if (!number.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(std::string(name), ": ", number.status().message()));
  }
  const bool there = burst ? limits.burst_ms != kDefaultBurstMs : limits.*rate->member != 0;
  if (there) {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", std::string(name), "\" is given here and as a key; leave one of them out"));
  }
  if (burst) {
    limits.burst_ms = uint32_t(*number);
  } else {
    limits.*rate->member = *number;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status take_limits(std::vector<storage::StoreSpec::Option>& options, RateLimits& limits) {
  bool some = false;
  for (const storage::StoreSpec::Option& option : options) {
    if (!is_limit(option.name)) continue;
    some = true;
    if (absl::Status status = set_limit(option.name, option.value, limits); !status.ok()) {
      return status;
    }
  }
  if (some && !limits.any() && limits.burst_ms != kDefaultBurstMs) {
    return absl::InvalidArgumentError(absl::StrCat(std::string(kBurst), ": ", kBurstAlone));
  }
  std::erase_if(options, [](const auto& option) { return is_limit(option.name); });
  return absl::OkStatus();
}

std::vector<control::Parameter> limit_parameters() {
  std::vector<control::Parameter> all;
  for (const Rate& rate : kRates) {
    all.push_back(control::number(rate.name, rate.help, 0, rate.most));
  }
  all.push_back(control::number(std::string(kBurst),
                                "how much may come at once after a pause: what the limits allow "
                                "in so many milliseconds (10)",
                                1, kMaxBurstMs));
  return all;
}

absl::Status set_limits(const control::Given& given, RateLimits& limits) {
  bool some = given.has(kBurst);
  for (const Rate& rate : kRates) {
    some |= given.has(rate.name);
    limits.*rate.member = given.number(rate.name, limits.*rate.member);
  }
  limits.burst_ms = uint32_t(given.number(kBurst, limits.burst_ms));
  if (some && !limits.any()) {
    if (given.has(kBurst)) {
      return absl::InvalidArgumentError(absl::StrCat(std::string(kBurst), ": ", kBurstAlone));
    }
    limits = {};  // the next limit begins with the usual burst, as after a restart
  }
  if (some) return absl::OkStatus();
  const std::vector<std::string> names(std::begin(kNames), std::end(kNames));
  return absl::InvalidArgumentError(
      absl::StrCat("give at least one of ", absl::StrJoin(names, ", "), "; 0 removes a limit"));
}

std::string describe(const RateLimits& limits) {
  std::vector<std::string> all;
  const auto add = [&all](uint64_t limit, const char* before, const char* unit) {
    if (limit != 0) all.push_back(absl::StrCat(before, limit, unit));
  };
  add(limits.rw_ios_per_sec, "", " I/Os/s");
  add(limits.rw_mbytes_per_sec, "", " MiB/s");
  add(limits.r_mbytes_per_sec, "reading ", " MiB/s");
  add(limits.w_mbytes_per_sec, "writing ", " MiB/s");
  if (all.empty()) return "no limit";
  return absl::StrCat(absl::StrJoin(all, ", "), "; burst ", limits.burst_ms, " ms");
}

}  // namespace mrpool::engine
