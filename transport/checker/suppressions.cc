#include "transport/checker/suppressions.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "transport/checker/kind.h"

namespace mrpool::checker {
namespace {

bool is_kind(std::string_view name) {
  return name == "*" ||
         std::ranges::any_of(kKinds, [&](const KindInfo& each) { return each.name == name; });
}

}  // namespace

bool matches(std::string_view pattern, std::string_view text) {
  // Each piece between two stars is looked for after the one before it.
  size_t at = 0;
  while (!pattern.empty()) {
    const size_t star = std::min(pattern.find('*'), pattern.size());
    const size_t found = text.find(pattern.substr(0, star), at);
    if (found == std::string_view::npos) return false;
    at = found + star;
    pattern.remove_prefix(std::min(star + 1, pattern.size()));
  }
  return true;
}

absl::StatusOr<Suppressions> Suppressions::parse(std::string_view text) {
  Suppressions out;
  size_t number = 0;
  for (absl::string_view raw : absl::StrSplit(absl::string_view(text.data(), text.size()), '\n')) {
    ++number;
    const absl::string_view line = absl::StripAsciiWhitespace(raw);
    if (line.empty() || line.front() == '#') continue;
    const std::pair<std::string, std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 1));
    if (!is_kind(parts.first) || parts.second.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", number, ": '", line, "' is not KIND:PATTERN with a known kind"));
    }
    out.rules_.push_back({parts.first, parts.second});
  }
  return out;
}

bool Suppressions::match(std::string_view kind, std::span<const Frame> frames) const {
  return std::ranges::any_of(rules_, [&](const Rule& rule) {
    if (rule.kind != "*" && rule.kind != kind) return false;
    return std::ranges::any_of(frames, [&](const Frame& frame) {
      return matches(rule.pattern, frame.function) || matches(rule.pattern, frame.file) ||
             matches(rule.pattern, frame.object);
    });
  });
}

}  // namespace mrpool::checker
