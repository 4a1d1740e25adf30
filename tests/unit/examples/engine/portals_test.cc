// The addresses that discovery announces for the listening ports.
#include "examples/engine/portals.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mrpool::engine {
namespace {

using testing::ElementsAre;

std::vector<std::string> told(std::vector<std::string> addresses, std::string_view local) {
  std::vector<Portal> portals;
  for (std::string& address : addresses) {
    portals.push_back(
        {.address = std::move(address), .port = 4420, .id = uint16_t(portals.size() + 1)});
  }
  std::vector<std::string> all;
  for (const Portal& portal : announced(portals, local)) all.push_back(portal.endpoint());
  return all;
}

TEST(Announced, WildcardsInEverySpelling) {
  for (const char* any : {"0.0.0.0", "::", "0:0:0:0:0:0:0:0", "::0", "::ffff:0.0.0.0", ""}) {
    EXPECT_THAT(told({any}, "10.0.0.1:4420"), ElementsAre("10.0.0.1:4420")) << any;
  }
  for (const char* any : {"::", "0::0", ""}) {
    EXPECT_THAT(told({any}, "[2001:db8::1]:4420"), ElementsAre("[2001:db8::1]:4420")) << any;
  }
}

TEST(Announced, AnIpv4PeerOfADualStackPortGetsAnIpv4Address) {
  EXPECT_THAT(told({"::"}, "[::ffff:10.0.0.1]:4420"), ElementsAre("10.0.0.1:4420"));
  EXPECT_THAT(told({"::ffff:10.0.0.9"}, "[2001:db8::1]:4420"), ElementsAre("10.0.0.9:4420"));
}

TEST(Announced, AWildcardOfAnotherFamilyIsLeftOut) {
  EXPECT_THAT(told({"0.0.0.0", "2001:db8::1"}, "[2001:db8::1]:4420"),
              ElementsAre("[2001:db8::1]:4420"));
}

TEST(Announced, LoopbackIsAnnouncedOnlyToLoopbackPeers) {
  EXPECT_THAT(told({"127.0.0.1", "10.0.0.1"}, "10.0.0.1:4420"), ElementsAre("10.0.0.1:4420"));
  EXPECT_THAT(told({"127.0.0.1", "10.0.0.1"}, "127.0.0.1:4420"),
              ElementsAre("127.0.0.1:4420", "10.0.0.1:4420"));
}

TEST(Announced, LinkLocalIsForItsLinkAndWithoutScope) {
  EXPECT_THAT(told({"fe80::1%eth0", "10.0.0.1"}, "10.0.0.1:4420"), ElementsAre("10.0.0.1:4420"));
  EXPECT_THAT(told({"fe80::1%eth0"}, "[fe80::1%2]:4420"), ElementsAre("[fe80::1]:4420"));
  EXPECT_THAT(told({"::"}, "[fe80::1%eth0]:4420"), ElementsAre("[fe80::1]:4420"));
}

TEST(Announced, EachOnce) {
  EXPECT_THAT(told({"0.0.0.0", "10.0.0.1", "::"}, "10.0.0.1:4420"), ElementsAre("10.0.0.1:4420"));
  const Portal portals[] = {{.address = "10.0.0.1", .port = 1, .id = 1},
                            {.address = "10.0.0.1", .port = 2, .id = 2}};
  EXPECT_EQ(announced(portals, "10.0.0.1:1").size(), 2u);
}

TEST(Announced, AtLeastOneAddressIsAnnounced) {
  EXPECT_THAT(told({}, "10.0.0.1:99"), ElementsAre("10.0.0.1:99"));
  EXPECT_THAT(told({"0.0.0.0"}, "[2001:db8::1]:99"), ElementsAre("[2001:db8::1]:99"));
}

TEST(ResolveHost, NumbersAreTheirOwnAndNamesBecomeNumbers) {
  EXPECT_EQ(resolve_host("10.0.0.1").value(), "10.0.0.1");
  EXPECT_EQ(resolve_host("fe80::1%eth0").value(), "fe80::1%eth0");
  EXPECT_EQ(resolve_host("::1").value(), "::1");
  EXPECT_EQ(resolve_host("::ffff:10.0.0.1").value(), "10.0.0.1");
  EXPECT_TRUE(absl::IsInvalidArgument(resolve_host("fe80::1").status()));
  EXPECT_EQ(resolve_host("").value(), "");
  const std::string localhost = resolve_host("localhost").value();
  EXPECT_TRUE(localhost == "127.0.0.1" || localhost == "::1") << localhost;
  EXPECT_EQ(resolve_host("0").value(), "0.0.0.0");
  EXPECT_FALSE(resolve_host("no-such-host.invalid").ok());
}

}  // namespace
}  // namespace mrpool::engine
