#include "examples/base/json_object.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "examples/base/json_text.h"

namespace mrpool::daemon {
namespace {

using testing::HasSubstr;

struct Read {
  std::string name = "left";
  uint16_t number = 7;
  bool flag = true;
  std::vector<std::string> list;
  std::vector<std::string> members;
  std::string error;
};

Read read(std::string_view text) {
  const auto value = parse_json_text(text);
  EXPECT_TRUE(value.ok()) << value.status();
  JsonObject object(value->as_object());
  Read out;
  object.text("name", out.name);
  object.number("number", out.number);
  object.flag("flag", out.flag);
  object.texts("list", out.list);
  object.objects("members", [&](JsonObject& member) {
    member.text("id", out.members.emplace_back());
    if (out.members.back() == "bad") member.refuse("id", "this one never");
  });
  out.error = std::string(object.finish().message());
  return out;
}

TEST(JsonObject, AbsentKeysLeaveWhatWasThere) {
  const Read out = read("{}");
  EXPECT_EQ(out.error, "");
  EXPECT_EQ(out.name, "left");
  EXPECT_EQ(out.number, 7);
  EXPECT_TRUE(out.flag);
}

TEST(JsonObject, ReadsEveryKind) {
  const Read out = read(R"({"name": "n", "number": 65535, "flag": false, "list": ["a", "b"],
                            "members": [{"id": "x"}, {"id": "y"}]})");
  EXPECT_EQ(out.error, "");
  EXPECT_EQ(out.name, "n");
  EXPECT_EQ(out.number, 65535);
  EXPECT_FALSE(out.flag);
  EXPECT_THAT(out.list, testing::ElementsAre("a", "b"));
  EXPECT_THAT(out.members, testing::ElementsAre("x", "y"));
}

TEST(JsonObject, ErrorsNameThePath) {
  EXPECT_EQ(read(R"({"name": 1})").error, "name must be a string");
  for (const char* number : {"0", "-1", "65536", "1.5", "\"1\"", "18446744073709551615"}) {
    EXPECT_EQ(read(absl::StrCat("{\"number\": ", number, "}")).error,
              "number must be a whole number from 1 to 65535");
  }
  EXPECT_EQ(read(R"({"flag": 1})").error, "flag must be true or false");
  EXPECT_EQ(read(R"({"list": "a"})").error, "list must be a list of strings");
  EXPECT_EQ(read(R"({"list": ["a", 1]})").error, "list must be a list of strings");
  EXPECT_EQ(read(R"({"members": [1]})").error, "members must be a list of objects");
  EXPECT_EQ(read(R"({"members": [{"id": "x"}, {"id": 1}]})").error,
            "members[1].id must be a string");
  EXPECT_EQ(read(R"({"members": [{"id": "bad"}]})").error, "members[0].id: this one never");
  EXPECT_EQ(read(R"({"members": [{"ID": "x"}]})").error,
            "members[0].ID is not known; here there are: id");
  EXPECT_THAT(read(R"({"nmae": "x"})").error, HasSubstr("nmae is not known; here there are: name"));
  EXPECT_EQ(read(R"({"name": 1, "flag": 1})").error, "name must be a string") << "the first counts";
}

}  // namespace
}  // namespace mrpool::daemon
