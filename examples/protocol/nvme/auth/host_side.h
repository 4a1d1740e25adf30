// The host's side of DH-HMAC-CHAP on one queue, for one transaction, without I/O. The caller sends
// first(), passes each message of the controller to take(), and follows the result.
//
// take() takes milliseconds in large groups.
//
// Thread safety: none. Ownership: values.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "examples/protocol/nvme/auth/crypto.h"
#include "examples/protocol/nvme/auth/messages.h"
#include "examples/protocol/nvme/auth/secret.h"

namespace mrpool::nvme::auth {

struct HostSecrets {
  DhchapKey key{};             // of the host
  DhchapKey controller_key{};  // of the controller; empty: it need not authenticate
  std::vector<Hash> hashes{kHashes.begin(), kHashes.end()};  // that the host offers
  std::vector<Group> groups{kGroups.begin(), kGroups.end()};
};

class HostSide {
 public:
  // `transaction`: another number for each transaction.
  HostSide(std::shared_ptr<const HostSecrets> secrets, std::string host_nqn,
           std::string subsystem_nqn, uint16_t transaction, RandomFill random = system_random);

  // AUTH_Negotiate.
  std::vector<std::byte> first() const;

  enum class Next : uint8_t {
    kSend,         // send message(), then receive another one
    kSendLast,     // send message(); the authentication has succeeded
    kDone,         // the authentication has succeeded
    kSendFailure,  // send message(), then end the queue; status() has the reason
    kFailed,       // end the queue; status() has the reason
  };
  // Only before the first result other than kSend.
  Next take(std::span<const std::byte> message);
  const std::vector<std::byte>& message() const { return message_; }
  // Unauthenticated names the cause and the fix.
  const absl::Status& status() const { return status_; }

 private:
  Next challenge(std::span<const std::byte> message);
  absl::Status respond(const Challenge& challenge);
  Next success(std::span<const std::byte> message);
  Next fail(Explanation why, std::string text);
  Next refused(std::span<const std::byte> message);

  const std::shared_ptr<const HostSecrets> secrets_;
  const std::string host_nqn_;
  const std::string subsystem_nqn_;
  const uint16_t transaction_;
  const RandomFill random_;
  bool replied_ = false;
  std::vector<std::byte> message_;
  absl::Status status_;
  Wiped expected_;  // of the controller
};

}  // namespace mrpool::nvme::auth
