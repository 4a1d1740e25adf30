// The methods that change target nodes.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "examples/control/parameters.h"
#include "examples/iser/target/control_answers.h"
#include "examples/iser/target/control_given.h"
#include "examples/iser/target/control_methods.h"
#include "examples/iser/target/limits.h"
#include "examples/protocol/iscsi/text.h"

namespace mrpool::iser_target {

namespace json = boost::json;

using control::Given;
using control::Parameter;

namespace {

Parameter maps_parameter() {
  return required(objects("pg_ig_maps", "pairs of a portal group and an initiator group",
                          {required(control::number("pg_tag", "a portal group", 1, kMaxTag)),
                           required(control::number("ig_tag", "an initiator group", 1, kMaxTag))}));
}

absl::Status add_maps(const Given& given, const ControlDocument& document, TargetNode& node) {
  for (const Given& each : objects_of(given, "pg_ig_maps")) {
    const std::pair map{uint32_t(each.number("pg_tag")), uint32_t(each.number("ig_tag"))};
    absl::Status status = there(document.portals, map.first, "portal");
    if (status.ok()) status = there(document.initiators, map.second, "initiator");
    if (!status.ok()) return status;
    if (std::ranges::find(node.maps, map) == node.maps.end()) node.maps.push_back(map);
  }
  return absl::OkStatus();
}

// A store that is there by its name, or a storage of its own.
absl::StatusOr<LunConfig> lun_of(const ControlDocument& document, const std::string& text) {
  LunConfig lun;
  if (engine::find_store(document.rest.stores, text) != nullptr) {
    lun.store = text;
    return lun;
  }
  if (!text.empty() && text.find(':') == text.npos) {
    return absl::NotFoundError(
        absl::StrCat("there is no store \"", text,
                     "\"; bdev_get_bdevs lists them; or write a storage, as file:/srv/disk.img"));
  }
  lun.storage = text;
  absl::Status status = take_own_options(lun);
  if (!status.ok()) return status;
  return lun;
}

absl::Status add_lun(const Given& given, const ControlDocument& document, TargetNode& node) {
  auto made = lun_of(document, given.text("bdev_name"));
  if (!made.ok()) return made.status();
  LunConfig& lun = *made;
  if (given.has("lun_id")) lun.lun = uint16_t(given.number("lun_id"));
  if (!lun.lun) {
    const std::vector<uint16_t> used = lun_numbers(node.target);
    uint16_t free = 0;
    while (std::ranges::find(used, free) != used.end()) ++free;
    lun.lun = free;
  }
  for (const LunConfig& each : node.target.luns) {
    if (each.lun != lun.lun) continue;
    return absl::AlreadyExistsError(absl::StrCat("LUN ", *lun.lun, " is ", text_of(each)));
  }
  node.target.luns.push_back(std::move(lun));
  return absl::OkStatus();
}

std::vector<Parameter> lun_parameters() {
  return {required(control::text("bdev_name", "a store, or a storage, as file:/srv/disk.img")),
          control::number("lun_id", "default: the lowest free one", 0, kMaxLuns - 1)};
}

absl::Status create_node(const Given& given, ControlDocument& document) {
  TargetNode node;
  node.target.name = iscsi::normal_iscsi_name(given.text("name"));
  node.target.alias = given.text("alias_name");
  if (document.nodes.contains(node.target.name)) {
    return absl::AlreadyExistsError(
        absl::StrCat("there is a target ", node.target.name, " already"));
  }
  const auto auth = auth_of(document, given);
  if (!auth.ok()) return auth.status();
  node.auth = *auth;
  if (absl::Status status = add_maps(given, document, node); !status.ok()) return status;
  for (const Given& each : objects_of(given, "luns")) {
    if (absl::Status status = add_lun(each, document, node); !status.ok()) return status;
  }
  document.nodes.emplace(node.target.name, std::move(node));
  return absl::OkStatus();
}

absl::Status set_alua_state(const Given& given, TargetConfig& target) {
  const auto state = scsi::parse_access_state(given.text("alua_state"));
  if (!state.ok()) return state.status();
  bool found = false;
  for (LunConfig& lun : target.luns) {
    if (given.has("lun_id") && lun.lun != given.number("lun_id")) continue;
    lun.alua_state = *state;
    found = true;
  }
  if (found) return absl::OkStatus();
  if (!given.has("lun_id")) return absl::NotFoundError(absl::StrCat(target.name, " has no LUNs"));
  return absl::NotFoundError(absl::StrCat(target.name, " has no LUN ", given.number("lun_id")));
}

}  // namespace

void ControlMethods::add_nodes() {
  std::vector<Parameter> parameters{
      node_name(),
      control::text("alias_name", "a descriptive name"),
      maps_parameter(),
      required(objects("luns", "its LUNs", lun_parameters())),
      control::number("queue_depth", "no effect: the window is this daemon's", 1),
      control::only("header_digest", false, "iSER has none: RDMA protects headers"),
      control::only("data_digest", false, "iSER has none: RDMA protects data")};
  for (Parameter& each : auth_parameters()) parameters.push_back(std::move(each));
  add_change("iscsi_create_target_node", "serve a target", std::move(parameters), create_node);
  add_change("iscsi_delete_target_node", "end a target; its sessions end", {node_name()},
             [](const Given& given, ControlDocument& document) {
               const auto node = node_of(document, given);
               if (node.ok()) document.nodes.erase(std::string((*node)->target.name));
               return node.status();
             });
  add_query("iscsi_get_target_nodes", "the targets", {control::text("name", "this one only")},
            [this](const Given& given) -> control::Result {
              const std::string name = iscsi::normal_iscsi_name(given.text("name"));
              json::array all = shown_target_nodes(document(), name);
              if (!name.empty() && all.empty()) {
                return absl::NotFoundError(absl::StrCat("there is no target ", name));
              }
              return all;
            });
}

void ControlMethods::add_connections() {
  add_query("iscsi_get_connections", "the initiators that are logged in", {}, [this](const Given&) {
    return control::Result(shown_connections(service_.engine().accounts().sessions()));
  });
}

void ControlMethods::add_node_parts() {
  const auto add = [this](std::string name, std::string summary, std::vector<Parameter> parameters,
                          auto edit) {
    parameters.insert(parameters.begin(), node_name());
    add_change(std::move(name), std::move(summary), std::move(parameters),
               [edit](const Given& given, ControlDocument& document) {
                 const auto node = node_of(document, given);
                 return node.ok() ? edit(given, document, **node) : node.status();
               });
  };
  add("iscsi_target_node_add_lun", "serve a store as a LUN", lun_parameters(),
      [](const Given& given, ControlDocument& document, TargetNode& node) {
        return add_lun(given, document, node);
      });
  add("mrpool_iscsi_target_node_remove_lun", "end a LUN",
      {required(control::number("lun_id", "the LUN", 0, kMaxLuns - 1))},
      [](const Given& given, ControlDocument&, TargetNode& node) -> absl::Status {
        const uint64_t number = given.number("lun_id");
        if (std::erase_if(node.target.luns,
                          [&](const LunConfig& each) { return each.lun == number; }) != 0) {
          return absl::OkStatus();
        }
        return absl::NotFoundError(absl::StrCat(node.target.name, " has no LUN ", number));
      });
  add("mrpool_iscsi_target_node_set_alua_state",
      "set how well initiators reach LUNs; they learn it",
      {required(control::choice(
           "alua_state", "of the target port group",
           {std::begin(scsi::kAccessStateNames), std::end(scsi::kAccessStateNames)})),
       control::number("lun_id", "the LUN; default: all of the target", 0, kMaxLuns - 1)},
      [](const Given& given, ControlDocument&, TargetNode& node) {
        return set_alua_state(given, node.target);
      });
  add("iscsi_target_node_set_auth", "set the accounts of a target", auth_parameters(),
      [](const Given& given, ControlDocument& document, TargetNode& node) {
        const auto auth = auth_of(document, given);
        if (auth.ok()) node.auth = *auth;
        return auth.status();
      });
  std::vector<Parameter> limits = engine::limit_parameters();
  limits.insert(
      limits.begin(),
      required(control::text("initiator", "its name, or * for each that has no limit of its own")));
  add("mrpool_iscsi_target_node_initiator_set_qos_limit",
      "limit the rate of an initiator's commands; what is not given stays", std::move(limits),
      [](const Given& given, ControlDocument&, TargetNode& node) {
        return engine::set_host_limits(given, iscsi::normal_iscsi_name(given.text("initiator")),
                                       node.target.initiator_limits);
      });
  add("iscsi_target_node_add_pg_ig_maps", "admit more initiators", {maps_parameter()},
      [](const Given& given, ControlDocument& document, TargetNode& node) {
        return add_maps(given, document, node);
      });
  add("iscsi_target_node_remove_pg_ig_maps", "no longer admit initiators", {maps_parameter()},
      [](const Given& given, ControlDocument&, TargetNode& node) -> absl::Status {
        for (const Given& each : objects_of(given, "pg_ig_maps")) {
          const std::pair map{uint32_t(each.number("pg_tag")), uint32_t(each.number("ig_tag"))};
          if (std::erase(node.maps, map) != 0) continue;
          return absl::NotFoundError(
              absl::StrCat(node.target.name, " has no map ", map.first, ":", map.second));
        }
        return absl::OkStatus();
      });
}

}  // namespace mrpool::iser_target
