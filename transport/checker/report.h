// Where findings go: standard error for people, a file of JSON lines for programs, and a summary
// with the exit status when the process ends.
//
// Identical findings (same kind, same stacks, same aspect) are written once and counted.
//
// Thread safety: any thread. Not for signal handlers: those note what they saw and let the next
// call of the program's report it.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "transport/checker/finding.h"
#include "transport/checker/suppressions.h"

namespace mrpool::checker {

struct ReportOptions {
  std::string file;      // JSON lines are appended; empty: none
  int exit_status = 66;  // of a program that ended with 0 although there were errors
  Suppressions suppressions;
};

class Report {
 public:
  explicit Report(ReportOptions options) : options_(std::move(options)) {}

  void add(const Finding& finding);
  // Writes the summary. The status that the process is to end with instead of `status`.
  int finish(int status);
  // Nobody else writes while the process forks.
  void before_fork() { mutex_.lock(); }
  void after_fork() { mutex_.unlock(); }

 private:
  struct Key {
    Kind kind;
    std::vector<Stack> stacks;
    std::string_view aspect;
    bool operator<(const Key& other) const {
      return std::tie(kind, stacks, aspect) < std::tie(other.kind, other.stacks, other.aspect);
    }
  };
  struct Seen {
    uint64_t count = 0;
    bool suppressed = false;
    std::string text;
  };

  void write_line(const std::string& line);
  std::string repeated() const;

  const ReportOptions options_;
  std::mutex mutex_;
  std::map<Key, Seen> seen_;
};

}  // namespace mrpool::checker
