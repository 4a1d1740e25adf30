#include "examples/run/under_valgrind.h"

#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "examples/run/child.h"
#include "examples/run/follower.h"
#include "transport/checker/monitor.h"
#include "transport/checker/output.h"

namespace mrpool::run {
namespace {

namespace fs = std::filesystem;

// How late a finding is seen; and how long what the program started may outlive it unnoticed.
constexpr std::chrono::milliseconds kLook{20};
constexpr int kLooksAfterEnd = 10;

class Output final : public FindingsOutput {
 public:
  explicit Output(std::string report) : report_(std::move(report)) {}
  void for_people(const std::string& text) override { checker::write_all(STDERR_FILENO, text); }
  void line_of_report(const std::string& json) override {
    if (!report_.empty()) checker::append_line(report_, json);
  }

 private:
  const std::string report_;
};

absl::StatusOr<std::string> make_folder() {
  std::error_code error;
  std::string path = (fs::temp_directory_path(error) / "mrpool-run-XXXXXX").string();
  if (!error && ::mkdtemp(path.data()) != nullptr) return path;
  const std::string why = error ? error.message() : std::strerror(errno);
  return absl::UnavailableError(absl::StrCat("no folder for Valgrind's output, '", path, "': ", why,
                                             "; let TMPDIR name one to write to"));
}

// Whether the user's options for Valgrind hold that one.
bool is_set(absl::string_view option) {
  const char* const options = std::getenv("VALGRIND_OPTS");
  return options != nullptr && absl::StrContains(options, option);
}

std::vector<std::string> command_of(const UnderValgrind& options, const Follower& follower) {
  // Its threads take turns: a program that polls memory must not keep the device's from its own.
  std::vector<std::string> command{
      "valgrind",         "--quiet",   "--trace-children=yes",
      "--fair-sched=try", "--xml=yes", absl::StrCat("--xml-file=", follower.pattern())};
  // With XML memcheck always looks for leaks; as without, the user is to ask for that.
  const bool leaks = is_set("--leak-check=full") || is_set("--leak-check=yes");
  if (!leaks) command.emplace_back("--show-leak-kinds=none");
  // A program that is killed would leave the debugger's pipes in /tmp.
  if (!is_set("--vgdb")) command.emplace_back("--vgdb=no");
  command.insert(command.end(), options.program.begin(), options.program.end());
  return command;
}

// Until all have ended.
void follow(Child& child, Follower& follower) {
  while (child.has_offspring() || follower.is_any_alive()) {
    child.wait(kLook);
    follower.look();
  }
}

}  // namespace

absl::Status run_under_valgrind(const UnderValgrind& options) {
  const absl::StatusOr<std::string> folder = make_folder();
  if (!folder.ok()) return folder.status();
  const auto remove_folder = [&] {
    std::error_code error;
    fs::remove_all(*folder, error);
  };
  Output output(options.report);
  Follower follower(*folder, options.suppressions, output);
  ::setenv(checker::kMonitoredVariable, "1", 1);
  absl::StatusOr<Child> child = Child::start(command_of(options, follower), options.prepare);
  if (!child.ok()) {
    remove_folder();
    return child.status();
  }
  std::signal(SIGPIPE, SIG_IGN);  // who reads standard error may have ended
  while (!child->status()) {
    child->wait(kLook);
    follower.look();
  }
  for (int i = 0; i < kLooksAfterEnd && (child->has_offspring() || follower.is_any_alive()); ++i) {
    child->wait(kLook);
    follower.look();
  }
  follower.look();
  const int status = follower.errors() > 0 ? options.exit_status : 0;
  if (child->has_offspring() || follower.is_any_alive()) {
    // The program is done, what it started is not: another process follows that.
    if (::fork() != 0) end_as(*child->status(), status);
    follow(*child, follower);
    remove_folder();
    ::_exit(EXIT_SUCCESS);
  }
  remove_folder();
  end_as(*child->status(), status);
}

}  // namespace mrpool::run
