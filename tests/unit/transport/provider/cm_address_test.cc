#include "transport/provider/cm_address.h"

#include <gtest/gtest.h>

namespace mrpool::provider {
namespace {

const sockaddr& as_sockaddr(const sockaddr_storage& storage) {
  return reinterpret_cast<const sockaddr&>(storage);
}

TEST(CmAddress, EndpointsBecomeSocketAddresses) {
  const auto four = parse_endpoint("127.0.0.1:4420");
  ASSERT_TRUE(four.has_value());
  EXPECT_EQ(four->ss_family, AF_INET);
  EXPECT_EQ(port_of(as_sockaddr(*four)), 4420);
  const auto six = parse_endpoint("[::1]:65535");
  ASSERT_TRUE(six.has_value());
  EXPECT_EQ(six->ss_family, AF_INET6);
  EXPECT_EQ(port_of(as_sockaddr(*six)), 65535);
}

TEST(CmAddress, NamesAndRubbishAreRefused) {
  for (const char* text : {"", ":", "localhost:1", "127.0.0.1", "::1", "[::1]"}) {
    const auto parsed = parse_endpoint(text);
    EXPECT_TRUE(!parsed.has_value() || parsed->ss_family == AF_INET6) << text;
  }
  EXPECT_FALSE(parse_endpoint("localhost:1").has_value());
}

TEST(CmAddress, DeviceAddressNamesHostAndPort) {
  EXPECT_EQ(to_device_address(as_sockaddr(*parse_endpoint("10.0.0.1:7"))).to_string(),
            "uiwarp://10.0.0.1:7");
  EXPECT_EQ(to_device_address(as_sockaddr(*parse_endpoint("[::1]:7"))).to_string(),
            "uiwarp://[::1]:7");
}

TEST(CmAddress, WildcardsOfBothFamilies) {
  EXPECT_TRUE(is_wildcard(as_sockaddr(*parse_endpoint("0.0.0.0:1"))));
  EXPECT_TRUE(is_wildcard(as_sockaddr(*parse_endpoint("[::]:1"))));
  EXPECT_FALSE(is_wildcard(as_sockaddr(*parse_endpoint("127.0.0.1:1"))));
}

TEST(CmAddress, LoopbackIsReachedFromLoopback) {
  const auto local = local_address_for(as_sockaddr(*parse_endpoint("127.0.0.1:9")));
  ASSERT_TRUE(local.has_value());
  EXPECT_EQ(to_device_address(as_sockaddr(*local)).host, "127.0.0.1");
  EXPECT_EQ(port_of(as_sockaddr(*local)), 0);
}

TEST(CmAddress, FreePortIsOne) {
  EXPECT_NE(free_port(as_sockaddr(*parse_endpoint("127.0.0.1:0"))), 0);
}

TEST(CmAddress, OtherFamiliesHaveNoSize) {
  sockaddr unix_address{};
  unix_address.sa_family = AF_UNIX;
  EXPECT_EQ(address_bytes(unix_address), 0u);
  EXPECT_EQ(port_of(unix_address), 0);
}

}  // namespace
}  // namespace mrpool::provider
