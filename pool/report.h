// The library's one way to speak up on its own: a program that broke a contract is about to abort,
// and stderr is told why.
//
// Thread safety: any thread.
#pragma once

#include <string>

namespace mrpool::internal {

// One line on stderr, headed by the library's name.
void report(const std::string& line);

[[noreturn]] void fatal(const std::string& line);

}  // namespace mrpool::internal
