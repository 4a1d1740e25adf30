// The verbs device: any RDMA device that rdma-core drives (libibverbs, librdmacm).
//
// An address names the device by one of its own interfaces ("verbs://10.0.0.1:4420", the usual way
// to listen) or by a peer that is reached through it (the usual way to connect).
//
// What a provider cannot do is in its caps: registration is by type-2 memory windows where the
// device has them, by the base region's own key elsewhere. No completion queue is ever resized.
//
// Thread safety: as Device in mrpool/device.h.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "mrpool/device.h"

namespace mrpool::verbs {

// InvalidArgument: no host in the address, or options (verbs has none). NotFound: the host is
// neither an RDMA device's nor reached through one.
absl::StatusOr<std::shared_ptr<Device>> open_device(const Address& address);

}  // namespace mrpool::verbs
