// The store itself on a real image, where no initiator of this project reaches it: what is
// deallocated and zeroed. MRPOOL_RBD_STORE is the address of an image; tests/ha/rbd_test.py runs
// it.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "examples/storage/storage.h"
#include "tests/unit/examples/storage/storage_fixture.h"

namespace mrpool::storage {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kUsed = 16 * kMiB;

class RbdStore : public testing::Test {
 protected:
  void SetUp() override {
    const char* address = std::getenv("MRPOOL_RBD_STORE");
    ASSERT_NE(address, nullptr) << "MRPOOL_RBD_STORE names no image";
    auto volume = open(address);
    ASSERT_TRUE(volume.ok()) << volume.status();
    volume_ = *volume;
    channel_ = std::move(*volume_->open_channel(*reactor_));
  }
  Error run(Request&& request) { return request.run(*channel_, *reactor_); }
  std::string read(uint64_t offset, uint64_t length) {
    Request read(Op::kRead, offset, length, 4);
    EXPECT_EQ(read.run(*channel_, *reactor_), Error::kNone);
    return std::string(read.bytes());
  }
  std::string fill(uint64_t offset, uint64_t length) {
    Request write(Op::kWrite, offset, length, 4);
    write.fill(offset + 1);
    EXPECT_EQ(write.run(*channel_, *reactor_), Error::kNone);
    return std::string(write.bytes());
  }

  std::unique_ptr<Reactor> reactor_ = std::move(*Reactor::create());
  std::shared_ptr<Volume> volume_;
  std::unique_ptr<Channel> channel_;
};

TEST_F(RbdStore, Fill) {
  for (uint64_t at = 0; at < kUsed; at += kMiB) {
    const std::string written = fill(at, kMiB);
    EXPECT_TRUE(read(at, kMiB) == written) << at;
  }
}

TEST_F(RbdStore, Deallocate) {
  EXPECT_EQ(run(Request(Op::kDeallocate, 0, 0)), Error::kNone);
  Request all(Op::kDeallocate, 0, 0);
  all.length = volume_->geometry().bytes();
  EXPECT_EQ(all.run(*channel_, *reactor_), Error::kNone);
  EXPECT_TRUE(read(kMiB, kMiB) == std::string(kMiB, '\0'));
}

TEST_F(RbdStore, ZeroesAreExact) {
  for (const bool deallocate : {false, true}) {
    SCOPED_TRACE(deallocate);
    const std::string before = fill(0, 64 << 10);
    Request zero(Op::kWriteZeroes, 4096, 8192);
    zero.deallocate = deallocate;
    zero.fua = true;
    EXPECT_EQ(zero.run(*channel_, *reactor_), Error::kNone);
    EXPECT_TRUE(read(0, 64 << 10) ==
                before.substr(0, 4096) + std::string(8192, '\0') + before.substr(12288));
  }
}

TEST_F(RbdStore, FlushesAndRanges) {
  EXPECT_EQ(run(Request(Op::kFlush, 0, 0)), Error::kNone);
  const uint64_t end = volume_->geometry().bytes();
  EXPECT_EQ(run(Request(Op::kRead, end, 4096)), Error::kOutOfRange);
  EXPECT_EQ(run(Request(Op::kWrite, end - 4096, 4096)), Error::kNone);
}

TEST_F(RbdStore, SeveralReactorsShareTheImage) {
  constexpr uint64_t kThreads = 3, kRequests = 200;
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const auto reactor = std::move(*Reactor::create());
      const auto channel = std::move(*volume_->open_channel(*reactor));
      std::vector<std::unique_ptr<Request>> writes;
      for (uint64_t i = 0; i < kRequests; ++i) {
        writes.push_back(std::make_unique<Request>(Op::kWrite, (i * kThreads + t) * 4096, 4096));
        writes.back()->fill(i * kThreads + t);
        EXPECT_FALSE(channel->submit(*writes.back()));
      }
      EXPECT_TRUE(eventually([&] {
        reactor->poll();
        return channel->pending() == 0;
      }));
      for (const auto& write : writes) {
        EXPECT_EQ(write->error, Error::kNone);
        Request read(Op::kRead, write->offset, 4096);
        EXPECT_EQ(read.run(*channel, *reactor), Error::kNone);
        EXPECT_TRUE(read.bytes() == write->bytes());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace mrpool::storage
