#include "examples/gateway/daemon/show.h"

#include <boost/json/array.hpp>
#include <string>
#include <utility>

namespace mrpool::gateway {

namespace json = boost::json;

namespace {

uint64_t milliseconds(Nanoseconds time) { return uint64_t(time / std::chrono::milliseconds(1)); }

}  // namespace

json::object to_json(const Status& status) {
  json::object all;
  all["name"] = status.name;
  all["members"] = json::array(status.members.begin(), status.members.end());
  if (!status.failure.empty()) all["failure"] = status.failure;
  json::array groups;
  for (const GroupStatus& each : status.groups) {
    json::object one;
    one["group"] = each.name;
    one["state"] = json::string(to_string(each.state));
    one["owner"] = each.owner;
    one["term"] = each.term;
    one["lease_left_ms"] = milliseconds(each.lease_left);
    one["takeovers"] = each.takeovers;
    one["losses"] = each.losses;
    one["fences"] = each.fences;
    one["last_takeover_ms"] = milliseconds(each.last_takeover);
    if (!each.problem.empty()) one["problem"] = each.problem;
    groups.push_back(std::move(one));
  }
  all["groups"] = std::move(groups);
  return all;
}

void add_methods(control::Methods& methods, std::function<const Group*()> group) {
  methods.add({.name = "mrpool_gateway_get_group",
               .summary = "the group of gateways that this daemon is of: members, owners, terms",
               .run = [group = std::move(group)](const control::Given&) -> control::Result {
                 const Group* const own = group();
                 if (own == nullptr) {
                   return absl::FailedPreconditionError(
                       "this daemon is no gateway of a group; start it with --gateway-group");
                 }
                 return to_json(own->status());
               }});
}

void observe(const Status& status, metrics::Snapshot& to) {
  metrics::GatewayState state;
  state.name = status.name;
  state.members = uint32_t(status.members.size()) + 1;
  state.reachable = status.failure.empty();
  for (const GroupStatus& each : status.groups) {
    state.groups.push_back({.name = each.name,
                            .owner = each.owner,
                            .serves = each.state == State::kServing,
                            .term = each.term,
                            .lease_left_ns = uint64_t(each.lease_left.count()),
                            .takeovers = each.takeovers,
                            .losses = each.losses,
                            .fences = each.fences,
                            .last_takeover_ns = uint64_t(each.last_takeover.count())});
  }
  to.gateway = std::move(state);
}

}  // namespace mrpool::gateway
