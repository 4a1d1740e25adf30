#include "examples/base/import.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "examples/base/json_lines.h"

namespace mrpool::base {

namespace json = boost::json;

namespace {

absl::string_view view(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

uint32_t ImportLog::line(std::string_view path) const {
  for (std::string_view at = path;;) {
    const uint32_t line = lines_.line(at);
    if (line != 0 || at.empty()) return line;
    const size_t dot = at.rfind('.');
    at = at.substr(0, dot == at.npos ? 0 : dot);
  }
}

std::string ImportLog::place(std::string_view path) const {
  return at_line(line(path)) + std::string(path);
}

void ImportLog::note(ImportWeight weight, std::string_view path, std::string_view what) {
  notes_.push_back({weight, absl::StrCat(place(path), ": ", view(what))});
}

void ImportLog::fail(std::string_view path, std::string_view what) {
  if (!status_.ok()) return;
  status_ = absl::InvalidArgumentError(absl::StrCat(place(path), ": ", view(what)));
}

ImportObject::ImportObject(const json::object& object, std::string path, ImportLog& log)
    : object_(object), path_(std::move(path)), log_(log) {}

std::string ImportObject::path(std::string_view key) const {
  return absl::StrCat(path_, path_.empty() ? "" : ".", view(key));
}

std::string ImportObject::text_of(const json::value& value, std::string_view at) {
  if (value.is_int64()) return absl::StrCat(value.as_int64());
  if (value.is_uint64()) return absl::StrCat(value.as_uint64());
  if (value.is_bool()) return value.as_bool() ? "1" : "0";
  if (!value.is_string()) {
    log_.fail(at, "must be a string or a whole number");
    return {};
  }
  std::string text(value.as_string());
  if (std::ranges::any_of(text, [](char c) { return uint8_t(c) < 0x20 || c == 0x7f; })) {
    log_.fail(at, "has a control character; leave it out");
    return {};
  }
  return text;
}

std::string ImportObject::text(std::string_view key, std::string otherwise) {
  const json::value* value = find(key);
  return value == nullptr ? std::move(otherwise) : text_of(*value, path(key));
}

uint64_t ImportObject::number(std::string_view key, uint64_t otherwise, uint64_t most) {
  const json::value* value = find(key);
  if (value == nullptr) return otherwise;
  uint64_t number = 0;
  const std::string text = text_of(*value, path(key));
  if (absl::SimpleAtoi(text, &number) && number <= most) return number;
  fail(key, absl::StrCat("\"", text, "\" is not a whole number from 0 to ", most));
  return otherwise;
}

bool ImportObject::flag(std::string_view key, bool otherwise) {
  const json::value* value = find(key);
  if (value == nullptr) return otherwise;
  const std::string text = text_of(*value, path(key));
  if (text == "1" || text == "Yes") return true;
  if (text != "0" && text != "No") fail(key, "must be true or false, 1 or 0, Yes or No");
  return false;
}

std::vector<std::string> ImportObject::texts(std::string_view key) {
  std::vector<std::string> all;
  const json::array* list = array_at(key);
  for (size_t i = 0; list != nullptr && i < list->size(); ++i) {
    all.push_back(text_of((*list)[i], absl::StrCat(path(key), "[", i, "]")));
  }
  return all;
}

void ImportObject::usual(std::span<const Usual> keys) {
  for (const Usual& each : keys) {
    const json::value* value = find(each.key);
    if (value == nullptr || each.values.empty()) continue;
    const std::string text = text_of(*value, path(each.key));
    const std::vector<std::string> values = absl::StrSplit(view(each.values), '|');
    if (std::ranges::find(values, text) != values.end()) continue;
    note(each.weight, each.key, absl::StrCat("is \"", text, "\": ", view(each.what)));
  }
}

void ImportObject::known(std::initializer_list<std::string_view> keys) {
  known_.insert(known_.end(), keys.begin(), keys.end());
}

void ImportObject::finish() {
  for (const auto& member : object_) {
    const std::string_view key(member.key().data(), member.key().size());
    if (std::ranges::find(known_, key) != known_.end()) continue;
    note(ImportWeight::kLost, key, "is not known here, and has no effect");
  }
}

const json::value* ImportObject::find(std::string_view key) {
  known_.push_back(key);
  const json::value* value = object_.if_contains(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

const json::object* ImportObject::object_at(std::string_view key) {
  const json::value* value = find(key);
  if (value == nullptr) return nullptr;
  if (!value->is_object()) fail(key, "must be an object");
  return value->if_object();
}

const json::array* ImportObject::array_at(std::string_view key) {
  const json::value* value = find(key);
  if (value == nullptr) return nullptr;
  if (!value->is_array()) fail(key, "must be a list");
  return value->if_array();
}

}  // namespace mrpool::base
