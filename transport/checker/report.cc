#include "transport/checker/report.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "transport/checker/json.h"
#include "transport/checker/options.h"
#include "transport/checker/symbols.h"

namespace mrpool::checker {
namespace {

constexpr char kPrefix[] = "mrpool-check: ";

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

void write_all(int fd, const std::string& text) { (void)!::write(fd, text.data(), text.size()); }

void add_stack(std::string& out, const std::vector<Frame>& frames) {
  for (const Frame& frame : frames)
    absl::StrAppend(&out, kPrefix, "    at ", to_string(frame), "\n");
}

std::string for_people(const Finding& finding, std::span<const std::vector<Frame>> stacks) {
  const KindInfo& kind = info(finding.kind);
  std::string out =
      absl::StrCat(kPrefix, kind.hint ? "hint: " : "error: ",
                   absl::string_view(kind.name.data(), kind.name.size()), ": ", finding.text, "\n");
  add_stack(out, stacks[0]);
  for (size_t i = 0; i < finding.origins.size(); ++i) {
    absl::StrAppend(&out, kPrefix, "  ", finding.origins[i].what, "\n");
    add_stack(out, stacks[i + 1]);
  }
  return out;
}

// "3 errors"
std::string counted(uint64_t count, const char* what) {
  return absl::StrCat(count, " ", what, count == 1 ? "" : "s");
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
  write_line(to_json(finding, stacks));
}

void Report::write_line(const std::string& line) {
  if (options_.file.empty()) return;
  // Several processes may write to the file: each line is one write.
  const int fd = ::open(options_.file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd < 0) return;
  write_all(fd, line + "\n");
  ::close(fd);
}

std::string Report::summary(uint64_t errors, uint64_t hints, uint64_t suppressed) const {
  std::string out;
  for (const auto& [key, seen] : seen_) {
    if (seen.count == 1 || seen.suppressed) continue;
    const std::string_view kind = info(key.kind).name;
    absl::StrAppend(&out, kPrefix, seen.count,
                    " times: ", absl::string_view(kind.data(), kind.size()), ": ", seen.text, "\n");
  }
  absl::StrAppend(&out, kPrefix, counted(errors, "error"), ", ", counted(hints, "hint"), ", ",
                  suppressed, " suppressed\n");
  return out;
}

int Report::finish(int status) {
  const std::lock_guard lock(mutex_);
  uint64_t errors = 0;
  uint64_t hints = 0;
  uint64_t suppressed = 0;
  for (const auto& [key, seen] : seen_) {
    ++(seen.suppressed ? suppressed : info(key.kind).hint ? hints : errors);
  }
  write_all(user_fd(), summary(errors, hints, suppressed));
  write_line(absl::StrCat("{\"pid\":", ::getpid(), ",\"summary\":true,\"errors\":", errors,
                          ",\"hints\":", hints, ",\"suppressed\":", suppressed, "}"));
  return status == 0 && errors > 0 ? options_.exit_status : status;
}

}  // namespace mrpool::checker
