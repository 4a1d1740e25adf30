#include "transport/checker/json.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace mrpool::checker {
namespace {

std::string to_json(std::span<const Frame> frames) {
  std::string out;
  for (const Frame& frame : frames) {
    absl::StrAppend(&out, out.empty() ? "" : ",", "{\"function\":", json_text(frame.function),
                    ",\"file\":", json_text(frame.file), ",\"line\":", frame.line,
                    ",\"object\":", json_text(frame.object), ",\"offset\":", frame.offset, "}");
  }
  return absl::StrCat("[", out, "]");
}

}  // namespace

std::string json_text(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (static_cast<unsigned char>(c) < 0x20) {
      absl::StrAppendFormat(&out, "\\u%04x", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string to_json(const Finding& finding, std::span<const std::vector<Frame>> stacks, pid_t pid) {
  std::string origins;
  for (size_t i = 0; i < finding.origins.size(); ++i) {
    absl::StrAppend(&origins, i == 0 ? "" : ",", "{\"what\":", json_text(finding.origins[i].what),
                    ",\"stack\":", to_json(stacks[i + 1]), "}");
  }
  const KindInfo& kind = info(finding.kind);
  return absl::StrCat("{\"pid\":", pid, ",\"severity\":\"", kind.hint ? "hint" : "error",
                      "\",\"kind\":", json_text(kind.name), ",\"text\":", json_text(finding.text),
                      ",\"stack\":", to_json(stacks[0]), ",\"origins\":[", origins, "]}");
}

std::string to_json(const Counts& counts, pid_t pid) {
  return absl::StrCat("{\"pid\":", pid, ",\"summary\":true,\"errors\":", counts.errors,
                      ",\"hints\":", counts.hints, ",\"suppressed\":", counts.suppressed, "}");
}

}  // namespace mrpool::checker
