#include "examples/nvmf/host/identity.h"

#include <fstream>
#include <optional>
#include <random>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "examples/protocol/nvme/wire.h"

namespace mrpool::nvme::host {
namespace {

using Id = std::array<uint8_t, 16>;
constexpr std::string_view kUuidPrefix = "nqn.2014-08.org.nvmexpress:uuid:";

std::optional<Id> parse_uuid(std::string_view text) {
  if (text.size() != 36) return std::nullopt;
  Id id{};
  size_t digits = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    if (i == 8 || i == 13 || i == 18 || i == 23) {
      if (text[i] != '-') return std::nullopt;
      continue;
    }
    if (!absl::ascii_isxdigit(static_cast<unsigned char>(text[i]))) return std::nullopt;
    const char c = absl::ascii_tolower(static_cast<unsigned char>(text[i]));
    const int value = c <= '9' ? c - '0' : c - 'a' + 10;
    id[digits / 2] = uint8_t(id[digits / 2] << 4 | value);
    ++digits;
  }
  return id;
}

std::string format_uuid(const Id& id) {
  std::string text;
  for (size_t i = 0; i < id.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += absl::StrFormat("%02x", id[i]);
  }
  return text;
}

std::string first_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return std::string(absl::StripAsciiWhitespace(line));
}

void mark_version(Id& id, uint8_t version) {
  id[6] = uint8_t((id[6] & 0x0f) | version << 4);
  id[8] = uint8_t((id[8] & 0x3f) | 0x80);
}

}  // namespace

HostIdentity default_identity() {
  HostIdentity identity;
  const std::string nqn = first_line("/etc/nvme/hostnqn");
  if (valid_nqn(nqn)) {
    const auto of_nqn = identity_of(nqn);
    if (of_nqn.ok()) identity = *of_nqn;
    if (const auto id = parse_uuid(first_line("/etc/nvme/hostid"))) identity.id = *id;
    return identity;
  }
  std::random_device entropy;
  for (uint8_t& byte : identity.id) byte = uint8_t(entropy());
  mark_version(identity.id, 4);
  identity.nqn = absl::StrCat(std::string(kUuidPrefix), format_uuid(identity.id));
  return identity;
}

absl::StatusOr<HostIdentity> identity_of(std::string_view nqn) {
  HostIdentity identity{.nqn = std::string(nqn), .id = {}};
  if (!valid_nqn(nqn)) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", identity.nqn,
                     "' is not an NQN; write one as nqn.2014-08.org.nvmexpress:uuid:UUID or "
                     "nqn.2026-11.org.example:host"));
  }
  if (nqn.starts_with(kUuidPrefix)) {
    if (const auto id = parse_uuid(nqn.substr(kUuidPrefix.size()))) {
      identity.id = *id;
      return identity;
    }
  }
  // FNV-1a in two lanes: a name, not a secret.
  uint64_t lanes[2] = {0xcbf29ce484222325u, 0x84222325cbf29ce4u};
  for (const char c : nqn) {
    for (uint64_t& lane : lanes) lane = (lane ^ uint8_t(c)) * 0x100000001b3u;
    lanes[1] += lanes[0] >> 32;
  }
  for (size_t i = 0; i < 16; ++i) identity.id[i] = uint8_t(lanes[i / 8] >> (8 * (i % 8)));
  mark_version(identity.id, 8);
  return identity;
}

}  // namespace mrpool::nvme::host
