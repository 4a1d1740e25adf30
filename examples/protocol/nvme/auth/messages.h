// The messages of NVMe in-band authentication as bytes, which Authentication Send and
// Authentication Receive carry.
//
//   host                                  controller
//   AUTH_Negotiate            ─────────▶
//                             ◀─────────  DH-HMAC-CHAP_Challenge, or AUTH_Failure1
//   DH-HMAC-CHAP_Reply        ─────────▶
//                             ◀─────────  DH-HMAC-CHAP_Success1, or AUTH_Failure1
//   DH-HMAC-CHAP_Success2,    ─────────▶
//   or AUTH_Failure2                       (if the host asked for the controller's proof)
//
// Newer revisions of the specification call the protocol KX-HMAC-CHAP; the messages are the same.
//
// Clauses: NVM Express Base 2.1 section 8.3.5 (8.13.5 in 2.0).
// Thread safety: values; pure. Parsed messages refer to the bytes from which they were parsed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "examples/protocol/nvme/auth/crypto.h"

namespace mrpool::nvme::auth {

// Fields of both commands: SECP, SPSP0, SPSP1.
inline constexpr uint8_t kSecurityProtocol = 0xe9;
inline constexpr uint8_t kSecuritySpecific = 0x01;

enum class Type : uint8_t { kCommon = 0x00, kDhchap = 0x01 };
enum class Id : uint8_t {
  kNegotiate = 0x00,
  kChallenge = 0x01,
  kReply = 0x02,
  kSuccess1 = 0x03,
  kSuccess2 = 0x04,
  kFailure2 = 0xf0,
  kFailure1 = 0xf1,
};
enum class Explanation : uint8_t {
  kFailed = 0x01,
  kProtocolNotUsable = 0x02,
  kConcatenationMismatch = 0x03,
  kHashNotUsable = 0x04,
  kGroupNotUsable = 0x05,
  kIncorrectPayload = 0x06,
  kIncorrectMessage = 0x07,
};
// "authentication failed"; a number for unknown ones.
std::string to_string(Explanation why);

// The longest message is a Reply in the largest group.
inline constexpr size_t kMaxMessageBytes = 16 + 2 * kMaxHashBytes + kMaxGroupBytes;

struct Header {
  Type type = Type::kCommon;
  Id id = Id::kNegotiate;
  uint16_t transaction = 0;
};
std::optional<Header> parse_header(std::span<const std::byte> message);

struct Negotiate {
  uint16_t transaction = 0;
  uint8_t secure_channel = 0;
  std::vector<Hash> hashes{};  // unknown ones are left out
  std::vector<Group> groups{};
  bool dhchap = false;  // the host offers the protocol
};
struct Challenge {
  uint16_t transaction = 0;
  Hash hash = Hash::kSha256;
  Group group = Group::kNull;
  uint32_t sequence = 0;
  std::span<const uint8_t> challenge;
  std::span<const uint8_t> value;  // of Diffie and Hellman
};
struct Reply {
  uint16_t transaction = 0;
  uint32_t sequence = 0;
  bool challenges = false;  // the controller must authenticate too
  std::span<const uint8_t> response;
  std::span<const uint8_t> challenge;
  std::span<const uint8_t> value;
};
struct Success1 {
  uint16_t transaction = 0;
  size_t hash_bytes = 0;
  bool proves = false;
  std::span<const uint8_t> response;  // if it proves
};
struct Failure {
  uint16_t transaction = 0;
  Explanation why = Explanation::kFailed;
};

// Nothing: the message is malformed. The caller has checked type and id. Bytes after the message
// are ignored, as the buffer of an Authentication Receive may be longer.
std::optional<Negotiate> parse_negotiate(std::span<const std::byte> message);
std::optional<Challenge> parse_challenge(std::span<const std::byte> message);
std::optional<Reply> parse_reply(std::span<const std::byte> message);
std::optional<Success1> parse_success1(std::span<const std::byte> message);
std::optional<Failure> parse_failure(std::span<const std::byte> message);

std::vector<std::byte> to_bytes(const Negotiate& message);
std::vector<std::byte> to_bytes(const Challenge& message);
std::vector<std::byte> to_bytes(const Reply& message);
std::vector<std::byte> to_bytes(const Success1& message);
std::vector<std::byte> success2(uint16_t transaction);
// `id`: kFailure1 or kFailure2.
std::vector<std::byte> to_bytes(Id id, const Failure& message);

}  // namespace mrpool::nvme::auth
