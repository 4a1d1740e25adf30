// Entries in each format, levels, and how many go out.
#include "examples/base/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json/parse.hpp>
#include <cstdlib>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "examples/base/log_thread.h"
#include "examples/base/peer_log.h"
#include "mrpool/internal/report.h"

namespace mrpool::base {
namespace {

using std::chrono::seconds;

constexpr std::chrono::system_clock::time_point kThen{std::chrono::microseconds(1795966207123456)};

LogEntry connected() {
  return {.event = Event::kHostConnected,
          .peer = "10.0.0.7:4711",
          .host = "nqn.host",
          .target = "nqn.disk",
          .queue = 0,
          .message = "10.0.0.7:4711: nqn.host connected"};
}

// What `each` logs.
template <typename Each>
std::string logged_by(const Each& each) {
  testing::internal::CaptureStderr();
  each();
  flush_log();
  return testing::internal::GetCapturedStderr();
}

class LogTest : public testing::Test {
 protected:
  ~LogTest() override {
    ::unsetenv("JOURNAL_STREAM");
    set_log_format(LogFormat::kText);
    set_log_severity(Severity::kNotice);
  }
};

TEST_F(LogTest, TextIsTheMessageAlone) {
  EXPECT_EQ(render(connected(), LogFormat::kText, false, kThen),
            "10.0.0.7:4711: nqn.host connected");
}

TEST_F(LogTest, TheJournalGetsPriorities) {
  EXPECT_EQ(render(connected(), LogFormat::kJournal, true, kThen),
            "<5>10.0.0.7:4711: nqn.host connected");
  EXPECT_EQ(
      render({.event = Event::kStartFailed, .message = "no"}, LogFormat::kJournal, true, kThen),
      "<3>no");
  EXPECT_EQ(
      render({.event = Event::kMrsExhausted, .message = "m"}, LogFormat::kJournal, true, kThen),
      "<6>m");
}

TEST_F(LogTest, JsonHasTheFieldsThatThereAre) {
  EXPECT_EQ(render(connected(), LogFormat::kJson, false, kThen),
            R"({"time":"2026-11-29T15:30:07.123456Z","level":"notice","event":"host_connected",)"
            R"("peer":"10.0.0.7:4711","host":"nqn.host","target":"nqn.disk","queue":0,)"
            R"("message":"10.0.0.7:4711: nqn.host connected"})");
  EXPECT_EQ(render({.event = Event::kStoreHung, .store = "ram:1MiB", .message = "x"},
                   LogFormat::kJson, false, kThen),
            R"({"time":"2026-11-29T15:30:07.123456Z","level":"error","event":"store_hung",)"
            R"("store":"ram:1MiB","message":"x"})");
}

TEST_F(LogTest, WhatPeersChooseForgesNeitherLinesNorFields) {
  const LogEntry entry{.event = Event::kLoginRefused,
                       .peer = "p",
                       .host = "\",\"level\":\"debug\n\x1b[2J\xff",
                       .message = "a\n<0>forged\xc3"};
  const std::string line = render(entry, LogFormat::kJson, false, kThen);
  EXPECT_EQ(line.find('\n'), line.npos);
  const auto object = boost::json::parse(line).as_object();
  EXPECT_EQ(object.at("level").as_string(), "warning");
  EXPECT_EQ(object.at("host").as_string(), "\",\"level\":\"debug\\x0a\\x1b[2J\\xff");
  EXPECT_EQ(render(entry, LogFormat::kJournal, true, kThen), "<4>a\\x0a<0>forged\\xc3");
}

TEST_F(LogTest, EventsHaveNamesOfTheirOwn) {
  std::set<std::string_view> names;
  for (const EventFacts& event : kEvents)
    EXPECT_TRUE(names.insert(event.name).second) << event.name;
}

TEST_F(LogTest, LevelsHaveTheNamesOfSpdk) {
  EXPECT_EQ(log_get_level(), "NOTICE");
  EXPECT_TRUE(log_set_level("DEBUG").ok());
  EXPECT_EQ(log_get_level(), "DEBUG");
  EXPECT_TRUE(log_set_level("error").ok());
  EXPECT_EQ(log_get_level(), "ERROR");
  EXPECT_EQ(log_set_level("LOUD").message(),
            "\"LOUD\" is not a log level; use ERROR, WARNING, NOTICE, INFO and DEBUG");
  EXPECT_EQ(log_get_level(), "ERROR") << "a refusal changes nothing";
}

TEST_F(LogTest, LinesAboveTheLevelAreOmitted) {
  const LogEntry queue{.event = Event::kQueueConnected, .message = "queue"};
  EXPECT_EQ(logged_by([&] { log(queue); }), "");
  set_log_severity(Severity::kInfo);
  EXPECT_EQ(logged_by([&] { log(queue); }), "queue\n");
  set_log_severity(Severity::kError);
  EXPECT_EQ(logged_by([] { log({.event = Event::kStoreSlow, .message = "slow"}); }), "");
  EXPECT_EQ(logged_by([] { log({.event = Event::kStoreHung, .message = "hung"}); }), "hung\n");
}

TEST_F(LogTest, OnePeersFloodLeavesRoomForOthers) {
  const auto refused = [](std::string_view peer) {
    log({.event = Event::kLoginRefused, .peer = peer, .message = "refused"});
  };
  const std::string text = logged_by([&] {
    for (int i = 0; i < 1000; ++i) refused(absl::StrCat("192.0.2.1:", i));
    refused("192.0.2.2:1");
    log({.event = Event::kHostConnected, .peer = "192.0.2.1:1", .message = "connected"});
  });
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  // The second peer's and the other event; a slow machine lets a few more in.
  EXPECT_GE(lines.size(), LogLimits::kBurstOfKind + 2);
  EXPECT_LT(lines.size(), 500u);
  EXPECT_TRUE(text.ends_with("refused\nconnected\n")) << text;
}

TEST(LogLimits, CountWhatTheyLeaveOut) {
  LogLimits limits;
  const auto begin = seconds(1000);
  for (uint32_t i = 0; i < LogLimits::kBurstOfKind; ++i) {
    ASSERT_TRUE(limits.take(Event::kLoginRefused, "a", true, begin));
  }
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(limits.take(Event::kLoginRefused, "a", true, begin));
  EXPECT_TRUE(limits.take(Event::kHostDropped, "a", true, begin)) << "another kind";
  const auto next = limits.take(Event::kLoginRefused, "a", true, begin + LogLimits::kPerLineOfKind);
  ASSERT_TRUE(next);
  EXPECT_EQ(next->of_kind, 5u);
}

TEST(LogLimits, ManyPeersTogetherAreLimitedToo) {
  LogLimits limits;
  const auto begin = seconds(1000);
  uint32_t lines = 0;
  for (int i = 0; i < 5000; ++i) {
    lines += limits.take(Event::kLoginRefused, absl::StrCat(i), true, begin).has_value() ? 1 : 0;
  }
  EXPECT_EQ(lines, LineBudget::kBurst);
  EXPECT_TRUE(limits.take(Event::kStoreError, "file:/x", false, begin)) << "no peer causes it";
}

TEST_F(LogTest, AJournalIsKnownByItsStream) {
  testing::internal::CaptureStderr();
  struct stat info {};
  ASSERT_EQ(::fstat(STDERR_FILENO, &info), 0);
  ::setenv("JOURNAL_STREAM", absl::StrCat(info.st_dev, ":", info.st_ino).c_str(), 1);
  set_log_format(LogFormat::kAuto);
  EXPECT_EQ(log_format(), LogFormat::kJournal);
  ::setenv("JOURNAL_STREAM", "1:2", 1);
  set_log_format(LogFormat::kAuto);
  EXPECT_EQ(log_format(), LogFormat::kText);
  (void)testing::internal::GetCapturedStderr();
}

TEST_F(LogTest, TheLibrarysMessagesAreEntriesToo) {
  set_log_format(LogFormat::kJson);
  const std::string line =
      logged_by([] { internal::report("something broke", mrpool::LogLevel::kError); });
  EXPECT_NE(line.find(R"("event":"library_error","message":"mrpool: something broke")"), line.npos)
      << line;
}

}  // namespace
}  // namespace mrpool::base
