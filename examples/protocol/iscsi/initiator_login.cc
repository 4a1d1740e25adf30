#include "examples/protocol/iscsi/initiator_login.h"

#include "absl/strings/str_cat.h"

namespace mrpool::iscsi {
namespace {

constexpr uint8_t kSecurity = uint8_t(Stage::kSecurity);
constexpr uint8_t kOperational = uint8_t(Stage::kOperational);
constexpr uint8_t kFullFeature = uint8_t(Stage::kFullFeature);

absl::string_view absl_view(std::string_view text) { return {text.data(), text.size()}; }

absl::Status protocol_error(std::string_view what) {
  return absl::InternalError(
      absl::StrCat("the target violated the login protocol: ", absl_view(what)));
}

absl::Status refused(LoginStatus status) {
  const std::string text = absl::StrCat("login refused: ", absl_view(to_string(status)));
  switch (status) {
    case LoginStatus::kAuthenticationFailure:
      return absl::UnauthenticatedError(text);
    case LoginStatus::kAuthorizationFailure:
      return absl::PermissionDeniedError(text);
    case LoginStatus::kTargetNotFound:
    case LoginStatus::kTargetRemoved:
      return absl::NotFoundError(text);
    case LoginStatus::kServiceUnavailable:
    case LoginStatus::kOutOfResources:
      return absl::UnavailableError(text);
    default:
      return absl::FailedPreconditionError(text);
  }
}

}  // namespace

InitiatorLogin::InitiatorLogin(InitiatorLoginOptions options) : options_(std::move(options)) {
  // Without secrets the security stage is empty, and the login starts after it.
  stage_ = options_.chap ? kSecurity : kOperational;
}

InitiatorLogin::Request InitiatorLogin::request(uint8_t stage, bool transit, uint8_t next_stage,
                                                std::string text) const {
  Request request;
  request.header = {.transit = transit,
                    .current_stage = stage,
                    .next_stage = transit ? next_stage : uint8_t{0},
                    .data_length = uint32_t(text.size()),
                    .isid = options_.isid,
                    .tsih = tsih_,
                    .cmd_sn = 1,
                    .exp_stat_sn = exp_stat_sn_};
  request.text = std::move(text);
  return request;
}

InitiatorLogin::Request InitiatorLogin::first() {
  TextWriter text;
  text.add("InitiatorName", options_.initiator);
  if (options_.target.empty()) {
    text.add("SessionType", "Discovery");
  } else {
    text.add("SessionType", "Normal");
    text.add("TargetName", options_.target);
  }
  if (stage_ == kSecurity) {
    // Portals and targets differ in what they ask for; only who wants proof itself insists.
    text.add("AuthMethod", options_.mutual ? "CHAP" : "CHAP,None");
    return request(kSecurity, false, 0, text.take());
  }
  return request(kOperational, true, kFullFeature,
                 text.take() + offer(options_.limits, options_.target.empty()));
}

absl::Status InitiatorLogin::on_response(const LoginResponse& response, std::string_view text,
                                         std::optional<Request>& next) {
  next.reset();
  if (response.status != LoginStatus::kSuccess) return refused(response.status);
  exp_stat_sn_ = response.window.stat_sn + 1;
  window_ = response.window;
  const auto pairs = parse_text(text);
  if (!pairs || response.more) return protocol_error("malformed text");
  if (response.current_stage != stage_) return protocol_error("another stage than the request's");

  if (stage_ == kSecurity) return security(*pairs, response, next);
  if (const auto why = accept(options_.limits, *pairs, parameters_)) {
    return absl::FailedPreconditionError(*why);
  }
  if (response.transit && response.next_stage == kFullFeature) {
    if (!options_.target.empty() && !parameters_.rdma_extensions) {
      return absl::FailedPreconditionError("the target does not speak iSER on this session");
    }
    finished_ = true;
    tsih_ = response.tsih;
    return absl::OkStatus();
  }
  next = request(kOperational, true, kFullFeature, {});
  return absl::OkStatus();
}

absl::Status InitiatorLogin::security(std::span<const KeyValue> pairs,
                                      const LoginResponse& response, std::optional<Request>& next) {
  if (const auto method = find(pairs, "AuthMethod")) {
    if (*method == "None" && !options_.mutual) {
      next = request(kSecurity, true, kOperational, {});
      answered_challenge_ = true;  // there is none
      return absl::OkStatus();
    }
    if (*method != "CHAP") return protocol_error("an AuthMethod that was not offered");
    TextWriter text;
    text.add("CHAP_A", all_algorithms());
    next = request(kSecurity, false, 0, text.take());
    return absl::OkStatus();
  }
  if (!answered_challenge_) {
    const auto algorithm = find(pairs, "CHAP_A");
    const auto identifier = find(pairs, "CHAP_I");
    const auto challenge = find(pairs, "CHAP_C");
    if (!algorithm || !identifier || !challenge) return protocol_error("no CHAP challenge");
    const auto chosen = choose_algorithm(*algorithm);
    const auto number = parse_number(*identifier);
    const auto bytes = parse_binary(*challenge);
    if (!chosen || !number || *number > 255 || !bytes || bytes->empty()) {
      return protocol_error("a malformed CHAP challenge");
    }
    TextWriter text;
    text.add("CHAP_N", options_.chap->user);
    text.add("CHAP_R",
             format_hex(chap_response(*chosen, uint8_t(*number), options_.chap->secret, *bytes)));
    if (options_.mutual) {
      own_ = Challenge::make(*chosen, options_.random);
      text.add("CHAP_I", uint64_t{own_.identifier});
      text.add("CHAP_C", format_hex(own_.bytes));
    }
    answered_challenge_ = true;
    next = request(kSecurity, true, kOperational, text.take());
    return absl::OkStatus();
  }
  if (options_.mutual && !mutual_done_) {
    const auto name = find(pairs, "CHAP_N");
    const auto proof = find(pairs, "CHAP_R");
    const auto bytes = proof ? parse_binary(*proof) : std::nullopt;
    if (!name || *name != options_.mutual->user || !bytes ||
        !own_.verify(options_.mutual->secret, *bytes)) {
      return absl::UnauthenticatedError("the target does not know the secret");
    }
    mutual_done_ = true;
  }
  if (!response.transit || response.next_stage != kOperational) {
    next = request(kSecurity, true, kOperational, {});
    return absl::OkStatus();
  }
  stage_ = kOperational;
  next = request(kOperational, true, kFullFeature, offer(options_.limits, options_.target.empty()));
  return absl::OkStatus();
}

}  // namespace mrpool::iscsi
