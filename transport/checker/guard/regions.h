// What the system reports about memory that a program registers.
//
// Thread safety: pure but for reading /proc.
#pragma once

#include "transport/checker/guard/guard.h"

namespace mrpool::guard {

// All of it is mapped for reading and writing, not for execution, and none of it is the stack of
// the calling thread or the main thread's.
bool is_plain_memory(Range memory);

}  // namespace mrpool::guard
