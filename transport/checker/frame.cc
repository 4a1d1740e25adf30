#include "transport/checker/frame.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace mrpool::checker {

std::string to_string(const Frame& frame) {
  const std::string function = frame.function.empty() ? "?" : frame.function;
  if (!frame.file.empty()) return absl::StrCat(function, " (", frame.file, ":", frame.line, ")");
  if (frame.offset == 0) return absl::StrCat(function, " (", frame.object, ")");
  return absl::StrCat(function, " (", frame.object, absl::StrFormat("+0x%x", frame.offset), ")");
}

}  // namespace mrpool::checker
