#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value_from.hpp>
#include <charconv>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/base/command_line.h"
#include "examples/base/log.h"
#include "examples/control/methods.h"

namespace mrpool::control {

namespace json = boost::json;

namespace {

// The numbers of a version such as "0.1.0".
std::vector<uint32_t> numbers(std::string_view version) {
  std::vector<uint32_t> all;
  while (!version.empty()) {
    uint32_t number = 0;
    std::from_chars(version.data(), version.data() + version.size(), number);
    all.push_back(number);
    const size_t dot = version.find('.');
    version.remove_prefix(dot == version.npos ? version.size() : dot + 1);
  }
  all.resize(3);
  return all;
}

json::value version(const std::string& program) {
  const std::string text(base::version());
  const std::vector<uint32_t> parts = numbers(text);
  return {
      {"version", program + " " + text},
      {"fields", {{"major", parts[0]}, {"minor", parts[1]}, {"patch", parts[2]}, {"suffix", ""}}}};
}

json::array schema_of(const std::vector<Parameter>& parameters) {
  json::array all;
  for (const Parameter& each : parameters) {
    json::object one;
    one["name"] = each.name;
    one["type"] = json::string(to_string(each.type));
    one["required"] = each.required;
    one["description"] = each.help;
    if (each.type == Type::kNumber && !each.only) {
      one["least"] = each.least;
      one["most"] = each.most;
    }
    if (!each.choices.empty()) one["choices"] = json::value_from(each.choices);
    if (each.only) one["only"] = *each.only;
    if (!each.fields.empty()) one["fields"] = schema_of(each.fields);
    all.push_back(std::move(one));
  }
  return all;
}

json::value schema(const Methods& methods) {
  json::array all;
  for (const auto& [name, method] : methods.all()) {
    json::object one;
    one["name"] = name;
    one["description"] = method.summary;
    one["changes"] = method.changes;
    one["params"] = schema_of(method.parameters);
    all.push_back(std::move(one));
  }
  return all;
}

}  // namespace

void add_common_methods(Methods& methods, std::string program) {
  methods.add({.name = "rpc_get_methods",
               .summary = "the names of all methods",
               .parameters = {flag("current", "those that can be called now: all of them"),
                              flag("include_aliases", "there are no other names")},
               .run = [&methods](const Given&) -> Result {
                 json::array names;
                 for (const auto& [name, method] : methods.all()) names.emplace_back(name);
                 return json::value(std::move(names));
               }});
  methods.add({.name = "mrpool_get_schema",
               .summary = "all methods with their parameters",
               .run = [&methods](const Given&) -> Result { return schema(methods); }});
  methods.add(
      {.name = "spdk_get_version",
       .summary = "the version of this program",
       .run = [program = std::move(program)](const Given&) -> Result { return version(program); }});
  methods.add({.name = "log_get_level",
               .summary = "the level of the log",
               .run = [](const Given&) -> Result {
                 return json::value(json::string(base::log_get_level()));
               }});
  methods.add({.name = "log_set_level",
               .summary = "leaves out messages of a lower level, until the daemon ends",
               .parameters = {required(text("level", "ERROR, WARNING, NOTICE, INFO or DEBUG"))},
               .run = [](const Given& given) -> Result {
                 absl::Status status = base::log_set_level(given.text("level"));
                 if (!status.ok()) return status;
                 return json::value(true);
               }});
}

}  // namespace mrpool::control
