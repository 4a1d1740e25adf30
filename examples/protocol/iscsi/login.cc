#include "examples/protocol/iscsi/login.h"

#include <algorithm>
#include <array>

namespace mrpool::iscsi {
namespace {

// A login takes a handful of exchanges; one that goes on is a peer that holds a connection.
constexpr uint32_t kMaxRequests = 32;
constexpr size_t kMaxText = 16384;
constexpr uint8_t kSecurity = uint8_t(Stage::kSecurity);
constexpr uint8_t kOperational = uint8_t(Stage::kOperational);
constexpr uint8_t kFullFeature = uint8_t(Stage::kFullFeature);

// Keys that name the parties or belong to authentication. They are not operational parameters.
constexpr std::array<std::string_view, 9> kOtherKeys = {
    "InitiatorName", "SessionType", "TargetName", "AuthMethod", "CHAP_A",
    "CHAP_N",        "CHAP_R",      "CHAP_I",     "CHAP_C"};

bool operational(std::string_view key) {
  return std::ranges::find(kOtherKeys, key) == kOtherKeys.end();
}

// A stage change that RFC 7143 §6.3.2 allows.
bool legal_transition(uint8_t from, uint8_t to) {
  return (from == kSecurity && (to == kOperational || to == kFullFeature)) ||
         (from == kOperational && to == kFullFeature);
}

}  // namespace

Login::Login(LoginHost& host, const Limits& limits, RandomFill random)
    : host_(host), limits_(limits), random_(std::move(random)) {
  responder_.emplace(limits_, /*discovery=*/false);
}

LoginStatus Login::refuse(LoginStatus status, std::string reason) {
  reason_ = std::move(reason);
  return status;
}

Login::Answer Login::respond(const LoginRequest& request) {
  Answer answer;
  answer.response = {.current_stage = request.current_stage,
                     .isid = request.isid,
                     .tsih = identity_.tsih,
                     .task_tag = request.task_tag};
  answer.response.window.stat_sn = stat_sn_++;
  return answer;
}

Login::Answer Login::fail(const LoginRequest& request, LoginStatus status, std::string reason) {
  if (!reason.empty()) reason_ = std::move(reason);
  ended_ = true;
  Answer answer = respond(request);
  answer.response.status = status;
  answer.failed = true;
  return answer;
}

Login::Answer Login::on_other_pdu(uint32_t task_tag) {
  LoginRequest request;
  request.task_tag = task_tag;
  request.isid = identity_.isid;
  return fail(request, LoginStatus::kInvalidDuringLogin, "a PDU other than a login request");
}

std::optional<LoginStatus> Login::check(const LoginRequest& request, size_t text_bytes) {
  constexpr auto kWrong = LoginStatus::kInitiatorError;
  if (ended_) return refuse(kWrong, "a login request after the end");
  if (first_) {
    // The initiator's ExpStatSN of the first request is where StatSN starts.
    stat_sn_ = request.exp_stat_sn;
    cmd_sn_ = request.cmd_sn;
    identity_.isid = request.isid;
    identity_.tsih = request.tsih;
    identity_.cid = request.cid;
    stage_ = request.current_stage;
    if (stage_ != kSecurity && stage_ != kOperational) {
      return refuse(kWrong, "a login that starts in a wrong stage");
    }
    first_ = false;
  } else if (request.isid != identity_.isid || request.cid != identity_.cid) {
    return refuse(kWrong, "ISID or CID changed during login");
  }
  if (request.version_min > 0) {
    return refuse(LoginStatus::kUnsupportedVersion, "only version 0 is supported");
  }
  if (++requests_ > kMaxRequests || pending_text_.size() + text_bytes > kMaxText) {
    return refuse(kWrong, "the login takes too many steps");
  }
  if (request.current_stage != stage_) {
    return refuse(kWrong, "the stage is not the one that was agreed");
  }
  if (request.transit && (request.more || !legal_transition(stage_, request.next_stage))) {
    return refuse(kWrong, "a stage change that does not exist");
  }
  return std::nullopt;
}

std::optional<LoginStatus> Login::change_stage(const LoginRequest& request, bool negotiated,
                                               TextWriter& reply, Answer& answer) {
  if (request.next_stage == kFullFeature) {
    if (negotiated || stage_ == kOperational) responder_->declare(reply);
    if (auto why = responder_->conclude()) {
      return refuse(LoginStatus::kInitiatorError, std::move(*why));
    }
    const LoginHost::Admitted admitted = host_.admit(identity_);
    if (admitted.status != LoginStatus::kSuccess) {
      return refuse(admitted.status, "the session was not admitted");
    }
    identity_.tsih = admitted.tsih;
    answer.response.tsih = admitted.tsih;
    answer.finished = true;
    ended_ = true;
  }
  answer.response.transit = true;
  answer.response.next_stage = request.next_stage;
  stage_ = request.next_stage;
  return std::nullopt;
}

Login::Answer Login::on_request(const LoginRequest& request, std::string_view text) {
  if (const auto status = check(request, text.size())) return fail(request, *status, {});
  pending_text_.append(text);
  if (request.more) return respond(request);  // an empty answer asks for the rest

  const std::string whole = std::move(pending_text_);
  pending_text_.clear();
  const auto pairs = parse_text(whole);
  if (!pairs) return fail(request, LoginStatus::kInitiatorError, "malformed text");

  if (!identified_) {
    if (const auto status = identify(request, *pairs)) return fail(request, *status, {});
  } else if (!same_parties(*pairs)) {
    return fail(request, LoginStatus::kInitiatorError,
                "names or session type changed during login");
  }

  TextWriter reply;
  if (!identity_.discovery && !told_portal_group_) {
    if (!target_.alias.empty()) reply.add("TargetAlias", target_.alias);
    reply.add("TargetPortalGroupTag", uint64_t{target_.portal_group_tag});
    told_portal_group_ = true;
  }
  if (stage_ == kSecurity) {
    if (const auto status = authenticate(*pairs, reply)) return fail(request, *status, {});
  }
  bool negotiated = false;
  responder_->foresee(*pairs);
  for (const KeyValue& pair : *pairs) {
    if (!operational(pair.key)) continue;
    negotiated = true;
    responder_->answer(pair, reply);
  }

  const bool authenticated = auth_ == Auth::kDone || !target_.authentication.incoming;
  const bool authenticating =
      stage_ == kSecurity && auth_ != Auth::kDone && auth_ != Auth::kNone && auth_ != Auth::kStart;
  bool transit = request.transit && !authenticating;
  if (transit && !authenticated) {
    return fail(request, LoginStatus::kAuthenticationFailure,
                "this target requires CHAP and the initiator left the security stage without it");
  }

  Answer answer = respond(request);
  if (transit) {
    if (const auto status = change_stage(request, negotiated, reply, answer)) {
      --stat_sn_;
      return fail(request, *status, {});
    }
  }
  answer.text = reply.take();
  answer.response.data_length = uint32_t(answer.text.size());
  return answer;
}

std::optional<LoginStatus> Login::identify(const LoginRequest& request,
                                           std::span<const KeyValue> pairs) {
  const auto initiator = find(pairs, "InitiatorName");
  if (!initiator) return refuse(LoginStatus::kMissingParameter, "InitiatorName is missing");
  identity_.initiator = normal_iscsi_name(*initiator);
  if (!valid_iscsi_name(identity_.initiator)) {
    return refuse(LoginStatus::kInitiatorError, "InitiatorName is not an iSCSI name");
  }

  const auto type = find(pairs, "SessionType");
  if (type && *type != "Normal" && *type != "Discovery") {
    return refuse(LoginStatus::kSessionTypeNotSupported,
                  "SessionType=" + std::string(*type) + " is not known");
  }
  identity_.discovery = type && *type == "Discovery";

  const auto target = find(pairs, "TargetName");
  if (!identity_.discovery) {
    // An empty name would find the discovery session's secrets instead of a target's.
    if (!target || target->empty()) {
      return refuse(LoginStatus::kMissingParameter, "TargetName is missing");
    }
    identity_.target = normal_iscsi_name(*target);
  }
  if (identity_.discovery && request.tsih != 0) {
    return refuse(LoginStatus::kSessionDoesNotExist, "a discovery session is never joined");
  }
  target_ = host_.find_target(identity_.target, identity_.initiator);
  if (target_.status != LoginStatus::kSuccess) {
    return refuse(target_.status, std::string(to_string(target_.status)) + ": " + identity_.target +
                                      " for " + identity_.initiator);
  }
  responder_.emplace(limits_, identity_.discovery);
  identified_ = true;
  return std::nullopt;
}

// RFC 7143 §6.3 forbids to declare anything twice. Operational keys are answered again all the
// same: libiscsi names them in its first security request and once more in the operational stage.
bool Login::same_parties(std::span<const KeyValue> pairs) const {
  const auto initiator = find(pairs, "InitiatorName");
  const auto target = find(pairs, "TargetName");
  const auto type = find(pairs, "SessionType");
  return (!initiator || normal_iscsi_name(*initiator) == identity_.initiator) &&
         (!target || identity_.discovery || normal_iscsi_name(*target) == identity_.target) &&
         (!type || *type == (identity_.discovery ? "Discovery" : "Normal"));
}

std::optional<LoginStatus> Login::authenticate(std::span<const KeyValue> pairs, TextWriter& reply) {
  if (const auto offered = find(pairs, "AuthMethod")) {
    if (auth_ != Auth::kStart) {
      return refuse(LoginStatus::kInitiatorError, "AuthMethod is negotiated once");
    }
    return choose_method(*offered, reply);
  }
  switch (auth_) {
    case Auth::kAlgorithm:
      return challenge(pairs, reply);
    case Auth::kResponse:
      return verify(pairs, reply);
    case Auth::kStart:
    case Auth::kNone:
    case Auth::kDone:
      break;
  }
  return std::nullopt;
}

std::optional<LoginStatus> Login::choose_method(std::string_view offered, TextWriter& reply) {
  const std::vector<std::string_view> methods = split_list(offered);
  const auto has = [&](std::string_view method) {
    return std::ranges::find(methods, method) != methods.end();
  };
  if (target_.authentication.incoming) {
    if (!has("CHAP")) {
      return refuse(LoginStatus::kAuthenticationFailure,
                    "this target requires CHAP; the initiator offers " + std::string(offered));
    }
    reply.add("AuthMethod", "CHAP");
    auth_ = Auth::kAlgorithm;
    return std::nullopt;
  }
  if (!has("None")) {
    return refuse(LoginStatus::kAuthenticationFailure,
                  "this target has no secrets; the initiator offers " + std::string(offered));
  }
  reply.add("AuthMethod", "None");
  auth_ = Auth::kNone;
  return std::nullopt;
}

std::optional<LoginStatus> Login::challenge(std::span<const KeyValue> pairs, TextWriter& reply) {
  const auto offered = find(pairs, "CHAP_A");
  if (!offered) return refuse(LoginStatus::kInitiatorError, "CHAP_A is missing");
  const std::optional<ChapAlgorithm> algorithm = choose_algorithm(*offered);
  if (!algorithm) {
    return refuse(LoginStatus::kAuthenticationFailure,
                  "no common CHAP algorithm in " + std::string(*offered));
  }
  challenge_ = Challenge::make(*algorithm, random_);
  reply.add("CHAP_A", uint64_t(*algorithm));
  reply.add("CHAP_I", uint64_t{challenge_.identifier});
  reply.add("CHAP_C", format_hex(challenge_.bytes));
  auth_ = Auth::kResponse;
  return std::nullopt;
}

const Authentication* Login::account_of(std::string_view name,
                                        std::span<const uint8_t> response) const {
  const auto bytes = [](std::string_view text) {
    return std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  };
  const Authentication* proven = nullptr;
  // Both are always checked, and all accounts are, so that timing does not distinguish a wrong name
  // from a wrong secret.
  const auto look_at = [&](const Authentication& account) {
    if (!account.incoming) return;
    const bool secret_right = challenge_.verify(account.incoming->secret, response);
    const bool name_right = equal_in_constant_time(bytes(name), bytes(account.incoming->user));
    if (secret_right & name_right) proven = &account;
  };
  look_at(target_.authentication);
  for (const Authentication& account : target_.alternatives) look_at(account);
  return proven;
}

std::optional<LoginStatus> Login::verify(std::span<const KeyValue> pairs, TextWriter& reply) {
  const auto name = find(pairs, "CHAP_N");
  const auto response = find(pairs, "CHAP_R");
  if (!name || !response)
    return refuse(LoginStatus::kInitiatorError, "CHAP_N or CHAP_R is missing");
  if (!host_.may_prove()) {
    return refuse(LoginStatus::kServiceUnavailable,
                  "CHAP: too many wrong answers from this address; wait and try again");
  }
  const auto bytes = parse_binary(*response);
  const Authentication* account = account_of(*name, bytes.value_or(std::vector<uint8_t>()));
  if (account == nullptr) {
    host_.proof_failed();
    return refuse(LoginStatus::kAuthenticationFailure, "CHAP: wrong name or secret");
  }
  proven_ = account->incoming;
  own_ = account->outgoing;
  auth_ = Auth::kDone;
  return prove_own(pairs, reply);
}

// The other direction, when the initiator asks for it.
std::optional<LoginStatus> Login::prove_own(std::span<const KeyValue> pairs, TextWriter& reply) {
  const auto identifier = find(pairs, "CHAP_I");
  const auto challenge = find(pairs, "CHAP_C");
  if (!identifier && !challenge) return std::nullopt;
  if (!identifier || !challenge) {
    return refuse(LoginStatus::kInitiatorError, "CHAP_I and CHAP_C come together");
  }
  const auto number = parse_number(*identifier);
  const auto theirs = parse_binary(*challenge);
  if (!number || *number > 255 || !theirs || theirs->empty() ||
      theirs->size() > Challenge::kMaxPeerSize) {
    return refuse(LoginStatus::kInitiatorError, "CHAP_I or CHAP_C is malformed");
  }
  if (*theirs == challenge_.bytes) {
    // RFC 7143 §12.1.3: a reflected challenge is an attempt to make this side answer its own.
    return refuse(LoginStatus::kAuthenticationFailure, "CHAP: the challenge was reflected");
  }
  if (!own_) {
    return refuse(LoginStatus::kAuthenticationFailure,
                  "the initiator requests mutual CHAP and this target has no secret for it");
  }
  reply.add("CHAP_N", own_->user);
  reply.add("CHAP_R", format_hex(chap_response(challenge_.algorithm, uint8_t(*number), own_->secret,
                                               *theirs)));
  return std::nullopt;
}

}  // namespace mrpool::iscsi
