#include "examples/base/json_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace mrpool::base {
namespace {

std::string refused(std::string_view text) {
  const auto value = parse_json_text(text);
  EXPECT_FALSE(value.ok()) << text;
  return std::string(value.status().message());
}

TEST(JsonText, IsRead) {
  const auto value = parse_json_text(" {\"listen\": [\"a\", 1]}\n");
  ASSERT_TRUE(value.ok()) << value.status();
  EXPECT_EQ(value->value.as_object().at("listen").as_array().size(), 2u);
}

TEST(JsonText, ErrorsSayWhere) {
  EXPECT_THAT(refused("{\n  \"listen\": [,]\n}"), testing::HasSubstr("line 2, column 14"));
  EXPECT_THAT(refused("{\"a\": 1,}"), testing::HasSubstr("line 1, column 9"));
  EXPECT_THAT(refused("{\"a\": 1"), testing::HasSubstr("incomplete"));
  EXPECT_THAT(refused(""), testing::HasSubstr("incomplete"));
  EXPECT_THAT(refused("{}\n\n x"), testing::HasSubstr("line 3, column 2"));
}

TEST(JsonText, KnowsTheLinesOfItsValues) {
  const auto text = parse_json_text("{\n\"a\\\"b\": [1,\n  {\"c\": \"}\"}],\n\n\"d\": null\n}");
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(text->lines.line(""), 1u);
  EXPECT_EQ(text->lines.line("a\"b[0]"), 2u);
  EXPECT_EQ(text->lines.line("a\"b[1].c"), 3u);
  EXPECT_EQ(text->lines.line("d"), 5u);
  EXPECT_EQ(text->lines.line("e"), 0u);
}

TEST(JsonText, KeysAreGivenOnce) {
  EXPECT_EQ(refused("{\"nqn\": 1,\n\"x\": {\"nqn\": 2},\n \"nq\\u006e\": 3}"),
            "line 3: nqn is given twice, first in line 1; leave one of them out");
  EXPECT_EQ(refused("[{}, {\"a\": 1, \"a\": 1}]"),
            "line 1: [1].a is given twice, first in line 1; leave one of them out");
}

TEST(JsonText, DepthIsBounded) {
  EXPECT_TRUE(parse_json_text(std::string(16, '[') + std::string(16, ']')).ok());
  EXPECT_THAT(refused(std::string(17, '[') + std::string(17, ']')), testing::HasSubstr("too deep"));
}

}  // namespace
}  // namespace mrpool::base
