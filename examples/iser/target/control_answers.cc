#include "examples/iser/target/control_answers.h"

#include <algorithm>
#include <boost/json/object.hpp>
#include <string>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/iser/target/limits.h"
#include "mrpool/device.h"

namespace mrpool::iser_target {

namespace json = boost::json;

namespace {

json::object shown(const NodeAuth& auth) {
  return {{"disable_chap", auth.disable_chap},
          {"require_chap", auth.require_chap},
          {"mutual_chap", auth.mutual_chap},
          {"chap_group", auth.chap_group}};
}

json::object shown_portal(const std::string& text) {
  const auto address = Address::parse(text);
  if (!address.ok()) return {{"host", text}};
  json::object one{{"host", address->host},
                   {"port", absl::StrCat(address->port)},
                   {"transport", address->transport}};
  if (!address->options.empty()) one["options"] = address->options;
  return one;
}

json::object shown_node(const TargetNode& node) {
  json::object to = shown(node.auth);
  to["name"] = node.target.name;
  to["alias_name"] = node.target.alias;
  json::array maps, luns;
  for (const auto& [portal, initiator] : node.maps) {
    maps.push_back(json::object{{"pg_tag", portal}, {"ig_tag", initiator}});
  }
  for (const LunConfig& each : node.target.luns) {
    luns.push_back(json::object{{"bdev_name", text_of(each)},
                                {"lun_id", each.lun.value_or(0)},
                                {"alua_group", each.alua_group},
                                {"alua_state", json::string(scsi::to_string(each.alua_state))}});
  }
  to["pg_ig_maps"] = std::move(maps);
  to["luns"] = std::move(luns);
  if (!node.target.initiator_limits.empty()) {
    to["initiator_limits"] = engine::write_host_limits(node.target.initiator_limits, "name");
  }
  to["queue_depth"] = kQueueDepth;
  to["header_digest"] = false;
  to["data_digest"] = false;
  return to;
}

// The host of "10.0.0.7:4711" or "[::1]:4711".
std::string host_of(const std::string& endpoint) {
  const std::string host = endpoint.substr(0, endpoint.rfind(':'));
  return host.starts_with('[') ? host.substr(1, host.size() - 2) : host;
}

}  // namespace

json::array shown_portal_groups(const ControlDocument& document) {
  json::array all;
  for (const auto& [tag, addresses] : document.portals) {
    json::array portals;
    for (const std::string& each : addresses) portals.push_back(shown_portal(each));
    all.push_back(json::object{{"tag", tag}, {"portals", portals}, {"private", false}});
  }
  return all;
}

json::array shown_initiator_groups(const ControlDocument& document) {
  json::array all;
  for (const auto& [tag, names] : document.initiators) {
    all.push_back(json::object{{"tag", tag},
                               {"initiators", json::array(names.begin(), names.end())},
                               {"netmasks", json::array{kAnybody}}});
  }
  return all;
}

json::array shown_auth_groups(const ControlDocument& document) {
  json::array all;
  for (const auto& [tag, accounts] : document.accounts) {
    json::array secrets;
    for (const GroupAccount& each : accounts) {
      json::object account{{"user", each.user}};
      if (!each.muser.empty()) account["muser"] = each.muser;
      if (!each.initiator.empty()) account["initiator"] = each.initiator;
      secrets.push_back(std::move(account));
    }
    all.push_back(json::object{{"tag", tag}, {"secrets", std::move(secrets)}});
  }
  return all;
}

json::array shown_target_nodes(const ControlDocument& document, std::string_view name) {
  json::array all;
  for (const auto& [each, node] : document.nodes) {
    if (name.empty() || each == name) all.push_back(shown_node(node));
  }
  return all;
}

json::array shown_connections(std::vector<metrics::SessionState> sessions) {
  std::ranges::sort(sessions, {}, [](const metrics::SessionState& each) {
    return std::tie(each.target, each.host, each.number);
  });
  json::array all;
  for (const metrics::SessionState& each : sessions) {
    all.push_back(json::object{{"id", all.size()},
                               {"cid", each.connection},
                               {"tsih", each.number},
                               {"lcore_id", each.queues.front().worker},
                               {"initiator_addr", host_of(each.peer)},
                               {"initiator_name", each.host},
                               {"target_addr", host_of(each.local)},
                               {"target_node_name", each.target}});
  }
  return all;
}

}  // namespace mrpool::iser_target
