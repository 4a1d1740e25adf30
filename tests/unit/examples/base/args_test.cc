#include "examples/base/args.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace mrpool::load {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class ArgsTest : public testing::Test {
 protected:
  ArgsTest() {
    args_.value("name", "TEXT", "a name", name_);
    args_.value("depth", "N", "a depth", depth_);
    args_.size("bs", "a size", bs_);
    args_.flag("spin", "a flag", spin_);
    args_.choice("rw", {"read", "write"}, "a choice", [this](size_t i) { rw_ = i; });
  }
  absl::Status parse(std::vector<const char*> argv) {
    return args_.parse({const_cast<char* const*>(argv.data()), argv.size()});
  }

  Args args_{"program ADDRESS [options]"};
  std::string name_;
  uint32_t depth_ = 1;
  uint64_t bs_ = 0;
  bool spin_ = false;
  size_t rw_ = 9;
};

TEST_F(ArgsTest, TakesBothSpellingsFlagsAndPositionals) {
  ASSERT_TRUE(parse({"here", "--name=a=b", "--depth", "32", "--spin", "--bs", "4k", "--rw", "write",
                     "there"})
                  .ok());
  EXPECT_EQ(name_, "a=b");
  EXPECT_EQ(depth_, 32u);
  EXPECT_EQ(bs_, 4096u);
  EXPECT_TRUE(spin_);
  EXPECT_EQ(rw_, 1u);
  EXPECT_THAT(args_.positional(), ElementsAre("here", "there"));
}

TEST_F(ArgsTest, ErrorsNameTheOptionAndTheValue) {
  EXPECT_THAT(std::string(parse({"--depht", "1"}).message()), HasSubstr("--depht"));
  EXPECT_THAT(std::string(parse({"--depth", "1x"}).message()), HasSubstr("'1x'"));
  EXPECT_THAT(std::string(parse({"--depth", "4294967296"}).message()), HasSubstr("4294967295"));
  EXPECT_THAT(std::string(parse({"--rw", "erase"}).message()), HasSubstr("read, write"));
  EXPECT_THAT(std::string(parse({"--name"}).message()), HasSubstr("needs a value"));
  EXPECT_THAT(std::string(parse({"--spin=1"}).message()), HasSubstr("takes no value"));
}

TEST_F(ArgsTest, HelpListsEveryOption) {
  ASSERT_TRUE(parse({"--help"}).ok());
  EXPECT_TRUE(args_.help_wanted());
  for (const char* option :
       {"--name TEXT", "--depth N", "--bs SIZE", "--spin", "--rw read|write"}) {
    EXPECT_THAT(args_.help(), HasSubstr(option));
  }
}

}  // namespace
}  // namespace mrpool::load
