#include "transport/checker/report.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "transport/checker/json.h"
#include "transport/checker/monitor.h"
#include "transport/checker/options.h"
#include "transport/checker/output.h"
#include "transport/checker/symbols.h"

namespace mrpool::checker {
namespace {

// Where the user reads: standard error as it was when the process started. The program may close
// it, or use its number for something else.
struct UserOutput {
  int fd = -1;
  struct stat file {};
};
UserOutput user_output;
// Beyond what programs expect of a descriptor that they open.
constexpr int kLeastDescriptor = 200;

[[gnu::constructor]] void keep_user_output() {
  const char* const checked = std::getenv(kSeedVariable);
  if (checked == nullptr || *checked == '\0') return;
  user_output.fd = ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, kLeastDescriptor);
  if (user_output.fd < 0) user_output.fd = ::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
  if (user_output.fd >= 0) ::fstat(user_output.fd, &user_output.file);
}

// -1: it is gone.
int user_fd() {
  if (user_output.fd < 0) return -1;
  for (const int fd : {user_output.fd, STDERR_FILENO}) {
    struct stat now {};
    if (::fstat(fd, &now) == 0 && now.st_dev == user_output.file.st_dev &&
        now.st_ino == user_output.file.st_ino) {
      return fd;
    }
  }
  return -1;
}

}  // namespace

void Report::add(const Finding& finding) {
  Key key{.kind = finding.kind, .stacks = {finding.where}, .aspect = finding.aspect};
  for (const Origin& origin : finding.origins) key.stacks.push_back(origin.stack);
  const std::lock_guard lock(mutex_);
  Seen& seen = seen_[std::move(key)];
  if (++seen.count > 1) return;
  seen.text = finding.text;
  std::vector<std::vector<Frame>> stacks{resolve(finding.where)};
  for (const Origin& origin : finding.origins) stacks.push_back(resolve(origin.stack));
  for (const std::vector<Frame>& stack : stacks) {
    seen.suppressed |= options_.suppressions.match(info(finding.kind).name, stack);
  }
  if (seen.suppressed) return;
  write_all(user_fd(), for_people(finding, stacks));
  write_line(to_json(finding, stacks, ::getpid()));
}

void Report::write_line(const std::string& line) {
  if (!options_.file.empty()) append_line(options_.file, line);
}

std::string Report::repeated() const {
  std::string out;
  for (const auto& [key, seen] : seen_) {
    if (seen.count > 1 && !seen.suppressed) out += for_people(seen.count, key.kind, seen.text);
  }
  return out;
}

int Report::finish(int status) {
  const std::lock_guard lock(mutex_);
  Counts counts;
  for (const auto& [key, seen] : seen_) {
    ++(seen.suppressed ? counts.suppressed : info(key.kind).hint ? counts.hints : counts.errors);
  }
  write_all(user_fd(), repeated());
  if (monitored()) {
    tell_counts(counts);
  } else {
    write_all(user_fd(), for_people(counts));
    write_line(to_json(counts, ::getpid()));
  }
  return status == 0 && counts.errors > 0 ? options_.exit_status : status;
}

}  // namespace mrpool::checker
