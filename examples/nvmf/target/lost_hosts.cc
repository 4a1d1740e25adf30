#include "examples/nvmf/target/lost_hosts.h"

#include <algorithm>
#include <utility>

#include "examples/nvmf/target/limits.h"

namespace mrpool::nvmf_target {

KnownStores LostHosts::known(const std::string& host, const NamespaceTable& table,
                             Nanoseconds now) {
  std::erase_if(lost_, [&](const Lost& each) {
    return each.followed && now - *each.followed > kMayComeAgain;
  });
  std::optional<KnownStores> all;
  for (Lost& each : lost_) {
    if (each.host != host) continue;
    if (all) {
      all->add(each.known);
    } else {
      all = each.known;
    }
    if (!each.followed) each.followed = now;
  }
  return all ? *std::move(all) : KnownStores(table);
}

void LostHosts::lost(const std::string& host, KnownStores known) {
  std::erase_if(lost_, [&](const Lost& each) { return each.host == host && each.known == known; });
  if (lost_.size() == kMaxLostHosts) lost_.pop_front();
  lost_.push_back({host, std::move(known)});
}

}  // namespace mrpool::nvmf_target
