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
  // What is written until that is enough, however slow the writer is.
  template <typename Enough>
  std::string read_until(Enough enough) {
    std::string text;
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(2);
    while (!enough(text) && std::chrono::steady_clock::now() < end) {
      char piece[65536];
      const ssize_t n = ::read(ends_[0], piece, sizeof piece);
      if (n > 0) {
        text.append(piece, size_t(n));
      } else {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    }
    return text;
  }
  std::string read_bytes(size_t count) {
    return read_until([count](const std::string& text) { return text.size() >= count; });
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
  EXPECT_EQ(read_bytes(wanted.size()), wanted);
}

TEST_F(LogThread, AFullPipeBlocksNoThread) {
  const std::string line(4096, 'x');
  constexpr size_t kLines = kLogLines + 200;  // and a pipe takes 64 KiB
  for (size_t i = 0; i < kLines; ++i) log_line(line);
  const auto began = std::chrono::steady_clock::now();
  flush_log();
  EXPECT_LT(std::chrono::steady_clock::now() - began, 30 * kLogPatience) << "it gives up";
  // More than the pipe has had room for: there is room for a line again.
  std::string text = read_bytes(128 << 10);
  log_line("the next");
  text += read_until([](const std::string& rest) { return rest.ends_with("the next\n"); });
  EXPECT_TRUE(text.ends_with(" lines left out)\nthe next\n")) << text.substr(text.size() - 100);
  EXPECT_LE(text.size(), (kLogLines + 64) * (line.size() + 1));
}

TEST_F(LogThread, ManyThreadsLoseNoLine) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int j = 0; j < 100; ++j) log_line("x");
    });
  }
  for (std::thread& each : threads) each.join();
  EXPECT_EQ(read_bytes(800).size(), 800u);
}

}  // namespace
}  // namespace mrpool::base
