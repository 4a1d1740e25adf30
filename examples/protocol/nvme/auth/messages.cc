#include "examples/protocol/nvme/auth/messages.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "examples/protocol/nvme/wire.h"

namespace mrpool::nvme::auth {
namespace {

constexpr uint8_t kDhchapProtocol = 0x01;  // AUTHID of a protocol descriptor
constexpr uint8_t kReasonFailed = 0x01;
constexpr size_t kMaxIds = 30;  // of hashes, and of groups
constexpr size_t kMaxProtocols = 255;

struct WireHeader {
  uint8_t type = 0;
  uint8_t id = 0;
  Le16 reserved;
  Le16 transaction;
};
static_assert(sizeof(WireHeader) == 6);

struct WireNegotiate {
  WireHeader header;
  uint8_t secure_channel = 0;
  uint8_t protocols = 0;
};
struct WireProtocol {
  uint8_t id = 0;
  uint8_t reserved = 0;
  uint8_t hashes = 0;
  uint8_t groups = 0;
  uint8_t hash[kMaxIds] = {};
  uint8_t group[kMaxIds] = {};
};
struct WireChallenge {
  WireHeader header;
  uint8_t hash_bytes = 0;
  uint8_t reserved7 = 0;
  uint8_t hash = 0;
  uint8_t group = 0;
  Le16 value_bytes;
  Le32 sequence;
};
struct WireReply {
  WireHeader header;
  uint8_t hash_bytes = 0;
  uint8_t reserved7 = 0;
  uint8_t challenges = 0;
  uint8_t reserved9 = 0;
  Le16 value_bytes;
  Le32 sequence;
};
struct WireSuccess1 {
  WireHeader header;
  uint8_t hash_bytes = 0;
  uint8_t reserved7 = 0;
  uint8_t proves = 0;
  uint8_t reserved9[7] = {};
};
struct WireSuccess2 {
  WireHeader header;
  uint8_t reserved[10] = {};
};
struct WireFailure {
  WireHeader header;
  uint8_t reason = kReasonFailed;
  uint8_t explanation = 0;
};
static_assert(sizeof(WireNegotiate) == 8 && sizeof(WireProtocol) == 64);
static_assert(sizeof(WireChallenge) == 16 && sizeof(WireReply) == 16);
static_assert(sizeof(WireSuccess1) == 16 && sizeof(WireSuccess2) == 16 && sizeof(WireFailure) == 8);

WireHeader header(Type type, Id id, uint16_t transaction) {
  return {.type = uint8_t(type), .id = uint8_t(id), .reserved = {}, .transaction = transaction};
}

// The fixed part of a message, and what follows it.
template <typename Wire>
std::optional<Wire> take(std::span<const std::byte>& message) {
  if (message.size() < sizeof(Wire)) return std::nullopt;
  const Wire wire = read_struct<Wire>(message);
  message = message.subspan(sizeof(Wire));
  return wire;
}

std::span<const uint8_t> take_bytes(std::span<const std::byte>& message, size_t bytes) {
  const auto* const front = reinterpret_cast<const uint8_t*>(message.data());
  message = message.subspan(bytes);
  return {front, bytes};
}

template <typename Wire>
std::vector<std::byte> begin(const Wire& wire) {
  const auto bytes = bytes_of(wire);
  return {bytes.begin(), bytes.end()};
}

void add(std::vector<std::byte>& to, std::span<const uint8_t> more) {
  const auto bytes = std::as_bytes(more);
  to.insert(to.end(), bytes.begin(), bytes.end());
}

}  // namespace

std::string to_string(Explanation why) {
  switch (why) {
    case Explanation::kFailed:
      return "authentication failed";
    case Explanation::kProtocolNotUsable:
      return "authentication protocol not usable";
    case Explanation::kConcatenationMismatch:
      return "secure channel concatenation mismatch";
    case Explanation::kHashNotUsable:
      return "hash function not usable";
    case Explanation::kGroupNotUsable:
      return "DH group not usable";
    case Explanation::kIncorrectPayload:
      return "incorrect payload";
    case Explanation::kIncorrectMessage:
      return "incorrect protocol message";
  }
  return absl::StrCat("failure of explanation ", int(why));
}

std::optional<Header> parse_header(std::span<const std::byte> message) {
  const auto wire = take<WireHeader>(message);
  if (!wire) return std::nullopt;
  return Header{.type = Type(wire->type), .id = Id(wire->id), .transaction = wire->transaction};
}

std::optional<Negotiate> parse_negotiate(std::span<const std::byte> message) {
  const auto wire = take<WireNegotiate>(message);
  if (!wire || wire->protocols == 0) return std::nullopt;
  Negotiate result{.transaction = wire->header.transaction,
                   .secure_channel = wire->secure_channel,
                   .hashes = {},
                   .groups = {},
                   .dhchap = false};
  static_assert(kMaxProtocols == UINT8_MAX);
  for (unsigned i = 0; i < wire->protocols; ++i) {
    const auto protocol = take<WireProtocol>(message);
    if (!protocol) return std::nullopt;
    if (protocol->id != kDhchapProtocol || result.dhchap) continue;
    if (protocol->hashes > kMaxIds || protocol->groups > kMaxIds) return std::nullopt;
    result.dhchap = true;
    for (const uint8_t id : std::span(protocol->hash).first(protocol->hashes)) {
      if (hash_bytes(Hash(id)) != 0) result.hashes.push_back(Hash(id));
    }
    for (const uint8_t id : std::span(protocol->group).first(protocol->groups)) {
      if (!to_string(Group(id)).empty()) result.groups.push_back(Group(id));
    }
  }
  return result;
}

std::optional<Challenge> parse_challenge(std::span<const std::byte> message) {
  const auto wire = take<WireChallenge>(message);
  if (!wire) return std::nullopt;
  const size_t hash = wire->hash_bytes, value = wire->value_bytes;
  if (hash > kMaxHashBytes || value > kMaxGroupBytes || hash + value > message.size()) {
    return std::nullopt;
  }
  Challenge result{.transaction = wire->header.transaction,
                   .hash = Hash(wire->hash),
                   .group = Group(wire->group),
                   .sequence = wire->sequence,
                   .challenge = {},
                   .value = {}};
  result.challenge = take_bytes(message, hash);
  result.value = take_bytes(message, value);
  return result;
}

std::optional<Reply> parse_reply(std::span<const std::byte> message) {
  const auto wire = take<WireReply>(message);
  if (!wire) return std::nullopt;
  const size_t hash = wire->hash_bytes, value = wire->value_bytes;
  if (hash > kMaxHashBytes || value > kMaxGroupBytes || 2 * hash + value > message.size()) {
    return std::nullopt;
  }
  Reply result{.transaction = wire->header.transaction,
               .sequence = wire->sequence,
               .challenges = wire->challenges != 0,
               .response = {},
               .challenge = {},
               .value = {}};
  result.response = take_bytes(message, hash);
  result.challenge = take_bytes(message, hash);
  result.value = take_bytes(message, value);
  return result;
}

std::optional<Success1> parse_success1(std::span<const std::byte> message) {
  const auto wire = take<WireSuccess1>(message);
  if (!wire) return std::nullopt;
  Success1 result{.transaction = wire->header.transaction,
                  .hash_bytes = wire->hash_bytes,
                  .proves = wire->proves != 0,
                  .response = {}};
  if (!result.proves) return result;
  if (wire->hash_bytes > message.size()) return std::nullopt;
  result.response = take_bytes(message, wire->hash_bytes);
  return result;
}

std::optional<Failure> parse_failure(std::span<const std::byte> message) {
  const auto wire = take<WireFailure>(message);
  if (!wire) return std::nullopt;
  return Failure{.transaction = wire->header.transaction, .why = Explanation(wire->explanation)};
}

std::vector<std::byte> to_bytes(const Negotiate& message) {
  WireNegotiate wire{.header = header(Type::kCommon, Id::kNegotiate, message.transaction),
                     .secure_channel = message.secure_channel,
                     .protocols = 1};
  WireProtocol protocol;
  protocol.id = kDhchapProtocol;
  protocol.hashes = uint8_t(std::min(message.hashes.size(), kMaxIds));
  protocol.groups = uint8_t(std::min(message.groups.size(), kMaxIds));
  for (size_t i = 0; i < protocol.hashes; ++i) protocol.hash[i] = uint8_t(message.hashes[i]);
  for (size_t i = 0; i < protocol.groups; ++i) protocol.group[i] = uint8_t(message.groups[i]);
  std::vector<std::byte> bytes = begin(wire);
  const auto more = bytes_of(protocol);
  bytes.insert(bytes.end(), more.begin(), more.end());
  return bytes;
}

std::vector<std::byte> to_bytes(const Challenge& message) {
  WireChallenge wire;
  wire.header = header(Type::kDhchap, Id::kChallenge, message.transaction);
  wire.hash_bytes = uint8_t(message.challenge.size());
  wire.hash = uint8_t(message.hash);
  wire.group = uint8_t(message.group);
  wire.value_bytes = uint16_t(message.value.size());
  wire.sequence = message.sequence;
  std::vector<std::byte> bytes = begin(wire);
  add(bytes, message.challenge);
  add(bytes, message.value);
  return bytes;
}

std::vector<std::byte> to_bytes(const Reply& message) {
  WireReply wire;
  wire.header = header(Type::kDhchap, Id::kReply, message.transaction);
  wire.hash_bytes = uint8_t(message.response.size());
  wire.challenges = message.challenges ? 1 : 0;
  wire.value_bytes = uint16_t(message.value.size());
  wire.sequence = message.sequence;
  std::vector<std::byte> bytes = begin(wire);
  add(bytes, message.response);
  add(bytes, message.challenge);
  if (message.challenge.empty()) bytes.resize(bytes.size() + message.response.size());
  add(bytes, message.value);
  return bytes;
}

std::vector<std::byte> to_bytes(const Success1& message) {
  WireSuccess1 wire;
  wire.header = header(Type::kDhchap, Id::kSuccess1, message.transaction);
  wire.hash_bytes = uint8_t(message.hash_bytes);
  wire.proves = message.proves ? 1 : 0;
  std::vector<std::byte> bytes = begin(wire);
  if (message.proves) add(bytes, message.response);
  return bytes;
}

std::vector<std::byte> success2(uint16_t transaction) {
  WireSuccess2 wire;
  wire.header = header(Type::kDhchap, Id::kSuccess2, transaction);
  return begin(wire);
}

std::vector<std::byte> to_bytes(Id id, const Failure& message) {
  WireFailure wire;
  wire.header = header(Type::kCommon, id, message.transaction);
  wire.explanation = uint8_t(message.why);
  return begin(wire);
}

}  // namespace mrpool::nvme::auth
