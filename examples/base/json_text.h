// JSON that a person wrote.
//
// Thread safety: pure.
#pragma once

#include <boost/json/value.hpp>
#include <string_view>

#include "absl/status/statusor.h"

namespace mrpool::daemon {

// The one value in `text`, nested 16 deep at most. InvalidArgument says what is wrong and in which
// line and column.
absl::StatusOr<boost::json::value> parse_json_text(std::string_view text);

}  // namespace mrpool::daemon
