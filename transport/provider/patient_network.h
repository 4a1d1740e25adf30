// A Network that calls a peer who refuses again for a while before it gives up.
//
// Programs such as perftest with -R use one connection to announce that they are ready for the
// next. The client then connects before the server has called rdma_listen(). On a NIC the
// client's resolution of addresses and routes takes longer than the server's way; here it takes
// microseconds.
//
// Thread safety: as the network that it calls.
#pragma once

#include <chrono>
#include <memory>

#include "transport/uiwarp/stream.h"

namespace mrpool::provider {

inline constexpr std::chrono::milliseconds kRefusedTime{500};

std::shared_ptr<uiwarp::Network> make_patient_network(std::shared_ptr<uiwarp::Network> network,
                                                      Nanoseconds patience = kRefusedTime);

}  // namespace mrpool::provider
