// mrpool-run --check --guard=valgrind: the program runs under Valgrind's memcheck, as a child whose
// XML this process reads.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "transport/checker/suppressions.h"

namespace mrpool::run {

struct UnderValgrind {
  std::vector<std::string> program;
  std::string report;    // appended to; empty: none
  int exit_status = 66;  // of a program that ended with 0 although there were errors
  checker::Suppressions suppressions;
  std::function<void()> prepare;  // runs in the child before it becomes Valgrind
};

// Ends the process as the program ended. An error: it was not started; NotFound: there is no
// Valgrind.
absl::Status run_under_valgrind(const UnderValgrind& options);

}  // namespace mrpool::run
