#include "examples/base/units.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mrpool::load {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""ns;
using std::chrono_literals::operator""s;

TEST(Units, SizesAreBinaryHoweverTheyAreWritten) {
  EXPECT_EQ(*parse_size("512"), 512u);
  EXPECT_EQ(*parse_size("4k"), 4096u);
  EXPECT_EQ(*parse_size("4KiB"), 4096u);
  EXPECT_EQ(*parse_size("64MiB"), 64u << 20);
  EXPECT_EQ(*parse_size("1t"), uint64_t{1} << 40);
  EXPECT_EQ(*parse_size("0.5k"), 512u);
}

TEST(Units, BadSizesAreNamed) {
  for (const char* text : {"", "k", "4kk", "4x", "-1", "1.3", "99999999999999t", "4 k"}) {
    const auto size = parse_size(text);
    ASSERT_FALSE(size.ok()) << text;
    EXPECT_THAT(std::string(size.status().message()), testing::HasSubstr(text));
  }
}

TEST(Units, DurationsDefaultToSeconds) {
  EXPECT_EQ(*parse_duration("5"), 5s);
  EXPECT_EQ(*parse_duration("0.25"), 250ms);
  EXPECT_EQ(*parse_duration("500ms"), 500ms);
  EXPECT_EQ(*parse_duration("2m"), 120s);
  EXPECT_FALSE(parse_duration("soon").ok());
  EXPECT_FALSE(parse_duration("5 s").ok());
}

TEST(Units, FormatsForPeople) {
  EXPECT_EQ(format_size(64 << 10), "64KiB");
  EXPECT_EQ(format_size(1536), "1.50KiB");
  EXPECT_EQ(format_count(731'400), "731k");
  EXPECT_EQ(format_duration(9600ns), "9.60us");
}

}  // namespace
}  // namespace mrpool::load
