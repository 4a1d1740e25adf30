#include "examples/base/exit_status.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#include "examples/base/descriptor_limit.h"
#include "examples/base/printable.h"

namespace mrpool::base {

void hold_standard_streams() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    // The lowest free number is what open() returns. What is read from it, or written to it, fails:
    // there is nobody who gives or gets it.
    const int flags = fd == STDIN_FILENO ? O_WRONLY : O_RDONLY;
    if (::fcntl(fd, F_GETFD) < 0 && ::open("/dev/null", flags) < 0) return;
  }
}

int exit_status(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kOk:
      return kExitOk;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return kExitUsage;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kResourceExhausted:
      return kExitConnection;
    case absl::StatusCode::kCancelled:
      return kExitInterrupted;
    default:
      return kExitIo;
  }
}

int fail(const char* program, const absl::Status& status) {
  const std::string message(status.message());
  std::fprintf(stderr, "%s: %s\n", program, printable(name_missing_descriptors(message)).c_str());
  return exit_status(status.code());
}

int end_of_output(const char* program, int status) {
  errno = 0;
  // An error of an earlier write stays in the stream, its reason does not.
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return status;
  std::fprintf(stderr, "%s: writing the output: %s\n", program,
               errno != 0 ? std::strerror(errno) : "not all of it could be written");
  return status != kExitOk ? status : kExitIo;
}

}  // namespace mrpool::base
