// JSON that a person wrote.
//
// Thread safety: pure.
#pragma once

#include <boost/json/value.hpp>
#include <string_view>

#include "absl/status/statusor.h"
#include "examples/base/json_lines.h"

namespace mrpool::base {

struct JsonText {
  boost::json::value value;
  JsonLines lines;
};

// The one value in `text`, nested 16 deep at most, and the lines of what is in it. InvalidArgument
// names the fault and its line; a key that an object has twice is a fault too.
absl::StatusOr<JsonText> parse_json_text(std::string_view text);

}  // namespace mrpool::base
