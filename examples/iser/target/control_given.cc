#include "examples/iser/target/control_given.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <utility>

#include "examples/protocol/iscsi/text.h"

namespace mrpool::iser_target {

namespace json = boost::json;

using control::Given;
using control::Parameter;

Parameter objects(std::string name, std::string help, std::vector<Parameter> fields) {
  Parameter parameter;
  parameter.name = std::move(name);
  parameter.type = control::Type::kObjects;
  parameter.help = std::move(help);
  parameter.fields = std::move(fields);
  return parameter;
}

std::vector<Given> objects_of(const Given& given, std::string_view name) {
  std::vector<Given> all;
  const json::value* list = given.all().if_contains(name);
  if (list == nullptr || !list->is_array()) return all;
  for (const json::value& each : list->get_array()) all.emplace_back(each.as_object());
  return all;
}

Parameter tag() { return required(control::number("tag", "of the group", 1, kMaxTag)); }
Parameter node_name() { return required(control::text("name", "of the target")); }
uint32_t tag_of(const Given& given) { return uint32_t(given.number("tag")); }

absl::StatusOr<TargetNode*> node_of(ControlDocument& document, const Given& given) {
  const std::string name = iscsi::normal_iscsi_name(given.text("name"));
  const auto found = document.nodes.find(name);
  if (found != document.nodes.end()) return &found->second;
  return absl::NotFoundError(absl::StrCat("there is no target ", name));
}

std::vector<Parameter> auth_parameters() {
  return {
      control::flag("disable_chap", "no authentication is required"),
      control::flag("require_chap", "authentication is required; always so if there is a group"),
      control::flag("mutual_chap", "authenticate the target if the initiator requests it"),
      control::number("chap_group", "the group of accounts; 0: none", 0, kMaxTag)};
}

absl::StatusOr<NodeAuth> auth_of(const ControlDocument& document, const Given& given) {
  NodeAuth auth{.disable_chap = given.flag("disable_chap"),
                .require_chap = given.flag("require_chap"),
                .mutual_chap = given.flag("mutual_chap"),
                .chap_group = uint32_t(given.number("chap_group"))};
  if (auth.disable_chap && auth.require_chap) {
    return bad("disable_chap and require_chap exclude each other; leave one of them out");
  }
  if (auth.chap_group == 0) return auth;
  if (absl::Status status = there(document.accounts, auth.chap_group, "auth"); !status.ok()) {
    return status;
  }
  return auth;
}

}  // namespace mrpool::iser_target
