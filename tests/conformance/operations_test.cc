// Immediate data and atomics: what they do, in which order, and what is refused.
#include <cstring>
#include <thread>

#include "tests/conformance/fixture.h"

namespace mrpool::conformance {
namespace {

constexpr Access kAtomicRights =
    Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteWrite | Access::kRemoteAtomic;

uint64_t value_at(Region& region, size_t offset = 0) {
  uint64_t value = 0;
  std::memcpy(&value, region.bytes().data() + offset, sizeof value);
  return value;
}
void set_value(Region& region, uint64_t value, size_t offset = 0) {
  std::memcpy(region.bytes().data() + offset, &value, sizeof value);
}

// ------------------------------------------------------------------------------- immediate data

class Immediate : public ConformanceTest {
 protected:
  void SetUp() override {
    MRPOOL_NEEDS(caps().immediate_data);
    connect();
  }
};

TEST_F(Immediate, OfASendComesWithItsBytes) {
  Region outbox(*client.pd, 4096, Access::kNone), inbox(*server.pd, 4096, Access::kLocalWrite);
  outbox.fill(1);
  const Sge sge = outbox.sge(0, 100);
  Op& received = server.receive(inbox.sge());
  Op& sent = client.post({.opcode = Opcode::kSendWithImm, .sges = {&sge, 1}, .imm = 0x01020304});
  ASSERT_TRUE(finish(received));
  EXPECT_TRUE(received.ok());
  EXPECT_EQ(received.wc.opcode, Opcode::kRecvWithImm);
  EXPECT_EQ(received.wc.imm, 0x01020304u);
  EXPECT_EQ(received.wc.byte_len, 100u);
  EXPECT_EQ(inbox.differs(1, 0, 100), std::nullopt);
  ASSERT_TRUE(finish(sent));
  EXPECT_TRUE(sent.ok());
}

TEST_F(Immediate, OfASendOfNoBytes) {
  Op& received = server.receive(std::span<const Sge>{});
  client.post({.opcode = Opcode::kSendWithImm, .imm = 9});
  ASSERT_TRUE(finish(received));
  EXPECT_EQ(received.wc.opcode, Opcode::kRecvWithImm);
  EXPECT_EQ(received.wc.imm, 9u);
  EXPECT_EQ(received.wc.byte_len, 0u);
}

TEST_F(Immediate, OfAWriteUsesAReceiveWithoutData) {
  constexpr size_t kSize = 200'000;
  Region source(*client.pd, kSize, Access::kNone);
  Region sink(*server.pd, kSize, Access::kLocalWrite | Access::kRemoteWrite);
  source.fill(2);
  const Sge sge = source.sge();
  Op& received = server.receive(std::span<const Sge>{});
  client.post({.opcode = Opcode::kRdmaWriteWithImm,
               .sges = {&sge, 1},
               .remote_addr = sink.remote(),
               .rkey = sink.rkey(),
               .imm = 0xffffffff});
  ASSERT_TRUE(finish(received));
  EXPECT_EQ(received.wc.opcode, Opcode::kRecvRdmaWithImm);
  EXPECT_EQ(received.wc.imm, 0xffffffffu);
  EXPECT_EQ(received.wc.byte_len, kSize);
  // The completion orders the WRITE it came with.
  EXPECT_EQ(sink.differs(2), std::nullopt);
}

TEST_F(Immediate, KeepsItsPlaceAmongSends) {
  Region outbox(*client.pd, 64, Access::kNone), inbox(*server.pd, 64, Access::kLocalWrite);
  Region sink(*server.pd, 64, Access::kLocalWrite | Access::kRemoteWrite);
  const Sge sge = outbox.sge();
  Op& first = server.receive(inbox.sge());
  Op& second = server.receive(inbox.sge());
  Op& third = server.receive(inbox.sge());
  client.send(sge);
  client.post({.opcode = Opcode::kRdmaWriteWithImm,
               .sges = {&sge, 1},
               .remote_addr = sink.remote(),
               .rkey = sink.rkey(),
               .imm = 2});
  Op& last = client.post({.opcode = Opcode::kSendWithImm, .sges = {&sge, 1}, .imm = 3});
  ASSERT_TRUE(finish(third));
  ASSERT_TRUE(finish(last));
  EXPECT_EQ(first.wc.opcode, Opcode::kRecv);
  EXPECT_EQ(second.wc.opcode, Opcode::kRecvRdmaWithImm);
  EXPECT_EQ(second.wc.imm, 2u);
  EXPECT_EQ(third.wc.opcode, Opcode::kRecvWithImm);
  EXPECT_EQ(third.wc.imm, 3u);
  EXPECT_EQ(server.finished_receives(), (std::vector<Op*>{&first, &second, &third}));
}

TEST_F(Immediate, IsSupportedOnceConnected) {
  EXPECT_TRUE(client.qp->supports(Opcode::kSendWithImm));
  EXPECT_TRUE(client.qp->supports(Opcode::kRdmaWriteWithImm));
  EXPECT_TRUE(client.qp->supports(Opcode::kSend));
  EXPECT_FALSE(client.qp->supports(Opcode::kRecv));
  client.qp->abort();
  EXPECT_FALSE(client.qp->supports(Opcode::kSendWithImm));
}

// ------------------------------------------------------------------------------- atomics

class Atomics : public ConformanceTest {
 protected:
  void SetUp() override {
    MRPOOL_NEEDS(caps().atomics != AtomicScope::kNone);
    listen();
    connect();
    target_ = std::make_unique<Region>(*server.pd, 4096, kAtomicRights);
    results_ = std::make_unique<Region>(*client.pd, 4096, Access::kLocalWrite);
    target_->fill(0);
  }
  WorkRequest atomic(Opcode opcode, uint64_t compare_add, uint64_t swap = 0, size_t slot = 0) {
    sinks_.push_back(results_->sge(slot * 8, 8));
    return {.opcode = opcode,
            .sges = {&sinks_.back(), 1},
            .remote_addr = target_->remote(),
            .rkey = target_->rkey(),
            .compare_add = compare_add,
            .swap = swap};
  }
  void refused_by_the_peer(WorkRequest request) {
    Op& op = client.post(request);
    ASSERT_TRUE(both_ended());
    EXPECT_EQ(op.status(), WcStatus::kRemoteAccess) << to_string(op.status());
  }

