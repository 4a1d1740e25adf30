#include "examples/base/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

namespace mrpool::base {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// A program with one option of each type, and two commands.
class CommandLineTest : public testing::Test {
 protected:
  CommandLineTest() {
    plain_.operand("ADDRESS", "where it is", "uiwarp://127.0.0.1:1", address_);
    plain_.text("name", "TEXT", "a name", name_);
    plain_.count("depth", "a depth", depth_, {.least = 1, .most = 64});
    plain_.size("bs", "a size", bs_);
    plain_.duration("wait", "a time", wait_, {.most = 60s});
    plain_.flag("spin", "a flag", spin_);
    plain_.flag("no-crc", "the other kind", crc_, false);
    plain_.choice<int>("rw", "a choice", rw_, {{"read", 1}, {"write", 2}});
    plain_.secret("chap", "USER:SECRET", "a secret", [this](std::string_view text) {
      if (text.size() < 8) return absl::InvalidArgumentError("a secret has at least 8 bytes");
      chap_ = text;
      return absl::OkStatus();
    });
    plain_.option("input", "FILE", "a file", [this](std::string_view text) {
      order_.push_back("input " + std::string(text) + " of " + name_);
      return absl::OkStatus();
    });
    CommandLine& copy = program_.command("copy", "copies", [this] { return ran_ = 7; });
    copy.operand("ADDRESS", "where it is", "uiwarp://127.0.0.1:1", address_);
    copy.size("bs", "a size", bs_);
    program_.command("list", "lists", [this] { return ran_ = 8; });
  }
  absl::Status parse(std::vector<std::string> arguments) { return plain_.parse(arguments); }
  std::string refusal(std::vector<std::string> arguments) {
    return std::string(parse(std::move(arguments)).message());
  }
  int run(std::vector<const char*> argv) {
    argv.insert(argv.begin(), "program");
    return program_.run(int(argv.size()), const_cast<char**>(argv.data()));
  }

