// The report's three forms.
#include <algorithm>
#include <boost/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "examples/audit/audit.h"

namespace mrpool::audit {
namespace {

const char* word(Verdict verdict) {
  switch (verdict) {
    case Verdict::kHolds:
      return "holds";
    case Verdict::kBroken:
      return "BROKEN";
    case Verdict::kAbsent:
      return "absent";
  }
  return "?";
}

std::string summary(const Report& report) {
  const auto count = [](const auto& lines, Verdict verdict) {
    return std::count_if(lines.begin(), lines.end(),
                         [&](const auto& line) { return line.verdict == verdict; });
  };
  const auto broken = count(report.flags, Verdict::kBroken) + count(report.rules, Verdict::kBroken);
  return absl::StrCat(
      report.flags.size(), " flag requests, ", report.rules.size(),
      " rules by traffic: ", broken == 0 ? "none broken" : absl::StrCat(broken, " BROKEN"), ", ",
      count(report.rules, Verdict::kAbsent), " absent");
}

std::string heading(const Report& report) {
  return absl::StrCat(report.device, " (", report.iwarp ? "iWARP" : "InfiniBand or RoCE", ", ",
                      report.registration, ")");
}

// "|" ends a column in markdown, also inside `code`.
std::string cell(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

std::string to_table(const Report& report) {
  std::string out = absl::StrCat("device ", heading(report), "\n\n");
  size_t width = 0;
  for (const FlagLine& line : report.flags) width = std::max(width, line.flags.size());
  for (const FlagLine& line : report.flags) {
    absl::StrAppendFormat(&out, "%-6s  %-*s  %-8s  %s\n", word(line.verdict), int(width),
                          line.flags, line.answer, line.detail);
  }
  out += "\n";
  for (const RuleLine& line : report.rules) {
    absl::StrAppendFormat(&out, "%-6s  %-25s %s\n        %s\n", word(line.verdict), line.rule,
                          line.meaning, line.outcome);
  }
  return absl::StrCat(out, "\n", summary(report), "\n");
}

std::string to_markdown(const Report& report) {
  std::string out = absl::StrCat("## ", heading(report), "\n\n", summary(report),
                                 "\n\n| flags | answer | | verdict |\n| --- | --- | --- | --- |\n");
  for (const FlagLine& line : report.flags) {
    absl::StrAppend(&out, "| `", cell(line.flags), "` | ", line.answer, " | ", cell(line.detail),
                    " | ", word(line.verdict), " |\n");
  }
  out += "\n| rule | access | result | verdict |\n| --- | --- | --- | --- |\n";
  for (const RuleLine& line : report.rules) {
    absl::StrAppend(&out, "| ", line.rule, " | ", cell(line.meaning), " | ", cell(line.outcome),
                    " | ", word(line.verdict), " |\n");
  }
  return out;
}

std::string to_json(const Report& report) {
  boost::json::array flags, rules;
  for (const FlagLine& line : report.flags) {
    flags.push_back({{"flags", line.flags},
                     {"answer", line.answer},
                     {"detail", line.detail},
                     {"verdict", word(line.verdict)}});
  }
  for (const RuleLine& line : report.rules) {
    rules.push_back({{"rule", line.rule},
                     {"meaning", line.meaning},
                     {"outcome", line.outcome},
                     {"verdict", word(line.verdict)}});
  }
  const boost::json::value value = {
      {"device", report.device},
      {"iwarp", report.iwarp},
      {"registration", report.registration},
      {"read_sink_needs_remote_write", report.read_sink_needs_remote_write},
      {"passed", report.passed()},
      {"flags", flags},
      {"rules", rules}};
  return boost::json::serialize(value) + "\n";
}

}  // namespace mrpool::audit
