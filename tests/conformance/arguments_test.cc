// Arguments that a device must refuse at the call: addresses, options, depths, memory.
#include <sys/mman.h>

#include <cstdint>

#include "mrpool/mr_pool.h"
#include "mrpool/ordering_report.h"
#include "tests/conformance/fixture.h"

namespace mrpool::conformance {
namespace {

constexpr size_t kPage = 4096;

class Arguments : public ConformanceTest {
 protected:
  absl::Status listen_on(const Address& address) {
    return device.listen(*reactor, address, acceptor).status();
  }
  absl::Status connect_to(const Address& address) {
    return device.connect(address, *client.pd, client.options(), {}, client).status();
  }
};

void expect_invalid(const absl::Status& status, const std::string& named) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr(named));
}

TEST_F(Arguments, AnAddressOfAnotherTransportIsRefused) {
  listen();
  Address address = target;
  address.transport = "carrier";
  address.options.clear();
  expect_invalid(connect_to(address), "carrier");
  address.port = 0;
  expect_invalid(listen_on(address), "carrier");
}

TEST_F(Arguments, AnOptionThatWouldDoNothingIsRefusedByName) {
  listen();
  for (const std::string option :
       {"placement=adversarial", "crc=off", "poison=on", "seed=99", "nonsense=1"}) {
    if (environment().address.options.find(option) != std::string::npos) continue;
    Address address = target;
    address.options = option;
    expect_invalid(connect_to(address), option.substr(0, option.find('=')));
    address.port = 0;
    expect_invalid(listen_on(address), option.substr(0, option.find('=')));
  }
}

TEST_F(Arguments, ACqHoldsWhatItsQpsMayHaveOutstanding) {
  listen();
  auto small = *device.create_cq(*reactor, {.depth = 20});
  const auto attempt = [&](uint32_t send_wr, uint32_t recv_wr, Cq* recv_cq) {
    return device.connect(target, *client.pd,
                          {.send_cq = small.get(),
                           .recv_cq = recv_cq,
                           .max_send_wr = send_wr,
                           .max_recv_wr = recv_wr},
                          {}, client);
  };
  for (const absl::Status& status :
       {attempt(10, 11, small.get()).status(), attempt(21, 1, client.cq.get()).status()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr("21"));
  }
  auto first = attempt(5, 10, small.get());
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_FALSE(attempt(3, 3, small.get()).ok());
  EXPECT_TRUE(attempt(3, 2, small.get()).ok());
  first->reset();
  EXPECT_TRUE(attempt(10, 10, small.get()).ok());  // its places are free again
}

TEST_F(Arguments, TheDeepestCqOfTheCapsIsThere) {
  ASSERT_GT(caps().max_cqe, 0u);
  const auto cq = device.create_cq(*reactor, {.depth = caps().max_cqe});
  EXPECT_FALSE(absl::IsInvalidArgument(cq.status())) << cq.status();
}

TEST_F(Arguments, AbsurdSizesAreRefusedWithoutAnException) {
  listen();
  EXPECT_FALSE(device.create_cq(*reactor, {.depth = caps().max_cqe + 1}).ok());
  EXPECT_FALSE(device.create_cq(*reactor, {.depth = UINT32_MAX}).ok());
  EXPECT_FALSE(device.create_cq(*reactor, {.depth = 0}).ok());
  EXPECT_FALSE(client.pd->create_srq(*reactor, {.max_wr = UINT32_MAX, .max_sge = 1}).ok());
  EXPECT_FALSE(client.pd->create_srq(*reactor, {.max_wr = 1, .max_sge = UINT32_MAX}).ok());
  EXPECT_FALSE(client.pd->alloc_fast_mr({.max_segments = UINT32_MAX}).ok());
  for (const QpOptions& options :
       {QpOptions{.max_send_wr = UINT32_MAX}, QpOptions{.max_recv_wr = UINT32_MAX},
        QpOptions{.max_send_sge = UINT32_MAX}, QpOptions{.max_recv_sge = UINT32_MAX}}) {
    EXPECT_FALSE(device.connect(target, *client.pd, client.options(options), {}, client).ok());
  }
  EXPECT_FALSE(MrPool::create(*client.pd, {.count = (1u << 24) - 1, .max_segments = 1}).ok());
}

TEST_F(Arguments, ReadCreditsBeyondTheCapsAreLowered) {
  connect({.ord = UINT16_MAX, .ird = UINT16_MAX}, {.ord = UINT16_MAX, .ird = UINT16_MAX});
  EXPECT_LE(client.ord, caps().max_ord);
  EXPECT_LE(client.ird, caps().max_ird);
}

// ------------------------------------------------------------------------------- memory

