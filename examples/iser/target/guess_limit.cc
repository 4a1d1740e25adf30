#include "examples/iser/target/guess_limit.h"

#include <algorithm>

#include "examples/base/ip_address.h"

namespace mrpool::iser_target {
namespace {

std::string network_of(std::string_view peer) {
  const std::string_view host = base::host_of(peer);
  const auto address = base::IpAddress::parse(host);
  return address ? address->network() : std::string(host);
}

}  // namespace

bool GuessLimit::allows(std::string_view peer, Nanoseconds now) {
  const std::lock_guard lock(mutex_);
  const auto at = forgiven_at_.find(network_of(peer));
  return at == forgiven_at_.end() || at->second - now <= kEach * (kAtOnce - 1);
}

void GuessLimit::wrong(std::string_view peer, Nanoseconds now) {
  const std::lock_guard lock(mutex_);
  std::erase_if(forgiven_at_, [&](const auto& entry) { return entry.second <= now; });
  if (forgiven_at_.size() >= kNetworks) {
    forgiven_at_.erase(
        std::ranges::min_element(forgiven_at_, {}, [](const auto& entry) { return entry.second; }));
  }
  Nanoseconds& at = forgiven_at_[network_of(peer)];
  at = std::max(at, now) + kEach;
}

}  // namespace mrpool::iser_target
