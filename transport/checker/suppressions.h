// Findings that the user does not want to see: lines "KIND:PATTERN", as LeakSanitizer and Valgrind
// have them. A finding is left out when its kind is KIND (or KIND is "*") and the function, the
// file or the object of one of its frames matches PATTERN, in which "*" stands for anything. Lines
// that begin with "#" are comments.
//
// Thread safety: constant after parse().
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "transport/checker/frame.h"

namespace mrpool::checker {

class Suppressions {
 public:
  // InvalidArgument names the line that is wrong.
  static absl::StatusOr<Suppressions> parse(std::string_view text);

  bool match(std::string_view kind, std::span<const Frame> frames) const;

 private:
  struct Rule {
    std::string kind;
    std::string pattern;
  };
  std::vector<Rule> rules_;
};

// Whether a part of `text` matches; "*" in `pattern` stands for anything.
bool matches(std::string_view pattern, std::string_view text);

}  // namespace mrpool::checker
