#include "examples/protocol/iscsi/chap.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <array>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "examples/protocol/iscsi/text.h"

namespace mrpool::iscsi {
namespace {

const EVP_MD* digest_of(ChapAlgorithm algorithm) {
  switch (algorithm) {
    case ChapAlgorithm::kMd5:
      return EVP_md5();
    case ChapAlgorithm::kSha1:
      return EVP_sha1();
    case ChapAlgorithm::kSha256:
      return EVP_sha256();
    case ChapAlgorithm::kSha3_256:
      return EVP_sha3_256();
  }
  return nullptr;
}

constexpr std::array kStrongestFirst = {ChapAlgorithm::kSha3_256, ChapAlgorithm::kSha256,
                                        ChapAlgorithm::kSha1, ChapAlgorithm::kMd5};

}  // namespace

absl::Status parse_credentials(std::string_view text, Credentials& credentials) {
  constexpr size_t kMinSecret = 12, kMaxSecret = 255;
  constexpr std::string_view kBlanks = " \t\r\n";
  if (text.find_first_not_of(kBlanks) == std::string_view::npos) {
    return absl::InvalidArgumentError("CHAP credentials are blank; write user:secret");
  }
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0) {
    return absl::InvalidArgumentError("CHAP credentials are written user:secret");
  }
  const std::string_view secret = text.substr(colon + 1);
  if (secret.find_first_not_of(kBlanks) == std::string_view::npos) {
    return absl::InvalidArgumentError(
        "the CHAP secret is blank; write user:secret, with 12 to 255 bytes of secret");
  }
  if (secret.size() < kMinSecret || secret.size() > kMaxSecret) {
    return absl::InvalidArgumentError(absl::StrCat("the CHAP secret has ", secret.size(),
                                                   " bytes; it needs ", kMinSecret, " to ",
                                                   kMaxSecret));
  }
  credentials = {std::string(text.substr(0, colon)), std::string(secret)};
  return absl::OkStatus();
}

std::optional<ChapAlgorithm> choose_algorithm(std::string_view offered) {
  const std::vector<std::string_view> members = split_list(offered);
  for (const ChapAlgorithm candidate : kStrongestFirst) {
    for (const std::string_view member : members) {
      if (parse_number(member) == uint64_t(candidate)) return candidate;
    }
  }
  return std::nullopt;
}

std::string_view all_algorithms() { return "8,7,6,5"; }

std::vector<uint8_t> chap_response(ChapAlgorithm algorithm, uint8_t identifier,
                                   std::string_view secret, std::span<const uint8_t> challenge) {
  std::array<uint8_t, EVP_MAX_MD_SIZE> digest;
  unsigned size = 0;
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  const bool hashed = context != nullptr &&
                      EVP_DigestInit_ex(context, digest_of(algorithm), nullptr) == 1 &&
                      EVP_DigestUpdate(context, &identifier, 1) == 1 &&
                      EVP_DigestUpdate(context, secret.data(), secret.size()) == 1 &&
                      EVP_DigestUpdate(context, challenge.data(), challenge.size()) == 1 &&
                      EVP_DigestFinal_ex(context, digest.data(), &size) == 1;
  EVP_MD_CTX_free(context);
  // A library without the hash (MD5 in FIPS mode): an empty response matches nothing.
  if (!hashed) size = 0;
  return {digest.begin(), digest.begin() + size};
}

bool equal_in_constant_time(std::span<const uint8_t> a, std::span<const uint8_t> b) {
  // Lengths are not secret: they follow from the algorithm.
  return a.size() == b.size() && !a.empty() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

void system_random(std::span<uint8_t> out) {
  // Without randomness there is no authentication worth the name.
  if (RAND_bytes(out.data(), int(out.size())) != 1) std::abort();
}

Challenge Challenge::make(ChapAlgorithm algorithm, const RandomFill& fill) {
  Challenge challenge{.algorithm = algorithm, .bytes = std::vector<uint8_t>(kSize)};
  fill(std::span(&challenge.identifier, 1));
  fill(challenge.bytes);
  return challenge;
}

bool Challenge::verify(std::string_view secret, std::span<const uint8_t> response) const {
  return equal_in_constant_time(chap_response(algorithm, identifier, secret, bytes), response);
}

}  // namespace mrpool::iscsi
