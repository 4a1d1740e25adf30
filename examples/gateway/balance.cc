#include "examples/gateway/balance.h"

#include <algorithm>
#include <cstddef>

namespace mrpool::gateway {

namespace {

struct Share {
  std::string name;
  size_t owned = 0;  // now
  size_t most = 0;   // what it may have
  size_t given = 0;
};

std::vector<Share> shares_of(const std::map<std::string, std::string>& owners,
                             const std::vector<std::string>& members) {
  std::vector<Share> shares;
  for (const std::string& name : members) {
    const auto owned =
        std::ranges::count_if(owners, [&](const auto& group) { return group.second == name; });
    shares.push_back({.name = name, .owned = size_t(owned)});
  }
  std::ranges::sort(shares, [](const Share& a, const Share& b) {
    return a.owned != b.owned ? a.owned > b.owned : a.name < b.name;
  });
  for (size_t i = 0; i < shares.size(); ++i) {
    const bool larger = i < owners.size() % shares.size();
    shares[i].most = owners.size() / shares.size() + (larger ? 1 : 0);
  }
  return shares;
}

}  // namespace

std::map<std::string, std::string> balance(const std::map<std::string, std::string>& owners,
                                           const std::vector<std::string>& members) {
  std::map<std::string, std::string> result;
  if (members.empty()) return result;
  std::vector<Share> shares = shares_of(owners, members);
  for (const auto& [group, owner] : owners) {
    const auto share = std::ranges::find(shares, owner, &Share::name);
    if (share == shares.end() || share->given == share->most) continue;
    ++share->given;
    result[group] = owner;
  }
  for (const auto& [group, owner] : owners) {
    if (result.contains(group)) continue;
    // The shares add up to the number of groups, so one has a place.
    const auto share =
        std::ranges::max_element(shares, {}, [](const Share& one) { return one.most - one.given; });
    ++share->given;
    result[group] = share->name;
  }
  return result;
}

}  // namespace mrpool::gateway
