// The keys of one JSON object that a person wrote, read one by one.
//
// A missing key leaves its variable unchanged. finish() returns the first error,
// with the line and the path of the key. A key that nobody asked for is an error too, because a
// misspelt option must not be silently without effect. Strings hold no control
// characters: no name that a configuration gives may have one, and "\u0000" would cut it short.
//
// Thread safety: distinct objects: safe. Ownership: the JSON must outlive its reader.
#pragma once

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <chrono>
#include <concepts>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "examples/base/json_lines.h"
#include "examples/base/json_text.h"
#include "examples/base/units.h"

namespace mrpool::base {

class JsonObject {
 public:
  // The outermost object of `text`, whose value is one.
  explicit JsonObject(const JsonText& text) : JsonObject(text.value.as_object(), text.lines, {}) {}

  bool has(std::string_view key) const { return object_.contains(key); }
  // Where the object begins.
  uint32_t line() const { return lines_.line(where_); }
  void text(std::string_view key, std::string& to);
  void texts(std::string_view key, std::vector<std::string>& to);
  void flag(std::string_view key, bool& to);
  // Within `range`, and what the type holds.
  template <std::unsigned_integral Number>
  void number(std::string_view key, Number& to, Range range = {.least = 1}) {
    uint64_t value = to;
    range.most = std::min<uint64_t>(range.most, std::numeric_limits<Number>::max());
    whole(key, range, value);
    to = Number(value);
  }
  // As on command lines: a text with a unit ("64MiB", "500ms"), or a number of bytes or seconds.
  template <std::unsigned_integral Number>
  void size(std::string_view key, Number& to, Range range = {}) {
    uint64_t value = to;
    range.most = std::min<uint64_t>(range.most, std::numeric_limits<Number>::max());
    bytes(key, range, value);
    to = Number(value);
  }
  void duration(std::string_view key, std::chrono::nanoseconds& to, DurationRange range = {});
  // Calls `each(JsonObject&)` for the object of `key` and finishes it.
  template <typename Each>
  void object(std::string_view key, const Each& each) {
    const boost::json::value* value = find(key);
    if (value == nullptr) return;
    if (!value->is_object()) return wrong(key, "an object");
    JsonObject reader(value->as_object(), lines_, path(key));
    each(reader);
    if (absl::Status status = reader.finish(); !status.ok()) keep(std::move(status));
  }
  // Calls `each(JsonObject&)` for the members of a list of objects and finishes them.
  template <typename Each>
  void objects(std::string_view key, const Each& each) {
    members(key, "a list of objects", nullptr, each);
  }
  // The same for a list whose members are strings, for `text(std::string_view, uint32_t line)`, or
  // objects.
  template <typename Text, typename Each>
  void entries(std::string_view key, const Text& text, const Each& each) {
    members(key, "a list of strings or objects", text, each);
  }
  // The value of `key` is wrong; `why` is the reason.
  void refuse(std::string_view key, std::string_view why);

  absl::Status finish() const;

 private:
  // `where` is the object's path, "targets[0]"; empty for the outermost.
  JsonObject(const boost::json::object& object, const JsonLines& lines, std::string where);

  template <typename EachText, typename EachObject>
  void members(std::string_view key, std::string_view kind, const EachText& each_text,
               const EachObject& each_object) {
    const boost::json::array* list = array(key, kind);
    for (size_t i = 0; list != nullptr && i < list->size(); ++i) {
      const std::string at = std::string(key) + "[" + std::to_string(i) + "]";
      if constexpr (!std::is_null_pointer_v<EachText>) {
        if ((*list)[i].is_string()) {
          std::string text;
          string(at, (*list)[i], text);
          each_text(std::string_view(text), lines_.line(path(at)));
          if (!status_.ok()) return;
          continue;
        }
      }
      const boost::json::object* member = (*list)[i].if_object();
      if (member == nullptr) return wrong(key, kind);
      JsonObject reader(*member, lines_, path(at));
      each_object(reader);
      if (absl::Status status = reader.finish(); !status.ok()) return keep(std::move(status));
    }
  }
  void string(std::string_view key, const boost::json::value& value, std::string& to);
  const boost::json::value* find(std::string_view key);
  const boost::json::array* array(std::string_view key, std::string_view kind);
  void whole(std::string_view key, Range range, uint64_t& to);
  void bytes(std::string_view key, Range range, uint64_t& to);
  // A string, or a number as one would write it; nothing, refused, for anything else.
  std::optional<std::string> amount(std::string_view key, std::string_view kind);
  void wrong(std::string_view key, std::string_view kind);
  void keep(absl::Status status);
  std::string path(std::string_view key) const;
  std::string place(std::string_view key) const;  // with the line

  const boost::json::object& object_;
  const JsonLines& lines_;
  const std::string where_;
  std::vector<std::string> known_;
  absl::Status status_;
};

}  // namespace mrpool::base
