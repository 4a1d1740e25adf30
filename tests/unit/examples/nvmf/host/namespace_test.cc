// How a host handles the namespaces of controllers, including hostile ones.
#include "examples/nvmf/host/namespace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace mrpool::nvme::host {
namespace {

using testing::HasSubstr;

nvme_id_ns shape(uint64_t blocks, uint8_t exponent) {
  nvme_id_ns ns{};
  ns.nsze = le(blocks);
  ns.lbaf[0].ds = exponent;
  return ns;
}

std::vector<std::byte> descriptor(uint8_t type, uint8_t bytes, uint8_t fill) {
  std::vector<std::byte> list{std::byte(type), std::byte(bytes), {}, {}};
  list.insert(list.end(), bytes, std::byte(fill));
  return list;
}

std::vector<std::byte> operator+(std::vector<std::byte> a, const std::vector<std::byte>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST(Namespace, IsWhatTheControllerReports) {
  const auto ns = parse_namespace(3, shape(2048, 12), descriptor(3, 16, 0xab));
  ASSERT_TRUE(ns.ok()) << ns.status();
  EXPECT_EQ(ns->nsid, 3u);
  EXPECT_EQ(ns->bytes(), 8u << 20);
  EXPECT_EQ(ns->identifiers, "uuid:abababababababababababababababab");
}

TEST(Namespace, AShapeThatCannotBeIsRefused) {
  for (const int exponent : {0, 8, 21, 31, 32, 63, 64, 255}) {
    EXPECT_FALSE(parse_namespace(1, shape(8, uint8_t(exponent)), {}).ok()) << exponent;
  }
  for (const uint64_t blocks : {UINT64_MAX, uint64_t{1} << 63, uint64_t{1} << 54}) {
    EXPECT_FALSE(parse_namespace(1, shape(blocks, 9), {}).ok()) << blocks;
  }
  EXPECT_TRUE(parse_namespace(1, shape((uint64_t{1} << 54) - 1, 9), {}).ok());
  EXPECT_TRUE(absl::IsNotFound(parse_namespace(1, shape(0, 9), {}).status()));
  nvme_id_ns metadata = shape(8, 9);
  metadata.lbaf[0].ms = le(uint16_t{8});
  EXPECT_FALSE(parse_namespace(1, metadata, {}).ok());
}

TEST(Namespace, BlocksOfAnySizeCanBeShown) {
  EXPECT_EQ(block_bytes(shape(1, 9)), 512u);
  EXPECT_EQ(block_bytes(shape(1, 63)), uint64_t{1} << 63);
  EXPECT_EQ(block_bytes(shape(1, 64)), 0u);
  EXPECT_EQ(block_bytes(shape(1, 255)), 0u);
}

TEST(Namespace, IdentifiersComeFromTheListOrElseFromTheNamespace) {
  nvme_id_ns ns = shape(8, 9);
  EXPECT_EQ(namespace_identifiers(ns, {}), "");
  ns.eui64[0] = 1;
  EXPECT_EQ(namespace_identifiers(ns, {}), "eui64:0100000000000000");
  const auto list = descriptor(1, 8, 2) + descriptor(4, 1, 0) + descriptor(2, 16, 3) +
                    descriptor(3, 16, 0);  // a UUID of zeroes is none
  EXPECT_EQ(namespace_identifiers(ns, list),
            "nguid:03030303030303030303030303030303 eui64:0202020202020202");
}

TEST(Namespace, AListMayEndAnywhereAndClaimAnything) {
  const nvme_id_ns ns = shape(8, 9);
  const auto list = descriptor(1, 8, 2) + descriptor(3, 16, 5);
  for (size_t size = 0; size < list.size(); ++size) {
    EXPECT_EQ(namespace_identifiers(ns, std::span(list).first(size)).find("uuid"),
              std::string::npos);
  }
  for (int bytes = 0; bytes < 256; ++bytes) {
    auto wrong = descriptor(3, 15, 5);
    wrong[1] = std::byte(bytes);
    EXPECT_EQ(namespace_identifiers(ns, wrong), "") << bytes;
  }
}

TEST(Namespace, AnyDifferenceIsNamed) {
  const NamespaceInfo was{.nsid = 1, .blocks = 8, .block_size = 512, .identifiers = "uuid:aa"};
  EXPECT_TRUE(check_same(was, was).ok());
  const auto difference = [&](uint64_t blocks, uint32_t block_size, const char* identifiers) {
    const absl::Status status = check_same(
        was, {.nsid = 1, .blocks = blocks, .block_size = block_size, .identifiers = identifiers});
    EXPECT_TRUE(absl::IsAborted(status));
    return std::string(status.message());
  };
  EXPECT_THAT(difference(8, 512, "uuid:bb"), HasSubstr("it is uuid:bb, it was uuid:aa"));
  EXPECT_THAT(difference(8, 512, ""), HasSubstr("without identifiers"));
  EXPECT_THAT(difference(16, 512, "uuid:aa"), HasSubstr("it is 16 blocks of 512"));
  EXPECT_THAT(difference(8, 4096, "uuid:aa"), HasSubstr("it is 8 blocks of 4096"));
}

}  // namespace
}  // namespace mrpool::nvme::host