  std::deque<Sge> sinks_;
  std::unique_ptr<Region> target_, results_;
};

TEST_F(Atomics, FetchAddReturnsWhatWasThere) {
  set_value(*target_, 40);
  Op& op = client.post(atomic(Opcode::kFetchAdd, 2));
  ASSERT_TRUE(finish(op));
  EXPECT_TRUE(op.ok()) << to_string(op.status());
  EXPECT_EQ(op.wc.opcode, Opcode::kFetchAdd);
  EXPECT_EQ(value_at(*results_), 40u);
  EXPECT_EQ(value_at(*target_), 42u);
}

TEST_F(Atomics, FetchAddWraps) {
  set_value(*target_, ~uint64_t{0});
  ASSERT_TRUE(finish(client.post(atomic(Opcode::kFetchAdd, 3))));
  EXPECT_EQ(value_at(*target_), 2u);
}

TEST_F(Atomics, CompareSwapStoresOnlyWhenEqual) {
  set_value(*target_, 7);
  ASSERT_TRUE(finish(client.post(atomic(Opcode::kCompareSwap, 8, 100, 0))));
  EXPECT_EQ(value_at(*target_), 7u);
  EXPECT_EQ(value_at(*results_, 0), 7u);
  ASSERT_TRUE(finish(client.post(atomic(Opcode::kCompareSwap, 7, 100, 1))));
  EXPECT_EQ(value_at(*target_), 100u);
  EXPECT_EQ(value_at(*results_, 8), 7u);
}

// More than ORD of them wait, and complete in the order of posting with READs among them.
TEST_F(Atomics, CountAsReadsAndKeepTheirOrder) {
  Region sink(*client.pd, 64, sink_access());
  std::vector<Op*> posted;
  for (size_t i = 0; i < 40; ++i) {
    posted.push_back(&client.post(atomic(Opcode::kFetchAdd, 1, 0, i)));
    if (i % 4 == 0) {
      posted.push_back(&client.read(sink.sge(0, 8), target_->remote(), target_->rkey()));
    }
  }
  ASSERT_TRUE(finish(*posted.back()));
  EXPECT_EQ(client.finished_sends(), posted);
  EXPECT_EQ(value_at(*target_), 40u);
  for (size_t i = 0; i < 40; ++i) EXPECT_EQ(value_at(*results_, i * 8), i);
}

// What this side wrote before is what its atomic sees, and a later READ sees the atomic.
TEST_F(Atomics, SeeEarlierWritesAndAreSeenByLaterReads) {
  Region source(*client.pd, 64, Access::kNone), sink(*client.pd, 64, sink_access());
  for (uint64_t round = 1; round < 50; ++round) {
    set_value(source, round * 1000);
    client.write(source.sge(0, 8), target_->remote(), target_->rkey());
    client.post(atomic(Opcode::kFetchAdd, 1));
    ASSERT_TRUE(finish(client.read(sink.sge(0, 8), target_->remote(), target_->rkey())));
    ASSERT_EQ(value_at(*results_), round * 1000);
    ASSERT_EQ(value_at(sink), round * 1000 + 1);
  }
}

TEST_F(Atomics, AFencedSendWaitsForTheOriginalValue) {
  Region inbox(*server.pd, 64, Access::kLocalWrite);
  set_value(*target_, 5);
  Op& received = server.receive(inbox.sge());
  client.post(atomic(Opcode::kFetchAdd, 1));
  const Sge answer = results_->sge(0, 8);
  client.post({.opcode = Opcode::kSend, .fence = true, .sges = {&answer, 1}});
  ASSERT_TRUE(finish(received));
  EXPECT_EQ(value_at(inbox), 5u);
}

TEST_F(Atomics, NeedTheRightOfTheirName) {
  Region plain(*server.pd, 64, Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteWrite);
  WorkRequest request = atomic(Opcode::kFetchAdd, 1);
  request.remote_addr = plain.remote();
  request.rkey = plain.rkey();
  const uint64_t before = value_at(plain);
  refused_by_the_peer(request);
  EXPECT_EQ(value_at(plain), before);
}

TEST_F(Atomics, StayInsideTheRegion) {
  WorkRequest request = atomic(Opcode::kFetchAdd, 1);
  request.remote_addr = target_->remote(4096);
  refused_by_the_peer(request);
}

TEST_F(Atomics, AreRefusedAtPostWhenMisshapen) {
  WorkRequest request = atomic(Opcode::kFetchAdd, 1);
  request.remote_addr.value += 4;
  EXPECT_EQ(client.try_post(request), PostStatus::kBadAtomic);
  request = atomic(Opcode::kCompareSwap, 1);
  sinks_.back().length = 4;
  EXPECT_EQ(client.try_post(request), PostStatus::kBadAtomic);
  sinks_.back().length = 16;
  EXPECT_EQ(client.try_post(request), PostStatus::kBadAtomic);
  request.sges = {};
  EXPECT_EQ(client.try_post(request), PostStatus::kBadAtomic);
  // The sink must be writable for its owner.
  Region unwritable(*client.pd, 64, Access::kNone);
  const Sge sink = unwritable.sge(0, 8);
  request = atomic(Opcode::kFetchAdd, 1);
  request.sges = {&sink, 1};
  EXPECT_EQ(client.try_post(request), PostStatus::kBadSge);
}

// Two connections, each served by a thread of its own, add to one counter.
TEST_F(Atomics, AreAtomicAmongConnections) {
  constexpr uint64_t kAdds = 300;
  const auto reactor_of = [] { return *Reactor::create(); };
  const std::unique_ptr<Reactor> far = reactor_of(), near = reactor_of();
  Side other_client{device, *near, "other client"}, other_server{device, *far, "other server"};
  std::swap(other_server.pd, server.pd);
  acceptor.server = &other_server;
  start_connect(other_client);
  std::atomic<bool> stop = false;
  ASSERT_TRUE(until([&] {
    far->poll();
    near->poll();
    return other_client.connected && other_server.connected;
  })) << other_client.detail;
  std::thread serving([&] {
    while (!stop) far->poll();
  });
  Region other_results(*other_client.pd, 64, Access::kLocalWrite);
  const Sge other_sink = other_results.sge(0, 8);
  WorkRequest there = atomic(Opcode::kFetchAdd, 1);
  there.sges = {&other_sink, 1};
  for (uint64_t i = 0; i < kAdds; ++i) {
    Op& mine = client.post(atomic(Opcode::kFetchAdd, 1));
    Op& theirs = other_client.post(there);
    ASSERT_TRUE(until([&] {
      near->poll();
      return mine.finished() && theirs.finished();
    }));
  }
  stop = true;
  serving.join();
  far->poll();  // is this thread's again
  EXPECT_EQ(value_at(*target_), 2 * kAdds);
  other_client.qp.reset();
  other_server.qp.reset();
  std::swap(other_server.pd, server.pd);
}

// ------------------------------------------------------------------------------- without them

// A peer without these operations, such as Linux's siw: the connection works, and the post reports
// the reason.
TEST_F(ConformanceTest, OperationsThatThePeerLacksAreRefusedByName) {
  MRPOOL_NEEDS(environment().address.transport == "uiwarp");
  Address without = environment().address;
  without.options += without.options.empty() ? "extensions=off" : "&extensions=off";
  auto plain = Device::open(without);
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_FALSE((*plain)->caps().immediate_data);
  EXPECT_EQ((*plain)->caps().atomics, AtomicScope::kNone);
  {
    Side peer(**plain, *reactor, "plain server");
    acceptor.server = &peer;
    listener = *(*plain)->listen(*reactor, Address{"uiwarp", "127.0.0.1", 0, ""}, acceptor);
    target = Address{"uiwarp", "127.0.0.1", listener->port(), ""};
    start_connect(client);
    ASSERT_TRUE(until([&] { return client.connected && peer.connected; })) << client.detail;
    Region memory(*client.pd, 64, Access::kLocalWrite);
    const Sge sge = memory.sge(0, 8);
    for (const Opcode opcode : {Opcode::kSendWithImm, Opcode::kRdmaWriteWithImm, Opcode::kFetchAdd,
                                Opcode::kCompareSwap}) {
      EXPECT_FALSE(client.qp->supports(opcode)) << to_string(opcode);
      EXPECT_EQ(client.try_post({.opcode = opcode, .sges = {&sge, 1}}),
                PostStatus::kPeerUnsupported);
      EXPECT_EQ(peer.try_post({.opcode = opcode, .sges = {}}), PostStatus::kUnsupported);
    }
    Region inbox(*peer.pd, 64, Access::kLocalWrite);
    Op& received = peer.receive(inbox.sge());
    client.send(sge);
    ASSERT_TRUE(finish(received));
    client.qp.reset();
    peer.qp.reset();
    listener.reset();
  }
}

}  // namespace
}  // namespace mrpool::conformance
