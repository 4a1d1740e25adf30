#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mrpool/device.h"

namespace mrpool {
namespace {

using testing::HasSubstr;

TEST(Address, ParsesAllParts) {
  const auto address = Address::parse("uiwarp://127.0.0.1:4420?crc=off&seed=7");
  ASSERT_TRUE(address.ok()) << address.status();
  EXPECT_EQ(address->transport, "uiwarp");
  EXPECT_EQ(address->host, "127.0.0.1");
  EXPECT_EQ(address->port, 4420);
  EXPECT_EQ(address->options, "crc=off&seed=7");
}

TEST(Address, PortHostAndOptionsMayBeLeftOut) {
  const auto bare = Address::parse("uiwarp://");
  ASSERT_TRUE(bare.ok()) << bare.status();
  EXPECT_EQ(bare->host, "");
  EXPECT_EQ(bare->port, 0);
  const auto host = Address::parse("verbs://storage-1.example.com");
  ASSERT_TRUE(host.ok()) << host.status();
  EXPECT_EQ(host->host, "storage-1.example.com");
  const auto options = Address::parse("uiwarp://?placement=adversarial");
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->options, "placement=adversarial");
}

TEST(Address, Ipv6StandsInBrackets) {
  const auto address = Address::parse("uiwarp://[fe80::1%eth0]:3260");
  ASSERT_TRUE(address.ok()) << address.status();
  EXPECT_EQ(address->host, "fe80::1%eth0");
  EXPECT_EQ(address->port, 3260);
  EXPECT_THAT(std::string(Address::parse("uiwarp://::1:4420").status().message()),
              HasSubstr("brackets"));
}

TEST(Address, ErrorsNameThePartAndShowARightOne) {
  const struct {
    const char* uri;
    const char* part;
  } kWrong[] = {
      {"127.0.0.1:4420", "no transport"},
      {"", "no transport"},
      {"://127.0.0.1", "transport is not"},
      {"UIWARP://127.0.0.1", "transport is not"},
      {"uiwarp://127.0.0.1:", "port"},
      {"uiwarp://127.0.0.1:70000", "port"},
      {"uiwarp://127.0.0.1:44x", "port"},
      {"uiwarp://127.0.0.1:-1", "port"},
      {"uiwarp://a b:1", "host"},
      {"uiwarp://host/path", "host"},
      {"uiwarp://[::1", "'['"},
      {"uiwarp://[]:1", "brackets"},
      {"uiwarp://[::1]4420", "after the ']'"},
      {"uiwarp://[127.0.0.1]:1", "brackets"},
  };
  for (const auto& wrong : kWrong) {
    const auto address = Address::parse(wrong.uri);
    ASSERT_FALSE(address.ok()) << wrong.uri;
    EXPECT_EQ(address.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(address.status().message()), HasSubstr(wrong.part)) << wrong.uri;
    EXPECT_THAT(std::string(address.status().message()), HasSubstr("uiwarp://127.0.0.1:4420"));
  }
}

TEST(Address, WritesWhatItReads) {
  for (const char* uri : {"uiwarp://", "uiwarp://[::1]:4420", "verbs://10.0.0.1",
                          "uiwarp://localhost:1?crc=off", "uiwarp://?seed=7"}) {
    const auto address = Address::parse(uri);
    ASSERT_TRUE(address.ok()) << address.status();
    EXPECT_EQ(address->to_string(), uri);
  }
}

TEST(Device, OpensTheTransportsItKnowsAndNamesThem) {
  EXPECT_TRUE(Device::open({.transport = "uiwarp", .host = "", .port = 0, .options = {}}).ok());
  const auto device =
      Device::open({.transport = "carrier", .host = "10.0.0.1", .port = 1, .options = {}});
  ASSERT_FALSE(device.ok());
  EXPECT_EQ(device.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(device.status().message()),
              HasSubstr("unknown transport 'carrier'; known are: uiwarp, verbs"));
}

}  // namespace
}  // namespace mrpool
