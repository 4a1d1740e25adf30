// Every backend through the common interface, on the reactor of this machine.
#include "examples/storage/storage.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "examples/storage/backend.h"
#include "examples/storage/faults.h"
#include "examples/storage/range_guard.h"
#include "tests/unit/examples/storage/storage_fixture.h"

namespace mrpool::storage {
namespace {

struct Case {
  std::string name;
  std::string spec;  // @ stands for a file in a fresh directory
};

class Backend : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    reactor_ = std::move(*Reactor::create());
    std::string spec = GetParam().spec;
    if (const size_t at = spec.find('@'); at != std::string::npos) {
      spec.replace(at, 1, dir_.file("disk"));
    }
    auto volume = open(spec);
    ASSERT_TRUE(volume.ok()) << volume.status();
    volume_ = *volume;
    channel_ = std::move(*volume_->open_channel(*reactor_));
  }
  uint64_t bytes() const { return volume_->geometry().bytes(); }

  TempDir dir_;
  std::unique_ptr<Reactor> reactor_;
  std::shared_ptr<Volume> volume_;
  std::unique_ptr<Channel> channel_;
};

TEST_P(Backend, ReadsBackWhatItWrote) {
  const uint32_t bs = volume_->geometry().block_size;
  for (const uint64_t length : {uint64_t{bs}, uint64_t{16 * 4096}, uint64_t{1} << 20}) {
    SCOPED_TRACE(length);
    const uint64_t offset = bytes() - length;
    Request write(Op::kWrite, offset, length, length > 4096 ? 16 : 1);
    write.fill(length);
    EXPECT_EQ(write.run(*channel_, *reactor_), Error::kNone);
    Request read(Op::kRead, offset, length, length > 4096 ? 4 : 1);
    EXPECT_EQ(read.run(*channel_, *reactor_), Error::kNone);
    EXPECT_EQ(read.bytes(), write.bytes());
  }
  EXPECT_EQ(channel_->pending(), 0u);
}

TEST_P(Backend, RefusesWhatLiesOutside) {
  const uint32_t bs = volume_->geometry().block_size;
  EXPECT_EQ(Request(Op::kRead, bytes(), bs).run(*channel_, *reactor_), Error::kOutOfRange);
  EXPECT_EQ(Request(Op::kWrite, bytes() - bs, 2 * bs).run(*channel_, *reactor_),
            Error::kOutOfRange);
  EXPECT_EQ(Request(Op::kWrite, 1, bs).run(*channel_, *reactor_), Error::kOutOfRange);
  Request wrap(Op::kWriteZeroes, ~uint64_t{0} - bs + 1, bs);
  EXPECT_EQ(wrap.run(*channel_, *reactor_), Error::kOutOfRange);
  Request long_wrap(Op::kDeallocate, bs, 0);
  long_wrap.length = ~uint64_t{0} - bs + 1;
  EXPECT_EQ(long_wrap.run(*channel_, *reactor_), Error::kOutOfRange);
}

TEST_P(Backend, ZeroesAndDeallocates) {
  for (const Op op : {Op::kWriteZeroes, Op::kDeallocate}) {
    SCOPED_TRACE(to_string(op));
    constexpr uint64_t kLength = 3 << 20;
    Request write(Op::kWrite, 0, kLength);
    write.fill(1);
    EXPECT_EQ(write.run(*channel_, *reactor_), Error::kNone);
    Request zero(op, 4096, 0);
    zero.length = kLength - 8192;
    zero.fua = op == Op::kWriteZeroes;
    EXPECT_EQ(zero.run(*channel_, *reactor_), Error::kNone);
    Request read(Op::kRead, 0, kLength);
    EXPECT_EQ(read.run(*channel_, *reactor_), Error::kNone);
    EXPECT_EQ(read.bytes().substr(0, 4096), write.bytes().substr(0, 4096));
    EXPECT_EQ(read.bytes().substr(kLength - 4096), write.bytes().substr(kLength - 4096));
    EXPECT_TRUE(read.bytes().substr(4096, kLength - 8192) == std::string(kLength - 8192, '\0'));
  }
}

TEST_P(Backend, FlushesAndForcesUnitAccess) {
  Request fua(Op::kWrite, 0, 4096);
  fua.fill(5);
  fua.fua = true;
  EXPECT_EQ(fua.run(*channel_, *reactor_), Error::kNone);
  EXPECT_EQ(Request(Op::kFlush, 0, 0).run(*channel_, *reactor_), Error::kNone);
}

TEST_P(Backend, ManyAtOnceEachFinishOnce) {
  constexpr int kRequests = 64;
  std::vector<std::unique_ptr<Request>> writes;
  for (int i = 0; i < kRequests; ++i) {
    writes.push_back(std::make_unique<Request>(Op::kWrite, uint64_t(i) * 8192, 8192));
    writes.back()->fill(uint64_t(i));
    writes.back()->finished = channel_->submit(*writes.back());
  }
  const auto done = [&] {
    return std::all_of(writes.begin(), writes.end(), [](auto& w) { return w->finished; });
  };
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!done() && std::chrono::steady_clock::now() < deadline) reactor_->poll();
  ASSERT_TRUE(done());
  EXPECT_EQ(channel_->pending(), 0u);
  for (const auto& write : writes) {
    Request read(Op::kRead, write->offset, write->length);
    EXPECT_EQ(read.run(*channel_, *reactor_), Error::kNone);
    EXPECT_TRUE(read.bytes() == write->bytes());
  }
}

