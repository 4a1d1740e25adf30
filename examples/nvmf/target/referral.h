// Referrals: other discovery services, and subsystems elsewhere, that discovery announces to hosts.
//
// Pure. Clauses: [fab] 5 discovery; [base] Discovery Log Page entry, SUBTYPE 01h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "examples/protocol/nvme/wire.h"

namespace mrpool::nvmf_target {

inline constexpr size_t kMaxReferrals = 256;  // each has 1 KiB in the discovery log

struct Referral {
  std::string transport = "rdma";  // or "tcp"
  std::string address{};           // numeric
  uint16_t port = 0;
  std::string nqn{nvme::kDiscoveryNqn};
  bool secure_channel = false;  // hosts must use one there
  uint32_t line = 0;            // of the file; 0: there is none
};

// The address and the NQN, for messages: "rdma://10.0.0.9:4420", "tcp://[::1]:8009 nqn.2024-01...".
std::string name_of(const Referral& referral);
inline bool same_place(const Referral& a, const Referral& b) { return name_of(a) == name_of(b); }

// Makes a referral from texts; the errors have the remedy. `family`: IPv4, IPv6 or empty.
absl::StatusOr<Referral> make_referral(const std::string& transport, const std::string& family,
                                       const std::string& address, const std::string& port,
                                       const std::string& nqn);
// Checks the number of referrals and that each appears once.
absl::Status check_referrals(const std::vector<Referral>& referrals);

nvmf_disc_log_entry discovery_entry(const Referral& referral);

}  // namespace mrpool::nvmf_target
