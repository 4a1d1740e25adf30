#include "examples/nvmf/target/ana.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/base/ip_address.h"
#include "mrpool/device.h"

namespace mrpool::nvmf_target {

using nvme::Status;

namespace {

// True if everything that `inner` is about is in `outer` too.
bool covers(const AnaRule& outer, const AnaRule& inner) {
  return (outer.group == 0 || outer.group == inner.group) &&
         (outer.listener.empty() || outer.listener == inner.listener);
}

}  // namespace

Status path_status(AnaState state) {
  switch (state) {
    case AnaState::kOptimized:
    case AnaState::kNonOptimized:
      return Status::kSuccess;
    case AnaState::kInaccessible:
      return Status::kAnaInaccessible;
    case AnaState::kPersistentLoss:
      return Status::kAnaPersistentLoss;
    case AnaState::kChange:
      return Status::kAnaTransition;
  }
  return Status::kAnaInaccessible;
}

void set_ana_state(std::vector<AnaRule>& rules, AnaRule rule) {
  std::erase_if(rules, [&](const AnaRule& each) { return covers(rule, each); });
  rules.push_back(std::move(rule));
}

bool came_through(const std::string& listener, std::string_view local) {
  const auto address = Address::parse(listener);
  if (!address.ok()) return false;
  uint16_t port = 0;
  const std::string_view digits = local.substr(local.rfind(':') + 1);
  std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (address->port != 0 && address->port != port) return false;
  if (address->host.empty()) return true;
  const auto own = base::IpAddress::parse(address->host);
  const auto asked = base::IpAddress::parse(base::host_of(local));
  if (!own || !asked) return false;
  if (own->wildcard()) return own->ipv6() || !asked->ipv6();
  return own->to_string() == asked->to_string();
}

AnaStates Ana::at(std::string_view local) const {
  AnaStates states;
  states.fill(AnaState::kOptimized);
  for (const AnaRule& rule : rules) {
    if (!rule.listener.empty() && !came_through(rule.listener, local)) continue;
    if (rule.group == 0) {
      states.fill(rule.state);
    } else if (rule.group <= kMaxAnaGroups) {
      states[rule.group] = rule.state;
    }
  }
  if (ownership == nullptr) return states;
  for (size_t group = 0; group < states.size(); ++group) {
    if ((*ownership)[group] != AnaState::kOptimized) states[group] = (*ownership)[group];
  }
  return states;
}

}  // namespace mrpool::nvmf_target
