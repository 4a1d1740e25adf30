// The initiator's side of the login phase: requests out, responses in, until full feature phase.
//
// Thread safety: one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "examples/protocol/iscsi/chap.h"
#include "examples/protocol/iscsi/negotiation.h"
#include "examples/protocol/iscsi/pdu.h"

namespace mrpool::iscsi {

struct InitiatorLoginOptions {
  std::string initiator{};
  std::string target{};  // empty: a discovery session
  Isid isid{};
  Limits limits{};
  std::optional<Credentials> chap{};    // proven to a target that asks for it
  std::optional<Credentials> mutual{};  // CHAP account of the target; needs `chap`
  RandomFill random = system_random;
};

class InitiatorLogin {
 public:
  struct Request {
    LoginRequest header;
    std::string text;
  };

  explicit InitiatorLogin(InitiatorLoginOptions options);

  Request first();
  // The next request; nothing once finished(). Unauthenticated, PermissionDenied, NotFound, ... by
  // the target's status; InvalidArgument when the target breaks the protocol.
  absl::Status on_response(const LoginResponse& response, std::string_view text,
                           std::optional<Request>& next);

  bool finished() const { return finished_; }
  const Parameters& parameters() const { return parameters_; }
  uint16_t tsih() const { return tsih_; }
  uint32_t exp_stat_sn() const { return exp_stat_sn_; }
  const Window& window() const { return window_; }

 private:
  Request request(uint8_t stage, bool transit, uint8_t next_stage, std::string text) const;
  absl::Status security(std::span<const KeyValue> pairs, const LoginResponse& response,
                        std::optional<Request>& next);

  InitiatorLoginOptions options_;
  Parameters parameters_;
  Challenge own_;  // what a mutual login asks of the target
  bool answered_challenge_ = false;
  bool mutual_done_ = false;
  bool finished_ = false;
  uint8_t stage_ = 0;
  uint16_t tsih_ = 0;
  uint32_t exp_stat_sn_ = 0;
  Window window_;
};

}  // namespace mrpool::iscsi
