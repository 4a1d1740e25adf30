// Registered memory and its flags.
#include <sys/mman.h>
#include <unistd.h>

#include <set>

#include "tests/conformance/fixture.h"

namespace mrpool::conformance {
namespace {

constexpr Access kUnordered =
    Access::from_bits(1u << 21);  // optional, proposed upstream, known to no device here

class Registration : public ConformanceTest {
 protected:
  std::vector<std::byte> memory = std::vector<std::byte>(4 * 4096);
};

TEST_F(Registration, DescribesWhatWasRegistered) {
  auto mr = client.pd->reg_mr(memory, Access::kLocalWrite | Access::kRemoteRead);
  ASSERT_TRUE(mr.ok()) << mr.status();
  EXPECT_EQ((*mr)->memory().data(), memory.data());
  EXPECT_EQ((*mr)->memory().size(), memory.size());
  EXPECT_TRUE(has((*mr)->granted().effective, Access::kLocalWrite | Access::kRemoteRead));
  EXPECT_EQ((*mr)->sge(100, 7).addr, memory.data() + 100);
  EXPECT_EQ((*mr)->sge(100, 7).lkey, (*mr)->lkey());
}

TEST_F(Registration, KeysAreDistinct) {
  std::vector<std::unique_ptr<Mr>> mrs;
  std::set<uint32_t> keys;
  for (int i = 0; i < 100; ++i) {
    auto mr = client.pd->reg_mr(memory, Access::kRemoteRead);
    ASSERT_TRUE(mr.ok()) << mr.status();
    keys.insert((*mr)->rkey().value);
    mrs.push_back(std::move(*mr));
  }
  EXPECT_EQ(keys.size(), 100u);
}

// A device either registers dma-bufs and refuses a plain file, or reports that it does not support
// them.
TEST_F(Registration, DmabufsAreByCapability) {
  const int file = memfd_create("no dma-buf", MFD_CLOEXEC);
  ASSERT_GE(file, 0);
  const auto mr = client.pd->reg_dmabuf_mr({.fd = file, .length = 4096}, Access::kLocalWrite);
  ::close(file);
  ASSERT_FALSE(mr.ok());
  if (mr.status().code() != absl::StatusCode::kUnimplemented) {
    EXPECT_EQ(mr.status().code(), absl::StatusCode::kInvalidArgument) << mr.status();
  }
  EXPECT_THAT(std::string(mr.status().message()), testing::HasSubstr(caps().name));
}

TEST_F(Registration, ForbiddenCombinationsAreRefused) {
  for (const Access access :
       {Access::kRemoteWrite, Access::kRemoteWrite | Access::kRemoteRead, Access::kRemoteAtomic}) {
    EXPECT_EQ(client.pd->reg_mr(memory, access).status().code(), absl::StatusCode::kInvalidArgument)
        << to_string(access);
  }
}

TEST_F(Registration, AnUnknownMandatoryFlagIsRefusedByName) {
  for (uint32_t bit = 0; bit < 20; ++bit) {
    const Access flag = Access::from_bits(1u << bit);
    if (has(caps().access.known, flag)) continue;
    const auto mr = client.pd->reg_mr(memory, Access::kLocalWrite | flag);
    ASSERT_EQ(mr.status().code(), absl::StatusCode::kInvalidArgument) << to_string(flag);
    EXPECT_THAT(std::string(mr.status().message()), testing::HasSubstr(to_string(flag)));
  }
}

TEST_F(Registration, AnUnknownOptionalFlagBreaksNothing) {
  auto mr = client.pd->reg_mr(memory, Access::kLocalWrite | kUnordered);
  ASSERT_TRUE(mr.ok()) << mr.status();
  const Granted& granted = (*mr)->granted();
  EXPECT_TRUE(has(granted.requested, kUnordered));
  EXPECT_FALSE(has(granted.effective, kUnordered));
  EXPECT_TRUE(has(granted.ignored | granted.unknown, kUnordered));
}

TEST_F(Registration, GrantedAddsUpToRequested) {
  for (const Access access :
       {Access::kNone, Access::kLocalWrite, Access::kLocalWrite | Access::kRemoteWrite,
        Access::kRemoteRead | Access::kDisableRelaxedOrdering,
        Access::kLocalWrite | Access::kDisableRelaxedOrdering | kUnordered}) {
    auto mr = client.pd->reg_mr(memory, access);
    ASSERT_TRUE(mr.ok()) << mr.status();
    const Granted& granted = (*mr)->granted();
    EXPECT_EQ(granted.requested, access);
    EXPECT_EQ(granted.effective | granted.ignored | granted.unknown, access);
    EXPECT_FALSE(any(granted.effective & granted.ignored));
    EXPECT_FALSE(any(granted.effective & granted.unknown));
    EXPECT_FALSE(any(granted.ignored & granted.unknown));
  }
}

TEST_F(Registration, OrderedRegionsAreReportedAsSuchWhereTheDeviceKnows) {
  auto mr = client.pd->reg_mr(memory, Access::kLocalWrite | Access::kDisableRelaxedOrdering);
  ASSERT_TRUE(mr.ok()) << mr.status();
  const Granted& granted = (*mr)->granted();
  const bool honoured = has(caps().access.honoured, Access::kDisableRelaxedOrdering);
  EXPECT_EQ(has(granted.effective, Access::kDisableRelaxedOrdering), honoured);
}

TEST_F(Registration, AMemoryMayBeRegisteredTwiceWithDifferentRights) {
  connect();
  auto reader = server.pd->reg_mr(memory, Access::kRemoteRead);
  auto writer = server.pd->reg_mr(memory, Access::kLocalWrite | Access::kRemoteWrite);
  ASSERT_TRUE(reader.ok() && writer.ok());
  Region local(*client.pd, 64, sink_access());
  local.fill(3);
  Op& write = client.write(local.sge(), (*writer)->remote_addr(), (*writer)->rkey());
  ASSERT_TRUE(finish(write));
  Region back(*client.pd, 64, sink_access());
  Op& read = client.read(back.sge(), (*reader)->remote_addr(), (*reader)->rkey());
  ASSERT_TRUE(finish(read));
  EXPECT_TRUE(write.ok());
  EXPECT_TRUE(read.ok());
  EXPECT_TRUE(same_bytes(back.bytes(), local.bytes()));
}

TEST_F(Registration, FastMrMapsUpToItsCapacity) {
  MRPOOL_NEEDS(caps().registration == mrpool::Registration::kFastReg);
  Region base(*client.pd, 4 * 4096, Access::kLocalWrite);
  auto mr = client.pd->alloc_fast_mr({.max_segments = 2, .ceiling = Access::kLocalWrite});
  ASSERT_TRUE(mr.ok()) << mr.status();
  const std::array<Sge, 3> pages = {base.sge(0, 4096), base.sge(8192, 4096), base.sge(4096, 4096)};
  EXPECT_EQ((*mr)->map(pages), 2u);
  EXPECT_EQ((*mr)->length(), 8192u);
  EXPECT_EQ((*mr)->map({pages.data(), 1}), 1u);
  EXPECT_EQ((*mr)->length(), 4096u);
}

TEST_F(Registration, FastMrStopsAtAGapUnlessItMapsGaps) {
  MRPOOL_NEEDS(caps().registration == mrpool::Registration::kFastReg);
  // Separate pages, so that a length that is not a multiple of 4096 is a gap.
  Region region(*client.pd, 4 * 4096, Access::kLocalWrite);
  const std::array<Sge, 2> gap = {region.sge(0, 1000), region.sge(4096, 4096)};
  auto plain = client.pd->alloc_fast_mr({.max_segments = 8, .ceiling = Access::kLocalWrite});
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_EQ((*plain)->map(gap), 1u);
  EXPECT_EQ((*plain)->length(), 1000u);
  // The first may start and the last may end anywhere.
  const std::array<Sge, 2> fits = {region.sge(96, 4000), region.sge(8192, 10)};
  EXPECT_EQ((*plain)->map(fits), 2u);
  auto gaps = client.pd->alloc_fast_mr(
      {.max_segments = 8, .sg_gaps = true, .ceiling = Access::kLocalWrite});
  if (!caps().sg_gaps) {
    EXPECT_FALSE(gaps.ok());
    return;
  }
  ASSERT_TRUE(gaps.ok()) << gaps.status();
  EXPECT_EQ((*gaps)->map(gap), 2u);
  EXPECT_EQ((*gaps)->length(), 5096u);
}

TEST_F(Registration, FastMrsRefuseWhatTheDeviceCannot) {
  const auto huge = client.pd->alloc_fast_mr({.max_segments = caps().max_fast_reg_segments + 1});
  EXPECT_FALSE(huge.ok());
  const auto forbidden =
      client.pd->alloc_fast_mr({.max_segments = 1, .ceiling = Access::kRemoteWrite});
  EXPECT_EQ(forbidden.status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace mrpool::conformance
