// The cryptography of DH-HMAC-CHAP, by OpenSSL: hashes, HMAC, the groups of RFC 7919, and the two
// responses.
//
// Clauses: NVM Express Base 2.1 section 8.3.5.5 (8.13.5 in 2.0).
// Thread safety: distinct objects: safe. Functions: any thread.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "examples/protocol/nvme/auth/secret.h"

namespace mrpool::nvme::auth {

// Their numbers on the wire.
enum class Hash : uint8_t { kSha256 = 1, kSha384 = 2, kSha512 = 3 };
enum class Group : uint8_t {
  kNull = 0,
  kFfdhe2048 = 1,
  kFfdhe3072 = 2,
  kFfdhe4096 = 3,
  kFfdhe6144 = 4,
  kFfdhe8192 = 5,
};
// In order of preference. A group of 3072 bits is as strong as SHA-256 and costs a tenth of one of
// 8192 bits.
inline constexpr std::array kHashes{Hash::kSha512, Hash::kSha384, Hash::kSha256};
inline constexpr std::array kGroups{Group::kFfdhe3072, Group::kFfdhe4096, Group::kFfdhe6144,
                                    Group::kFfdhe8192, Group::kFfdhe2048, Group::kNull};
// "sha256", "ffdhe2048", "null"; empty: no such number.
std::string_view to_string(Hash hash);
std::string_view to_string(Group group);
std::optional<Hash> parse_hash(std::string_view text);
std::optional<Group> parse_group(std::string_view text);

inline constexpr size_t kMaxHashBytes = 64;
inline constexpr size_t kMaxGroupBytes = 1024;
size_t hash_bytes(Hash hash);     // 0: no such number
size_t group_bytes(Group group);  // of a public value; 0: null, or no such number

Wiped digest(Hash hash, std::span<const uint8_t> bytes);
// Empty: the library lacks the hash.
Wiped hmac(Hash hash, std::span<const uint8_t> key, std::span<const uint8_t> bytes);
bool equal_in_constant_time(std::span<const uint8_t> a, std::span<const uint8_t> b);

using RandomFill = std::function<void(std::span<uint8_t>)>;
// The operating system's randomness.
void system_random(std::span<uint8_t> out);
// Sequence numbers of this process, from a random one on. Each is used once; 0, which means "none",
// is not used.
uint32_t next_sequence_number();

// One side of a Diffie-Hellman exchange. make() and shared() take milliseconds in large groups.
class DhHalf {
 public:
  // Null: the library lacks the group.
  static std::unique_ptr<DhHalf> make(Group group);
  ~DhHalf();

  std::span<const uint8_t> public_value() const { return public_; }
  // The shared secret, big endian, with the group's length. Nothing: `peer` is not in 2..p-2.
  std::optional<Wiped> shared(std::span<const uint8_t> peer) const;

 private:
  struct Key;
  DhHalf(Group group, std::unique_ptr<Key> key, std::vector<uint8_t> value);
  const Group group_;
  const std::unique_ptr<Key> key_;
  const std::vector<uint8_t> public_;
};

// The input of a response.
struct ResponseInput {
  Hash hash = Hash::kSha256;
  std::span<const uint8_t> challenge;
  const Wiped* shared = nullptr;  // the Diffie-Hellman secret; null or empty without
  uint32_t sequence = 0;
  uint16_t transaction = 0;
  uint8_t secure_channel = 0;
  std::string_view host_nqn;
  std::string_view subsystem_nqn;
};
// `key` is transformed. Empty: the library lacks the hash.
Wiped host_response(const Wiped& key, const ResponseInput& input);
Wiped controller_response(const Wiped& key, const ResponseInput& input);

}  // namespace mrpool::nvme::auth
