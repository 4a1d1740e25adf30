// The line of each value in a JSON text, for error messages.
//
// Values are named by their path: "" the outermost, "targets[0].luns[1]".
//
// Thread safety: values. Ownership: none.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace mrpool::base {

class JsonLines {
 public:
  // Of a text that is JSON. InvalidArgument: a key is twice in one object, which JSON parsers take
  // for the last one; the message names it and both lines.
  static absl::StatusOr<JsonLines> find(std::string_view json);

  // From 1; 0: there is no such value.
  uint32_t line(std::string_view path) const;

 private:
  std::map<std::string, uint32_t, std::less<>> lines_;
};

// "line 7: ", the beginning of a message; empty for line 0, which stands for no line of a file.
std::string at_line(uint32_t line);

}  // namespace mrpool::base
