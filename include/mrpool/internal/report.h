// How the library reports a broken rule of its own or of the program: a line to the log
// (mrpool/log.h), and for one after which nothing can go on, the calls that led to it.
//
// Thread safety: any thread.
#pragma once

#include <string_view>

#include "mrpool/log.h"

namespace mrpool::internal {

// One line to the log.
void report(std::string_view line, LogLevel level = LogLevel::kError);

// The line, the stack (`addr2line -e MODULE OFFSET` names a frame's place in the source), abort().
[[noreturn]] void fatal(std::string_view line);
// "CALL: the OBJECT at 0x... RULE."
[[noreturn]] void misuse(const char* call, const char* object, const void* address,
                         const char* rule);

// Whether posts check in the release build too that they are on their reactor's thread:
// MRPOOL_CHECK_THREADS=1 in the environment the process began with.
extern const bool posts_are_checked;

}  // namespace mrpool::internal
