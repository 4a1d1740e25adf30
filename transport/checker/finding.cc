#include "transport/checker/finding.h"

#include "absl/strings/str_cat.h"

namespace mrpool::checker {
namespace {

absl::string_view name_of(Kind kind) {
  const std::string_view name = info(kind).name;
  return {name.data(), name.size()};
}

void add_stack(std::string& out, const std::vector<Frame>& frames) {
  for (const Frame& frame : frames)
    absl::StrAppend(&out, kPrefix, "    at ", to_string(frame), "\n");
}

// "3 errors"
std::string counted(uint64_t count, const char* what) {
  return absl::StrCat(count, " ", what, count == 1 ? "" : "s");
}

}  // namespace

std::string for_people(const Finding& finding, std::span<const std::vector<Frame>> stacks) {
  std::string out =
      absl::StrCat(kPrefix, info(finding.kind).hint ? "hint: " : "error: ", name_of(finding.kind),
                   ": ", finding.text, "\n");
  add_stack(out, stacks[0]);
  for (size_t i = 0; i < finding.origins.size(); ++i) {
    absl::StrAppend(&out, kPrefix, "  ", finding.origins[i].what, "\n");
    add_stack(out, stacks[i + 1]);
  }
  return out;
}

std::string for_people(uint64_t count, Kind kind, std::string_view text) {
  return absl::StrCat(kPrefix, count, " times: ", name_of(kind), ": ",
                      absl::string_view(text.data(), text.size()), "\n");
}

std::string for_people(const Counts& counts) {
  return absl::StrCat(kPrefix, counted(counts.errors, "error"), ", ", counted(counts.hints, "hint"),
                      ", ", counts.suppressed, " suppressed\n");
}

}  // namespace mrpool::checker
