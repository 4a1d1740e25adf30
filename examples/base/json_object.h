// The keys of one JSON object that a person wrote, read one by one.
//
// A key that is not there leaves what it should set as it is. The first thing that is wrong is kept
// and told by finish(), with the path of the key; so is a key that nobody asked for, because a
// misspelt option must not be silently without effect.
//
// Thread safety: distinct objects: safe. Ownership: the JSON must outlive its reader.
#pragma once

#include <boost/json/object.hpp>
#include <concepts>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace mrpool::daemon {

class JsonObject {
 public:
  // `where` is the object's path, "targets[0]"; empty for the outermost.
  explicit JsonObject(const boost::json::object& object, std::string where = {});

  bool has(std::string_view key) const { return object_.contains(key); }
  void text(std::string_view key, std::string& to);
  void texts(std::string_view key, std::vector<std::string>& to);
  void flag(std::string_view key, bool& to);
  // From 1 to what the type holds.
  template <std::unsigned_integral Number>
  void number(std::string_view key, Number& to) {
    uint64_t value = to;
    whole(key, std::numeric_limits<Number>::max(), value);
    to = Number(value);
  }
  // Calls `each(JsonObject&)` for the members of a list of objects and finishes them.
  template <typename Each>
  void objects(std::string_view key, const Each& each) {
    const boost::json::array* list = array(key, "a list of objects");
    for (size_t i = 0; list != nullptr && i < list->size(); ++i) {
      const boost::json::object* member = (*list)[i].if_object();
      if (member == nullptr) return wrong(key, "a list of objects");
      JsonObject reader(*member, path(key) + "[" + std::to_string(i) + "]");
      each(reader);
      if (absl::Status status = reader.finish(); !status.ok()) return keep(std::move(status));
    }
  }
  // The value of `key` is no good, as `why` says.
  void refuse(std::string_view key, std::string_view why);

  absl::Status finish() const;

 private:
  const boost::json::value* find(std::string_view key);
  const boost::json::array* array(std::string_view key, std::string_view kind);
  void whole(std::string_view key, uint64_t most, uint64_t& to);
  void wrong(std::string_view key, std::string_view kind);
  void keep(absl::Status status);
  std::string path(std::string_view key) const;

  const boost::json::object& object_;
  const std::string where_;
  std::vector<std::string> known_;
  absl::Status status_;
};

}  // namespace mrpool::daemon
