// A key gives what it should and nothing more. After each refusal the connection that asked is
// gone, the memory is as it was, and a second connection of the same device still works.
#include <cstring>

#include "tests/conformance/fixture.h"

namespace mrpool::conformance {
namespace {

constexpr size_t kSize = 3 * 4096;

class Rights : public ConformanceTest {
 protected:
  // The server also registers the memory before and after the region, so that the test sees a byte
  // written beyond a bound.
  void SetUp() override {
    around = std::make_unique<Region>(*server.pd, 3 * kSize, Access::kLocalWrite);
    local = std::make_unique<Region>(*client.pd, 2 * kSize, sink_access());
    connect();
    around->fill(1);
    local->fill(2);
  }

  // The middle third, with rights of its own.
  std::unique_ptr<Mr> expose(Access access) {
    auto mr = server.pd->reg_mr(around->bytes(kSize, kSize), access);
    EXPECT_TRUE(mr.ok()) << mr.status();
    return std::move(*mr);
  }

  void expect_write_refused(RemoteAddr to, Rkey key, size_t length) {
    const Sge sge = local->sge(0, length);
    const PostStatus posted = client.try_post(
        {.opcode = Opcode::kRdmaWrite, .sges = {&sge, 1}, .remote_addr = to, .rkey = key});
    if (posted != PostStatus::kOk) return;  // caught here already
    // iWARP completes a WRITE when it was sent; only the end of the connection shows the refusal.
    EXPECT_TRUE(both_ended());
    EXPECT_FALSE(around->differs(1)) << "a byte at " << *around->differs(1) << " was written";
    if (!caps().iwarp) {
      EXPECT_EQ(client.ops.back().status(), WcStatus::kRemoteAccess);
    }
    expect_others_live();
  }

  void expect_read_refused(RemoteAddr from, Rkey key, size_t length) {
    const Sge sge = local->sge(0, length);
    const PostStatus posted = client.try_post(
        {.opcode = Opcode::kRdmaRead, .sges = {&sge, 1}, .remote_addr = from, .rkey = key});
    if (posted != PostStatus::kOk) return;
    EXPECT_TRUE(both_ended());
    EXPECT_NE(client.ops.back().status(), WcStatus::kSuccess);
    EXPECT_FALSE(local->differs(2)) << "data leaked to byte " << *local->differs(2);
    expect_others_live();
  }

  // A fresh connection over the same device and listener moves data.
  void expect_others_live() {
    Side a(device, *reactor, "second client"), b(device, *reactor, "second server");
    acceptor.server = &b;
    start_connect(a);
    ASSERT_TRUE(until([&] { return a.connected && b.connected; }))
        << a.detail << ", accepted: " << acceptor.accepted << ", b: " << b.detail;
    Region inbox(*b.pd, 16, Access::kLocalWrite);
    Region outbox(*a.pd, 16, Access::kNone);
    Op& received = b.receive(inbox.sge());
    a.send(outbox.sge());
    ASSERT_TRUE(finish(received));
    EXPECT_TRUE(received.ok());
    acceptor.server = &server;
  }

  static constexpr Access kWritable = Access::kLocalWrite | Access::kRemoteWrite;
  static constexpr Access kReadable = Access::kRemoteRead;

