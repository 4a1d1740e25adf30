// Where the library's messages go.
#include "mrpool/log.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "mrpool/internal/report.h"

namespace mrpool {
namespace {

struct Lines {
  static void take(void* context, LogLevel level, std::string_view line) {
    static_cast<Lines*>(context)->lines.push_back(std::string(to_string(level)) + ": " +
                                                  std::string(line));
  }
  std::vector<std::string> lines;
};

TEST(Log, GoesToTheSinkAndBackToStderr) {
  Lines lines;
  set_log_sink(&Lines::take, &lines);
  testing::internal::CaptureStderr();
  internal::report("one");
  internal::report("two", LogLevel::kInfo);
  set_log_sink(nullptr);
  internal::report("three");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "mrpool: three\n");
  EXPECT_EQ(lines.lines, (std::vector<std::string>{"error: one", "info: two"}));
}

TEST(LogDeathTest, AFatalLineReachesTheSinkWithItsStack) {
  const auto print = [](void*, LogLevel level, std::string_view line) {
    std::fprintf(stderr, "<%d %.*s>", static_cast<int>(level), static_cast<int>(line.size()),
                 line.data());
  };
  EXPECT_DEATH(
      {
        set_log_sink(print);
        internal::fatal("the end");
      },
      "<2 the end><2 .+>");
}

}  // namespace
}  // namespace mrpool
