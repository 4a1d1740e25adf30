#include "examples/run/valgrind_findings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "transport/checker/monitor.h"
#include "transport/checker/received_bytes.h"

namespace mrpool::run {
namespace {

using checker::ReceivedBytes;
using checker::Suppressions;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;
using Type = ValgrindPart::Type;

constexpr ReceivedBytes kBytes{.brought = ReceivedBytes::Brought::kSend,
                               .qp = 0x801,
                               .region = 0x1000,
                               .region_bytes = 4096,
                               .lkey = 0xd3d7};

struct Written final : FindingsOutput {
  void for_people(const std::string& text) override { people += text; }
  void line_of_report(const std::string& json) override { report += json + "\n"; }
  std::string people;
  std::string report;
};

ValgrindFrame frame(const std::string& function, unsigned line,
                    const std::string& object = "/bin/p") {
  return {.address = "0x1",
          .function = function,
          .object = object,
          .folder = "/src",
          .file = "p.c",
          .line = line};
}

ValgrindError error_of(const std::string& kind, const std::string& what, const std::string& more) {
  return {.unique = "0x0",
          .kind = kind,
          .thread = 1,
          .thread_name = "",
          .parts = {{.type = Type::kWhat, .text = what, .stack = {}},
                    {.type = Type::kStack, .text = "", .stack = {frame("main", 7)}},
                    {.type = Type::kMore, .text = more, .stack = {}}}};
}

std::string inside(const ReceivedBytes& bytes) {
  return absl::StrCat("Address 0x1005 is 5 bytes inside a ", checker::to_word(bytes),
                      " of size 4,096 client-defined");
}

ValgrindError early() { return error_of("InvalidRead", "Invalid read of size 1", inside(kBytes)); }

struct Findings : testing::Test {
  Written out;
  Suppressions none;
  ValgrindFindings findings{42, none, out};
};

TEST_F(Findings, AnAccessToGuardedBytesIsPremature) {
  findings.on_message({.text = absl::StrCat(checker::kRegisteredWord, "d3d7\n  "),
                       .stack = {frame("ibv_reg_mr", 0, "/lib/libmrpool-verbs.so"),
                                 frame("register_it", 3), frame("main", 5)}});
  findings.on_error(early());
  EXPECT_EQ(
      out.people,
      "mrpool-check: error: premature-access: a load of byte 5 of MR lkey 0xd3d7 (4096 bytes at "
      "0x1000), which came by a SEND of the peer over QP 0x801; the completion of the receive "
      "that it came for orders it and was not polled yet\n"
      "mrpool-check:     at main (/src/p.c:7)\n"
      "mrpool-check:   registered here\n"
      "mrpool-check:     at register_it (/src/p.c:3)\n"
      "mrpool-check:     at main (/src/p.c:5)\n");
  EXPECT_THAT(out.report, AllOf(StartsWith("{\"pid\":42,\"severity\":\"error\""),
                                HasSubstr("\"what\":\"registered here\"")));
  EXPECT_EQ(findings.errors(), 1u);
}

TEST_F(Findings, StoresAndSystemCallsSaySo) {
  findings.on_error(error_of("InvalidWrite", "Invalid write of size 1", inside(kBytes)));
  EXPECT_THAT(out.people, HasSubstr("a store to byte 5 of"));
  ValgrindFindings others(43, none, out);
  others.on_error(error_of(
      "SyscallParam", "Syscall param write(buf) points to unaddressable byte(s)", inside(kBytes)));
  EXPECT_THAT(out.people, HasSubstr("the system call write(buf) touched byte 5 of"));
}

TEST_F(Findings, EqualOnesAreWrittenOnceAndCounted) {
  findings.on_error(early());
  const std::string once = out.people;
  findings.on_error(early());
  EXPECT_EQ(out.people, once);
  findings.on_count("0x0", 3);
  findings.on_count("0x9", 100);
  findings.finish();
  EXPECT_THAT(out.people, HasSubstr("4 times: premature-access: a load of byte 5"));
  EXPECT_THAT(out.people, HasSubstr("1 error, 0 hints, 0 suppressed"));
}

TEST_F(Findings, SuppressionsLookAtAllStacks) {
  for (const char* rule : {"premature-access:register_it", "*:p.c", "premature-access:/bin/p"}) {
    const Suppressions rules = *Suppressions::parse(rule);
    Written written;
    ValgrindFindings suppressed(42, rules, written);
    suppressed.on_message({.text = absl::StrCat(checker::kRegisteredWord, "d3d7"),
                           .stack = {frame("register_it", 3)}});
    suppressed.on_error(early());
    EXPECT_THAT(written.people, IsEmpty()) << rule;
    EXPECT_EQ(suppressed.errors(), 0u) << rule;
    suppressed.finish();
    EXPECT_EQ(written.people, "mrpool-check: 0 errors, 0 hints, 1 suppressed\n") << rule;
  }
}

TEST_F(Findings, TheSummaryCountsWhatTheProcessFound) {
  findings.on_error(early());
  findings.on_message({.text = absl::StrCat(checker::kCountsWord, "2 3 4\n  "), .stack = {}});
  findings.finish();
  EXPECT_THAT(out.people, HasSubstr("mrpool-check: 3 errors, 3 hints, 4 suppressed\n"));
  EXPECT_THAT(out.report,
              HasSubstr(R"({"pid":42,"summary":true,"errors":3,"hints":3,"suppressed":4})"));
  EXPECT_EQ(findings.errors(), 1u);  // the process's own are in its exit status
}

TEST_F(Findings, OtherErrorsReadAsValgrindWritesThem) {
  ValgrindError other = error_of("InvalidFree", "Invalid free()", inside(kBytes));
  other.thread = 2;
  other.thread_name = "worker";
  other.parts[1].stack.push_back(
      {.address = "0x2", .function = "", .object = "/lib/x.so", .folder = "", .file = ""});
  findings.on_error(other);
  EXPECT_EQ(
      out.people,
      "==42== Thread 2 worker:\n==42== Invalid free()\n==42==    at 0x1: main (p.c:7)\n"
      "==42==    by 0x2: ??? (in /lib/x.so)\n"
      "==42==  Address 0x1005 is 5 bytes inside a range that came by a SEND of the peer over QP "
      "0x801; the completion of the receive that it came for orders it and was not polled yet: "
      "MR lkey 0xd3d7, of size 4,096 client-defined\n==42== \n");
  EXPECT_THAT(out.report, IsEmpty());
  EXPECT_EQ(findings.errors(), 1u);
  findings.finish();
  EXPECT_THAT(out.report, IsEmpty());
}

TEST_F(Findings, UninitializedBytesForASystemCallAreNotAnAccess) {
  findings.on_error(error_of(
      "SyscallParam", "Syscall param write(buf) points to uninitialised byte(s)", inside(kBytes)));
  EXPECT_THAT(out.people, StartsWith("==42== Syscall param"));
}

TEST_F(Findings, WordsOfTheProgramAreNotOurs) {
  findings.on_message({.text = "hello\n  ", .stack = {frame("main", 7)}});
  EXPECT_EQ(out.people, "**42** hello\n==42==    at 0x1: main (p.c:7)\n");
  findings.finish();
  EXPECT_THAT(out.people, Not(HasSubstr("mrpool-check")));
}

TEST_F(Findings, ASignalAndWhatCannotBeParsed) {
  findings.on_fatal_signal({.number = "11",
                            .name = "SIGSEGV",
                            .event = "No mapping",
                            .address = "0x10",
                            .stack = {frame("main", 7)}});
  EXPECT_THAT(out.people, HasSubstr("==42== Process terminating with default action of signal 11 "
                                    "(SIGSEGV)\n==42==  No mapping at address 0x10\n"));
  findings.on_raw("<error>\n", "mismatched tag");
  EXPECT_THAT(out.people, HasSubstr("XML of process 42 cannot be parsed (mismatched tag)"));
  EXPECT_EQ(findings.errors(), 1u);
}

TEST(ReceivedBytesWord, IsReadAgainAndNothingElseIs) {
  const std::string word = checker::to_word(kBytes);
  const auto found = checker::find_word("a " + word + " of size");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->bytes, kBytes);
  EXPECT_EQ(found->begin, 2u);
  EXPECT_EQ(found->end, 2 + word.size());
  for (const char* wrong :
       {"", "mrpool-received:", "mrpool-received:1,2,3,4", "mrpool-received:3,1,1,1,1",
        "mrpool-received:1,2,3,4,x", "mrpool-received:1,2,3,4,100000000",
        "mrpool-received:1,,3,4,5", "mrpool-received:1 2 3 4 5"}) {
    EXPECT_FALSE(checker::find_word(wrong)) << wrong;
  }
}

}  // namespace
}  // namespace mrpool::run