INSTANTIATE_TEST_SUITE_P(All, Backend,
                         testing::Values(Case{"ram", "ram:8MiB"}, Case{"ram512", "ram:8MiB,bs=512"},
                                         Case{"file", "file:@,size=8MiB"},
                                         Case{"file512", "file:@,size=8MiB,bs=512"},
                                         Case{"direct", "file:@,size=8MiB,direct"}),
                         [](const auto& param) { return param.param.name; });

TEST(Null, ReadsZeroesAndForgets) {
  auto reactor = std::move(*Reactor::create());
  auto volume = *open("null:1TiB");
  EXPECT_EQ(volume->geometry().bytes(), uint64_t{1} << 40);
  auto channel = std::move(*volume->open_channel(*reactor));
  Request write(Op::kWrite, uint64_t{1} << 39, 4096);
  write.fill(1);
  EXPECT_EQ(write.run(*channel, *reactor), Error::kNone);
  Request read(Op::kRead, uint64_t{1} << 39, 4096);
  read.fill(2);
  EXPECT_EQ(read.run(*channel, *reactor), Error::kNone);
  EXPECT_TRUE(read.bytes() == std::string(4096, '\0'));
  EXPECT_EQ(volume->locate(0, 1 << 20), volume->memory().data());
  EXPECT_EQ(volume->locate(0, uint64_t{1} << 30), nullptr);
}

// A transfer that is still gathering must not see a later write; the write waits, in order.
TEST(Ram, AHeldRangeDoesNotChange) {
  auto reactor = std::move(*Reactor::create());
  auto volume = *open("ram:1MiB");
  auto channel = std::move(*volume->open_channel(*reactor));
  Request hold(Op::kHold, 0, 8192);
  ASSERT_TRUE(channel->submit(hold));
  Request write(Op::kWrite, 4096, 4096);
  write.fill(9);
  ASSERT_FALSE(channel->submit(write));
  Request reader(Op::kRead, 0, 4096);  // comes later and must not overtake the waiting writer
  ASSERT_FALSE(channel->submit(reader));
  Request elsewhere(Op::kWrite, 512 << 10, 4096);
  elsewhere.fill(3);
  EXPECT_TRUE(channel->submit(elsewhere));
  for (int i = 0; i < 100; ++i) reactor->poll();
  EXPECT_FALSE(write.finished);
  EXPECT_EQ(volume->memory()[4096], std::byte{0});
  EXPECT_EQ(channel->pending(), 2u);
  EXPECT_EQ(channel->oldest_age(write.submitted + std::chrono::seconds(5)),
            std::chrono::seconds(5));
  channel->release(hold);
  for (int i = 0; i < 100 && !(write.finished && reader.finished); ++i) reactor->poll();
  EXPECT_TRUE(write.finished);
  EXPECT_TRUE(reader.finished);
  EXPECT_TRUE(std::string_view(reinterpret_cast<char*>(volume->memory().data()) + 4096, 4096) ==
              write.bytes());
}

// Two reactors write whole blocks of one value each; no read may find two values in a block.
TEST(Ram, BlocksAreNeverTornAcrossThreads) {
  auto volume = *open("ram:64KiB");
  std::atomic<bool> torn = false;
  const auto work = [&](int self) {
    auto reactor = std::move(*Reactor::create());
    auto channel = std::move(*volume->open_channel(*reactor));
    Request write(Op::kWrite, 0, 4096);
    Request read(Op::kRead, 0, 4096);
    for (int i = 0; i < 3000; ++i) {
      std::memset(write.memory.get(), self + i % 2, 4096);
      write.run(*channel, *reactor);
      read.run(*channel, *reactor);
      const std::string_view got = read.bytes();
      if (got != std::string(4096, got[0])) torn = true;
    }
  };
  std::thread other(work, 10);
  work(20);
  other.join();
  EXPECT_FALSE(torn);
}

TEST(RangeGuard, WriterMarksAndReadersStayOut) {
  RangeGuard guard(1 << 20);
  EXPECT_TRUE(guard.try_share(0, 4096));
  EXPECT_TRUE(guard.try_share(4096, 40000));
  EXPECT_FALSE(guard.try_exclusive(0, 4096));
  EXPECT_FALSE(guard.try_share(0, 4096));  // a writer waits
  guard.unshare(0, 4096);
  EXPECT_FALSE(guard.try_exclusive(0, 4096));
  guard.unshare(4096, 40000);
  EXPECT_TRUE(guard.try_exclusive(0, 40000));
  EXPECT_FALSE(guard.try_share(20000, 1));
  guard.release_exclusive(0, 40000);
  EXPECT_TRUE(guard.try_share(20000, 1));
  guard.unshare(20000, 1);
}

