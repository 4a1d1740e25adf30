// Checks of this device's own invariants, and of the rules its callers must keep: always on, abort
// with a message. Never for what a peer or a caller's arguments may cause.
//
// Thread safety: any thread.
#pragma once

#include <cstdlib>
#include <string>

#include "mrpool/internal/report.h"
#include "mrpool/reactor.h"

namespace mrpool::uiwarp {

[[noreturn]] inline void die(const char* what) { internal::fatal(std::string("uiwarp: ") + what); }

inline void check(bool holds, const char* what) {
  if (!holds) [[unlikely]]
    die(what);
}

// Calls that belong to the thread of a reactor.
inline void check_thread(const Reactor& reactor, const char* call) {
  if (!reactor.in_thread()) [[unlikely]] {
    internal::misuse(call, "Reactor", &reactor, "runs on another thread than the caller's");
  }
}

// The same for the calls of the data path: in debug builds, and in a process that was started with
// MRPOOL_CHECK_THREADS=1.
inline void check_post_thread([[maybe_unused]] const Reactor& reactor,
                              [[maybe_unused]] const char* call) {
#ifdef NDEBUG
  if (!internal::posts_are_checked) [[likely]]
    return;
#endif
  check_thread(reactor, call);
}

}  // namespace mrpool::uiwarp
