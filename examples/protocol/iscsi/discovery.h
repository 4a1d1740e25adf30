// SendTargets (RFC 7143 Appendix C): the one key of text requests in full feature phase.
//
// Thread safety: values.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mrpool::iscsi {

// iscsi-target, as IANA has it.
inline constexpr uint16_t kDefaultPort = 3260;

struct TargetRecord {
  std::string name;
  std::vector<std::string> addresses{};  // "10.0.0.1:3260"
  uint16_t portal_group_tag = 1;
};

// The text that answers `request`, nothing when it is malformed. `visible` are the targets that
// this initiator may see. `session_target` is the one it is logged in to, or empty in a discovery
// session. "All" belongs to discovery sessions, an empty value to normal ones, a name to both.
std::optional<std::string> answer_text(std::string_view request,
                                       std::span<const TargetRecord> visible,
                                       std::string_view session_target);

// What an initiator reads out of it. Nothing when the text is malformed.
std::optional<std::vector<TargetRecord>> parse_targets(std::string_view text);

}  // namespace mrpool::iscsi
