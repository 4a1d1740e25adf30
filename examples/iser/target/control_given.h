// Parameters of several iSCSI methods of the control socket, and their common checks.
//
// Thread safety: pure.
#pragma once

#include <boost/json/value.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "examples/control/parameters.h"
#include "examples/iser/target/control_document.h"

namespace mrpool::iser_target {

inline constexpr uint64_t kMaxTag = 0xffff;

template <typename... Parts>
absl::Status bad(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

// A parameter that is a list of objects, and its values in a call.
control::Parameter objects(std::string name, std::string help,
                           std::vector<control::Parameter> fields);
std::vector<control::Given> objects_of(const control::Given& given, std::string_view name);

control::Parameter tag();
uint32_t tag_of(const control::Given& given);
control::Parameter node_name();
// NotFound names the target.
absl::StatusOr<TargetNode*> node_of(ControlDocument& document, const control::Given& given);

template <typename Groups>
absl::Status there(const Groups& groups, uint64_t tag, std::string_view kind) {
  if (groups.contains(uint32_t(tag))) return absl::OkStatus();
  return absl::NotFoundError(absl::StrCat("there is no ", std::string(kind), " group ", tag));
}

template <typename Groups>
absl::Status not_there(const Groups& groups, uint64_t tag, std::string_view kind) {
  if (groups.contains(uint32_t(tag))) {
    return absl::AlreadyExistsError(
        absl::StrCat("there is a ", std::string(kind), " group ", tag, " already"));
  }
  if (groups.size() < kMaxGroups) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("there are ", kMaxGroups, " groups already"));
}

// FailedPrecondition names the target that uses the group.
template <typename Uses>
absl::Status unused(const ControlDocument& document, uint32_t tag, const Uses& uses) {
  for (const auto& [name, node] : document.nodes) {
    if (!uses(node)) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("group ", tag, " is used by ", name, "; change that first"));
  }
  return absl::OkStatus();
}

// The four parameters of authentication.
std::vector<control::Parameter> auth_parameters();
absl::StatusOr<NodeAuth> auth_of(const ControlDocument& document, const control::Given& given);

}  // namespace mrpool::iser_target
