// The text that names a store: SCHEME:TARGET[,OPTION[=VALUE]]..., as "file:/srv/disk.img,direct".
//
// In TARGET and VALUE a comma, an equals sign and any other character can be written as %XX, its
// two hexadecimal digits; a percent sign has to be (%25). "file:/srv/a%2Cb.img" is /srv/a,b.img.
//
// Thread safety: values. Ownership: none.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace mrpool::storage {

struct StoreSpec {
  struct Option {
    std::string name;
    std::string value;
    bool has_value = false;
    bool operator==(const Option&) const = default;
  };
  std::string scheme;
  std::string target;  // decoded
  std::vector<Option> options;

  // Null: not given.
  const Option* find(std::string_view name) const;
  bool operator==(const StoreSpec&) const = default;
};

// InvalidArgument names the bad part and shows a right one: no scheme, an option that is empty or
// given twice, a percent sign without two digits, %00.
absl::StatusOr<StoreSpec> parse_spec(std::string_view text);

// Takes the options of these names, which are not the store's but its place's, out of `text`; the
// rest of it stays. InvalidArgument: as parse_spec(), or one of them has no value.
absl::StatusOr<std::vector<StoreSpec::Option>> take_options(
    std::string& text, std::span<const std::string_view> names);

// The text of a TARGET or VALUE: what has a meaning in a specification is escaped.
std::string escape(std::string_view plain);
// parse_spec(to_text(spec)) is `spec`.
std::string to_text(const StoreSpec& spec);

}  // namespace mrpool::storage
