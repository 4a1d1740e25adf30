// Why a connection did not come about or ended, in words that name the fix.
//
// Thread safety: functions of values.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "examples/nvmf/host/queue.h"
#include "mrpool/qp.h"

namespace mrpool::nvme::host {

// A Fabrics Connect that failed (NVMe-oF 1.1 §3.3); `said` is the text of its status.
absl::Status connect_error(const Outcome& outcome, const QueueOptions& options,
                           const std::string& said);
// A connection that the target rejected, with the private data it gave (NVMe RDMA transport §3.3).
absl::Status rejection(const Address& address, std::span<const std::byte> private_data);
// A connection that ended.
std::string explain(const Address& address, const Disconnect& why);

}  // namespace mrpool::nvme::host
