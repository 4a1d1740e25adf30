#include "examples/engine/host_limits.h"

#include <boost/json/object.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/base/json_object.h"

namespace mrpool::engine {

void read_host_limits(base::JsonObject& object, std::string_view key, const char* name,
                      HostLimitMap& to) {
  object.objects(key, [&](base::JsonObject& each) {
    std::string host;
    each.text(name, host);
    RateLimits limits;
    read_limits(each, limits);
    if (host.empty()) {
      return each.refuse(name, "is missing; write the name of a host, or \"*\" for all others");
    }
    if (!limits.any()) {
      return each.refuse(name, absl::StrCat(host,
                                            " has no limit; write \"rw_ios_per_sec\": 1000, "
                                            "or leave it out"));
    }
    if (!to.emplace(host, limits).second) {
      each.refuse(name, absl::StrCat(host, " is given twice; leave one out"));
    }
  });
}

boost::json::array write_host_limits(const HostLimitMap& limits, const char* name) {
  boost::json::array all;
  for (const auto& [host, each] : limits) {
    boost::json::object one{{name, host}};
    write_limits(each, one);
    one["qos_burst_ms"] = each.burst_ms;  // clients show it, too
    all.push_back(std::move(one));
  }
  return all;
}

absl::Status set_host_limits(const control::Given& given, const std::string& host,
                             HostLimitMap& limits) {
  RateLimits& of_host = limits[host];
  absl::Status status = set_limits(given, of_host);
  if (!of_host.any()) limits.erase(host);
  return status;
}

const RateLimits& HostLimits::limits_of(std::string_view host) const {
  static const RateLimits kNone;
  const auto own = limits_.find(host);
  if (own != limits_.end()) return own->second;
  const auto others = limits_.find(kOtherHosts);
  return others == limits_.end() ? kNone : others->second;
}

void HostLimits::set(HostLimitMap limits) {
  const std::lock_guard lock(mutex_);
  limits_ = std::move(limits);
  for (const auto& [host, weak] : limiters_) {
    if (const auto limiter = weak.lock()) limiter->set(limits_of(host));
  }
}

std::shared_ptr<Limiter> HostLimits::limiter(std::string_view host) {
  const std::lock_guard lock(mutex_);
  std::erase_if(limiters_, [](const auto& each) { return each.second.expired(); });
  std::weak_ptr<Limiter>& known = limiters_[std::string(host)];
  std::shared_ptr<Limiter> limiter = known.lock();
  if (limiter == nullptr) known = limiter = std::make_shared<Limiter>(limits_of(host));
  return limiter;
}

}  // namespace mrpool::engine
