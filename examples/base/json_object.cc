#include "examples/base/json_object.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace mrpool::base {

namespace json = boost::json;

namespace {

absl::string_view view(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

JsonObject::JsonObject(const json::object& object, const JsonLines& lines, std::string where)
    : object_(object), lines_(lines), where_(std::move(where)) {}

void JsonObject::text(std::string_view key, std::string& to) {
  const json::value* value = find(key);
  if (value == nullptr) return;
  if (!value->is_string()) return wrong(key, "a string");
  string(key, *value, to);
}

void JsonObject::string(std::string_view key, const json::value& value, std::string& to) {
  to = value.as_string();
  const auto control =
      std::ranges::find_if(to, [](char c) { return uint8_t(c) < 0x20 || c == 0x7f; });
  if (control == to.end()) return;
  refuse(key,
         absl::StrCat("character ", control - to.begin() + 1, " is the control character \\u00",
                      absl::Hex(uint8_t(*control), absl::kZeroPad2),
                      "; in the path of a storage write it as %XX, elsewhere leave it out"));
}

void JsonObject::texts(std::string_view key, std::vector<std::string>& to) {
  const json::array* list = array(key, "a list of strings");
  if (list == nullptr) return;
  for (size_t i = 0; i < list->size(); ++i) {
    if (!(*list)[i].is_string()) return wrong(key, "a list of strings");
    string(absl::StrCat(view(key), "[", i, "]"), (*list)[i], to.emplace_back());
  }
}

void JsonObject::flag(std::string_view key, bool& to) {
  const json::value* value = find(key);
  if (value == nullptr) return;
  if (!value->is_bool()) return wrong(key, "true or false");
  to = value->as_bool();
}

void JsonObject::whole(std::string_view key, Range range, uint64_t& to) {
  const json::value* value = find(key);
  if (value == nullptr) return;
  if (!value->is_int64() || value->as_int64() < 0 || uint64_t(value->as_int64()) < range.least ||
      uint64_t(value->as_int64()) > range.most) {
    return wrong(key, absl::StrCat("a whole number from ", range.least, " to ", range.most));
  }
  to = uint64_t(value->as_int64());
}

std::optional<std::string> JsonObject::amount(std::string_view key, std::string_view kind) {
  const json::value* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->is_string()) return std::string(value->as_string());
  if (value->is_int64()) return absl::StrCat(value->as_int64());
  if (value->is_uint64()) return absl::StrCat(value->as_uint64());
  if (value->is_double()) return absl::StrCat(value->as_double());
  wrong(key, kind);
  return std::nullopt;
}

void JsonObject::bytes(std::string_view key, Range range, uint64_t& to) {
  const auto written = amount(key, "a size, as \"64MiB\", or a number of bytes");
  if (!written) return;
  const auto parsed = parse_size(*written, range);
  if (!parsed.ok()) return refuse(key, std::string(parsed.status().message()));
  to = *parsed;
}

void JsonObject::duration(std::string_view key, std::chrono::nanoseconds& to, DurationRange range) {
  const auto written = amount(key, "a duration, as \"500ms\", or a number of seconds");
  if (!written) return;
  const auto parsed = parse_duration(*written, range);
  if (!parsed.ok()) return refuse(key, std::string(parsed.status().message()));
  to = *parsed;
}

void JsonObject::refuse(std::string_view key, std::string_view why) {
  keep(absl::InvalidArgumentError(absl::StrCat(place(key), ": ", view(why))));
}

absl::Status JsonObject::finish() const {
  if (!status_.ok()) return status_;
  for (const auto& member : object_) {
    const std::string key(member.key());
    if (std::ranges::find(known_, key) != known_.end()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(place(key), " is not known; here there are: ", absl::StrJoin(known_, ", ")));
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
  keep(absl::InvalidArgumentError(absl::StrCat(place(key), " must be ", view(kind))));
}

void JsonObject::keep(absl::Status status) {
  if (status_.ok()) status_ = std::move(status);
}

std::string JsonObject::place(std::string_view key) const {
  return at_line(lines_.line(path(key))) + path(key);
}

std::string JsonObject::path(std::string_view key) const {
  return absl::StrCat(where_, where_.empty() ? "" : ".", view(key));
}

}  // namespace mrpool::base
