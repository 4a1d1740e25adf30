// Keys that live for one I/O: registration by work request, and the three ways to end them.
#include <algorithm>

#include "tests/conformance/fixture.h"

namespace mrpool::conformance {
namespace {

constexpr size_t kSize = 8192;
constexpr Access kPeerReads = Access::kRemoteRead;
constexpr Access kPeerWrites = Access::kLocalWrite | Access::kRemoteWrite;
constexpr Access kCeiling = Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteWrite;

// A fast-registered key on one side, over a base region that has no remote rights of its own.
class Key {
 public:
  explicit Key(Side& owner)
      : side(owner),
        base(*owner.pd, kSize,
             caps().registration == mrpool::Registration::kMemoryWindow
                 ? Access::kLocalWrite | Access::kMwBind
                 : Access::kLocalWrite) {
    auto made = owner.pd->alloc_fast_mr(
        {.max_segments = std::min(4u, caps().max_fast_reg_segments), .ceiling = kCeiling});
    EXPECT_TRUE(made.ok()) << made.status();
    mr = std::move(*made);
  }

  void map(size_t offset, size_t length) {
    const Sge sge = base.sge(offset, length);
    ASSERT_EQ(mr->map({&sge, 1}), 1u);
  }

  WorkRequest registration(Access access) {
    return {.opcode = Opcode::kRegMr, .mr = mr.get(), .access = access};
  }
  WorkRequest invalidation() { return {.opcode = Opcode::kLocalInv, .rkey = mr->rkey()}; }

  // Maps the bytes and gives the peer the right; signalled, so it can be waited for.
  Op& expose(Access access, size_t offset = 0, size_t length = kSize) {
    map(offset, length);
    return side.post(registration(access));
  }

  Side& side;
  Region base;
  std::unique_ptr<FastMr> mr;
};

class Invalidation : public ConformanceTest {
 protected:
  void SetUp() override {
    MRPOOL_NEEDS(caps().registration != mrpool::Registration::kPreRegistered);
    connect();
    key = std::make_unique<Key>(server);
    local = std::make_unique<Region>(*client.pd, kSize, sink_access());
    note = std::make_unique<Region>(*client.pd, 64, Access::kLocalWrite);
    inbox = std::make_unique<Region>(*server.pd, 64, Access::kLocalWrite);
    key->base.fill(1);
    local->fill(2);
  }
  void TearDown() override {
    client.qp.reset();
    server.qp.reset();
  }

  [[nodiscard]] bool done(Op& op) { return finish(op) && op.ok(); }

  // The client's message came through: everything it posted before was placed.
  void flush_to_server() {
    Op& received = server.receive(inbox->sge());
    client.send(note->sge(0, 1));
    ASSERT_TRUE(done(received));
  }

  // The peer's use of the key ends the connection and touches nothing.
  void expect_dead(Rkey rkey, RemoteAddr address) {
    const std::vector<std::byte> before(key->base.bytes().begin(), key->base.bytes().end());
    client.write(local->sge(0, 100), address, rkey);
    EXPECT_TRUE(both_ended());
    EXPECT_TRUE(same_bytes(key->base.bytes(), before));
  }

