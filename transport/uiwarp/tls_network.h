// A Network whose streams carry TLS 1.3, over the streams of another one.
//
// The handshake is a part of the first reads and writes of a stream, so the time-out of the
// connection's set-up covers it, and other connections do not wait for it. The network without TLS
// is another object: it has nothing of this on its paths.
//
// Bytes that the wire does not take at once wait in the stream, which sends them by itself.
//
// Thread safety: as stream.h.
#pragma once

#include <memory>

#include "transport/uiwarp/stream.h"
#include "transport/uiwarp/tls_context.h"

namespace mrpool::uiwarp {

std::shared_ptr<Network> make_tls_network(std::shared_ptr<const TlsContext> context,
                                          std::shared_ptr<Network> wire);

}  // namespace mrpool::uiwarp
