#include "examples/base/json_text.h"

#include <algorithm>
#include <boost/json/parser.hpp>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mrpool::base {

namespace json = boost::json;

absl::StatusOr<JsonText> parse_json_text(std::string_view text) {
  json::parse_options options;
  options.max_depth = 16;
  json::parser parser({}, options);
  json::error_code error;
  size_t taken = parser.write_some(text.data(), text.size(), error);
  if (!error && taken < text.size()) error = json::error::extra_data;
  if (!error) {
    absl::StatusOr<JsonLines> lines = JsonLines::find(text);
    if (!lines.ok()) return lines.status();
    return JsonText{parser.release(), *std::move(lines)};
  }
  const std::string_view before = text.substr(0, taken);
  const auto line = 1 + std::ranges::count(before, '\n');
  const size_t column = taken - (before.rfind('\n') + 1) + 1;  // npos + 1 is 0
  return absl::InvalidArgumentError(
      absl::StrCat("not JSON: ", error.message(), " at line ", line, ", column ", column));
}

}  // namespace mrpool::base
