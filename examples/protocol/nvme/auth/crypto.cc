#include "examples/protocol/nvme/auth/crypto.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <utility>

namespace mrpool::nvme::auth {
namespace {

struct HashFacts {
  Hash hash;
  std::string_view name;
  const char* library;
  size_t bytes;
};
constexpr HashFacts kHashFacts[] = {
    {Hash::kSha256, "sha256", "SHA256", 32},
    {Hash::kSha384, "sha384", "SHA384", 48},
    {Hash::kSha512, "sha512", "SHA512", 64},
};

struct GroupFacts {
  Group group;
  const char* name;
  size_t bytes;
};
constexpr GroupFacts kGroupFacts[] = {
    {Group::kNull, "null", 0},
    {Group::kFfdhe2048, "ffdhe2048", 256},
    {Group::kFfdhe3072, "ffdhe3072", 384},
    {Group::kFfdhe4096, "ffdhe4096", 512},
    {Group::kFfdhe6144, "ffdhe6144", 768},
    {Group::kFfdhe8192, "ffdhe8192", 1024},
};

const HashFacts* facts(Hash hash) {
  const auto* at = std::ranges::find(kHashFacts, hash, &HashFacts::hash);
  return at == std::end(kHashFacts) ? nullptr : at;
}

const GroupFacts* facts(Group group) {
  const auto* at = std::ranges::find(kGroupFacts, group, &GroupFacts::group);
  return at == std::end(kGroupFacts) ? nullptr : at;
}

using Number = std::unique_ptr<BIGNUM, decltype(&BN_clear_free)>;
using Context = std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)>;
using Pkey = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

Number number_of(const EVP_PKEY* key, const char* name) {
  BIGNUM* value = nullptr;
  if (EVP_PKEY_get_bn_param(key, name, &value) != 1) value = nullptr;
  return {value, &BN_clear_free};
}

// 2 .. p-2: neither 0 and 1 nor -1, whose powers anybody knows. The groups have primes of the form
// 2q+1, so no other value has a small order.
bool in_group(const EVP_PKEY* own, std::span<const uint8_t> peer) {
  const Number p = number_of(own, OSSL_PKEY_PARAM_FFC_P);
  const Number y(BN_bin2bn(peer.data(), int(peer.size()), nullptr), &BN_clear_free);
  if (p == nullptr || y == nullptr || BN_sub_word(p.get(), 1) != 1) return false;
  return BN_is_zero(y.get()) == 0 && BN_is_one(y.get()) == 0 && BN_cmp(y.get(), p.get()) < 0;
}

// A key with a public value only, of the same group as `own`.
Pkey peer_key(const EVP_PKEY* own, std::span<const uint8_t> peer) {
  Pkey key(EVP_PKEY_new(), &EVP_PKEY_free);
  if (key == nullptr || EVP_PKEY_copy_parameters(key.get(), own) != 1 ||
      EVP_PKEY_set1_encoded_public_key(key.get(), peer.data(), peer.size()) != 1) {
    key.reset();
  }
  return key;
}

Wiped response(const Wiped& key, const ResponseInput& input, std::string_view role,
               std::string_view first_nqn, std::string_view second_nqn) {
  Wiped challenge(std::vector<uint8_t>(input.challenge.begin(), input.challenge.end()));
  if (input.shared != nullptr && !input.shared->empty()) {
    const Wiped session = digest(input.hash, input.shared->bytes());
    challenge = hmac(input.hash, session.bytes(), input.challenge);
  }
  std::vector<uint8_t> text(challenge.bytes().begin(), challenge.bytes().end());
  const auto add = [&text](std::string_view more) {
    text.insert(text.end(), more.begin(), more.end());
  };
  for (int i = 0; i < 4; ++i) text.push_back(uint8_t(input.sequence >> (8 * i)));
  for (int i = 0; i < 2; ++i) text.push_back(uint8_t(input.transaction >> (8 * i)));
  text.push_back(input.secure_channel);
  add(role);
  add(first_nqn);
  text.push_back(0);
  add(second_nqn);
  const Wiped all(std::move(text));
  return hmac(input.hash, key.bytes(), all.bytes());
}

}  // namespace

std::string_view to_string(Hash hash) {
  const HashFacts* const known = facts(hash);
  return known == nullptr ? std::string_view() : known->name;
}

std::string_view to_string(Group group) {
  const GroupFacts* const known = facts(group);
  return known == nullptr ? std::string_view() : std::string_view(known->name);
}

std::optional<Hash> parse_hash(std::string_view text) {
  const auto* at = std::ranges::find(kHashFacts, text, &HashFacts::name);
  return at == std::end(kHashFacts) ? std::nullopt : std::optional(at->hash);
}

std::optional<Group> parse_group(std::string_view text) {
  const auto* at =
      std::ranges::find_if(kGroupFacts, [&](const GroupFacts& each) { return text == each.name; });
  return at == std::end(kGroupFacts) ? std::nullopt : std::optional(at->group);
}

size_t hash_bytes(Hash hash) {
  const HashFacts* const known = facts(hash);
  return known == nullptr ? 0 : known->bytes;
}

