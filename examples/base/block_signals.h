// Helper threads leave the program's signals to others. A signal would end a system call half way
// (EINTR, on FUSE for fdatasync too), which must not look like a fault of the disk.
#pragma once

#include <signal.h>

namespace mrpool::base {

// Blocks all signals in the calling thread.
inline void block_signals() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

}  // namespace mrpool::base