// Else it waits for the readers of its first stripe, then for those of its second, and so on.
TEST(RangeGuard, ARefusedWriterKeepsNewReadersOutOfAllItsStripes) {
  constexpr uint64_t kStripe = RangeGuard::kStripe;
  RangeGuard guard(1 << 20);
  EXPECT_TRUE(guard.try_share(kStripe, 1));
  EXPECT_FALSE(guard.try_exclusive(0, 3 * kStripe));
  EXPECT_FALSE(guard.try_share(0, 1));
  EXPECT_FALSE(guard.try_share(kStripe, 1));
  EXPECT_FALSE(guard.try_share(2 * kStripe, 1));
  EXPECT_TRUE(guard.try_share(3 * kStripe, 1));
  guard.unshare(kStripe, 1);
  EXPECT_TRUE(guard.try_exclusive(0, 3 * kStripe));
  guard.release_exclusive(0, 3 * kStripe);
  EXPECT_TRUE(guard.try_share(0, 3 * kStripe));
}

TEST(Errors, FollowErrno) {
  EXPECT_EQ(from_errno(ENOSPC, Op::kWrite), Error::kNoSpace);
  EXPECT_EQ(from_errno(EIO, Op::kWrite), Error::kMediaWrite);
  EXPECT_EQ(from_errno(EIO, Op::kRead), Error::kMediaRead);
}

TEST(Open, NamesWhatIsWrong) {
  const auto message = [](std::string_view spec) { return why_not(spec); };
  EXPECT_NE(message("tape:1"), "");
  EXPECT_NE(message("ram:12x").find("12x"), std::string::npos);
  EXPECT_NE(message("ram:1000").find("whole number"), std::string::npos);
  EXPECT_NE(message("ram:1MiB,bs=1024").find("bs=1024"), std::string::npos);
  EXPECT_NE(message("file:/nonexistent/x").find("size="), std::string::npos);
  EXPECT_NE(message("file:").find("path"), std::string::npos);
  EXPECT_NE(message("file:/dev/tty0x,direct,foo").find("foo"), std::string::npos);
}

TEST(Open, ListsWhatThereIs) {
  for (const storage::Backend* backend : backends()) {
    const std::string scheme(backend->scheme);
    EXPECT_NE(help().find("\n" + scheme + ":"), help().starts_with(scheme) ? 0 : std::string::npos);
    EXPECT_NE(open("tape:1").status().message().find(std::string(backend->example)),
              std::string::npos);
    const auto refused = open(scheme + ":1,bogus");
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(refused.status().message().find("bs=512, bs=4096"), std::string::npos);
  }
  EXPECT_EQ(examples(), "ram:64MiB, null:1TiB, file:/srv/disk.img or rbd:POOL/IMAGE");
  EXPECT_NE(open("file:/x,bogus").status().message().find("there are direct, ro, shared, size="),
            std::string::npos);
}

TEST(Open, LeavesNoFileWhenItFails) {
  TempDir dir;
  const std::string path = dir.file("disk");
  EXPECT_FALSE(open("file:" + path + ",size=8000000TiB").ok());
  EXPECT_FALSE(open("file:" + path + ",size=512").ok());  // less than a block
  EXPECT_TRUE(open("file:" + path + ",size=1MiB").ok());  // not "exists with 0 bytes"
}

TEST(Faults, FailAndDelayByRule) {
  auto reactor = std::move(*Reactor::create());
  auto plan = std::make_shared<FaultPlan>();
  auto volume = with_faults(*open("ram:1MiB"), plan);
  auto channel = std::move(*volume->open_channel(*reactor));
  plan->add(
      {.op = Op::kWrite, .offset = 8192, .length = 4096, .error = Error::kNoSpace, .times = 1});
  plan->add({.op = Op::kRead, .error = Error::kMediaRead, .delay = std::chrono::milliseconds(1)});
  EXPECT_EQ(Request(Op::kWrite, 0, 4096).run(*channel, *reactor), Error::kNone);
  EXPECT_EQ(Request(Op::kWrite, 4096, 8192).run(*channel, *reactor), Error::kNoSpace);
  EXPECT_EQ(Request(Op::kWrite, 8192, 4096).run(*channel, *reactor), Error::kNone);
  Request read(Op::kRead, 0, 4096);
  read.finished = channel->submit(read);
  EXPECT_FALSE(read.finished);
  EXPECT_EQ(channel->pending(), 1u);
  EXPECT_EQ(channel->oldest_age(read.submitted + std::chrono::seconds(9)), std::chrono::seconds(9));
  while (!read.finished) reactor->poll();
  EXPECT_EQ(channel->oldest_age(reactor->now()), Nanoseconds{});
  EXPECT_EQ(read.error, Error::kMediaRead);
  EXPECT_EQ(plan->injected(), 2u);
  EXPECT_TRUE(volume->memory().empty());
}

}  // namespace
}  // namespace mrpool::storage
