// Return addresses to functions, files and lines: libbacktrace, which comes with GCC, reads the
// debugging information of the program and its objects when the first stack is printed.
//
// Thread safety: any thread.
#pragma once

#include <vector>

#include "transport/checker/frame.h"
#include "transport/checker/stack.h"

namespace mrpool::checker {

// From the innermost on, inlined functions included; the inline calls of <infiniband/verbs.h> and
// <rdma/rdma_verbs.h> are left out.
std::vector<Frame> resolve(const Stack& stack);

}  // namespace mrpool::checker