  std::unique_ptr<Region> around;  // server: front, middle, back
  std::unique_ptr<Region> local;   // client
};

TEST_F(Rights, WriteWithoutTheRight) {
  const auto mr = expose(Access::kLocalWrite | Access::kRemoteRead);
  expect_write_refused(mr->remote_addr(), mr->rkey(), 100);
}

TEST_F(Rights, ReadWithoutTheRight) {
  const auto mr = expose(kWritable);
  expect_read_refused(mr->remote_addr(), mr->rkey(), 100);
}

TEST_F(Rights, NoRemoteRightsAtAll) {
  const auto mr = expose(Access::kLocalWrite);
  expect_read_refused(mr->remote_addr(), mr->rkey(), 1);
}

TEST_F(Rights, WritePastTheEnd) {
  const auto mr = expose(kWritable);
  expect_write_refused({mr->remote_addr().value + kSize - 99}, mr->rkey(), 100);
}

TEST_F(Rights, WriteOfOneByteAfterTheEnd) {
  const auto mr = expose(kWritable);
  expect_write_refused({mr->remote_addr().value + kSize}, mr->rkey(), 1);
}

TEST_F(Rights, WriteInFrontOfTheStart) {
  const auto mr = expose(kWritable);
  expect_write_refused({mr->remote_addr().value - 1}, mr->rkey(), 2);
}

TEST_F(Rights, WriteLongerThanTheRegion) {
  const auto mr = expose(kWritable);
  expect_write_refused(mr->remote_addr(), mr->rkey(), kSize + 1);
}

TEST_F(Rights, ReadPastTheEnd) {
  const auto mr = expose(kReadable);
  expect_read_refused({mr->remote_addr().value + kSize - 99}, mr->rkey(), 100);
}

TEST_F(Rights, ReadInFrontOfTheStart) {
  const auto mr = expose(kReadable);
  expect_read_refused({mr->remote_addr().value - 1}, mr->rkey(), 2);
}

TEST_F(Rights, WriteThatWrapsAround) {
  const auto mr = expose(kWritable);
  expect_write_refused({UINT64_MAX - 49}, mr->rkey(), 100);
}

TEST_F(Rights, ReadThatWrapsAround) {
  const auto mr = expose(kReadable);
  expect_read_refused({UINT64_MAX - 49}, mr->rkey(), 100);
}

TEST_F(Rights, WriteThatWrapsAroundIntoTheRegion) {
  // addr + length lands inside the region when the sum is allowed to overflow.
  const auto mr = expose(kWritable);
  expect_write_refused({mr->remote_addr().value - kSize}, mr->rkey(), 2 * kSize);
}

TEST_F(Rights, WriteToAKeyThatNeverWas) {
  const auto mr = expose(kWritable);
  expect_write_refused(mr->remote_addr(), Rkey{mr->rkey().value ^ 0x5a5a5a00}, 100);
}

TEST_F(Rights, ReadWithAKeyPartThatIsWrong) {
  const auto mr = expose(kReadable);
  expect_read_refused(mr->remote_addr(), Rkey{mr->rkey().value ^ 1}, 100);
}

TEST_F(Rights, KeyZero) {
  const auto mr = expose(kReadable);
  expect_read_refused(mr->remote_addr(), Rkey{0}, 100);
}

TEST_F(Rights, WriteAfterDeregistration) {
  auto mr = expose(kWritable);
  const RemoteAddr address = mr->remote_addr();
  const Rkey key = mr->rkey();
  Op& before = client.write(local->sge(0, 16), address, key);
  ASSERT_TRUE(finish(before));
  EXPECT_TRUE(before.ok());
  // A READ completes only after the earlier WRITE was placed.
  auto readable = expose(kReadable);
  Op& fence = client.read(local->sge(kSize, 1), readable->remote_addr(), readable->rkey());
  ASSERT_TRUE(finish(fence));
  mr.reset();
  around->fill(1);
  expect_write_refused(address, key, 16);
}

TEST_F(Rights, KeyOfAnotherProtectionDomain) {
  auto other = device.alloc_pd();
  ASSERT_TRUE(other.ok());
  auto mr = (*other)->reg_mr(around->bytes(kSize, kSize), kWritable);
  ASSERT_TRUE(mr.ok());
  expect_write_refused((*mr)->remote_addr(), (*mr)->rkey(), 100);
}

TEST_F(Rights, ReadWithTheKeyOfAnotherProtectionDomain) {
  auto other = device.alloc_pd();
  ASSERT_TRUE(other.ok());
  auto mr = (*other)->reg_mr(around->bytes(kSize, kSize), kReadable);
  ASSERT_TRUE(mr.ok());
  expect_read_refused((*mr)->remote_addr(), (*mr)->rkey(), 100);
}

TEST_F(Rights, ExactlyToTheEndIsAllowed) {
  const auto mr = expose(kWritable | Access::kRemoteRead);
  Op& write = client.write(local->sge(0, kSize), mr->remote_addr(), mr->rkey());
  Op& read = client.read(local->sge(kSize, kSize), mr->remote_addr(), mr->rkey());
  ASSERT_TRUE(finish(read));
  EXPECT_TRUE(write.ok());
  EXPECT_TRUE(read.ok());
  EXPECT_TRUE(same_bytes(around->bytes(kSize, kSize), local->bytes(0, kSize)));
  EXPECT_TRUE(same_bytes(local->bytes(kSize, kSize), local->bytes(0, kSize)));
  EXPECT_FALSE(around->differs(1, 0, kSize));
  EXPECT_FALSE(around->differs(1, 2 * kSize, kSize));
}

// The local side: a bad Sge is refused at the post or fails the request, and moves nothing.
class LocalRights : public ConformanceTest {
 protected:
  void SetUp() override { connect(); }

