// A program that runs as a child and behaves as if this process were it: signals are passed on, and
// the way it ended is this process's own in the end.
//
// Thread safety: one child a process; the process has one thread.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace mrpool::run {

class Child {
 public:
  // Looks for the program in PATH. `prepare` runs in the child before. NotFound, or another error:
  // why the program was not started. It dies when this process does.
  static absl::StatusOr<Child> start(const std::vector<std::string>& command,
                                     const std::function<void()>& prepare);

  // Until something has happened, or the time is over; passes signals on.
  void wait(std::chrono::milliseconds at_most);
  // As waitpid() gives it; nothing: it runs.
  std::optional<int> status() const { return status_; }
  // Whether the child, or what it has started, may still run: it holds a descriptor of ours.
  bool has_offspring() const { return lifeline_ >= 0; }

 private:
  Child(pid_t pid, int signals, int lifeline) : pid_(pid), signals_(signals), lifeline_(lifeline) {}
  void take_signals();

  pid_t pid_;
  int signals_;
  int lifeline_;  // reads the end when all of them have ended; then -1
  std::optional<int> status_;
};

// Ends this process as the child ended, with `status` instead of 0.
[[noreturn]] void end_as(int child_status, int status);

}  // namespace mrpool::run
