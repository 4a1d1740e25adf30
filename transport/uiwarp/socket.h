// The Network of a real machine: TCP sockets, driven by the reactor's Asio.
//
// Transfers are plain non-blocking system calls on the descriptor. Asio only reports when a
// direction that would have blocked is ready again. A stream joins a reactor's epoll set at its
// first wait, so accepted connections can move to another reactor for nothing.
//
// Every socket has TCP_NODELAY; keepalive finds a vanished peer after about 30 s of silence, and
// data that stays unacknowledged as long breaks the connection (ETIMEDOUT).
//
// An address without a host means 127.0.0.1: nothing listens to the world by omission. 0.0.0.0 and
// [::] listen on every interface, [::] for IPv4 too.
//
// Thread safety: the Network: any thread. Streams, listeners and dials: their reactor's thread.
// Ownership: destroy everything made here before the reactor it was made on.
#pragma once

#include <memory>

#include "transport/uiwarp/stream.h"

namespace mrpool::uiwarp {

std::shared_ptr<Network> make_socket_network();

// Takes "fd=N" out of the options of an address that is to be listened on: the listening TCP socket
// N of this process, as systemd passes it. It is the listener's from a listen() that succeeds on.
// Negative: the address has none. InvalidArgument: N is not a descriptor.
absl::StatusOr<int> take_listening_socket(Address& address);

}  // namespace mrpool::uiwarp
