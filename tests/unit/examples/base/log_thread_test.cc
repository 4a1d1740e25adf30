#include "examples/base/log_thread.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <vector>

namespace mrpool::base {
namespace {

// Stderr is a pipe, until the end.
class LogThread : public testing::Test {
 protected:
  LogThread() {
    flush_log();
    EXPECT_EQ(::pipe(ends_), 0);
    ::fcntl(ends_[0], F_SETFL, O_NONBLOCK);
    before_ = ::dup(STDERR_FILENO);
    ::dup2(ends_[1], STDERR_FILENO);
    ::close(ends_[1]);
  }
  ~LogThread() override {
    ::dup2(before_, STDERR_FILENO);
    ::close(before_);
    ::close(ends_[0]);
  }
  // All that is written within a patience.
  std::string read_all() {
    std::string text;
    const auto read_some = [&] {
      char piece[65536];
      const ssize_t n = ::read(ends_[0], piece, sizeof piece);
      if (n > 0) text.append(piece, size_t(n));
      return n > 0;
    };
    std::thread flush([] { flush_log(); });
    const auto end = std::chrono::steady_clock::now() + kLogPatience;
    while (std::chrono::steady_clock::now() < end) {
      if (!read_some()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    flush.join();
    while (read_some()) {
    }
    return text;
  }

  int ends_[2] = {-1, -1};
  int before_ = -1;
};

TEST_F(LogThread, WritesLinesInOrder) {
  std::string wanted;
  for (int i = 0; i < 500; ++i) {
    log_line("line " + std::to_string(i));
    wanted += "line " + std::to_string(i) + "\n";
  }
  EXPECT_EQ(read_all(), wanted);
}

TEST_F(LogThread, NobodyWaitsForAPipeThatIsFull) {
  const std::string line(4096, 'x');
  constexpr size_t kLines = kLogLines + 200;  // and a pipe takes 64 KiB
  for (size_t i = 0; i < kLines; ++i) log_line(line);
  const auto began = std::chrono::steady_clock::now();
  flush_log();
  EXPECT_LT(std::chrono::steady_clock::now() - began, 30 * kLogPatience) << "it gives up";
  const std::string text = read_all();
  EXPECT_LE(text.size(), (kLogLines + 64) * (line.size() + 1));
  log_line("the next");
  const std::string next = read_all();
  EXPECT_NE(next.find(" lines left out)\nthe next\n"), std::string::npos) << next;
}

TEST_F(LogThread, ManyThreadsLoseNoLine) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int j = 0; j < 100; ++j) log_line("x");
    });
  }
  for (std::thread& each : threads) each.join();
  EXPECT_EQ(read_all().size(), 800u);
}

}  // namespace
}  // namespace mrpool::base
