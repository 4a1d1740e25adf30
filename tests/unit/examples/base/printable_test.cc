#include "examples/base/printable.h"

#include <gtest/gtest.h>

#include "examples/base/exit_status.h"
#include "examples/base/log.h"
#include "examples/base/log_thread.h"

namespace mrpool::base {
namespace {

TEST(Printable, LeavesTextAlone) {
  EXPECT_EQ(printable(""), "");
  EXPECT_EQ(printable("nqn.2026-11.org.example:disk \\ ~"), "nqn.2026-11.org.example:disk \\ ~");
  EXPECT_EQ(printable("Größe ≥ 1 \U0001F4BE"), "Größe ≥ 1 \U0001F4BE");
}

TEST(Printable, EscapesControlCharactersByteByByte) {
  EXPECT_EQ(printable("a\x1b[31mb"), "a\\x1b[31mb");
  EXPECT_EQ(printable("one\ntwo\r\t\x7f"), "one\\x0atwo\\x0d\\x09\\x7f");
  EXPECT_EQ(printable(std::string_view("a\0b", 3)), "a\\x00b");
  EXPECT_EQ(printable("\xc2\x9b"), "\\xc2\\x9b");  // CSI of C1
}

TEST(Printable, EscapesWhatTurnsOrHidesText) {
  EXPECT_EQ(printable("\u202e"), "\\xe2\\x80\\xae");
  EXPECT_EQ(printable("a\u200bb"), "a\\xe2\\x80\\x8bb");
  EXPECT_EQ(printable("\u2028"), "\\xe2\\x80\\xa8");
  EXPECT_EQ(printable("\ufeff"), "\\xef\\xbb\\xbf");
}

TEST(Printable, EscapesInvalidUtf8) {
  EXPECT_EQ(printable("\x9b"), "\\x9b");
  EXPECT_EQ(printable("\xc3"), "\\xc3");                    // cut
  EXPECT_EQ(printable("\xc0\xaf"), "\\xc0\\xaf");           // too long a form
  EXPECT_EQ(printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // a surrogate
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");
  EXPECT_EQ(printable("\xe2\x82g"), "\\xe2\\x82g");
}

TEST(Printable, OfItselfIsItself) {
  for (int first = 0; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      const char bytes[] = {char(first), char(second), '\xa0', 'x'};
      const std::string once = printable({bytes, sizeof bytes});
      ASSERT_EQ(printable(once), once);
    }
  }
}

// The two ways out of a program for what peers have sent.
TEST(Printable, LogsAndErrorsAreOneLineEach) {
  testing::internal::CaptureStderr();
  base::log({.event = Event::kLoginRefused, .message = "iqn.a:\x1b]0;owned\x07\nforged line"});
  base::flush_log();
  EXPECT_EQ(fail("tool", absl::UnavailableError("it said \x1b[2J\nmore")), kExitConnection);
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "iqn.a:\\x1b]0;owned\\x07\\x0aforged line\ntool: it said \\x1b[2J\\x0amore\n");
}

}  // namespace
}  // namespace mrpool::base
