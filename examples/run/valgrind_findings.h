// From Valgrind's errors of one process to findings of the checker: memcheck's errors in guarded
// bytes become premature accesses, as the other guards report them, and all else reads as Valgrind
// would have written it.
//
// Thread safety: distinct objects: safe. Ownership: borrows the output and the suppressions.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "examples/run/valgrind_xml.h"
#include "transport/checker/finding.h"
#include "transport/checker/suppressions.h"

namespace mrpool::run {

class FindingsOutput {
 public:
  virtual void for_people(const std::string& text) = 0;
  virtual void line_of_report(const std::string& json) = 0;

 protected:
  ~FindingsOutput() = default;
};

class ValgrindFindings final : public ValgrindEvents {
 public:
  ValgrindFindings(pid_t pid, const checker::Suppressions& suppressions, FindingsOutput& output)
      : pid_(pid), suppressions_(suppressions), output_(output) {}

  void on_error(const ValgrindError& error) override;
  void on_message(const ValgrindMessage& message) override;
  void on_fatal_signal(const ValgrindSignal& signal) override;
  void on_count(const std::string& unique, uint64_t count) override;
  void on_raw(std::string_view text, std::string_view why) override;

  // The process has ended: writes the summary, if the checker ran in it.
  void finish();
  // Findings that are not suppressed, and Valgrind's other errors; not those that the process
  // itself reported.
  uint64_t errors() const { return counts_.errors + others_; }

 private:
  using Frames = std::vector<checker::Frame>;
  // The regions that a program registered last whose stacks are known.
  static constexpr size_t kMaxRegions = 65536;

  struct Seen {
    uint64_t count = 0;
    bool suppressed = false;
    std::string text;
  };

  void add_premature(const ValgrindError& error, const std::string& text, uint32_t lkey);
  void write_other(const ValgrindError& error);
  void add_region(std::string_view lkey, const ValgrindStack& stack);
  void add_counts(std::string_view counts);
  std::string prefix() const;
  std::string text_of(const ValgrindStack& stack) const;

  const pid_t pid_;
  const checker::Suppressions& suppressions_;
  FindingsOutput& output_;
  std::map<uint32_t, Frames> regions_;             // by lkey
  std::map<std::vector<std::string>, Seen> seen_;  // by their frames
  std::map<std::string, Seen*> by_unique_;
  checker::Counts counts_;
  checker::Counts told_;  // by the process
  bool was_told_ = false;
  uint64_t others_ = 0;
  unsigned thread_ = 1;  // of the last error
};

}  // namespace mrpool::run