  void expect_send_refused(Sge sge) {
    Region inbox(*server.pd, 4096, Access::kLocalWrite);
    server.receive(inbox.sge());
    const PostStatus posted = client.try_post({.opcode = Opcode::kSend, .sges = {&sge, 1}});
    if (posted == PostStatus::kOk) {
      ASSERT_TRUE(finish(client.ops.back()));
      EXPECT_EQ(client.ops.back().status(), WcStatus::kLocalProtection);
    } else {
      EXPECT_EQ(posted, PostStatus::kBadSge);
      EXPECT_TRUE(client.qp->connected());
    }
    settle();
    EXPECT_FALSE(inbox.differs(0));
    server.qp.reset();  // before its inbox
  }
};

TEST_F(LocalRights, PastTheEndOfTheRegion) {
  Region outbox(*client.pd, 4096, Access::kNone);
  Sge sge = outbox.sge();
  sge.length += 1;
  expect_send_refused(sge);
}

TEST_F(LocalRights, WrapAround) {
  Region outbox(*client.pd, 4096, Access::kNone);
  Sge sge = outbox.sge(0, 16);
  sge.addr = reinterpret_cast<std::byte*>(UINTPTR_MAX - 7);
  expect_send_refused(sge);
}

TEST_F(LocalRights, KeyThatNeverWas) {
  Region outbox(*client.pd, 4096, Access::kNone);
  Sge sge = outbox.sge(0, 16);
  sge.lkey.value ^= 0x5a5a5a00;
  expect_send_refused(sge);
}

TEST_F(LocalRights, KeyOfADeadRegion) {
  Region outbox(*client.pd, 4096, Access::kNone);
  const Sge sge = outbox.sge(0, 16);
  outbox.deregister();
  expect_send_refused(sge);
}

TEST_F(LocalRights, KeyOfAnotherProtectionDomain) {
  auto other = device.alloc_pd();
  ASSERT_TRUE(other.ok());
  Region outbox(**other, 4096, Access::kNone);
  expect_send_refused(outbox.sge(0, 16));
}

TEST_F(LocalRights, ReceiveIntoMemoryThatIsReadOnly) {
  Region inbox(*server.pd, 64, Access::kRemoteRead);
  Region outbox(*client.pd, 64, Access::kNone);
  outbox.fill(1);
  const Sge sge = inbox.sge();
  const PostStatus posted = server.try_receive({&sge, 1});
  if (posted == PostStatus::kOk) {
    client.send(outbox.sge());
    ASSERT_TRUE(both_ended());
    EXPECT_EQ(server.ops.front().status(), WcStatus::kLocalProtection);
  } else {
    EXPECT_EQ(posted, PostStatus::kBadSge);
  }
  EXPECT_FALSE(inbox.differs(0));
}

TEST_F(LocalRights, ReadSinkNeedsTheRightsItsRoleAsksFor) {
  Region remote(*server.pd, 64, Access::kRemoteRead);
  remote.fill(1);
  // No local write at all; and, where a sink is a tagged buffer, no remote write.
  std::vector<Access> lacking = {Access::kRemoteRead};
  if (caps().read_sink_needs_remote_write) lacking.push_back(Access::kLocalWrite);
  for (const Access access : lacking) {
    Region sink(*client.pd, 64, access);
    const Sge sge = sink.sge();
    const PostStatus posted = client.try_post({.opcode = Opcode::kRdmaRead,
                                               .sges = {&sge, 1},
                                               .remote_addr = remote.remote(),
                                               .rkey = remote.rkey()});
    if (posted == PostStatus::kOk) {
      ASSERT_TRUE(finish(client.ops.back()));
      EXPECT_NE(client.ops.back().status(), WcStatus::kSuccess) << to_string(access);
      EXPECT_FALSE(sink.differs(0));
      break;  // the connection is gone
    }
    EXPECT_EQ(posted, PostStatus::kBadSge);
    EXPECT_FALSE(sink.differs(0));
  }
  client.qp.reset();
}

}  // namespace
}  // namespace mrpool::conformance
