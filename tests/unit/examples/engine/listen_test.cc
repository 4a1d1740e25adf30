#include "examples/engine/listen.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mrpool::engine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(Listen, AnAddressWithoutAPortHasTheProtocols) {
  std::vector<std::string> listen = {"uiwarp://127.0.0.1", "uiwarp://[::1]?crc=on", "verbs://a:7",
                                     "uiwarp://", "uiwarp://?mss=1:2"};
  ASSERT_TRUE(complete_listen(listen, 4420).ok());
  EXPECT_THAT(listen, ElementsAre("uiwarp://127.0.0.1:4420", "uiwarp://[::1]:4420?crc=on",
                                  "verbs://a:7", "uiwarp://:4420", "uiwarp://:4420?mss=1:2"));
}

TEST(Listen, PortZeroIsAnotherOneEachTime) {
  std::vector<std::string> listen = {"uiwarp://127.0.0.1:0", "uiwarp://127.0.0.1:0"};
  ASSERT_TRUE(complete_listen(listen, 3260).ok());
  EXPECT_THAT(listen, ElementsAre("uiwarp://127.0.0.1:0", "uiwarp://127.0.0.1:0"));
}

TEST(Listen, MistakesAreNamed) {
  std::vector<std::string> twice = {"uiwarp://127.0.0.1", "uiwarp://127.0.0.1:3260"};
  EXPECT_EQ(complete_listen(twice, 3260).message(),
            "\"uiwarp://127.0.0.1:3260\" is configured twice; leave one of them out");
  std::vector<std::string> wrong = {"nowhere"};
  EXPECT_THAT(std::string(complete_listen(wrong, 3260).message()), HasSubstr("nowhere"));
  const std::vector<std::string> unknown = {"tcp://127.0.0.1:1"};
  const std::vector<std::string> option = {"uiwarp://127.0.0.1:0?placement=x"};
  const std::vector<std::string> interface = {"uiwarp://[fe80::1]:0"};
  for (const bool may_come_later : {false, true}) {
    EXPECT_THAT(std::string(check_devices(unknown, may_come_later).message()), HasSubstr("tcp"));
    EXPECT_THAT(std::string(check_devices(option, may_come_later).message()),
                HasSubstr("placement"));
    EXPECT_THAT(std::string(check_devices(interface, may_come_later).message()),
                HasSubstr("fe80::1%eth0"));
  }
}

}  // namespace
}  // namespace mrpool::engine
