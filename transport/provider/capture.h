// mrpool-run --pcap: what the connections of the process read and write goes into a file, too.
//
// A Network that wraps the device's: its streams record what passes. Without the option there is no
// such Network and no cost.
//
// Thread safety: as its device's Network; the file: the engine's lock.
#pragma once

#include <memory>

#include "transport/uiwarp/stream.h"

namespace mrpool::provider {

// The network for the engine's device: TCP sockets, recorded where the environment asks for it
// (options.h). When the file cannot be written it prints an error, and nothing is recorded. Null:
// plain sockets will do.
std::shared_ptr<uiwarp::Network> captured_network();

}  // namespace mrpool::provider
