#include "examples/base/json_object.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace mrpool::daemon {

namespace json = boost::json;

namespace {

absl::string_view view(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

JsonObject::JsonObject(const json::object& object, std::string where)
    : object_(object), where_(std::move(where)) {}

void JsonObject::text(std::string_view key, std::string& to) {
  const json::value* value = find(key);
  if (value == nullptr) return;
  if (!value->is_string()) return wrong(key, "a string");
  to = value->as_string();
}

void JsonObject::texts(std::string_view key, std::vector<std::string>& to) {
  const json::array* list = array(key, "a list of strings");
  if (list == nullptr) return;
  for (const json::value& member : *list) {
    if (!member.is_string()) return wrong(key, "a list of strings");
    to.emplace_back(member.as_string());
  }
}

void JsonObject::flag(std::string_view key, bool& to) {
  const json::value* value = find(key);
  if (value == nullptr) return;
  if (!value->is_bool()) return wrong(key, "true or false");
  to = value->as_bool();
}

void JsonObject::whole(std::string_view key, uint64_t most, uint64_t& to) {
  const json::value* value = find(key);
  if (value == nullptr) return;
  if (!value->is_int64() || value->as_int64() < 1 || uint64_t(value->as_int64()) > most) {
    return wrong(key, absl::StrCat("a whole number from 1 to ", most));
  }
  to = uint64_t(value->as_int64());
}

void JsonObject::refuse(std::string_view key, std::string_view why) {
  keep(absl::InvalidArgumentError(absl::StrCat(path(key), ": ", view(why))));
}

absl::Status JsonObject::finish() const {
  if (!status_.ok()) return status_;
  for (const auto& member : object_) {
    const std::string key(member.key());
    if (std::ranges::find(known_, key) != known_.end()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(path(key), " is not known; here there are: ", absl::StrJoin(known_, ", ")));
  }
  return absl::OkStatus();
}

const json::value* JsonObject::find(std::string_view key) {
  known_.emplace_back(key);
  return object_.if_contains(key);
}

const json::array* JsonObject::array(std::string_view key, std::string_view kind) {
  const json::value* value = find(key);
  if (value == nullptr) return nullptr;
  if (!value->is_array()) {
    wrong(key, kind);
    return nullptr;
  }
  return &value->get_array();
}

void JsonObject::wrong(std::string_view key, std::string_view kind) {
  keep(absl::InvalidArgumentError(absl::StrCat(path(key), " must be ", view(kind))));
}

void JsonObject::keep(absl::Status status) {
  if (status_.ok()) status_ = std::move(status);
}

std::string JsonObject::path(std::string_view key) const {
  return absl::StrCat(where_, where_.empty() ? "" : ".", view(key));
}

}  // namespace mrpool::daemon