  CommandLine plain_{"plain", "Does something."};
  CommandLine program_{"program", "Does one thing or another."};
  std::string address_, name_, chap_;
  uint32_t depth_ = 3;
  uint64_t bs_ = 4096;
  std::chrono::nanoseconds wait_ = 500ms;
  bool spin_ = false, crc_ = true;
  int rw_ = 1;
  int ran_ = 0;
  std::vector<std::string> order_;
};

TEST_F(CommandLineTest, AcceptsBothSpellingsFlagsAndTheOperand) {
  const auto status = parse({"--name=a=b", "--depth", "32", "here", "--spin", "--no-crc", "--bs",
                             "4kB", "--wait=1", "--rw", "write"});
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(name_, "a=b");
  EXPECT_EQ(depth_, 32u);
  EXPECT_EQ(bs_, 4000u);
  EXPECT_EQ(wait_, 1s);
  EXPECT_TRUE(spin_);
  EXPECT_FALSE(crc_);
  EXPECT_EQ(rw_, 2);
  EXPECT_EQ(address_, "here");
}

TEST_F(CommandLineTest, NoValueIsOverriddenInSilence) {
  EXPECT_EQ(refusal({"here", "--wait=1", "--wait", "2"}),
            "--wait is given more than once; leave all but one of them out");
  EXPECT_THAT(refusal({"here", "--name", "a", "--name", "a"}), HasSubstr("--name is given more"));
  EXPECT_TRUE(parse({"here", "--spin", "--spin"}).ok());
  plain_.repeatable();  // of --input
  EXPECT_TRUE(parse({"here", "--input", "a", "--input", "b"}).ok());
}

TEST_F(CommandLineTest, OptionsThatExcludeEachOtherAreNamed) {
  plain_.excludes("input", {"name", "spin"}, "write it into the file");
  EXPECT_TRUE(parse({"here", "--name", "a", "--spin"}).ok());
  EXPECT_EQ(refusal({"here", "--spin", "--input", "a"}),
            "--input and --spin exclude each other; write it into the file");
}

TEST_F(CommandLineTest, OptionsTakeEffectInTheOrderGiven) {
  plain_.repeatable();  // of --input
  plain_.option("tag", "TEXT", "a name too", [this](std::string_view text) {
    name_ = text;
    return absl::OkStatus();
  });
  plain_.repeatable();
  ASSERT_TRUE(parse({"--tag", "a", "--input", "1", "--tag", "b", "--input=2", "x"}).ok());
  EXPECT_THAT(order_, testing::ElementsAre("input 1 of a", "input 2 of b"));
}

TEST_F(CommandLineTest, ValuesMayLookLikeAnything) {
  ASSERT_TRUE(parse({"--name", "--spin", "x"}).ok());
  EXPECT_EQ(name_, "--spin");
  EXPECT_FALSE(spin_);
  for (const char* text : {"[a,b]", "{}", "-", "%%", "a b", ""}) {
    ASSERT_TRUE(parse({"--name", text, "x"}).ok()) << text;
    EXPECT_EQ(name_, text);
  }
  ASSERT_TRUE(parse({"--name=", "x"}).ok());
  EXPECT_EQ(name_, "");
  EXPECT_EQ(address_, "x");
  ASSERT_TRUE(parse({"--", "--spin"}).ok());
  EXPECT_EQ(address_, "--spin");
}

TEST_F(CommandLineTest, ErrorsNameOptionValueAndFix) {
  EXPECT_EQ(refusal({"x", "--dept", "1"}), "unknown option '--dept'; is --depth meant?");
  EXPECT_EQ(refusal({"x", "--nonsense=secret"}), "unknown option '--nonsense'; see --help");
  EXPECT_EQ(refusal({"x", "-v"}), "unknown option '-v'; see --help");
  EXPECT_EQ(refusal({"x", "--depth", "1x"}), "--depth: '1x' is not a whole number from 1 to 64");
  EXPECT_EQ(refusal({"x", "--depth=65"}), "--depth: '65' is not a whole number from 1 to 64");
  EXPECT_EQ(refusal({"x", "--rw", "erase"}), "--rw: 'erase' is none of read, write");
  EXPECT_THAT(refusal({"x", "--bs", "4x"}), AllOf(HasSubstr("--bs: '4x'"), HasSubstr("write")));
  EXPECT_THAT(refusal({"x", "--wait", "61"}), HasSubstr("'61' is not a duration from 0ns to 60s"));
  EXPECT_EQ(refusal({"x", "--name"}), "--name needs a value: --name TEXT");
  EXPECT_EQ(refusal({"x", "--spin=1"}), "--spin takes no value");
  EXPECT_EQ(refusal({"x", "y"}), "one argument too many: 'y'; see --help");
  EXPECT_EQ(refusal({}), "ADDRESS is missing, where it is; for example uiwarp://127.0.0.1:1");
  EXPECT_EQ(refusal({"--completion", "csh"}), "--completion: 'csh' is none of bash, zsh, fish");
}

TEST_F(CommandLineTest, SecretsAreNotShown) {
  EXPECT_EQ(refusal({"x", "--chap", "hunter2"}), "--chap: a secret has at least 8 bytes");
  EXPECT_THAT(refusal({"x", "--chap", "alice:hunter2", "hunter3"}), Not(HasSubstr("hunter")));
  EXPECT_THAT(refusal({"x", "--chao", "alice:hunter2"}), Not(HasSubstr("hunter")));
  EXPECT_THAT(refusal({"x", "--chapp=alice:hunter2"}), Not(HasSubstr("hunter")));
}

TEST_F(CommandLineTest, HelpShowsWhatWasDeclared) {
  ASSERT_TRUE(parse({"--help"}).ok());
  const std::string help = plain_.answer().value();
  for (const char* line :
       {"Usage: plain ADDRESS [options]\n", "  ADDRESS                 where it is\n",
        "  --name TEXT             a name\n",
        "  --depth N               a depth (1 to 64, default 3)\n",
        "  --bs SIZE               a size (default 4KiB)\n", "a time (0ns to 60s, default 500ms)\n",
        "  --spin                  a flag\n", "  --rw read|write         a choice (default read)\n",
        "  --version  ", "\nValues:\n  SIZE  ", "\n  TIME  "}) {
    EXPECT_THAT(help, HasSubstr(line));
  }
  // Asked for with something that is wrong, it is what the user needs.
  ASSERT_TRUE(parse({"--nonsense", "--help"}).ok());
}

TEST_F(CommandLineTest, VersionIsTheProjects) {
  ASSERT_TRUE(parse({"--version"}).ok());
  EXPECT_EQ(plain_.answer().value(), "plain (mrpool) " + std::string(version()) + "\n");
}

TEST_F(CommandLineTest, RunsTheCommandThatIsNamed) {
  EXPECT_EQ(run({"copy", "there", "--bs", "8k"}), 7);
  EXPECT_EQ(ran_, 7);
  EXPECT_EQ(address_, "there");
  EXPECT_EQ(bs_, 8192u);
  EXPECT_EQ(run({"list"}), 8);
}

TEST_F(CommandLineTest, WithoutACommandNothingRuns) {
  EXPECT_EQ(run({}), 2);
  EXPECT_EQ(run({"erase"}), 2);
  EXPECT_EQ(run({"copy"}), 2);
  EXPECT_EQ(run({"copy", "a", "list"}), 2);
  EXPECT_EQ(run({"--bs", "4k", "copy", "a"}), 2);
  EXPECT_EQ(ran_, 0);
  const std::vector<std::string> unknown{"erase", "a"};
  EXPECT_EQ(std::string(program_.parse(unknown).message()),
            "unknown command 'erase'; there are copy, list");
  const std::vector<std::string> early{"--bs", "4k", "copy", "a"};
  EXPECT_EQ(std::string(program_.parse(early).message()),
            "unknown option '--bs'; write it after the command");
}

TEST_F(CommandLineTest, HelpOfACommandAndOfAll) {
  const std::vector<std::string> one{"copy", "--help"};
  ASSERT_TRUE(program_.parse(one).ok());
  EXPECT_THAT(program_.answer().value(), HasSubstr("Usage: program copy ADDRESS [options]"));
  const std::vector<std::string> all{"--help-all"};
  ASSERT_TRUE(program_.parse(all).ok());
  EXPECT_THAT(program_.answer().value(), AllOf(HasSubstr("program copy ADDRESS [options]:\n"),
                                               HasSubstr("program list [options]:\n")));
}

TEST(ProgramOperand, PassesTheProgramAndItsArgumentsUnchanged) {
  bool stats = false;
  std::string to;
  std::vector<std::string> program;
  CommandLine line("runner", "runs another program");
  line.flag("stats", "a flag", stats);
  line.text("report", "FILE", "a file", to);
  line.program_operand("runner true", program);
  const std::vector<std::string> plain{"--stats", "--report", "out", "ls", "--stats=x", "--help"};
  ASSERT_TRUE(line.parse(plain).ok());
  EXPECT_FALSE(line.answer());
  EXPECT_TRUE(stats);
  EXPECT_EQ(to, "out");
  EXPECT_THAT(program, testing::ElementsAre("ls", "--stats=x", "--help"));
  const std::vector<std::string> dashes{"--report=a b", "--", "--stats", "--"};
  ASSERT_TRUE(line.parse(dashes).ok());
  EXPECT_EQ(to, "a b");
  EXPECT_THAT(program, testing::ElementsAre("--stats", "--"));
}

TEST(ProgramOperand, ErrorsAreThoseOfItsOwnOptions) {
  std::string to;
  std::vector<std::string> program;
  CommandLine line("runner", "runs another program");
  line.text("report", "FILE", "a file", to);
  line.program_operand("runner true", program);
  const auto refusal = [&](const std::vector<std::string>& words) {
    return std::string(line.parse(words).message());
  };
  EXPECT_EQ(refusal({}), "PROGRAM is missing, the program to run; for example runner true");
  EXPECT_EQ(refusal({"--"}), refusal({}));
  EXPECT_EQ(refusal({"--report"}), "--report needs a value: --report FILE");
  EXPECT_EQ(refusal({"--reprot=x", "ls"}), "unknown option '--reprot'; is --report meant?");
  EXPECT_THAT(line.help(), HasSubstr("Usage: runner [options] PROGRAM [ARGUMENT...]\n"));
}

TEST_F(CommandLineTest, CompletionsNameOptionsChoicesAndCommands) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const std::vector<std::string> asked{"--completion", shell};
    ASSERT_TRUE(plain_.parse(asked).ok());
    EXPECT_THAT(plain_.answer().value(), AllOf(HasSubstr("depth"), HasSubstr("read write")));
    ASSERT_TRUE(program_.parse(asked).ok());
    EXPECT_THAT(program_.answer().value(), AllOf(HasSubstr("copy"), HasSubstr("bs")));
  }
}

}  // namespace
}  // namespace mrpool::base
