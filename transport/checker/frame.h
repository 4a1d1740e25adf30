// A place in the program's code, for people.
//
// Thread safety: pure.
#pragma once

#include <cstdint>
#include <string>

namespace mrpool::checker {

struct Frame {
  std::string function;  // empty: unknown
  std::string file;      // empty: no debugging information
  int line = 0;
  std::string object;    // the program or library
  uintptr_t offset = 0;  // in `object`; 0: unknown
};

// "main (server.c:41)", or "? (/usr/bin/rping+0x1234)".
std::string to_string(const Frame& frame);

}  // namespace mrpool::checker
