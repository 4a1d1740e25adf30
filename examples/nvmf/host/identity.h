// The identity of this host: an NQN and a host identifier.
//
// Thread safety: pure, but for default_identity, which reads files and draws random numbers.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace mrpool::nvme::host {

struct HostIdentity {
  std::string nqn;
  std::array<uint8_t, 16> id{};
};

// The machine's identity as nvme-cli keeps it (/etc/nvme/hostnqn, /etc/nvme/hostid); a fresh one
// where there is none.
HostIdentity default_identity();

// The identity for an NQN the user gave. In the UUID form its UUID is the host identifier too;
// otherwise the identifier follows from the NQN, so that two runs under one name are one host.
absl::StatusOr<HostIdentity> identity_of(std::string_view nqn);

}  // namespace mrpool::nvme::host
