#include "examples/control/parameters.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace mrpool::control {

namespace json = boost::json;

namespace {

absl::string_view view(std::string_view text) { return {text.data(), text.size()}; }

template <typename... Parts>
absl::Status bad(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

std::optional<uint64_t> whole(const json::value& value) {
  if (value.is_uint64()) return value.get_uint64();
  if (value.is_int64() && value.get_int64() >= 0) return uint64_t(value.get_int64());
  return std::nullopt;
}

bool fits(Type type, const json::value& value) {
  const auto all = [&](const auto& good) {
    return value.is_array() && std::ranges::all_of(value.get_array(), good);
  };
  switch (type) {
    case Type::kText:
      return value.is_string();
    case Type::kFlag:
      return value.is_bool();
    case Type::kNumber:
      return whole(value).has_value();
    case Type::kTexts:
      return all([](const json::value& each) { return each.is_string(); });
    case Type::kObject:
    case Type::kDocument:
      return value.is_object();
    case Type::kObjects:
      return all([](const json::value& each) { return each.is_object(); });
  }
  return false;
}

absl::Status check_all(std::span<const Parameter> declared, const json::object& given,
                       const std::string& where);

absl::Status check_text(const std::string& name, const json::string& value) {
  const bool control =
      std::ranges::any_of(value, [](char c) { return uint8_t(c) < 0x20 || c == 0x7f; });
  if (control) return bad("\"", name, "\" has a control character; leave it out");
  return absl::OkStatus();
}

absl::Status check_value(const Parameter& declared, const json::value& value,
                         const std::string& name) {
  if (declared.only) {
    if (value == *declared.only) return absl::OkStatus();
    return bad("\"", name, "\": ", json::serialize(value), " is not possible: ", declared.why,
               "; leave it out, or write ", json::serialize(*declared.only));
  }
  if (!fits(declared.type, value)) {
    return bad("\"", name, "\" must be ", view(to_string(declared.type)));
  }
  switch (declared.type) {
    case Type::kText: {
      const std::string text(value.get_string());
      if (!declared.choices.empty() &&
          std::ranges::find(declared.choices, text) == declared.choices.end()) {
        return bad("\"", name, "\": \"", text, "\" is not one of ",
                   absl::StrJoin(declared.choices, ", "));
      }
      return check_text(name, value.get_string());
    }
    case Type::kNumber: {
      const uint64_t number = *whole(value);
      if (number >= declared.least && number <= declared.most) return absl::OkStatus();
      return bad("\"", name, "\": ", number, " is not from ", declared.least, " to ",
                 declared.most);
    }
    case Type::kTexts:
      for (const json::value& each : value.get_array()) {
        if (absl::Status status = check_text(name, each.get_string()); !status.ok()) return status;
      }
      return absl::OkStatus();
    case Type::kObject:
      return check_all(declared.fields, value.get_object(), name + ".");
    case Type::kObjects:
      for (const json::value& each : value.get_array()) {
        absl::Status status = check_all(declared.fields, each.get_object(), name + "[].");
        if (!status.ok()) return status;
      }
      return absl::OkStatus();
    case Type::kFlag:
    case Type::kDocument:
      break;
  }
  return absl::OkStatus();
}

absl::Status check_all(std::span<const Parameter> declared, const json::object& given,
                       const std::string& where) {
  for (const auto& member : given) {
    const auto known = std::ranges::find(declared, std::string(member.key()), &Parameter::name);
    const std::string name = where + std::string(member.key());
    if (known == declared.end()) {
      const std::string there_are = absl::StrJoin(
          declared, ", ", [](std::string* to, const Parameter& each) { to->append(each.name); });
      return bad("\"", name, "\" is not a parameter of this method; ",
                 declared.empty() ? "there are none" : "there are: ", there_are);
    }
    // Clients send null for parameters that were not given.
    if (member.value().is_null() && !known->required) continue;
    if (absl::Status status = check_value(*known, member.value(), name); !status.ok()) {
      return status;
    }
  }
  for (const Parameter& each : declared) {
    if (each.required && !given.contains(each.name)) {
      return bad("\"", where, each.name, "\" is missing: ", each.help);
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::string_view to_string(Type type) {
  switch (type) {
    case Type::kText:
      return "a string";
    case Type::kFlag:
      return "true or false";
    case Type::kNumber:
      return "a whole number";
    case Type::kTexts:
      return "a list of strings";
    case Type::kObject:
    case Type::kDocument:
      return "an object";
    case Type::kObjects:
      return "a list of objects";
  }
  return "?";
}

Parameter text(std::string name, std::string help) {
  return {.name = std::move(name), .type = Type::kText, .help = std::move(help)};
}

Parameter flag(std::string name, std::string help) {
  return {.name = std::move(name), .type = Type::kFlag, .help = std::move(help)};
}

Parameter number(std::string name, std::string help, uint64_t least, uint64_t most) {
  return {.name = std::move(name),
          .type = Type::kNumber,
          .help = std::move(help),
          .least = least,
          .most = most};
}

Parameter texts(std::string name, std::string help) {
  return {.name = std::move(name), .type = Type::kTexts, .help = std::move(help)};
}

Parameter object(std::string name, std::string help, std::vector<Parameter> fields) {
  return {.name = std::move(name),
          .type = Type::kObject,
          .help = std::move(help),
          .fields = std::move(fields)};
}

Parameter document(std::string name, std::string help) {
  return {.name = std::move(name), .type = Type::kDocument, .help = std::move(help)};
}

Parameter choice(std::string name, std::string help, std::vector<std::string> choices) {
  return {.name = std::move(name),
          .type = Type::kText,
          .help = std::move(help),
          .choices = std::move(choices)};
}

Parameter only(std::string name, json::value value, std::string why) {
  const Type type = value.is_bool()     ? Type::kFlag
                    : value.is_string() ? Type::kText
                    : value.is_object() ? Type::kDocument
                                        : Type::kNumber;
  return {.name = std::move(name),
          .type = type,
          .help = why,
          .only = std::move(value),
          .why = std::move(why)};
}

Parameter required(Parameter parameter) {
  parameter.required = true;
  return parameter;
}

absl::Status check(std::span<const Parameter> declared, const json::object& given) {
  return check_all(declared, given, "");
}

std::string Given::text(std::string_view name, std::string_view otherwise) const {
  const json::value* value = object_.if_contains(name);
  if (value == nullptr || !value->is_string()) return std::string(otherwise);
  return std::string(value->get_string());
}

bool Given::flag(std::string_view name, bool otherwise) const {
  const json::value* value = object_.if_contains(name);
  return value != nullptr && value->is_bool() ? value->get_bool() : otherwise;
}

uint64_t Given::number(std::string_view name, uint64_t otherwise) const {
  const json::value* value = object_.if_contains(name);
  return value == nullptr ? otherwise : whole(*value).value_or(otherwise);
}

std::vector<std::string> Given::texts(std::string_view name) const {
  std::vector<std::string> all;
  const json::value* value = object_.if_contains(name);
  if (value == nullptr || !value->is_array()) return all;
  for (const json::value& each : value->get_array()) {
    if (each.is_string()) all.emplace_back(each.get_string());
  }
  return all;
}

Given Given::object(std::string_view name) const {
  const json::value* value = object_.if_contains(name);
  return Given(value != nullptr && value->is_object() ? value->get_object() : json::object());
}

}  // namespace mrpool::control
