// The messages of NVMe in-band authentication: what is parsed lies inside the message, and written
// again it is parsed to the same.
#include <algorithm>

#include "examples/protocol/nvme/auth/messages.h"
#include "tests/fuzz/fuzz.h"

namespace mrpool::nvme::auth {
namespace {

using Message = std::span<const std::byte>;

void check_inside(Message message, std::span<const uint8_t> part) {
  const auto bytes = std::as_bytes(part);
  FUZZ_CHECK(bytes.data() >= message.data());
  FUZZ_CHECK(bytes.data() + bytes.size() <= message.data() + message.size());
}

void check_negotiate(Message message) {
  const auto read = parse_negotiate(message);
  if (!read) return;
  FUZZ_CHECK(read->hashes.size() <= 30 && read->groups.size() <= 30);
  for (const Hash hash : read->hashes) FUZZ_CHECK(!to_string(hash).empty());
  for (const Group group : read->groups) FUZZ_CHECK(!to_string(group).empty());
  if (!read->dhchap) return;
  const auto again = parse_negotiate(to_bytes(*read));
  FUZZ_CHECK(again && again->hashes == read->hashes && again->groups == read->groups);
  FUZZ_CHECK(again->transaction == read->transaction);
}

void check_challenge(Message message) {
  const auto read = parse_challenge(message);
  if (!read) return;
  check_inside(message, read->challenge);
  check_inside(message, read->value);
  const auto bytes = to_bytes(*read);
  FUZZ_CHECK(bytes.size() <= kMaxMessageBytes);
  const auto again = parse_challenge(bytes);
  FUZZ_CHECK(again && std::ranges::equal(again->challenge, read->challenge));
  FUZZ_CHECK(std::ranges::equal(again->value, read->value) && again->sequence == read->sequence);
}

void check_reply(Message message) {
  const auto read = parse_reply(message);
  if (!read) return;
  check_inside(message, read->response);
  check_inside(message, read->challenge);
  check_inside(message, read->value);
  FUZZ_CHECK(read->response.size() == read->challenge.size());
  const auto bytes = to_bytes(*read);
  FUZZ_CHECK(bytes.size() <= kMaxMessageBytes);
  const auto again = parse_reply(bytes);
  FUZZ_CHECK(again && std::ranges::equal(again->response, read->response));
  FUZZ_CHECK(std::ranges::equal(again->value, read->value));
  FUZZ_CHECK(again->challenges == read->challenges);
}

void check_ends(Message message) {
  if (const auto read = parse_success1(message)) {
    check_inside(message, read->proves ? read->response
                                       : std::span(reinterpret_cast<const uint8_t*>(message.data()),
                                                   size_t{0}));
    const auto bytes = to_bytes(*read);  // `again` refers to it
    const auto again = parse_success1(bytes);
    FUZZ_CHECK(again && std::ranges::equal(again->response, read->response));
  }
  if (const auto read = parse_failure(message)) {
    FUZZ_CHECK(!to_string(read->why).empty());
    FUZZ_CHECK(parse_failure(to_bytes(Id::kFailure1, *read))->why == read->why);
  }
}

// A secret, whatever it is: right or refused.
void check_key(std::string_view text) {
  const auto key = parse_key(text);
  FUZZ_CHECK(!key.ok() || key->key.size() == 32 || key->key.size() == 48 || key->key.size() == 64);
}

}  // namespace

void check_all(const uint8_t* data, size_t size) {
  const Message message = fuzz::bytes_of(data, size);
  check_negotiate(message);
  check_challenge(message);
  check_reply(message);
  check_ends(message);
  check_key(fuzz::text_of(data, size));
}

}  // namespace mrpool::nvme::auth

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mrpool::nvme::auth::check_all(data, size);
  return 0;
}
