// CHAP as iSCSI uses it (RFC 1994, RFC 7143 §12.1): a response is a hash over identifier, secret
// and challenge. Hashes are OpenSSL's; comparison takes the same time wherever the first difference
// is.
//
// Thread safety: values; pure but for the randomness that is handed in.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace mrpool::iscsi {

struct Credentials {
  std::string user;
  std::string secret;
  friend bool operator==(const Credentials&, const Credentials&) = default;
};

// "user:secret", as options take it. InvalidArgument: no colon, an empty user, a secret of less
// than 12 bytes (RFC 7143 §9.2.1 asks for 96 bits) or more than 255.
absl::Status parse_credentials(std::string_view text, Credentials& credentials);

// The numbers of the iSCSI CHAP registry.
enum class ChapAlgorithm : uint8_t { kMd5 = 5, kSha1 = 6, kSha256 = 7, kSha3_256 = 8 };

// The strongest of the offered algorithms ("7,5") that this side has.
std::optional<ChapAlgorithm> choose_algorithm(std::string_view offered);
// Every algorithm of this side, strongest first, as CHAP_A lists them.
std::string_view all_algorithms();

std::vector<uint8_t> chap_response(ChapAlgorithm algorithm, uint8_t identifier,
                                   std::string_view secret, std::span<const uint8_t> challenge);

bool equal_in_constant_time(std::span<const uint8_t> a, std::span<const uint8_t> b);

using RandomFill = std::function<void(std::span<uint8_t>)>;
// The operating system's randomness.
void system_random(std::span<uint8_t> out);

// One challenge this side has made. Bounds: RFC 1994 gives the peer at most 1024 bytes of its own.
struct Challenge {
  static constexpr size_t kSize = 32;
  static constexpr size_t kMaxPeerSize = 1024;
  ChapAlgorithm algorithm = ChapAlgorithm::kMd5;
  uint8_t identifier = 0;
  std::vector<uint8_t> bytes;

  static Challenge make(ChapAlgorithm algorithm, const RandomFill& fill);
  bool verify(std::string_view secret, std::span<const uint8_t> response) const;
};

}  // namespace mrpool::iscsi
