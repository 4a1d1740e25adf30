#include "examples/storage/spec.h"

#include <gtest/gtest.h>

#include "examples/storage/storage.h"

namespace mrpool::storage {
namespace {

std::string why_bad(std::string_view text) {
  const auto spec = parse_spec(text);
  return spec.ok() ? std::string() : std::string(spec.status().message());
}

TEST(Spec, DividesSchemeTargetAndOptions) {
  const auto spec = *parse_spec("file:/srv/a:b,direct,size=10GiB,name=");
  EXPECT_EQ(spec.scheme, "file");
  EXPECT_EQ(spec.target, "/srv/a:b");
  ASSERT_EQ(spec.options.size(), 3u);
  EXPECT_FALSE(spec.find("direct")->has_value);
  EXPECT_EQ(spec.find("size")->value, "10GiB");
  EXPECT_TRUE(spec.find("name")->has_value);
  EXPECT_EQ(spec.find("ro"), nullptr);
  EXPECT_EQ(spec.find("siz"), nullptr);
}

TEST(Spec, EscapesAnyCharacter) {
  std::string every;
  for (int c = 1; c < 256; ++c) every += char(c);
  StoreSpec spec{.scheme = "file", .target = every, .options = {{"name", every, true}}};
  EXPECT_EQ(*parse_spec(to_text(spec)), spec);
  EXPECT_EQ(escape("/srv/a,b=c%d"), "/srv/a%2Cb%3Dc%25d");
  EXPECT_EQ(parse_spec("file:/srv/a%2cb")->target, "/srv/a,b");
}

TEST(Spec, NamesWhatIsWrong) {
  EXPECT_NE(why_bad("").find("names no storage"), std::string::npos);
  EXPECT_NE(why_bad("tape"), "");
  EXPECT_NE(why_bad(":x"), "");
  EXPECT_NE(why_bad("file:/50%").find("%25"), std::string::npos);
  EXPECT_NE(why_bad("file:/a%0"), "");
  EXPECT_NE(why_bad("file:/a%zz"), "");
  EXPECT_NE(why_bad("file:/a%00b").find("%00"), std::string::npos);
  EXPECT_NE(why_bad("file:/a,").find("empty"), std::string::npos);
  EXPECT_NE(why_bad("file:/a,=x"), "");
  EXPECT_NE(why_bad("ram:1MiB,bs=512,bs=4096").find("twice"), std::string::npos);
}

TEST(Spec, BlockSizesThatContradictAreRefused) {
  EXPECT_EQ(block_size_of("ram:1MiB,bs=512", 4096), 512u);
  EXPECT_EQ(block_size_of("ram:1MiB", 4096), 4096u);
  EXPECT_FALSE(open("ram:1MiB,bs=512,bs=4096").ok());
  EXPECT_FALSE(open("ram:1MiB,bs=512,bs=512").ok());
}

}  // namespace
}  // namespace mrpool::storage
