// The target's side of the login phase (RFC 7143 §6.3, §12) as a state machine: login requests in,
// login responses out. It negotiates, authenticates and finds the target; what becomes of the
// session is its host's business.
//
// Thread safety: one thread. Ownership: the host and the targets it names outlive the login.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "examples/protocol/iscsi/chap.h"
#include "examples/protocol/iscsi/negotiation.h"
#include "examples/protocol/iscsi/pdu.h"

namespace mrpool::iscsi {

// Who must prove what. Without `incoming` the initiator need not authenticate.
struct Authentication {
  std::optional<Credentials> incoming{};  // the initiator proves this to the target
  std::optional<Credentials> outgoing{};  // the target proves this when the initiator asks
  friend bool operator==(const Authentication&, const Authentication&) = default;
};

// Who is logging in, once names are known.
struct Identity {
  bool discovery = false;
  std::string initiator;
  std::string target;  // empty in a discovery session
  Isid isid{};
  uint16_t tsih = 0;  // as the initiator sent it
  uint16_t cid = 0;
};

// What a login asks of the program around it.
class LoginHost {
 public:
  struct Found {
    LoginStatus status = LoginStatus::kSuccess;  // otherwise nothing else counts
    Authentication authentication{};
    // More accounts, each with `incoming`, any of which will do as well: discovery without an
    // account of its own asks for one of the targets'.
    std::vector<Authentication> alternatives{};
    std::string alias{};
    uint16_t portal_group_tag = 1;
  };
  // May this initiator see this target (or discover, when `target` is empty)?
  virtual Found find_target(std::string_view target, std::string_view initiator) = 0;

  struct Admitted {
    LoginStatus status = LoginStatus::kSuccess;
    uint16_t tsih = 0;
  };
  // An initiator is about to prove who it is. False: it has been wrong too often; the answer is not
  // looked at.
  virtual bool may_prove() { return true; }
  // It was wrong.
  virtual void proof_failed() {}

  // The login is complete but for the last response: make the session, ending an older one of the
  // same initiator port (session reinstatement, RFC 7143 §6.3.5).
  virtual Admitted admit(const Identity& identity) = 0;

 protected:
  ~LoginHost() = default;
};

class Login {
 public:
  struct Answer {
    LoginResponse response;  // window.stat_sn is the login's; the CmdSN window is the caller's
    std::string text;
    bool finished = false;  // the session is in full feature phase once this is sent
    bool failed = false;    // the connection ends once this is sent
  };

  Login(LoginHost& host, const Limits& limits, RandomFill random);

  // `text` is the request's whole data segment.
  Answer on_request(const LoginRequest& request, std::string_view text);
  // A PDU other than a login request came (RFC 7143 §11.13.5: 0x020b).
  Answer on_other_pdu(uint32_t task_tag);

  const Identity& identity() const { return identity_; }
  const Parameters& parameters() const { return responder_->parameters(); }
  uint32_t next_stat_sn() const { return stat_sn_; }
  uint32_t cmd_sn() const { return cmd_sn_; }
  // What the initiator has proven; nothing where it need not.
  const std::optional<Credentials>& proven() const { return proven_; }
  // Why a login failed, for the log.
  const std::string& reason() const { return reason_; }

 private:
  enum class Auth : uint8_t { kStart, kNone, kAlgorithm, kResponse, kDone };

  Answer respond(const LoginRequest& request);
  Answer fail(const LoginRequest& request, LoginStatus status, std::string reason);
  // Each: nothing, or the status that ends the login; reason_ has the reason.
  std::optional<LoginStatus> check(const LoginRequest& request, size_t text_bytes);
  std::optional<LoginStatus> change_stage(const LoginRequest& request, bool negotiated,
                                          TextWriter& reply, Answer& answer);
  std::optional<LoginStatus> identify(const LoginRequest& request, std::span<const KeyValue> pairs);
  // Whether a later request still names the same parties.
  bool same_parties(std::span<const KeyValue> pairs) const;
  std::optional<LoginStatus> authenticate(std::span<const KeyValue> pairs, TextWriter& reply);
  std::optional<LoginStatus> choose_method(std::string_view offered, TextWriter& reply);
  std::optional<LoginStatus> challenge(std::span<const KeyValue> pairs, TextWriter& reply);
  std::optional<LoginStatus> verify(std::span<const KeyValue> pairs, TextWriter& reply);
  // The account whose name and secret the response proves; null: none.
  const Authentication* account_of(std::string_view name, std::span<const uint8_t> response) const;
  std::optional<LoginStatus> prove_own(std::span<const KeyValue> pairs, TextWriter& reply);
  LoginStatus refuse(LoginStatus status, std::string reason);

  LoginHost& host_;
  Limits limits_;
  RandomFill random_;
  Identity identity_;
  LoginHost::Found target_;
  std::optional<Responder> responder_;
  std::string pending_text_;  // of requests with the continue bit
  std::string reason_;
  uint8_t stage_ = 0;
  bool first_ = true;
  bool identified_ = false;
  bool ended_ = false;
  bool told_portal_group_ = false;
  Auth auth_ = Auth::kStart;
  Challenge challenge_;
  std::optional<Credentials> proven_;
  std::optional<Credentials> own_;  // what this side proves when it is asked
  uint32_t requests_ = 0;
  uint32_t stat_sn_ = 0;
  uint32_t cmd_sn_ = 0;
};

}  // namespace mrpool::iscsi
