#include "examples/run/valgrind_xml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace mrpool::run {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct Recorded final : ValgrindEvents {
  void on_error(const ValgrindError& error) override { errors.push_back(error); }
  void on_message(const ValgrindMessage& message) override { messages.push_back(message); }
  void on_fatal_signal(const ValgrindSignal& signal) override { signals.push_back(signal); }
  void on_count(const std::string& unique, uint64_t count) override {
    counts.emplace_back(unique, count);
  }
  void on_raw(std::string_view text, std::string_view why) override {
    raw += text;
    if (!why.empty()) reasons.emplace_back(why);
  }

  std::vector<ValgrindError> errors;
  std::vector<ValgrindMessage> messages;
  std::vector<ValgrindSignal> signals;
  std::vector<std::pair<std::string, uint64_t>> counts;
  std::string raw;
  std::vector<std::string> reasons;
};

constexpr std::string_view kBegin =
    "<?xml version=\"1.0\"?>\n\n<valgrindoutput>\n\n<protocolversion>4</protocolversion>\n"
    "<preamble>\n  <line>Memcheck</line>\n</preamble>\n\n<pid>7</pid>\n";
constexpr std::string_view kError = R"(<error>
  <unique>0x2</unique>
  <tid>3</tid>
  <threadname>worker</threadname>
  <kind>InvalidRead</kind>
  <what>Invalid read of size 1</what>
  <stack>
    <frame>
      <ip>0x10A</ip>
      <obj>/bin/a&amp;b</obj>
      <fn>main</fn>
      <dir>/src</dir>
      <file>a.c</file>
      <line>7</line>
    </frame>
    <frame>
      <ip>0x10B</ip>
    </frame>
  </stack>
  <auxwhat>Address 0x5 is 3 bytes inside</auxwhat>
  <stack>
    <frame>
      <ip>0x10C</ip>
    </frame>
  </stack>
</error>
)";
constexpr std::string_view kEnd = "</valgrindoutput>\n";

std::string text_of(std::initializer_list<std::string_view> pieces) {
  std::string out;
  for (const std::string_view piece : pieces) out += piece;
  return out;
}

Recorded read(std::string_view text, size_t at_a_time) {
  Recorded out;
  ValgrindXml xml(out);
  for (size_t at = 0; at < text.size(); at += at_a_time) xml.feed(text.substr(at, at_a_time));
  xml.finish();
  EXPECT_TRUE(xml.ended());
  return out;
}

TEST(ValgrindXml, AnErrorHasItsPartsInOrderHoweverItIsCut) {
  const std::string text = text_of({kBegin, kError, kEnd});
  for (const size_t at_a_time : {size_t{1}, size_t{7}, text.size()}) {
    const Recorded seen = read(text, at_a_time);
    ASSERT_EQ(seen.errors.size(), 1u);
    const ValgrindError& error = seen.errors[0];
    EXPECT_EQ(error.unique, "0x2");
    EXPECT_EQ(error.kind, "InvalidRead");
    EXPECT_EQ(error.thread, 3u);
    EXPECT_EQ(error.thread_name, "worker");
    ASSERT_EQ(error.parts.size(), 4u);
    EXPECT_EQ(error.parts[0].text, "Invalid read of size 1");
    ASSERT_EQ(error.parts[1].stack.size(), 2u);
    const ValgrindFrame& frame = error.parts[1].stack[0];
    EXPECT_EQ(frame.address, "0x10A");
    EXPECT_EQ(frame.object, "/bin/a&b");
    EXPECT_EQ(frame.function, "main");
    EXPECT_EQ(frame.folder + frame.file, "/srca.c");
    EXPECT_EQ(frame.line, 7u);
    EXPECT_EQ(error.parts[2].type, ValgrindPart::Type::kMore);
    EXPECT_EQ(error.parts[3].stack[0].address, "0x10C");
    EXPECT_THAT(seen.raw, IsEmpty());
  }
}

