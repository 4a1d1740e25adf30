#include "examples/metrics/http_options.h"

#include <stdlib.h>
#include <sys/stat.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mrpool::metrics {
namespace {

using testing::HasSubstr;

std::string parsed(std::string_view text) {
  const auto where = parse_http_address(text);
  if (!where.ok()) return "refused";
  return where->endpoint.address().to_string() + " " + std::to_string(where->endpoint.port()) +
         (where->loopback ? " loopback" : "");
}

TEST(HttpAddress, HasAHostAndAPort) {
  EXPECT_EQ(parsed("127.0.0.1:80"), "127.0.0.1 80 loopback");
  EXPECT_EQ(parsed(":8080"), "127.0.0.1 8080 loopback");
  EXPECT_EQ(parsed("10.1.2.3"), "10.1.2.3 9464");
  EXPECT_EQ(parsed("0.0.0.0:0"), "0.0.0.0 0");
  EXPECT_EQ(parsed("[::1]:9"), "::1 9 loopback");
  EXPECT_EQ(parsed("[::]"), ":: 9464");
}

TEST(HttpAddress, RefusesInvalidAddresses) {
  for (const char* text : {"", ":", "localhost:80", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:x",
                           "127.0.0.1:-1", "127.0.0.1: 1", "::1", "::1:80", "[::1", "[]:80",
                           "[::1]x:80", "[127.0.0.1]x", "1.2.3:4", "http://127.0.0.1:80"}) {
    EXPECT_EQ(parsed(text), "refused") << text;
  }
  EXPECT_THAT(std::string(parse_http_address("x").status().message()), HasSubstr("127.0.0.1:9464"));
}

class Token : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/mrpool-token-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    path_ = folder_ + "/token";
  }
  void TearDown() override {
    std::remove(path_.c_str());
    std::remove(folder_.c_str());
  }
  std::string read(const std::string& content, mode_t mode = 0600) {
    std::ofstream(path_) << content;
    ::chmod(path_.c_str(), mode);
    const auto token = read_token(path_);
    return token.ok() ? *token : std::string(token.status().message());
  }
  std::string folder_;
  std::string path_;
};

TEST_F(Token, IsTheFilesOneLine) {
  EXPECT_EQ(read("0123456789abcdef\n"), "0123456789abcdef");
  EXPECT_EQ(read("0123456789abcdef", 0400), "0123456789abcdef");
}

TEST_F(Token, IsForItsOwnerAlone) {
  EXPECT_THAT(read("0123456789abcdef\n", 0644), HasSubstr("chmod 0600 " + path_));
  EXPECT_THAT(read("0123456789abcdef\n", 0602), HasSubstr("chmod 0600 " + path_));
}

TEST_F(Token, IsLongAndPrintable) {
  for (const std::string& content :
       {std::string(), std::string("short\n"), std::string("a b 0123456789abcdef"),
        std::string(1025, 'a'), std::string("0123456789abcde\0f", 17)}) {
    EXPECT_THAT(read(content), HasSubstr("holds no token")) << content;
  }
  EXPECT_THAT(read("0123456789abcdef\nmore\n"), HasSubstr("more than one line"));
}

TEST_F(Token, MustBeAFile) {
  EXPECT_THAT(std::string(read_token(path_).status().message()), HasSubstr("No such file"));
  EXPECT_THAT(std::string(read_token(folder_).status().message()), HasSubstr("not a regular file"));
}

}  // namespace
}  // namespace mrpool::metrics
