// Checks of this device's own invariants: always on, abort with a message. Never for what a peer or
// a caller's arguments may cause.
#pragma once

#include <cstdio>
#include <cstdlib>

#include "mrpool/reactor.h"

namespace mrpool::uiwarp {

[[noreturn]] inline void die(const char* what) {
  std::fprintf(stderr, "uiwarp: %s\n", what);
  std::abort();
}

inline void check(bool holds, const char* what) {
  if (!holds) [[unlikely]]
    die(what);
}

// Calls that belong to the thread of a reactor; debug builds only.
inline void check_thread([[maybe_unused]] const Reactor& reactor,
                         [[maybe_unused]] const char* call) {
#ifndef NDEBUG
  if (!reactor.in_thread()) [[unlikely]] {
    std::fprintf(stderr, "uiwarp: %s called from another thread than its reactor's\n", call);
    std::abort();
  }
#endif
}

}  // namespace mrpool::uiwarp
