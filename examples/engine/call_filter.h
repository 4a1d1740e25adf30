// A filter of system calls (seccomp(2)) over all threads of a daemon, for when all is open: who
// gets code of his own to run in the process cannot start a program, look into another process, or
// reach what the kernel has for others.
//
//   fatal calls (system_calls.h), a new process,
//   memory that is both writable and executable   the process ends by SIGSYS
//   calls that serving needs                      as ever; some with these arguments only
//   any other call                                fails with ENOSYS, as on an older kernel
//
// ENOSYS, because libraries are prepared for it: a call that a newer library tries first is no
// reason to end a target that serves.
//
// Thread safety: one thread, while others run. It cannot be undone.
#pragma once

#include <cstdint>

#include "absl/status/status.h"

namespace mrpool::engine {

enum class CallFilter : uint8_t {
  kOff,
  kLog,      // nothing fails; the kernel logs what kEnforce would refuse
  kEnforce,  // the kernel logs what it refuses
};

// Sets no_new_privs too. FailedPrecondition: the kernel takes no filter.
absl::Status filter_calls(CallFilter how);

}  // namespace mrpool::engine
