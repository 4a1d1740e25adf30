#include "examples/base/json_print.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

namespace mrpool::base {

namespace json = boost::json;

namespace {

constexpr size_t kShort = 72;  // bytes of a list or an object that stands in one line

// Whether a list or an object has others inside.
bool nested(const json::value& value) {
  if (const json::array* list = value.if_array()) {
    for (const json::value& each : *list) {
      if (each.is_structured()) return true;
    }
  } else if (const json::object* object = value.if_object()) {
    for (const auto& member : *object) {
      if (member.value().is_structured()) return true;
    }
  }
  return false;
}

// With spaces after commas and colons.
void print_short(const json::value& value, std::string& to) {
  const char* separator = "";
  if (const json::array* list = value.if_array()) {
    to += '[';
    for (const json::value& each : *list) {
      to += separator;
      to += json::serialize(each);
      separator = ", ";
    }
    to += ']';
  } else if (const json::object* object = value.if_object()) {
    to += '{';
    for (const auto& member : *object) {
      to += separator;
      to += json::serialize(json::string(member.key()));
      to += ": ";
      to += json::serialize(member.value());
      separator = ", ";
    }
    to += '}';
  } else {
    to += json::serialize(value);
  }
}

void print(const json::value& value, size_t depth, std::string& to) {
  if (!nested(value)) {
    std::string line;
    print_short(value, line);
    if (line.size() <= kShort || !value.is_structured()) {
      to += line;
      return;
    }
  }
  const std::string inner((depth + 1) * 2, ' ');
  const char* separator = "\n";
  if (const json::array* list = value.if_array()) {
    to += '[';
    for (const json::value& each : *list) {
      to += separator + inner;
      print(each, depth + 1, to);
      separator = ",\n";
    }
  } else {
    to += '{';
    for (const auto& member : value.as_object()) {
      to += separator + inner + json::serialize(json::string(member.key())) + ": ";
      print(member.value(), depth + 1, to);
      separator = ",\n";
    }
  }
  to += "\n" + std::string(depth * 2, ' ') + (value.is_array() ? "]" : "}");
}

}  // namespace

std::string print_json(const json::value& value) {
  std::string text;
  print(value, 0, text);
  return text + "\n";
}

}  // namespace mrpool::base
