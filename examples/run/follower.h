// Follows what the processes of a program under Valgrind write into a folder: a file of XML each,
// PID.xml, that its process creates and, after exec(), creates again.
//
// A file is opened and removed at once, so that the next one of that process is another.
//
// Thread safety: distinct objects: safe. Ownership: borrows the suppressions and the output.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <list>
#include <string>
#include <utility>

#include "examples/run/valgrind_findings.h"
#include "examples/run/valgrind_xml.h"

namespace mrpool::run {

class Follower {
 public:
  // Before the first of them writes.
  Follower(std::string folder, const checker::Suppressions& suppressions, FindingsOutput& output)
      : folder_(std::move(folder)), suppressions_(suppressions), output_(output) {}
  ~Follower();
  Follower(const Follower&) = delete;
  Follower& operator=(const Follower&) = delete;

  // The pattern of file names that Valgrind gets.
  std::string pattern() const;
  // Takes what is new. Processes that have ended get their summary.
  void look();
  // Whether a process that has not written its last words lives.
  bool is_any_alive() const { return !streams_.empty(); }
  // Of all processes so far.
  uint64_t errors() const;

 private:
  struct Stream {
    Stream(pid_t process, int file, const checker::Suppressions& suppressions,
           FindingsOutput& output)
        : pid(process), fd(file), findings(process, suppressions, output), xml(findings) {}
    const pid_t pid;
    const int fd;
    ValgrindFindings findings;
    ValgrindXml xml;
  };
  using Streams = std::list<Stream>;

  void take_files();
  void take(pid_t pid, const std::string& path);
  static void read(Stream& stream);
  Streams::iterator end(Streams::iterator stream);

  const std::string folder_;
  const checker::Suppressions& suppressions_;
  FindingsOutput& output_;
  Streams streams_;
  uint64_t errors_ = 0;  // of those that have ended
};

}  // namespace mrpool::run
