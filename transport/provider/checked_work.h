// Reports work requests to the checker. Called only when there is a checker.
//
// Thread safety: under the engine's lock.
#pragma once

#include "transport/provider/qp_object.h"

namespace mrpool::provider {

// By this the device and the checker know a receive.
inline const Completion* completion_of(const ReceiveEntry& entry) { return &entry; }

void tell_posted(const ibv_send_wr& wr, const SendEntry& entry);
// `qp_num` 0: to an SRQ.
void tell_posted(const ibv_recv_wr& wr, const ReceiveEntry& entry, uint32_t qp_num);

}  // namespace mrpool::provider
