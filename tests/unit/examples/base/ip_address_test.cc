#include "examples/base/ip_address.h"

#include <gtest/gtest.h>

namespace mrpool::base {
namespace {

IpAddress ip(std::string_view text) {
  const auto address = IpAddress::parse(text);
  EXPECT_TRUE(address.has_value()) << text;
  return address.value_or(IpAddress());
}

TEST(IpAddress, EverySpellingOfOneAddressIsOne) {
  EXPECT_EQ(ip("[::1]"), ip("0:0:0:0:0:0:0:1"));
  EXPECT_EQ(ip("2001:DB8::0:1").to_string(), "2001:db8::1");
  EXPECT_EQ(ip("::ffff:10.0.0.1"), ip("10.0.0.1"));
  EXPECT_EQ(ip("[::ffff:a00:1]").to_string(), "10.0.0.1");
  EXPECT_EQ(ip("fe80::1%eth0").scope(), "eth0");
  EXPECT_EQ(ip("fe80::1%eth0").to_string(), "fe80::1");
}

TEST(IpAddress, NamesAndPiecesAreNone) {
  for (const char* const text : {"", "localhost", "*", "10.0.0", "10.0.0.1%lo", "::1%", "[::1",
                                 "::g", "1.2.3.4.5", "0x7f000001"}) {
    EXPECT_FALSE(IpAddress::parse(text).has_value()) << text;
  }
}

TEST(IpAddress, Kinds) {
  for (const char* const text : {"0.0.0.0", "::", "0:0:0:0:0:0:0:0", "::ffff:0.0.0.0"}) {
    EXPECT_TRUE(ip(text).wildcard()) << text;
  }
  EXPECT_FALSE(ip("0.0.0.1").wildcard());
  EXPECT_TRUE(ip("127.9.9.9").loopback());
  EXPECT_TRUE(ip("::1").loopback());
  EXPECT_FALSE(ip("::2").loopback());
  EXPECT_TRUE(ip("169.254.1.1").link_local());
  EXPECT_TRUE(ip("febf::1").link_local());
  EXPECT_FALSE(ip("fec0::1").link_local());
}

TEST(IpAddress, Networks) {
  EXPECT_EQ(ip("10.0.0.1").network(), "10.0.0.1");
  EXPECT_EQ(ip("2001:db8:1:2:3:4:5:6").network(), ip("2001:db8:1:2::").network());
  EXPECT_NE(ip("2001:db8:1:2::").network(), ip("2001:db8:1:3::").network());
}

TEST(IpAddress, HostsOfEndpoints) {
  EXPECT_EQ(host_of("127.0.0.1:4420"), "127.0.0.1");
  EXPECT_EQ(host_of("[fe80::1%eth0]:4420"), "fe80::1%eth0");
}

}  // namespace
}  // namespace mrpool::base
