#include "examples/protocol/nvme/auth/controller_side.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mrpool::nvme::auth {
namespace {

// The first of `wanted` that the host has too.
template <typename T>
std::optional<T> choose(const std::vector<T>& wanted, const std::vector<T>& offered) {
  for (const T each : wanted) {
    if (std::ranges::find(offered, each) != offered.end()) return each;
  }
  return std::nullopt;
}

template <typename T>
std::string names(const std::vector<T>& all) {
  std::string text;
  for (const T each : all) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", std::string(to_string(each)));
  }
  return text.empty() ? "none" : text;
}

bool is(const Header& header, Type type, Id id) { return header.type == type && header.id == id; }

constexpr char kNoOwnKey[] = "it asks for this target's proof, and has no dhchap_ctrlr_key here";

bool has_own_key(const HostKeys& keys) {
  return !keys.controller.empty() || std::ranges::any_of(keys.others, [](const KeyPair& each) {
    return !each.controller.empty();
  });
}

}  // namespace

ControllerSide::ControllerSide(std::string host_nqn, std::string subsystem_nqn, RandomFill random)
    : host_nqn_(std::move(host_nqn)),
      subsystem_nqn_(std::move(subsystem_nqn)),
      random_(std::move(random)) {}

ControllerSide::Next ControllerSide::take(std::span<const std::byte> message,
                                          std::shared_ptr<const HostKeys> keys) {
  if (working() || state_ == State::kFailure || state_ == State::kOver) return Next::kRefuse;
  const std::optional<Header> header = parse_header(message);
  if (!header) return fail(Explanation::kIncorrectPayload, "a message is too short");
  if (state_ == State::kIdle && is(*header, Type::kCommon, Id::kNegotiate)) {
    return negotiate(message, std::move(keys));
  }
  if (busy() && header->transaction != transaction_) {
    return fail(Explanation::kIncorrectPayload, "a message is of another transaction");
  }
  if (state_ == State::kReply && is(*header, Type::kDhchap, Id::kReply)) return reply(message);
  if (state_ == State::kSuccess2 && is(*header, Type::kDhchap, Id::kSuccess2)) {
    return success2(*header);
  }
  if (busy() && is(*header, Type::kCommon, Id::kFailure2)) return failure2(message);
  return fail(Explanation::kIncorrectMessage, "a message came out of sequence");
}

ControllerSide::Next ControllerSide::fail(Explanation why, std::string reason) {
  forget();
  proven_ = false;
  why_ = why;
  reason_ = std::move(reason);
  state_ = State::kFailure;
  return Next::kGoOn;
}

ControllerSide::Next ControllerSide::negotiate(std::span<const std::byte> message,
                                               std::shared_ptr<const HostKeys> keys) {
  const std::optional<Negotiate> offer = parse_negotiate(message);
  if (!offer) return fail(Explanation::kIncorrectPayload, "its offer is malformed");
  transaction_ = offer->transaction;
  if (offer->secure_channel != 0) {
    return fail(Explanation::kConcatenationMismatch,
                "it asks for a secure channel, and there is none");
  }
  if (!offer->dhchap) {
    return fail(Explanation::kProtocolNotUsable, "it does not offer DH-HMAC-CHAP");
  }
  if (keys == nullptr) return fail(Explanation::kFailed, "it has no key here any more");
  const std::optional<Hash> hash = choose(keys->hashes, offer->hashes);
  if (!hash) {
    return fail(Explanation::kHashNotUsable, absl::StrCat("it offers ", names(offer->hashes),
                                                          ", of which no hash may be used; "
                                                          "dhchap_digests allows ",
                                                          names(keys->hashes)));
  }
  const std::optional<Group> group = choose(keys->groups, offer->groups);
  if (!group) {
    return fail(Explanation::kGroupNotUsable, absl::StrCat("it offers ", names(offer->groups),
                                                           ", of which no group may be used; "
                                                           "dhchap_dhgroups allows ",
                                                           names(keys->groups)));
  }
  keys_ = std::move(keys);
  hash_ = *hash;
  group_ = *group;
  mutual_ = false;
  state_ = State::kMaking;
  return Next::kWork;
}

ControllerSide::Next ControllerSide::reply(std::span<const std::byte> message) {
  const std::optional<Reply> reply = parse_reply(message);
  const size_t hash = hash_bytes(hash_);
  if (!reply || reply->response.size() != hash || reply->value.size() != group_bytes(group_) ||
      (reply->challenges && reply->sequence == 0)) {
    return fail(Explanation::kIncorrectPayload, "its response is malformed");
  }
  if (reply->challenges && !has_own_key(*keys_)) return fail(Explanation::kFailed, kNoOwnKey);
  mutual_ = reply->challenges;
  response_ = Wiped(std::vector<uint8_t>(reply->response.begin(), reply->response.end()));
  host_challenge_.assign(reply->challenge.begin(), reply->challenge.end());
  host_value_.assign(reply->value.begin(), reply->value.end());
  host_sequence_ = reply->sequence;
  state_ = State::kChecking;
  return Next::kWork;
}

ControllerSide::Next ControllerSide::success2(const Header&) {
  succeed();
  return Next::kGoOn;
}

