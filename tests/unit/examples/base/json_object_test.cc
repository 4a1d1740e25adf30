#include "examples/base/json_object.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "examples/base/json_text.h"

namespace mrpool::base {
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
  const auto json = parse_json_text(text);
  EXPECT_TRUE(json.ok()) << json.status();
  JsonObject object(*json);
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
  EXPECT_EQ(read(R"({"name": 1})").error, "line 1: name must be a string");
  for (const char* number : {"0", "-1", "65536", "1.5", "\"1\"", "18446744073709551615"}) {
    EXPECT_EQ(read(absl::StrCat("{\"number\": ", number, "}")).error,
              "line 1: number must be a whole number from 1 to 65535");
  }
  EXPECT_EQ(read(R"({"flag": 1})").error, "line 1: flag must be true or false");
  EXPECT_EQ(read(R"({"list": "a"})").error, "line 1: list must be a list of strings");
  EXPECT_EQ(read(R"({"list": ["a", 1]})").error, "line 1: list must be a list of strings");
  EXPECT_EQ(read(R"({"members": [1]})").error, "line 1: members must be a list of objects");
  EXPECT_EQ(read(R"({"members": [{"id": "x"}, {"id": 1}]})").error,
            "line 1: members[1].id must be a string");
  EXPECT_EQ(read(R"({"members": [{"id": "bad"}]})").error, "line 1: members[0].id: this one never");
  EXPECT_EQ(read(R"({"members": [{"ID": "x"}]})").error,
            "line 1: members[0].ID is not known; here there are: id");
  EXPECT_THAT(read(R"({"nmae": "x"})").error, HasSubstr("nmae is not known; here there are: name"));
  EXPECT_EQ(read(R"({"name": 1, "flag": 1})").error, "line 1: name must be a string")
      << "the first counts";
}

TEST(JsonObject, ErrorsNameTheLine) {
  EXPECT_EQ(
      read("{\n\"flag\": true,\n  \"members\": [\n  {\"id\": \"x\"},\n {\"id\":\n 1}]}").error,
      "line 6: members[1].id must be a string");
}

// Such a string would end early in every field of a protocol.
TEST(JsonObject, StringsHaveNoControlCharacters) {
  EXPECT_THAT(read(R"({"name": "disk\u0000x"})").error,
              HasSubstr("name: character 5 is the control character \\u0000"));
  EXPECT_THAT(read(R"({"list": ["a", "b\nc"]})").error, HasSubstr("list[1]: character 2"));
  EXPECT_EQ(read(R"({"name": "Größe \u00e9 \\"})").error, "");
}

// As command lines take them, and numbers too.
TEST(JsonObject, SizesAndDurationsAreTextsOrNumbers) {
  const auto read_both = [](std::string_view text, uint32_t& size, std::chrono::nanoseconds& time) {
    const auto json = parse_json_text(text);
    EXPECT_TRUE(json.ok()) << json.status();
    JsonObject object(*json);
    object.size("size", size, {.least = 512, .most = 1 << 20});
    object.duration("time", time, {.most = std::chrono::minutes(1), .forever = true});
    return std::string(object.finish().message());
  };
  uint32_t size = 7;
  std::chrono::nanoseconds time{7};
  EXPECT_EQ(read_both("{}", size, time), "");
  EXPECT_EQ(size, 7u);
  EXPECT_EQ(read_both(R"({"size": "4k", "time": "1.5"})", size, time), "");
  EXPECT_EQ(size, 4096u);
  EXPECT_EQ(time, std::chrono::milliseconds(1500));
  EXPECT_EQ(read_both(R"({"size": 8192, "time": 0.25})", size, time), "");
  EXPECT_EQ(size, 8192u);
  EXPECT_EQ(time, std::chrono::milliseconds(250));
  EXPECT_EQ(read_both(R"({"time": "forever"})", size, time), "");
  EXPECT_EQ(time, std::chrono::nanoseconds::max());
  for (const auto& [text, why] :
       {std::pair{R"({"size": "2MiB"})", "size: '2MiB' is not a size from"},
        {R"({"size": 100})", "'100' is not a size from 512 to 1MiB"},
        {R"({"size": -1})", "size: '-1' is not a size"},
        {R"({"size": true})", "size must be a size, as"},
        {R"({"time": 61})", "time: '61' is not a duration from"},
        {R"({"time": []})", "time must be a duration, as"}}) {
    EXPECT_THAT(read_both(text, size, time), HasSubstr(why)) << text;
  }
}

}  // namespace
}  // namespace mrpool::base
