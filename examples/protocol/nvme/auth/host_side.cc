#include "examples/protocol/nvme/auth/host_side.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mrpool::nvme::auth {

HostSide::HostSide(std::shared_ptr<const HostSecrets> secrets, std::string host_nqn,
                   std::string subsystem_nqn, uint16_t transaction, RandomFill random)
    : secrets_(std::move(secrets)),
      host_nqn_(std::move(host_nqn)),
      subsystem_nqn_(std::move(subsystem_nqn)),
      transaction_(transaction),
      random_(std::move(random)) {}

std::vector<std::byte> HostSide::first() const {
  return to_bytes(Negotiate{.transaction = transaction_,
                            .secure_channel = 0,
                            .hashes = secrets_->hashes,
                            .groups = secrets_->groups,
                            .dhchap = true});
}

HostSide::Next HostSide::take(std::span<const std::byte> message) {
  const std::optional<Header> header = parse_header(message);
  if (!header) return fail(Explanation::kIncorrectPayload, "the target's message is too short");
  if (header->type == Type::kCommon && header->id == Id::kFailure1) return refused(message);
  const Id expected = replied_ ? Id::kSuccess1 : Id::kChallenge;
  if (header->type != Type::kDhchap || header->id != expected) {
    return fail(Explanation::kIncorrectMessage, "the target sent a message out of sequence");
  }
  if (header->transaction != transaction_) {
    return fail(Explanation::kIncorrectPayload, "the target answered another transaction");
  }
  return replied_ ? success(message) : challenge(message);
}

HostSide::Next HostSide::fail(Explanation why, std::string text) {
  message_ = to_bytes(Id::kFailure2, Failure{.transaction = transaction_, .why = why});
  status_ = absl::UnauthenticatedError(text);
  return Next::kSendFailure;
}

HostSide::Next HostSide::refused(std::span<const std::byte> message) {
  const std::optional<Failure> failure = parse_failure(message);
  const Explanation why = failure ? failure->why : Explanation::kFailed;
  const char* fix = "";
  if (why == Explanation::kFailed) {
    fix = secrets_->controller_key.empty()
              ? "; --dhchap-secret must be the key that the target has for this host"
              : "; --dhchap-secret must be the key that the target has for this host, and the "
                "target needs one of its own for --dhchap-ctrl-secret";
  }
  status_ = absl::UnauthenticatedError(
      absl::StrCat("the target refuses the host '", host_nqn_, "': ", to_string(why), fix));
  return Next::kFailed;
}

HostSide::Next HostSide::challenge(std::span<const std::byte> message) {
  const std::optional<Challenge> challenge = parse_challenge(message);
  if (!challenge) {
    return fail(Explanation::kIncorrectPayload, "the target's challenge is malformed");
  }
  if (std::ranges::find(secrets_->hashes, challenge->hash) == secrets_->hashes.end()) {
    return fail(Explanation::kHashNotUsable, "the target chose a hash that was not offered");
  }
  if (std::ranges::find(secrets_->groups, challenge->group) == secrets_->groups.end()) {
    return fail(Explanation::kGroupNotUsable, "the target chose a DH group that was not offered");
  }
  if (challenge->challenge.size() != hash_bytes(challenge->hash) ||
      challenge->value.size() != group_bytes(challenge->group)) {
    return fail(Explanation::kIncorrectPayload, "the target's challenge is malformed");
  }
  if (absl::Status status = respond(*challenge); !status.ok()) {
    return fail(Explanation::kFailed, std::string(status.message()));
  }
  replied_ = true;
  return Next::kSend;
}

absl::Status HostSide::respond(const Challenge& challenge) {
  std::unique_ptr<DhHalf> half;
  std::optional<Wiped> shared;
  if (challenge.group != Group::kNull) {
    half = DhHalf::make(challenge.group);
    if (half == nullptr) return absl::InternalError("this machine's OpenSSL lacks the DH group");
    shared = half->shared(challenge.value);
    if (!shared) return absl::InternalError("the target's DH value is none of the group");
  }
  ResponseInput input{.hash = challenge.hash,
                      .challenge = challenge.challenge,
                      .shared = shared ? &*shared : nullptr,
                      .sequence = challenge.sequence,
                      .transaction = transaction_,
                      .secure_channel = 0,
                      .host_nqn = host_nqn_,
                      .subsystem_nqn = subsystem_nqn_};
  const Wiped response = host_response(transformed(secrets_->key, host_nqn_), input);
  const bool mutual = !secrets_->controller_key.empty();
  std::vector<uint8_t> own_challenge;
  uint32_t own_sequence = 0;
  if (mutual) {
    own_challenge.resize(hash_bytes(challenge.hash));
    random_(own_challenge);
    own_sequence = next_sequence_number();
    input.challenge = own_challenge;
    input.sequence = own_sequence;
    expected_ = controller_response(transformed(secrets_->controller_key, subsystem_nqn_), input);
  }
  if (response.empty() || (mutual && expected_.empty())) {
    return absl::InternalError("this machine's OpenSSL lacks the hash");
  }
  message_ = to_bytes(Reply{.transaction = transaction_,
                            .sequence = own_sequence,
                            .challenges = mutual,
                            .response = response.bytes(),
                            .challenge = own_challenge,
                            .value = half ? half->public_value() : std::span<const uint8_t>()});
  return absl::OkStatus();
}

HostSide::Next HostSide::success(std::span<const std::byte> message) {
  if (expected_.empty()) return Next::kDone;
  const std::optional<Success1> success = parse_success1(message);
  if (!success) return fail(Explanation::kIncorrectPayload, "the target's proof is malformed");
  if (!success->proves || !equal_in_constant_time(success->response, expected_.bytes())) {
    return fail(Explanation::kFailed,
                absl::StrCat("the target is not authentic: it ",
                             success->proves ? "proves another secret" : "proves nothing",
                             "; --dhchap-ctrl-secret must be its own key"));
  }
  message_ = auth::success2(transaction_);
  return Next::kSendLast;
}

}  // namespace mrpool::nvme::auth
