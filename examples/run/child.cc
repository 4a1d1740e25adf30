#include "examples/run/child.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace mrpool::run {
namespace {

// What a user sends to the program by sending it to this process.
constexpr std::array kPassedOn{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
// Beyond what programs expect of a descriptor that they open.
constexpr int kLeastDescriptor = 200;

struct Pipe {
  int from = -1;
  int to = -1;
};

absl::StatusOr<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return absl::ResourceExhaustedError(absl::StrCat("pipe: ", std::strerror(errno)));
  }
  return Pipe{ends[0], ends[1]};
}

[[noreturn]] void become(const std::vector<std::string>& command, pid_t parent, int failure) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(EXIT_FAILURE);
  std::vector<char*> words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  ::execvp(words[0], words.data());
  const int error = errno;
  (void)!::write(failure, &error, sizeof error);
  ::_exit(EXIT_FAILURE);
}

}  // namespace

absl::StatusOr<Child> Child::start(const std::vector<std::string>& command,
                                   const std::function<void()>& prepare) {
  const absl::StatusOr<Pipe> failure = make_pipe();
  if (!failure.ok()) return failure.status();
  const absl::StatusOr<Pipe> lifeline = make_pipe();
  if (!lifeline.ok()) return lifeline.status();
  sigset_t caught;
  sigset_t before;
  sigemptyset(&caught);
  sigaddset(&caught, SIGCHLD);
  for (const int each : kPassedOn) sigaddset(&caught, each);
  ::sigprocmask(SIG_BLOCK, &caught, &before);
  const int signals = ::signalfd(-1, &caught, SFD_CLOEXEC | SFD_NONBLOCK);
  const pid_t parent = ::getpid();
  const pid_t pid = signals < 0 ? -1 : ::fork();
  if (pid < 0) return absl::ResourceExhaustedError(std::strerror(errno));
  if (pid == 0) {
    ::fcntl(lifeline->to, F_DUPFD, kLeastDescriptor);
    ::sigprocmask(SIG_SETMASK, &before, nullptr);
    prepare();
    become(command, parent, failure->to);
  }
  ::close(failure->to);
  ::close(lifeline->to);
  int error = 0;
  const bool failed = ::read(failure->from, &error, sizeof error) == sizeof error;
  ::close(failure->from);
  if (!failed) return Child(pid, signals, lifeline->from);
  ::waitpid(pid, nullptr, 0);
  const std::string text = absl::StrCat(command[0], ": ", std::strerror(error));
  return error == ENOENT ? absl::NotFoundError(text) : absl::UnknownError(text);
}

void Child::wait(std::chrono::milliseconds at_most) {
  // poll() leaves out a descriptor of -1.
  std::array<pollfd, 2> events{pollfd{signals_, POLLIN, 0}, pollfd{lifeline_, POLLIN, 0}};
  ::poll(events.data(), events.size(), static_cast<int>(at_most.count()));
  if (events[1].revents != 0) {
    ::close(lifeline_);
    lifeline_ = -1;
  }
  take_signals();
  int status = 0;
  if (!status_ && ::waitpid(pid_, &status, WNOHANG) == pid_) status_ = status;
}

void Child::take_signals() {
  signalfd_siginfo each{};
  while (::read(signals_, &each, sizeof each) == sizeof each) {
    // A terminal sends its signals to the child, too.
    const bool sent = each.ssi_code <= 0;
    if (!status_ && sent && each.ssi_signo != SIGCHLD) {
      ::kill(pid_, static_cast<int>(each.ssi_signo));
    }
  }
}

void end_as(int child_status, int status) {
  if (WIFSIGNALED(child_status)) {
    const int number = WTERMSIG(child_status);
    const rlimit no_core{0, 0};  // the child has written its own
    ::setrlimit(RLIMIT_CORE, &no_core);
    std::signal(number, SIG_DFL);
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, number);
    ::raise(number);
    ::sigprocmask(SIG_UNBLOCK, &only, nullptr);
  }
  const int ended = WEXITSTATUS(child_status);
  std::exit(ended == 0 ? status : ended);
}

}  // namespace mrpool::run
