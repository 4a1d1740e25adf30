#include "examples/base/units.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mrpool::base {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""ns;
using std::chrono_literals::operator""s;

TEST(Units, ALetterAndIecAreBinarySiIsDecimal) {
  EXPECT_EQ(*parse_size("512"), 512u);
  EXPECT_EQ(*parse_size("512B"), 512u);
  for (const char* text : {"4k", "4K", "4kib", "4KiB"}) EXPECT_EQ(*parse_size(text), 4096u) << text;
  for (const char* text : {"4kB", "4KB", "4kb"}) EXPECT_EQ(*parse_size(text), 4000u) << text;
  EXPECT_EQ(*parse_size("64MiB"), 64u << 20);
  EXPECT_EQ(*parse_size("64MB"), 64'000'000u);
  EXPECT_EQ(*parse_size("1t"), uint64_t{1} << 40);
  EXPECT_EQ(*parse_size("1TB"), 1'000'000'000'000u);
  EXPECT_EQ(*parse_size("0.5k"), 512u);
  EXPECT_EQ(*parse_size("1.50GiB"), uint64_t{3} << 29);
}

TEST(Units, LargeSizesAreExact) {
  EXPECT_EQ(*parse_size("18446744073709551615"), ~uint64_t{0});
  EXPECT_EQ(*parse_size("9007199254740993"), 9007199254740993u);
}

TEST(Units, BadSizesAreNamed) {
  for (const char* text : {"", "k", "4kk", "4x", "-1", "1.3", "99999999999999t", "4 k", ".5k", "1.",
                           "18446744073709551616", "1e3", "0x10", "nan"}) {
    const auto size = parse_size(text);
    ASSERT_FALSE(size.ok()) << text;
    EXPECT_THAT(std::string(size.status().message()), testing::HasSubstr(text));
    EXPECT_THAT(std::string(size.status().message()), testing::HasSubstr("write"));
  }
}

TEST(Units, RangesAreNamed) {
  EXPECT_TRUE(parse_size("1MiB", {.least = 1 << 20, .most = 2 << 20}).ok());
  EXPECT_TRUE(parse_size("2MiB", {.least = 1 << 20, .most = 2 << 20}).ok());
  EXPECT_THAT(std::string(parse_size("3m", {.least = 1 << 20, .most = 2 << 20}).status().message()),
              testing::HasSubstr("from 1MiB to 2MiB"));
  EXPECT_THAT(std::string(parse_count("0", {.least = 1}).status().message()),
              testing::HasSubstr("of at least 1"));
  EXPECT_THAT(std::string(parse_count("two", {.most = 9}).status().message()),
              testing::HasSubstr("'two' is not a whole number from 0 to 9"));
  EXPECT_THAT(std::string(parse_duration("9s", {.most = 5s}).status().message()),
              testing::HasSubstr("from 0ns to 5s"));
}

TEST(Units, DurationsDefaultToSeconds) {
  EXPECT_EQ(*parse_duration("5"), 5s);
  EXPECT_EQ(*parse_duration("0.25"), 250ms);
  EXPECT_EQ(*parse_duration("500ms"), 500ms);
  EXPECT_EQ(*parse_duration("2m"), 120s);
  EXPECT_EQ(*parse_duration("forever", {.forever = true}), std::chrono::nanoseconds::max());
  EXPECT_FALSE(parse_duration("forever").ok());
  EXPECT_FALSE(parse_duration("300000d").ok());
  EXPECT_FALSE(parse_duration("0.5ns").ok());
  EXPECT_FALSE(parse_duration("soon").ok());
  EXPECT_FALSE(parse_duration("5 s").ok());
}

TEST(Units, FormatsForPeople) {
  EXPECT_EQ(format_size(64 << 10), "64KiB");
  EXPECT_EQ(format_size(1536), "1.50KiB");
  EXPECT_EQ(exact_size(uint64_t{8191} << 20), "8191MiB");
  EXPECT_EQ(exact_size(4096), "4KiB");
  EXPECT_EQ(exact_size(4097), "4097");
  EXPECT_EQ(format_count(731'400), "731k");
  EXPECT_EQ(format_duration(9600ns), "9.60us");
}

}  // namespace
}  // namespace mrpool::base
