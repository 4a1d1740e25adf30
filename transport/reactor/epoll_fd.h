// Finds the epoll descriptor an Asio io_context waits on.
//
// A program with a loop of its own sleeps on Reactor::fd(). One descriptor becomes readable for
// every socket, timer and file of an io_context: the epoll set inside it, which Asio does not
// publish. The kernel does: /proc/self/fdinfo lists what each epoll set watches.
#pragma once

#include <span>

namespace mrpool {

// The epoll set of this process that watches every descriptor in `watched`, which the caller knows
// to be registered with it and with no other. -1 when there is none or /proc is not mounted.
int find_epoll_fd(std::span<const int> watched);

}  // namespace mrpool
