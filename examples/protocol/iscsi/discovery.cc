#include "examples/protocol/iscsi/discovery.h"

#include <algorithm>

#include "examples/protocol/iscsi/text.h"

namespace mrpool::iscsi {
namespace {

void list(const TargetRecord& target, TextWriter& text) {
  text.add("TargetName", target.name);
  for (const std::string& address : target.addresses) {
    text.add("TargetAddress", address + "," + std::to_string(target.portal_group_tag));
  }
}

}  // namespace

std::optional<std::string> answer_text(std::string_view request,
                                       std::span<const TargetRecord> visible,
                                       std::string_view session_target) {
  const auto pairs = parse_text(request);
  if (!pairs) return std::nullopt;
  TextWriter text;
  for (const KeyValue& pair : *pairs) {
    if (pair.key != "SendTargets") {
      text.add(pair.key, "NotUnderstood");
      continue;
    }
    const bool discovery = session_target.empty();
    if (pair.value == "All" && !discovery) {
      text.add(pair.key, "Reject");
      continue;
    }
    const bool all = pair.value == "All";
    const std::string_view wanted = pair.value.empty() ? session_target : pair.value;
    for (const TargetRecord& target : visible) {
      // A normal session learns of its own target only.
      const bool allowed = discovery || target.name == session_target;
      if (allowed && (all || target.name == wanted)) list(target, text);
    }
  }
  return text.take();
}

std::optional<std::vector<TargetRecord>> parse_targets(std::string_view text) {
  // Keys repeat here by design, so this is not parse_text.
  std::vector<TargetRecord> targets;
  while (!text.empty()) {
    const size_t end = text.find('\0');
    const std::string_view pair = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (pair.empty()) continue;
    const size_t equals = pair.find('=');
    if (equals == std::string_view::npos) return std::nullopt;
    const std::string_view key = pair.substr(0, equals), value = pair.substr(equals + 1);
    if (key == "TargetName") {
      targets.push_back({.name = std::string(value), .addresses = {}});
    } else if (key == "TargetAddress") {
      if (targets.empty()) return std::nullopt;
      const size_t comma = value.rfind(',');
      if (comma != std::string_view::npos) {
        const auto tag = parse_number(value.substr(comma + 1));
        if (!tag || *tag > 65535) return std::nullopt;
        targets.back().portal_group_tag = uint16_t(*tag);
      }
      targets.back().addresses.emplace_back(value.substr(0, comma));
    }
  }
  return targets;
}

}  // namespace mrpool::iscsi
