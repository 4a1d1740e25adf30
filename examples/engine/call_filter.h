// A filter of system calls (seccomp(2)) for all threads of a daemon, installed once sockets and
// stores are open. An attacker who executes code in the process cannot start a program, inspect
// another process, or use kernel interfaces that the daemon does not need.
//
//   fatal calls (system_calls.h), a new process,
//   memory that is both writable and executable   the process ends by SIGSYS
// calls that serving needs allowed; some with certain arguments only
//   any other call                                fails with ENOSYS, as on an older kernel
//
// ENOSYS, because libraries handle it: a newer library that first tries a new call must not end a
// target that serves.
//
// Thread safety: one thread, while others run. It cannot be undone.
#pragma once

#include <cstdint>

#include "absl/status/status.h"

namespace mrpool::engine {

enum class CallFilter : uint8_t {
  kOff,
  kLog,      // no call fails; the kernel logs what kEnforce would refuse
  kEnforce,  // the kernel logs what it refuses
};

// Sets no_new_privs too. FailedPrecondition: the kernel does not support filters.
absl::Status filter_calls(CallFilter how);

}  // namespace mrpool::engine
