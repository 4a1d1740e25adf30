// A finding, and how people read it.
//
// Thread safety: pure.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "transport/checker/frame.h"
#include "transport/checker/kind.h"
#include "transport/checker/stack.h"

namespace mrpool::checker {

// Before each line for people.
inline constexpr char kPrefix[] = "mrpool-check: ";

// A call that explains a finding, as "posted" or "registered".
struct Origin {
  std::string what;
  Stack stack;
};

struct Finding {
  Kind kind;
  // One sentence: object, operation, offset, length, the rule that is broken and the completion or
  // call that should have come first.
  std::string text;
  Stack where;  // empty: found by the device, not in a call of the program
  std::vector<Origin> origins;
  // Distinguishes findings of the same kind at the same stacks, for example by the unused right.
  std::string_view aspect{};  // constant
};

// Different findings of a process.
struct Counts {
  uint64_t errors = 0;
  uint64_t hints = 0;
  uint64_t suppressed = 0;
};

// `stacks`: of finding.where, then of each origin. Lines, with a newline after each.
std::string for_people(const Finding& finding, std::span<const std::vector<Frame>> stacks);
// A finding that came `count` times.
std::string for_people(uint64_t count, Kind kind, std::string_view text);
std::string for_people(const Counts& counts);

}  // namespace mrpool::checker
