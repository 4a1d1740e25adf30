// How programs end: their error messages, and exit statuses that scripts may rely on.
//
// Thread safety: the main thread.
#pragma once

#include "absl/status/status.h"

namespace mrpool::base {

inline constexpr int kExitOk = 0;
inline constexpr int kExitIo = 1;     // an I/O or a verification failed, or the store was replaced
inline constexpr int kExitUsage = 2;  // the command line, or it does not fit what is there
inline constexpr int kExitConnection = 3;  // no connection, refused, or lost
inline constexpr int kExitInterrupted = 130;
// The same for the end of an initiator's --help.
inline constexpr const char* kExitStatuses = R"(Exit status:
  0    done
  1    an I/O failed, a verification failed, another store replaced the one in use, or the output
       could not be written
  2    the command line is wrong, or does not fit the target: a range, an input, a block size,
       more queues than the target grants
  3    no connection: unreachable, refused or lost permanently; or the name does not exist, or this
       machine lacks resources
  130  interrupted
)";
// What an error ends with: the one table, for every program.
int exit_status(absl::StatusCode code);

// The first call of main: a standard stream that the caller has closed becomes /dev/null, so that
// no file of ours takes its number and gets our messages among its data.
void hold_standard_streams();

// Prints "PROGRAM: MESSAGE", the message made printable(), on stderr; returns the exit status that
// goes with the error.
[[nodiscard]] int fail(const char* program, const absl::Status& status);

// The last call of main: `status`, unless what was printed could not all be written to stdout.
[[nodiscard]] int end_of_output(const char* program, int status);

}  // namespace mrpool::base
