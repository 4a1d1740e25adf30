// Secrets of DH-HMAC-CHAP, as nvme-cli, nvmetcli and SPDK write them:
//
//   DHHC-1:HH:BASE64(key, CRC-32 of the key, little endian):
//
// HH is the transformation of the key before use: 00 none, 01 to 03 an HMAC with SHA-256, SHA-384
// or SHA-512 over the NQN of the key's owner. `nvme gen-dhchap-key` makes them.
//
// Clauses: NVM Express Base 2.1 section 8.3.5.5.7.
// Thread safety: values. Ownership: values; the memory of a key is wiped when it is freed.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace mrpool::nvme::auth {

// Secret bytes, which the destructor wipes.
class Wiped {
 public:
  Wiped() = default;
  explicit Wiped(size_t size) : bytes_(size) {}
  explicit Wiped(std::vector<uint8_t> bytes) : bytes_(std::move(bytes)) {}
  Wiped(const Wiped&) = default;
  Wiped(Wiped&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  Wiped& operator=(Wiped other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Wiped();

  std::span<const uint8_t> bytes() const { return bytes_; }
  std::span<uint8_t> bytes() { return bytes_; }
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }

 private:
  std::vector<uint8_t> bytes_;
};

// Wipes the memory of a text.
void wipe(std::string& text);

struct DhchapKey {
  Wiped key;
  uint8_t transform = 0;  // 0: none, 1..3: HMAC by Hash of that number

  bool empty() const { return key.empty(); }
  // In constant time.
  bool operator==(const DhchapKey& other) const;
};

// InvalidArgument names the error, without the secret: the form, a length other than 32, 48 or 64
// bytes, the CRC-32.
absl::StatusOr<DhchapKey> parse_key(std::string_view text);
// Whether the text is meant to be a secret, valid or not.
bool looks_like_key(std::string_view text);

// The key after its transformation for its owner `nqn`. Empty: the library lacks the hash.
Wiped transformed(const DhchapKey& key, std::string_view nqn);

}  // namespace mrpool::nvme::auth
