// A daemon's main program in a process of its own: what it does on signals, and that it ends in
// time whatever does not answer.
#include "examples/engine/daemon.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <string>
#include <thread>

#include "tests/unit/examples/engine/copy_world.h"

namespace mrpool::engine::testing {
namespace {

enum class Hang { kNothing, kStart, kReload, kWorker };

[[noreturn]] void hang() {
  while (true) pause();
}

// Serves nothing; writes a letter into a pipe for what happens to it.
class Hanging final : public Application {
 public:
  Hanging(Hang what, int pipe, const Options& options)
      : what_(what), pipe_(pipe), service_(options, protocol_) {}
  Service& service() override { return service_; }
  absl::Status start(std::span<Reactor* const> reactors) override {
    for (Reactor* reactor : reactors) {
      if (absl::Status status = service_.add_worker(*reactor); !status.ok()) return status;
    }
    tell('b');
    if (what_ == Hang::kStart) hang();
    return absl::OkStatus();
  }
  absl::Status reload() override {
    if (what_ == Hang::kWorker) service_.worker(0).mailbox().post([] { hang(); });
    tell('r');
    if (what_ == Hang::kReload) hang();
    return absl::OkStatus();
  }
  void ports_changed() override {}
  std::vector<std::shared_ptr<storage::Volume>> stores() override { return {}; }
  void sizes_changed() override {}
  void print_served() override { tell('s'); }
  std::map<std::string, std::string> state() override { return {}; }
  void add_statistics(Statistics&) override {}

 private:
  void tell(char what) { EXPECT_EQ(write(pipe_, &what, 1), 1); }

  const Hang what_;
  const int pipe_;
  CopyProtocol protocol_;
  Service service_;
};

class DaemonTest : public ::testing::Test {
 protected:
  void start(Hang what) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    process_ = fork();
    if (process_ == 0) {
      close(ends[0]);
      if (freopen("/dev/null", "w", stdout) == nullptr) _exit(9);
      in_the_process_();
      // What does not hang may take its time.
      const Options options{.stop_timeout = seconds(what == Hang::kNothing ? 300 : 1)};
      _exit(run_daemon("daemon", std::make_unique<Hanging>(what, ends[1], options)));
    }
    close(ends[1]);
    pipe_ = ends[0];
  }
  ~DaemonTest() override { close(pipe_); }
  char next() const {
    char letter = 0;
    return read(pipe_, &letter, 1) == 1 ? letter : 'x';
  }
  void serves() const {
    EXPECT_EQ(next(), 'b');
    EXPECT_EQ(next(), 's');
  }
  // Its exit status; -1 when a signal ended it.
  int end() const {
    int status = 0;
    EXPECT_EQ(waitpid(process_, &status, 0), process_);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  void signal(int number) const { ASSERT_EQ(kill(process_, number), 0); }

  std::function<void()> in_the_process_ = [] {};
  pid_t process_ = 0;
  int pipe_ = -1;
};

TEST(Daemon, AReloadReportsItsChanges) {
  EXPECT_EQ(describe_change({{"a", "1"}}, {{"a", "1"}}), "nothing changed");
  EXPECT_EQ(describe_change({{"a", "1"}, {"b", "1"}, {"c", "1"}},
                            {{"b", "2"}, {"c", "1"}, {"d", "1"}, {"e", "1"}}),
            "added d, e; removed a; changed b");
}

TEST_F(DaemonTest, EndsBySignalsWhileItStarts) {
  for (const int number : {SIGTERM, SIGINT}) {
    start(Hang::kStart);
    EXPECT_EQ(next(), 'b');
    signal(SIGHUP);  // is for later
    signal(number);
    EXPECT_EQ(end(), -1);
    EXPECT_EQ(next(), 'x');
    close(pipe_);
  }
  pipe_ = -1;
}

TEST_F(DaemonTest, ReloadsAndStops) {
  start(Hang::kNothing);
  serves();
  signal(SIGHUP);
  EXPECT_EQ(next(), 'r');
  EXPECT_EQ(next(), 's');
  signal(SIGTERM);
  EXPECT_EQ(end(), 0);
}

TEST_F(DaemonTest, StopsWhileAReloadDoesNotComeToItsEnd) {
  start(Hang::kReload);
  serves();
  signal(SIGHUP);
  EXPECT_EQ(next(), 'r');
  signal(SIGTERM);
  EXPECT_EQ(end(), 1);
}

TEST_F(DaemonTest, StopsWhenAWorkerDoesNotAnswer) {
  start(Hang::kWorker);
  serves();
  signal(SIGHUP);
  EXPECT_EQ(next(), 'r');
  EXPECT_EQ(next(), 's');
  signal(SIGINT);
  EXPECT_EQ(end(), 1);
}

TEST_F(DaemonTest, StopsWhenItsMessagesAreNotRead) {
  in_the_process_ = [] {
    int full[2];
    if (pipe(full) != 0 || dup2(full[1], STDERR_FILENO) < 0) _exit(9);
    const std::string page(4096, 'x');
    fcntl(STDERR_FILENO, F_SETFL, O_NONBLOCK);
    while (write(STDERR_FILENO, page.data(), page.size()) > 0) {
    }
    fcntl(STDERR_FILENO, F_SETFL, 0);
  };
  start(Hang::kWorker);
  serves();
  signal(SIGHUP);
  EXPECT_EQ(next(), 'r');
  EXPECT_EQ(next(), 's');
  signal(SIGTERM);
  EXPECT_EQ(end(), 1);
}

TEST_F(DaemonTest, ReportsThatNoThreadCanBeStarted) {
  in_the_process_ = [] {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, size_t{1} << 46);
    pthread_setattr_default_np(&attributes);
  };
  start(Hang::kNothing);
  EXPECT_EQ(end(), 1) << "not by a signal";
}

}  // namespace
}  // namespace mrpool::engine::testing
