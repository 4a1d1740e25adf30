// The controller's side of DH-HMAC-CHAP on one queue, without I/O.
//
//   state        message of the host              message for the host
//   idle         Negotiate → work                 Failure1
//   challenge    Failure1 (wrong sequence)        Challenge → reply
//   reply        Reply → work                     Failure1
//   success      Failure1 (wrong sequence)        Success1 → proven, or success2
//   success2     Success2 → proven; Failure2      Failure1
//   failure      refused                          Failure1 → over
//
// A message that the state does not expect leads to a Failure1 with "incorrect protocol message".
// The Diffie-Hellman computation takes milliseconds: take() returns kWork, and the caller runs
// work() on a thread that may take so long.
//
// A queue that has authenticated stays so during a re-authentication, unless that fails.
//
// Bounds: one transaction, which has less than 4 KiB. Secrets are wiped at its end.
// Thread safety: one thread at a time; work() may run on any while nothing else is called.
// Ownership: values, and a share of the keys.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "examples/protocol/nvme/auth/crypto.h"
#include "examples/protocol/nvme/auth/messages.h"
#include "examples/protocol/nvme/auth/secret.h"

namespace mrpool::nvme::auth {

struct KeyPair {
  DhchapKey host{};        // of the host
  DhchapKey controller{};  // of the controller; empty: it cannot authenticate
  bool operator==(const KeyPair&) const = default;
};

// The keys of one host.
struct HostKeys {
  DhchapKey host{};  // as those of a KeyPair
  DhchapKey controller{};
  std::vector<Hash> hashes{kHashes.begin(), kHashes.end()};  // in order of preference
  std::vector<Group> groups{kGroups.begin(), kGroups.end()};
  std::vector<KeyPair> others{};  // each proves the host as well
  bool operator==(const HostKeys&) const = default;
};

class ControllerSide {
 public:
  ControllerSide(std::string host_nqn, std::string subsystem_nqn,
                 RandomFill random = system_random);

  enum class Next : uint8_t {
    kGoOn,    // the message was processed; the answer may be a failure
    kWork,    // the caller must run work(), then worked()
    kRefuse,  // the message was ignored: a computation runs, or the side is over
  };
  // Processes a message of the host. `keys` are the host's present keys, null if it has none. A
  // transaction uses the keys with which it began.
  Next take(std::span<const std::byte> message, std::shared_ptr<const HostKeys> keys);
  // Whether work() takes milliseconds.
  bool expensive() const { return group_ != Group::kNull; }
  void work();
  void worked();
  // The message for the host. Empty: as kRefuse, or it has more than `room` bytes, which ends the
  // transaction.
  std::vector<std::byte> answer(size_t room = kMaxMessageBytes);

  // The host has authenticated, and has not failed since.
  bool proven() const { return proven_; }
  // A transaction is under way.
  bool busy() const { return state_ != State::kIdle && state_ != State::kOver; }
  // The authentication has failed and the host was informed: the queue must end.
  bool over() const { return state_ == State::kOver; }
  // Why it failed, as text; empty: it has not.
  const std::string& reason() const { return reason_; }
  // "sha512, ffdhe3072, mutual" of the last transaction.
  std::string description() const;

 private:
  enum class State : uint8_t {
    kIdle,
    kMaking,
    kChallenge,
    kReply,
    kChecking,
    kSuccess,
    kSuccess2,
    kFailure,
    kOver,
  };

  bool working() const { return state_ == State::kMaking || state_ == State::kChecking; }
  Next fail(Explanation why, std::string reason);
  Next negotiate(std::span<const std::byte> message, std::shared_ptr<const HostKeys> keys);
  Next reply(std::span<const std::byte> message);
  Next success2(const Header& header);
  Next failure2(std::span<const std::byte> message);
  void make_challenge();
  void check_reply();
  const DhchapKey* proven_key(const ResponseInput& input) const;
  size_t answer_bytes() const;
  void forget();
  void succeed();

  const std::string host_nqn_;
  const std::string subsystem_nqn_;
  const RandomFill random_;
  State state_ = State::kIdle;
  bool proven_ = false;
  std::string reason_;
  Explanation why_ = Explanation::kFailed;

  // Of the transaction.
  std::shared_ptr<const HostKeys> keys_;
  uint16_t transaction_ = 0;
  Hash hash_ = Hash::kSha256;
  Group group_ = Group::kNull;
  std::unique_ptr<DhHalf> half_;
  std::vector<uint8_t> challenge_;
  uint32_t sequence_ = 0;
  bool mutual_ = false;
  Wiped response_;  // of the host, later of the controller
  std::vector<uint8_t> host_challenge_;
  std::vector<uint8_t> host_value_;
  uint32_t host_sequence_ = 0;
  bool made_ = false;    // the computation succeeded
  bool proves_ = false;  // the response was right
  bool has_key_ = true;  // the controller has a key of its own in the pair
  bool in_group_ = true;
};

}  // namespace mrpool::nvme::auth
