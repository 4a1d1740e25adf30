// Return addresses to functions, files and lines: libbacktrace, which comes with GCC, reads the
// debugging information of the program and its objects when the first stack is printed.
//
// Thread safety: any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "transport/checker/stack.h"

namespace mrpool::checker {

struct Frame {
  std::string function;  // empty: unknown
  std::string file;      // empty: no debugging information
  int line = 0;
  std::string object;    // the program or library
  uintptr_t offset = 0;  // in `object`
};

// From the innermost on, inlined functions included; the inline calls of <infiniband/verbs.h> and
// <rdma/rdma_verbs.h> are left out.
std::vector<Frame> resolve(const Stack& stack);

// "main (server.c:41)", or "? (/usr/bin/rping+0x1234)".
std::string to_string(const Frame& frame);

}  // namespace mrpool::checker