size_t group_bytes(Group group) {
  const GroupFacts* const known = facts(group);
  return known == nullptr ? 0 : known->bytes;
}

Wiped digest(Hash hash, std::span<const uint8_t> bytes) {
  const HashFacts* const known = facts(hash);
  if (known == nullptr) return {};
  Wiped out(known->bytes);
  size_t size = 0;
  const int done = EVP_Q_digest(nullptr, known->library, nullptr, bytes.data(), bytes.size(),
                                out.bytes().data(), &size);
  return done == 1 && size == known->bytes ? out : Wiped();
}

Wiped hmac(Hash hash, std::span<const uint8_t> key, std::span<const uint8_t> bytes) {
  const HashFacts* const known = facts(hash);
  if (known == nullptr || key.empty()) return {};
  Wiped out(known->bytes);
  size_t size = 0;
  const unsigned char* const done =
      EVP_Q_mac(nullptr, "HMAC", nullptr, known->library, nullptr, key.data(), key.size(),
                bytes.data(), bytes.size(), out.bytes().data(), out.size(), &size);
  return done != nullptr && size == known->bytes ? out : Wiped();
}

bool equal_in_constant_time(std::span<const uint8_t> a, std::span<const uint8_t> b) {
  // Lengths are not secret: they follow from the hash.
  return a.size() == b.size() && !a.empty() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

void system_random(std::span<uint8_t> out) {
  // Without randomness there is no authentication worth the name.
  if (RAND_bytes(out.data(), int(out.size())) != 1) std::abort();
}

uint32_t next_sequence_number() {
  static std::atomic<uint32_t> last = [] {
    uint32_t first = 0;
    system_random({reinterpret_cast<uint8_t*>(&first), sizeof first});
    return first;
  }();
  // Relaxed: only that no two are the same.
  uint32_t next = last.fetch_add(1, std::memory_order_relaxed) + 1;
  if (next == 0) next = last.fetch_add(1, std::memory_order_relaxed) + 1;
  return next;
}

struct DhHalf::Key {
  Pkey pkey;
};

DhHalf::DhHalf(Group group, std::unique_ptr<Key> key, std::vector<uint8_t> value)
    : group_(group), key_(std::move(key)), public_(std::move(value)) {}

DhHalf::~DhHalf() = default;

std::unique_ptr<DhHalf> DhHalf::make(Group group) {
  const GroupFacts* const known = facts(group);
  if (known == nullptr || known->bytes == 0) return nullptr;
  const Context context(EVP_PKEY_CTX_new_from_name(nullptr, "DH", nullptr), &EVP_PKEY_CTX_free);
  const OSSL_PARAM parameters[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, const_cast<char*>(known->name),
                                       0),
      OSSL_PARAM_construct_end()};
  EVP_PKEY* made = nullptr;
  if (context == nullptr || EVP_PKEY_keygen_init(context.get()) != 1 ||
      EVP_PKEY_CTX_set_params(context.get(), parameters) != 1 ||
      EVP_PKEY_generate(context.get(), &made) != 1) {
    return nullptr;
  }
  auto key = std::make_unique<Key>(Key{Pkey(made, &EVP_PKEY_free)});
  const Number value = number_of(made, OSSL_PKEY_PARAM_PUB_KEY);
  std::vector<uint8_t> bytes(known->bytes);
  if (value == nullptr || BN_bn2binpad(value.get(), bytes.data(), int(bytes.size())) < 0) {
    return nullptr;
  }
  return std::unique_ptr<DhHalf>(new DhHalf(group, std::move(key), std::move(bytes)));
}

std::optional<Wiped> DhHalf::shared(std::span<const uint8_t> peer) const {
  EVP_PKEY* const own = key_->pkey.get();
  if (peer.size() != group_bytes(group_) || !in_group(own, peer)) return std::nullopt;
  const Pkey theirs = peer_key(own, peer);
  const Context context(EVP_PKEY_CTX_new_from_pkey(nullptr, own, nullptr), &EVP_PKEY_CTX_free);
  unsigned pad = 1;  // leading zeroes count
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_uint(OSSL_EXCHANGE_PARAM_PAD, &pad),
                                   OSSL_PARAM_construct_end()};
  Wiped out(peer.size());
  size_t size = out.size();
  // in_group() has looked at the value; a look at its order would cost as much as the rest.
  if (theirs == nullptr || context == nullptr ||
      EVP_PKEY_derive_init_ex(context.get(), parameters) != 1 ||
      EVP_PKEY_derive_set_peer_ex(context.get(), theirs.get(), 0) != 1 ||
      EVP_PKEY_derive(context.get(), out.bytes().data(), &size) != 1 || size != out.size()) {
    return std::nullopt;
  }
  return out;
}

Wiped host_response(const Wiped& key, const ResponseInput& input) {
  return response(key, input, "HostHost", input.host_nqn, input.subsystem_nqn);
}

Wiped controller_response(const Wiped& key, const ResponseInput& input) {
  return response(key, input, "Controller", input.subsystem_nqn, input.host_nqn);
}

}  // namespace mrpool::nvme::auth