class Memory : public ConformanceTest {
 protected:
  void SetUp() override {
    void* mapped =
        ::mmap(nullptr, 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(mapped, MAP_FAILED);
    pages = {static_cast<std::byte*>(mapped), 4 * kPage};
  }
  void TearDown() override { ::munmap(pages.data(), pages.size()); }

  void protect(size_t page, int protection) {
    ASSERT_EQ(::mprotect(pages.data() + page * kPage, kPage, protection), 0);
  }
  absl::Status registration(std::span<std::byte> memory, Access access) {
    return client.pd->reg_mr(memory, access).status();
  }
  void expect_refused(std::span<std::byte> memory, Access access) {
    const absl::Status status = registration(memory, access);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  }

  static constexpr Access kAll = Access::kLocalWrite | Access::kRemoteWrite | Access::kRemoteRead;
  std::span<std::byte> pages;
};

TEST_F(Memory, RangesThatAreNoneAreRefused) {
  std::byte* const last = reinterpret_cast<std::byte*>(UINTPTR_MAX - kPage);
  expect_refused({}, kAll);
  expect_refused({static_cast<std::byte*>(nullptr), kPage}, kAll);
  expect_refused({last, 2 * kPage}, kAll);
  expect_refused({pages.data(), SIZE_MAX}, kAll);
}

TEST_F(Memory, UnmappedMemoryIsRefused) {
  ASSERT_EQ(::munmap(pages.data() + 2 * kPage, kPage), 0);
  for (const Access access : {Access::kNone, Access::kLocalWrite, kAll}) {
    expect_refused(pages, access);                            // a hole in the middle
    expect_refused(pages.subspan(2 * kPage, kPage), access);  // nothing else
    expect_refused(pages.subspan(kPage, kPage + 1), access);  // one byte too many
    EXPECT_TRUE(registration(pages.first(2 * kPage), access).ok());
    EXPECT_TRUE(registration(pages.subspan(3 * kPage), access).ok());
  }
}

TEST_F(Memory, ReadOnlyMemoryIsRefusedWhereTheDeviceMayWriteIt) {
  protect(1, PROT_READ);
  expect_refused(pages, Access::kLocalWrite);
  expect_refused(pages, kAll);
  expect_refused(pages.subspan(kPage, 1), Access::kLocalWrite);
  EXPECT_TRUE(registration(pages.first(kPage), kAll).ok());
  if (client.pd->caps().registration == Registration::kMemoryWindow) {
    GTEST_SKIP() << "a region for memory windows is writable to the kernel";
  }
  EXPECT_TRUE(registration(pages, Access::kNone).ok());
  EXPECT_TRUE(registration(pages, Access::kRemoteRead).ok());
}

TEST_F(Memory, MemoryThatCannotBeReadIsRefused) {
  protect(3, PROT_NONE);
  expect_refused(pages, Access::kNone);
  EXPECT_TRUE(registration(pages.first(3 * kPage), Access::kNone).ok());
}

// Where the bytes go from the program's memory to the kernel and nobody else looks at them.
TEST_F(Memory, MemoryUnmappedLaterEndsTheConnection) {
  if (environment().address.options != "crc=off") return;
  connect();
  auto mr = *client.pd->reg_mr(pages, Access::kNone);
  Region sink(*server.pd, pages.size(), Access::kLocalWrite | Access::kRemoteWrite);
  ASSERT_EQ(::munmap(pages.data(), pages.size()), 0);
  const Op& write = client.write(mr->sge(0, 4 * kPage), sink.remote(), sink.rkey());
  ASSERT_TRUE(both_ended());
  EXPECT_EQ(client.disconnected, DisconnectReason::kFault);
  EXPECT_NE(write.status(), WcStatus::kSuccess);
  EXPECT_THAT(client.detail, testing::HasSubstr("not mapped"));
}

// ------------------------------------------------------------------------------- ordering

// Bytes that the ordering sanitizer has withheld; 0 on a device without it.
uint64_t withheld_bytes(const Device& device) {
  const std::optional<OrderingReport> report = ordering_report(device);
  return report ? report->bytes_withheld : 0;
}

TEST_F(Arguments, AStrictRegionStaysStrictThroughAPool) {
  connect();
  const bool fast = caps().registration == Registration::kFastReg;
  const Access rights = Access::kLocalWrite | Access::kRemoteWrite;
  Region target_region(*server.pd, kPage,
                       base_access(caps(), rights) | Access::kDisableRelaxedOrdering);
  auto pool = MrPool::create(*server.pd, {.count = 1, .max_segments = 1, .access = rights});
  ASSERT_TRUE(pool.ok()) << pool.status();
  MrPool::Lease lease = (*pool)->get();
  const Sge whole = target_region.sge();
  ASSERT_EQ(lease.map({&whole, 1}), 1u);
  WorkRequest registration;
  ASSERT_EQ(lease.prepare_register(rights, registration), PostStatus::kOk);
  if (lease.needs_registration()) {
    registration.signalled = true;
    ASSERT_TRUE(finish(server.post(registration)));
  }
  const uint64_t before = withheld_bytes(device);
  Region source(*client.pd, kPage, Access::kNone);
  source.fill(5);
  const Op& write = client.write(source.sge(), lease.mr().remote_addr(), lease.mr().rkey());
  ASSERT_TRUE(finish(write));
  ASSERT_TRUE(until([&] { return !target_region.differs(5).has_value(); }));
  EXPECT_EQ(withheld_bytes(device), before) << "fast registration: " << fast;
  client.qp.reset();
  server.qp.reset();
}

TEST_F(Arguments, AStrictPoolIsNeverServedByARelaxedKey) {
  connect();
  const Access rights = Access::kLocalWrite | Access::kRemoteWrite;
  Region relaxed(*server.pd, kPage, base_access(caps(), rights));
  auto pool = MrPool::create(
      *server.pd,
      {.count = 1, .max_segments = 1, .access = rights | Access::kDisableRelaxedOrdering});
  ASSERT_TRUE(pool.ok()) << pool.status();
  MrPool::Lease lease = (*pool)->get();
  const Sge whole = relaxed.sge();
  // Only a key of its own can be stricter than the region below it.
  EXPECT_EQ(lease.map({&whole, 1}), caps().registration == Registration::kFastReg ? 1u : 0u);
}

}  // namespace
}  // namespace mrpool::conformance