// There is no answer to that.
ControllerSide::Next ControllerSide::failure2(std::span<const std::byte> message) {
  const std::optional<Failure> failure = parse_failure(message);
  const Explanation why = failure ? failure->why : Explanation::kFailed;
  (void)fail(why, absl::StrCat("it gives up: ", to_string(why),
                               state_ == State::kSuccess2
                                   ? "; its secret for this target is not dhchap_ctrlr_key"
                                   : ""));
  state_ = State::kOver;
  return Next::kGoOn;
}

void ControllerSide::work() {
  if (state_ == State::kMaking) make_challenge();
  if (state_ == State::kChecking) check_reply();
}

void ControllerSide::make_challenge() {
  if (group_ != Group::kNull) half_ = DhHalf::make(group_);
  made_ = group_ == Group::kNull || half_ != nullptr;
  challenge_.resize(hash_bytes(hash_));
  random_(challenge_);
  sequence_ = next_sequence_number();
}

// The controller's key of the pair whose host key gives the response. Null: none does.
const DhchapKey* ControllerSide::proven_key(const ResponseInput& input) const {
  const auto proves = [&](const DhchapKey& key) {
    const Wiped expected = host_response(transformed(key, host_nqn_), input);
    return equal_in_constant_time(expected.bytes(), response_.bytes());
  };
  if (proves(keys_->host)) return &keys_->controller;
  for (const KeyPair& each : keys_->others) {
    if (proves(each.host)) return &each.controller;
  }
  return nullptr;
}

void ControllerSide::check_reply() {
  std::optional<Wiped> shared;
  if (half_ != nullptr) shared = half_->shared(host_value_);
  in_group_ = half_ == nullptr || shared.has_value();
  if (!in_group_) return;
  ResponseInput input{.hash = hash_,
                      .challenge = challenge_,
                      .shared = shared ? &*shared : nullptr,
                      .sequence = sequence_,
                      .transaction = transaction_,
                      .secure_channel = 0,
                      .host_nqn = host_nqn_,
                      .subsystem_nqn = subsystem_nqn_};
  const DhchapKey* const own = proven_key(input);
  proves_ = own != nullptr;
  if (!proves_ || !mutual_) return;
  has_key_ = !own->empty();
  if (!has_key_) return;
  input.challenge = host_challenge_;
  input.sequence = host_sequence_;
  response_ = controller_response(transformed(*own, subsystem_nqn_), input);
  made_ = !response_.empty();
}

void ControllerSide::worked() {
  if (state_ == State::kMaking) {
    state_ = State::kChallenge;
    if (!made_) fail(Explanation::kFailed, "this machine's OpenSSL cannot do it");
  } else if (state_ == State::kChecking) {
    state_ = State::kSuccess;
    if (!in_group_) {
      fail(Explanation::kIncorrectPayload, "its value is none of the group");
    } else if (!proves_) {
      fail(Explanation::kFailed, "its response is wrong: its secret is not dhchap_key");
    } else if (!has_key_) {
      fail(Explanation::kFailed, kNoOwnKey);
    } else if (!made_) {
      fail(Explanation::kFailed, "this machine's OpenSSL cannot do it");
    }
  }
}

size_t ControllerSide::answer_bytes() const {
  constexpr size_t kFixed = 16;
  if (state_ == State::kChallenge) return kFixed + hash_bytes(hash_) + group_bytes(group_);
  if (state_ == State::kSuccess) return kFixed + (mutual_ ? hash_bytes(hash_) : 0);
  return 8;
}

std::vector<std::byte> ControllerSide::answer(size_t room) {
  if (room < answer_bytes()) {
    if (!working() && state_ != State::kOver && state_ != State::kFailure) {
      (void)fail(Explanation::kIncorrectPayload, "it asks for a message without room for it");
    }
    return {};
  }
  switch (state_) {
    case State::kChallenge:
      state_ = State::kReply;
      return to_bytes(
          Challenge{.transaction = transaction_,
                    .hash = hash_,
                    .group = group_,
                    .sequence = sequence_,
                    .challenge = challenge_,
                    .value = half_ ? half_->public_value() : std::span<const uint8_t>()});
    case State::kSuccess: {
      std::vector<std::byte> message = to_bytes(Success1{.transaction = transaction_,
                                                         .hash_bytes = hash_bytes(hash_),
                                                         .proves = mutual_,
                                                         .response = response_.bytes()});
      mutual_ ? void(state_ = State::kSuccess2) : succeed();
      return message;
    }
    case State::kIdle:
    case State::kReply:
    case State::kSuccess2:
      (void)fail(Explanation::kIncorrectMessage, "it asks for a message out of sequence");
      break;
    case State::kFailure:
      break;
    case State::kMaking:
    case State::kChecking:
    case State::kOver:
      return {};
  }
  state_ = State::kOver;
  return to_bytes(Id::kFailure1, Failure{.transaction = transaction_, .why = why_});
}

void ControllerSide::succeed() {
  forget();
  proven_ = true;
  state_ = State::kIdle;
}

void ControllerSide::forget() {
  keys_ = nullptr;
  half_ = nullptr;
  response_ = Wiped();
  challenge_.clear();
  host_challenge_.clear();
  host_value_.clear();
  made_ = proves_ = false;
  in_group_ = has_key_ = true;
}

std::string ControllerSide::description() const {
  return absl::StrCat(std::string(to_string(hash_)), ", ", std::string(to_string(group_)),
                      mutual_ ? ", mutual" : "");
}

}  // namespace mrpool::nvme::auth