  std::unique_ptr<Key> key;
  std::unique_ptr<Region> local, note, inbox;
};

TEST_F(Invalidation, ARegisteredKeyIsGoodForBothDirections) {
  ASSERT_TRUE(done(key->expose(kPeerWrites | kPeerReads)));
  Op& write = client.write(local->sge(), key->mr->remote_addr(), key->mr->rkey());
  Region back(*client.pd, kSize, sink_access());
  Op& read = client.read(back.sge(), key->mr->remote_addr(), key->mr->rkey());
  ASSERT_TRUE(done(read));
  EXPECT_TRUE(write.ok());
  EXPECT_TRUE(same_bytes(key->base.bytes(), local->bytes()));
  EXPECT_TRUE(same_bytes(back.bytes(), local->bytes()));
}

TEST_F(Invalidation, RegistrationTakesEffectForTheSendAfterIt) {
  // Registers and notifies the peer in one chain, like an initiator.
  Op& told = client.receive(note->sge());
  key->map(0, kSize);
  WorkRequest send{.opcode = Opcode::kSend};
  const Sge hello = inbox->sge(0, 4);
  send.sges = {&hello, 1};
  Op& sent = server.ops.emplace_back(server, Opcode::kSend);
  send.completion = &sent;
  WorkRequest reg = key->registration(kPeerReads);
  reg.signalled = false;
  reg.next = &send;
  ASSERT_TRUE(server.qp->post_send(reg).ok());
  ASSERT_TRUE(done(told));
  Op& read = client.read(local->sge(), key->mr->remote_addr(), key->mr->rkey());
  ASSERT_TRUE(done(read));
  EXPECT_TRUE(same_bytes(local->bytes(), key->base.bytes()));
  EXPECT_TRUE(finish(sent));
}

TEST_F(Invalidation, AKeyCoversItsBytesOnly) {
  ASSERT_TRUE(done(key->expose(kPeerWrites, 100, 1000)));
  EXPECT_EQ(key->mr->length(), 1000u);
  Op& inside = client.write(local->sge(0, 1000), key->mr->remote_addr(), key->mr->rkey());
  ASSERT_TRUE(done(inside));
  flush_to_server();
  EXPECT_TRUE(same_bytes(key->base.bytes(100, 1000), local->bytes(0, 1000)));
  EXPECT_FALSE(key->base.differs(1, 0, 100));
  EXPECT_FALSE(key->base.differs(1, 1100, kSize - 1100));
  expect_dead(key->mr->rkey(), {key->mr->remote_addr().value + 901});  // its last byte is outside
}

TEST_F(Invalidation, AKeyGivesItsRightsOnly) {
  ASSERT_TRUE(done(key->expose(kPeerReads)));
  expect_dead(key->mr->rkey(), key->mr->remote_addr());
}

TEST_F(Invalidation, BeforeRegistrationThereIsNoKey) {
  key->map(0, kSize);
  expect_dead(key->mr->rkey(), key->mr->remote_addr());
}

TEST_F(Invalidation, LocalInvalidationEndsTheKey) {
  ASSERT_TRUE(done(key->expose(kPeerWrites)));
  Op& ended = server.post(key->invalidation());
  ASSERT_TRUE(done(ended));
  EXPECT_EQ(ended.wc.opcode, Opcode::kLocalInv);
  expect_dead(key->mr->rkey(), key->mr->remote_addr());
}

TEST_F(Invalidation, SendWithInvalidateEndsTheKeyAtThePeer) {
  MRPOOL_NEEDS(caps().send_with_inv);
  ASSERT_TRUE(done(key->expose(kPeerWrites)));
  const Rkey rkey = key->mr->rkey();
  Op& received = server.receive(inbox->sge());
  client.write(local->sge(), key->mr->remote_addr(), rkey);
  const Sge answer = note->sge(0, 16);
  Op& sent = client.post({.opcode = Opcode::kSendWithInv, .sges = {&answer, 1}, .rkey = rkey});
  ASSERT_TRUE(done(received));
  EXPECT_TRUE(received.wc.invalidated);
  EXPECT_EQ(received.wc.invalidated_rkey, rkey);
  EXPECT_EQ(received.wc.byte_len, 16u);
  // The WRITE before it arrived before the key was invalidated.
  EXPECT_TRUE(same_bytes(key->base.bytes(), local->bytes()));
  ASSERT_TRUE(done(sent));
  expect_dead(rkey, key->mr->remote_addr());
}

TEST_F(Invalidation, ReadWithInvalidateEndsTheSinksKey) {
  MRPOOL_NEEDS(caps().read_with_inv);
  key->base.fill(0);
  Region source(*client.pd, kSize, Access::kRemoteRead);
  source.fill(7);
  ASSERT_TRUE(done(key->expose(kPeerWrites)));
  const Sge sink = key->mr->sge();
  Op& read = server.post({.opcode = Opcode::kRdmaReadWithInv,
                          .sges = {&sink, 1},
                          .remote_addr = source.remote(),
                          .rkey = source.rkey()});
  ASSERT_TRUE(done(read));
  EXPECT_FALSE(key->base.differs(7));
  expect_dead(key->mr->rkey(), key->mr->remote_addr());
}

TEST_F(Invalidation, AStaleKeyNeverOpensALaterIo) {
  ASSERT_TRUE(done(key->expose(kPeerWrites)));
  const Rkey old = key->mr->rkey();
  ASSERT_TRUE(done(server.post(key->invalidation())));
  key->mr->advance_key();
  ASSERT_TRUE(done(key->expose(kPeerWrites)));
  ASSERT_NE(key->mr->rkey(), old);
  Op& fresh = client.write(local->sge(0, 10), key->mr->remote_addr(), key->mr->rkey());
  ASSERT_TRUE(done(fresh));
  flush_to_server();
  EXPECT_TRUE(same_bytes(key->base.bytes(0, 10), local->bytes(0, 10)));
  expect_dead(old, key->mr->remote_addr());
}

TEST_F(Invalidation, AThousandLives) {
  Rkey last{0};
  for (int i = 0; i < 1000; ++i) {
    const size_t offset = i % 7 * 512, length = 512 + i % 5 * 100;
    key->map(offset, length);
    WorkRequest reg = key->registration(kPeerReads);
    server.post(reg);
    ASSERT_NE(key->mr->rkey(), last);
    last = key->mr->rkey();
    ASSERT_TRUE(until([&] { return server.all_finished(); }));
    Op& read = client.read(local->sge(0, length), key->mr->remote_addr(), key->mr->rkey());
    ASSERT_TRUE(done(read)) << "life " << i << ": " << to_string(read.status());
    ASSERT_TRUE(same_bytes(local->bytes(0, length), key->base.bytes(offset, length)));
    ASSERT_TRUE(done(server.post(key->invalidation())));
    key->mr->advance_key();
  }
}

TEST_F(Invalidation, RightsBeyondTheCeilingAreRefused) {
  auto modest = server.pd->alloc_fast_mr({.max_segments = 1, .ceiling = Access::kRemoteRead});
  ASSERT_TRUE(modest.ok()) << modest.status();
  const Sge sge = key->base.sge();
  ASSERT_EQ((*modest)->map({&sge, 1}), 1u);
  EXPECT_EQ(server.try_post({.opcode = Opcode::kRegMr, .mr = modest->get(), .access = kPeerWrites}),
            PostStatus::kAccessDenied);
  EXPECT_TRUE(server.qp->connected());
}

TEST_F(Invalidation, ARefusalNamesTheDeniedFlags) {
  auto modest = server.pd->alloc_fast_mr({.max_segments = 1, .ceiling = Access::kRemoteRead});
  ASSERT_TRUE(modest.ok()) << modest.status();
  const Sge sge = key->base.sge();
  ASSERT_EQ((*modest)->map({&sge, 1}), 1u);
  const auto denied = [&](Access access) {
    const WorkRequest wr{.opcode = Opcode::kRegMr, .mr = modest->get(), .access = access};
    const PostResult result = server.qp->post_send(wr);
    EXPECT_EQ(result.status, PostStatus::kAccessDenied);
    EXPECT_EQ(result.refused, &wr);
    return to_string(result.denied);
  };
  EXPECT_EQ(denied(Access::kRemoteRead | Access::kLocalWrite), "local_write");
  EXPECT_EQ(denied(Access::kRemoteRead | Access::kRemoteWrite), "remote_write");
  EXPECT_EQ(denied(Access::kLocalWrite | Access::kRemoteWrite), "local_write|remote_write");
}

TEST_F(Invalidation, ForbiddenRightsAreRefused) {
  key->map(0, kSize);
  EXPECT_EQ(server.try_post(key->registration(Access::kRemoteWrite)), PostStatus::kAccessDenied);
}

TEST_F(Invalidation, InvalidatingADeadKeyFails) {
  key->map(0, kSize);
  const PostStatus posted = server.try_post(key->invalidation());
  if (posted == PostStatus::kOk) {
    ASSERT_TRUE(finish(server.ops.back()));
    EXPECT_EQ(server.ops.back().status(), WcStatus::kBind);
  } else {
    EXPECT_EQ(posted, PostStatus::kBadKey);
    EXPECT_TRUE(server.qp->connected());
  }
}

TEST_F(Invalidation, InvalidatingABaseRegionFails) {
  const PostStatus posted =
      server.try_post({.opcode = Opcode::kLocalInv, .rkey = key->base.rkey()});
  if (posted == PostStatus::kOk) {
    ASSERT_TRUE(finish(server.ops.back()));
    EXPECT_EQ(server.ops.back().status(), WcStatus::kBind);
  } else {
    EXPECT_EQ(posted, PostStatus::kBadKey);
  }
}

TEST_F(Invalidation, APeerCannotEndABaseRegion) {
  MRPOOL_NEEDS(caps().send_with_inv);
  server.receive(inbox->sge());
  const Sge sge = note->sge(0, 16);
  client.post({.opcode = Opcode::kSendWithInv, .sges = {&sge, 1}, .rkey = inbox->rkey()});
  EXPECT_TRUE(both_ended());
  // The region is alive: a new connection receives into it.
  Side a(device, *reactor, "second client");
  Side b(device, *reactor, "second server");
  acceptor.server = &b;
  start_connect(a);
  ASSERT_TRUE(until([&] { return a.connected && b.connected; }))
      << a.detail << ", accepted: " << acceptor.accepted << ", b: " << b.detail;
  EXPECT_NE(inbox->mr().lkey(), Lkey{});
}

TEST_F(Invalidation, APeerCannotEndAKeyOfAnotherConnection) {
  MRPOOL_NEEDS(caps().send_with_inv && caps().keys_bound_to_qp);
  ASSERT_TRUE(done(key->expose(kPeerWrites)));
  Side a(device, *reactor, "second client");
  Side b(device, *reactor, "second server");
  acceptor.server = &b;
  start_connect(a);
  ASSERT_TRUE(until([&] { return a.connected && b.connected; }))
      << a.detail << ", accepted: " << acceptor.accepted << ", b: " << b.detail;
  Region letter(*a.pd, 16, Access::kNone), box(*b.pd, 16, Access::kLocalWrite);
  b.receive(box.sge());
  const Sge sge = letter.sge();
  a.post({.opcode = Opcode::kSendWithInv, .sges = {&sge, 1}, .rkey = key->mr->rkey()});
  ASSERT_TRUE(until([&] { return a.disconnected && b.disconnected; }));
  // Still good where it belongs.
  Op& write = client.write(local->sge(), key->mr->remote_addr(), key->mr->rkey());
  ASSERT_TRUE(done(write));
  flush_to_server();
  EXPECT_TRUE(same_bytes(key->base.bytes(), local->bytes()));
}

TEST_F(Invalidation, AKeyIsGoodOnTheQpThatRegisteredItOnly) {
  MRPOOL_NEEDS(caps().keys_bound_to_qp);
  ASSERT_TRUE(done(key->expose(kPeerWrites)));
  // A second connection whose server side shares the Pd.
  Side a(device, *reactor, "second client");
  Side b(device, *reactor, "second server");
  std::swap(b.pd, server.pd);  // the Pd of `key`
  acceptor.server = &b;
  start_connect(a);
  ASSERT_TRUE(until([&] { return a.connected && b.connected; }))
      << a.detail << ", accepted: " << acceptor.accepted << ", b: " << b.detail;
  Region theirs(*a.pd, 100, Access::kNone);
  theirs.fill(9);
  a.write(theirs.sge(), key->mr->remote_addr(), key->mr->rkey());
  ASSERT_TRUE(until([&] { return a.disconnected && b.disconnected; }));
  EXPECT_FALSE(key->base.differs(1));
  b.qp.reset();
  std::swap(b.pd, server.pd);
  // And unharmed there.
  Op& write = client.write(local->sge(), key->mr->remote_addr(), key->mr->rkey());
  ASSERT_TRUE(done(write));
}

TEST_F(Invalidation, RenewEndsAKeyWithoutAQp) {
  ASSERT_TRUE(done(key->expose(kPeerWrites)));
  const Rkey old = key->mr->rkey();
  const RemoteAddr address = key->mr->remote_addr();
  server.qp->abort();
  ASSERT_TRUE(both_ended());
  ASSERT_TRUE(key->mr->renew().ok());
  EXPECT_NE(key->mr->rkey(), old);
  // And it can be registered again, on another Qp.
  Side a(device, *reactor, "second client");
  Side b(device, *reactor, "second server");
  std::swap(b.pd, server.pd);
  acceptor.server = &b;
  start_connect(a);
  ASSERT_TRUE(until([&] { return a.connected && b.connected; }))
      << a.detail << ", accepted: " << acceptor.accepted << ", b: " << b.detail;
  key->map(0, kSize);
  Op& again = b.post(key->registration(kPeerWrites));
  ASSERT_TRUE(done(again));
  Region theirs(*a.pd, 100, Access::kNone);
  theirs.fill(9);
  Op& write = a.write(theirs.sge(), key->mr->remote_addr(), key->mr->rkey());
  ASSERT_TRUE(done(write));
  a.write(theirs.sge(), address, old);
  EXPECT_TRUE(until([&] { return a.disconnected && b.disconnected; }));
  b.qp.reset();
  std::swap(b.pd, server.pd);
}

TEST_F(Invalidation, AKeyOverSeveralRangesReadsAsOne) {
  MRPOOL_NEEDS(caps().registration == mrpool::Registration::kFastReg);
  Region base(*server.pd, 4 * 4096, Access::kLocalWrite);
  base.fill(5);
  auto mr = server.pd->alloc_fast_mr({.max_segments = 4, .ceiling = kCeiling});
  ASSERT_TRUE(mr.ok()) << mr.status();
  // Starts and ends anywhere, in between whole pages in any order.
  const std::array<Sge, 3> ranges = {base.sge(3 * 4096 + 96, 4000), base.sge(0, 4096),
                                     base.sge(8192, 10)};
  ASSERT_EQ((*mr)->map(ranges), 3u);
  ASSERT_EQ((*mr)->length(), 8106u);
  ASSERT_TRUE(done(server.post(
      {.opcode = Opcode::kRegMr, .mr = mr->get(), .access = kPeerReads | kPeerWrites})));
  Op& read = client.read(local->sge(0, 8106), (*mr)->remote_addr(), (*mr)->rkey());
  ASSERT_TRUE(done(read));
  std::vector<std::byte> expected;
  for (const Sge& sge : ranges) expected.insert(expected.end(), sge.addr, sge.addr + sge.length);
  EXPECT_TRUE(same_bytes(local->bytes(0, 8106), expected));
  // A write across both seams.
  Region out(*client.pd, 4150, Access::kNone);
  out.fill(8);
  client.write(out.sge(), {(*mr)->remote_addr().value + 3950}, (*mr)->rkey());
  flush_to_server();
  EXPECT_TRUE(same_bytes(base.bytes(3 * 4096 + 96 + 3950, 50), out.bytes(0, 50)));
  EXPECT_TRUE(same_bytes(base.bytes(0, 4096), out.bytes(50, 4096)));
  EXPECT_TRUE(same_bytes(base.bytes(8192, 4), out.bytes(4146, 4)));
  EXPECT_FALSE(base.differs(5, 8196, 4092));
}

}  // namespace
}  // namespace mrpool::conformance