TEST(ValgrindXml, MessagesSignalsCountsAndSuppressions) {
  const Recorded seen = read(
      text_of(
          {kBegin, "<clientmsg>\n<tid>1</tid>\n<text>hello &lt;you&gt;</text>\n</clientmsg>\n",
           "<error>\n<kind>Leak_DefinitelyLost</kind>\n<xwhat>\n<text>4 bytes lost</text>\n",
           "<leakedbytes>4</leakedbytes>\n</xwhat>\n<suppression>\n<sname>n</sname>\n",
           "<rawtext>\n<![CDATA[\n{\n  <x>\n}\n]]>\n</rawtext>\n</suppression>\n</error>\n",
           "<fatal_signal>\n<signo>11</signo>\n<signame>SIGSEGV</signame>\n<event>No "
           "mapping</event>\n",
           "<siaddr>0x10</siaddr>\n<stack><frame><ip>0x1</ip></frame></stack>\n</fatal_signal>\n",
           "<errorcounts>\n<pair>\n<count>17</count>\n<unique>0x2</unique>\n</pair>\n",
           "</errorcounts>\n", kEnd}),
      5);
  ASSERT_EQ(seen.messages.size(), 1u);
  EXPECT_EQ(seen.messages[0].text, "hello <you>");
  ASSERT_EQ(seen.errors.size(), 1u);
  ASSERT_EQ(seen.errors[0].parts.size(), 2u);
  EXPECT_EQ(seen.errors[0].parts[0].text, "4 bytes lost");
  EXPECT_THAT(seen.errors[0].parts[1].text, HasSubstr("{\n  <x>\n}"));
  ASSERT_EQ(seen.signals.size(), 1u);
  EXPECT_EQ(seen.signals[0].number + seen.signals[0].name, "11SIGSEGV");
  EXPECT_EQ(seen.signals[0].address, "0x10");
  EXPECT_EQ(seen.signals[0].stack.size(), 1u);
  EXPECT_THAT(seen.counts, ElementsAre(std::pair<std::string, uint64_t>("0x2", 17)));
}

TEST(ValgrindXml, WhatIsMalformedIsRawUpToTheNextError) {
  const std::string bad = "<error>\n<auxwhat>inside a <block> of size 10</auxwhat>\n</error>\n\n";
  const std::string text = text_of({kBegin, kError, bad, kError, kEnd});
  for (const size_t at_a_time : {size_t{1}, size_t{3}, size_t{64}, text.size()}) {
    const Recorded seen = read(text, at_a_time);
    EXPECT_EQ(seen.errors.size(), 2u);
    EXPECT_EQ(seen.raw, bad);
    EXPECT_EQ(seen.reasons.size(), 1u);
  }
}

TEST(ValgrindXml, AnErrorThatIsCutOffIsRaw) {
  const Recorded seen = read(text_of({kBegin, kError.substr(0, 100)}), 10);
  EXPECT_THAT(seen.errors, IsEmpty());
  EXPECT_THAT(seen.raw, HasSubstr(kError.substr(0, 100)));
  EXPECT_EQ(seen.reasons.size(), 1u);
}

TEST(ValgrindXml, ATruncatedPreambleIsIgnored) {
  const Recorded seen = read(kBegin.substr(0, 40), 10);
  EXPECT_THAT(seen.raw, IsEmpty());
}

TEST(ValgrindXml, LongTextsAreCutOffAndLongElementsRaw) {
  const std::string longer(ValgrindXml::kMaxTextBytes + 1, 'x');
  Recorded seen =
      read(text_of({kBegin, "<clientmsg>\n<text>", longer, "</text>\n</clientmsg>\n", kEnd}), 1000);
  ASSERT_EQ(seen.messages.size(), 1u);
  EXPECT_EQ(seen.messages[0].text.size(), ValgrindXml::kMaxTextBytes);
  const std::string endless(ValgrindXml::kMaxElementBytes + 5000, 'x');
  seen = read(text_of({kBegin, "<error>\n<what>", endless, "\n", kError, kEnd}), 1000);
  EXPECT_EQ(seen.errors.size(), 1u);
  EXPECT_THAT(seen.reasons, ElementsAre("an element is too long"));
}

}  // namespace
}  // namespace mrpool::run
