// The parameters that a method declares, and the check of a call: before the method runs, a
// parameter that is missing, unknown, of another type or out of range is refused by its name.
//
// Parameters of SPDK's clients that have no effect here are declared with the only value that
// describes this daemon; any other value is refused with the reason.
//
// Thread safety: pure. Ownership: values.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace mrpool::control {

enum class Type : uint8_t { kText, kFlag, kNumber, kTexts, kObject, kObjects, kDocument };
std::string_view to_string(Type type);

struct Parameter {
  std::string name;
  Type type = Type::kText;
  std::string help;
  bool required = false;
  uint64_t least = 0;  // of a number
  uint64_t most = UINT64_MAX;
  std::vector<std::string> choices{};        // of a text; empty: any
  std::vector<Parameter> fields{};           // of an object, or of each object of a list
  std::optional<boost::json::value> only{};  // the only accepted value
  std::string why{};                         // the reason for `only`
};

Parameter text(std::string name, std::string help);
Parameter flag(std::string name, std::string help);
Parameter number(std::string name, std::string help, uint64_t least = 0,
                 uint64_t most = UINT64_MAX);
Parameter texts(std::string name, std::string help);
Parameter object(std::string name, std::string help, std::vector<Parameter> fields);
// An object that the method itself checks.
Parameter document(std::string name, std::string help);
Parameter choice(std::string name, std::string help, std::vector<std::string> choices);
Parameter only(std::string name, boost::json::value value, std::string why);
Parameter required(Parameter parameter);

// InvalidArgument names the parameter and the accepted values.
absl::Status check(std::span<const Parameter> declared, const boost::json::object& given);

// The parameters of a call, after check().
class Given {
 public:
  explicit Given(const boost::json::object& object) : object_(object) {}
  bool has(std::string_view name) const { return object_.contains(name); }
  std::string text(std::string_view name, std::string_view otherwise = {}) const;
  bool flag(std::string_view name, bool otherwise = false) const;
  uint64_t number(std::string_view name, uint64_t otherwise = 0) const;
  std::vector<std::string> texts(std::string_view name) const;
  Given object(std::string_view name) const;
  const boost::json::object& all() const { return object_; }

 private:
  boost::json::object object_;
};

}  // namespace mrpool::control
