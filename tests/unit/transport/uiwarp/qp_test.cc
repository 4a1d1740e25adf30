// Two Qps over a network that splits, delays and breaks, under seeds.
#include <gtest/gtest.h>

#include "tests/sim/network.h"
#include "tests/sim/reactor.h"
#include "tests/unit/transport/uiwarp/transfer.h"
#include "transport/uiwarp/terminate.h"

namespace mrpool::uiwarp::testing {
namespace {

sim::NetworkOptions bad_network(uint64_t seed) {
  sim::NetworkOptions options{.seed = seed};
  const size_t transfers[] = {1, 3, 50, 1500, 20'000, 100'000};
  const size_t windows[] = {40, 3000, 65'536, 1 << 20};
  options.max_transfer = transfers[seed % 6];
  options.window = windows[seed / 6 % 4];
  options.stall_per_million = seed % 5 == 0 ? 2000 : 0;
  return options;
}

class World {
 public:
  explicit World(uint64_t seed, bool crc = true)
      : network(std::make_shared<sim::SimNetwork>(reactor, bad_network(seed))),
        pair(reactor, network, {.crc = crc, .seed = seed}) {
    pair.step = [this] { reactor.step(); };
  }
  template <typename Condition>
  bool until(Condition&& condition, int steps = 3'000'000) {
    for (int i = 0; i < steps; ++i) {
      if (condition()) return true;
      if (!reactor.step()) return condition();
    }
    return false;
  }
  void connect() {
    pair.listen();
    pair.dial();
    ASSERT_TRUE(until([&] { return pair.client.connected && pair.server.connected; }));
  }

  sim::SimReactor reactor;
  std::shared_ptr<sim::SimNetwork> network;
  Pair pair;
};

class Seeded : public ::testing::TestWithParam<uint64_t> {};

TEST_P(Seeded, TransfersArriveIntact) {
  SCOPED_TRACE(GetParam());
  World world(GetParam(), GetParam() % 2 == 0);
  world.connect();
  const size_t unit = GetParam() % 6 < 2 ? 300 : 5000;  // what one byte at a time can carry
  run_sends(world.pair, 1, 3);
  run_sends(world.pair, unit, 20);
  run_write_and_read(world.pair, 1);
  run_write_and_read(world.pair, unit * 7);
  run_fast_registration(world.pair, unit);
}

// One side of MixedTrafficBothWays, with all that it posts.
struct Party {
  static constexpr size_t kSpan = 2000;
  static constexpr int kRounds = 15;

  Party(Side& me_in, Side& peer_in)
      : me(me_in),
        peer(peer_in),
        source(*me.pd, kSpan, Access::kNone),
        sink(*me.pd, kRounds * kSpan, kSink),
        remote(*peer.pd, kRounds * kSpan, kSink | Access::kRemoteRead),
        inbox(*peer.pd, kRounds * kSpan, Access::kLocalWrite) {}

  void prepare(unsigned seed) {
    source.pattern(seed);
    for (int i = 0; i < kRounds; ++i) {
      const Sge sge = inbox.mr->sge(i * kSpan, kSpan);
      ASSERT_EQ(peer.qp->post_recv({.completion = &receives[i], .sges = {&sge, 1}}),
                PostStatus::kOk);
    }
  }
  // A WRITE, a READ of what it wrote, and a SEND, in one chain.
  void post_round(int i, uint32_t size) {
    const Sge from = source.mr->sge(kSpan - size, size);
    const Sge to = sink.mr->sge(i * kSpan, size);
    for (Recorded* each : {&writes[i], &reads[i], &sends[i]}) {
      each->log = &order;
      posted.push_back(each);
    }
    WorkRequest send{.completion = &sends[i], .sges = {&from, 1}};
    WorkRequest read{.next = &send,
                     .completion = &reads[i],
                     .opcode = Opcode::kRdmaRead,
                     .sges = {&to, 1},
                     .remote_addr = remote.at(i * kSpan),
                     .rkey = remote.mr->rkey()};
    ASSERT_EQ(me.send({.next = &read,
                       .completion = &writes[i],
                       .opcode = Opcode::kRdmaWrite,
                       .sges = {&from, 1},
                       .remote_addr = remote.at(i * kSpan),
                       .rkey = remote.mr->rkey()}),
              PostStatus::kOk);
  }
  bool done() const { return order.size() == 3 * kRounds && receives.back().done(); }
  void check() const {
    EXPECT_EQ(order, posted) << "completions left their order";
    for (int i = 0; i < kRounds; ++i) {
      EXPECT_TRUE(writes[i].good() && reads[i].good() && sends[i].good());
      ASSERT_TRUE(receives[i].good());
      const uint32_t size = receives[i].wc.byte_len;
      const std::byte* expected = source.memory.data() + kSpan - size;
      EXPECT_EQ(std::memcmp(inbox.memory.data() + i * kSpan, expected, size), 0);
      EXPECT_EQ(std::memcmp(sink.memory.data() + i * kSpan, expected, size), 0);
    }
  }

  Side& me;
  Side& peer;
  Buffer source, sink, remote, inbox;
  std::array<Recorded, kRounds> writes, reads, sends, receives;
  std::vector<Recorded*> order, posted;
};

// Everything at once in both directions: completions in order, every byte where it belongs.
TEST_P(Seeded, MixedTrafficBothWays) {
  SCOPED_TRACE(GetParam());
  World world(GetParam() + 1000);
  world.connect();
  std::mt19937_64 draw(GetParam());
  Party parties[] = {{world.pair.client, world.pair.server},
                     {world.pair.server, world.pair.client}};
  for (Party& party : parties) party.prepare(static_cast<unsigned>(draw()));
  for (int i = 0; i < Party::kRounds; ++i) {
    for (Party& party : parties) {
      party.post_round(i, static_cast<uint32_t>(1 + draw() % Party::kSpan));
    }
  }
  ASSERT_TRUE(world.until([&] { return parties[0].done() && parties[1].done(); }))
      << parties[0].order.size() << " " << parties[1].order.size();
  for (const Party& party : parties) party.check();
}

// The connection breaks at a moment of the seed's choosing: every request completes exactly once,
// in order, both sides are notified of the end once, and nothing is called afterwards.
TEST_P(Seeded, EverythingCompletesOnceWhenTheConnectionBreaks) {
  SCOPED_TRACE(GetParam());
  World world(GetParam() + 2000);
  world.connect();
  std::mt19937_64 draw(GetParam());
  Buffer source(*world.pair.client.pd, 3000, Access::kNone);
  Buffer remote(*world.pair.server.pd, 3000, kSink | Access::kRemoteRead);
  Buffer sink(*world.pair.client.pd, 3000, kSink);
  Buffer inbox(*world.pair.server.pd, 3000, Access::kLocalWrite);
  std::vector<Recorded*> order;
  std::array<Recorded, 30> work;
  std::array<Recorded, 20> receives;
  for (Recorded& each : receives) {
    const Sge sge = inbox.sge();
    ASSERT_EQ(world.pair.server.qp->post_recv({.completion = &each, .sges = {&sge, 1}}),
              PostStatus::kOk);
  }
  for (size_t i = 0; i < work.size(); ++i) {
    work[i].log = &order;
    const Opcode opcode = i % 3 == 0   ? Opcode::kRdmaRead
                          : i % 3 == 1 ? Opcode::kRdmaWrite
                                       : Opcode::kSend;
    const Sge sge = opcode == Opcode::kRdmaRead ? sink.sge() : source.sge();
    ASSERT_EQ(world.pair.client.send({.completion = &work[i],
                                      .opcode = opcode,
                                      .sges = {&sge, 1},
                                      .remote_addr = remote.at(0),
                                      .rkey = remote.mr->rkey()}),
              PostStatus::kOk);
  }
  for (uint64_t steps = draw() % 3000; steps > 0; --steps) world.reactor.step();
  switch (GetParam() % 3) {
    case 0:
      world.network->break_all();
      break;
    case 1:
      world.pair.server.qp->abort();
      break;
    case 2:
      world.pair.client.qp->abort();
      break;
  }
  ASSERT_TRUE(world.until(
      [&] { return world.pair.client.disconnected && world.pair.server.disconnected; }));
  ASSERT_EQ(order.size(), work.size());
  bool flushing = false;
  for (size_t i = 0; i < work.size(); ++i) {
    EXPECT_EQ(order[i], &work[i]);
    EXPECT_EQ(work[i].calls, 1);
    EXPECT_EQ(work[i].wc.qp, world.pair.client.qp.get());
    const bool good = work[i].wc.status == WcStatus::kSuccess;
    if (!good) {
      EXPECT_EQ(work[i].wc.status, WcStatus::kFlushed);
    }
    // A READ delays later requests that have completed already, so successes may follow a flush,
    // but not for READs themselves.
    if (i % 3 == 0) {
      EXPECT_FALSE(flushing && good);
      flushing |= !good;
    }
  }
  for (Recorded& each : receives) EXPECT_EQ(each.calls, 1);
  EXPECT_EQ(world.pair.client.send({}), PostStatus::kNotConnected);
}

INSTANTIATE_TEST_SUITE_P(Seeds, Seeded, ::testing::Range<uint64_t>(0, 48));

// --- Rules of the send queue ---

TEST(SendQueue, OrdLimitsReadsAndKeepsTheOrder) {
  World world(4);
  world.pair.server.options.ird = 2;
  world.connect();
  EXPECT_EQ(world.pair.client.qp->ord(), 2);
  Buffer remote(*world.pair.server.pd, 64, Access::kRemoteRead);
  Buffer sink(*world.pair.client.pd, 64, kSink);
  std::array<Recorded, 20> reads;
  std::vector<Recorded*> order;
  for (Recorded& each : reads) {
    each.log = &order;
    const Sge sge = sink.sge();
    ASSERT_EQ(world.pair.client.send({.completion = &each,
                                      .opcode = Opcode::kRdmaRead,
                                      .sges = {&sge, 1},
                                      .remote_addr = remote.at(0),
                                      .rkey = remote.mr->rkey()}),
              PostStatus::kOk);
  }
  ASSERT_TRUE(world.until([&] { return order.size() == reads.size(); }));
  for (size_t i = 0; i < reads.size(); ++i) EXPECT_EQ(order[i], &reads[i]);
}

TEST(SendQueue, FullQueueRefusesAndRecovers) {
  World world(4);
  world.connect();
  Buffer remote(*world.pair.server.pd, 64, kSink);
  Recorded done;
  const WorkRequest write{.completion = &done,
                          .opcode = Opcode::kRdmaWrite,
                          .remote_addr = remote.at(0),
                          .rkey = remote.mr->rkey()};
  for (uint32_t i = 0; i < kDepth; ++i) ASSERT_EQ(world.pair.client.send(write), PostStatus::kOk);
  EXPECT_EQ(world.pair.client.send(write), PostStatus::kQueueFull);
  EXPECT_EQ(done.calls, 0) << "called from inside post";
  ASSERT_TRUE(world.until([&] { return done.calls == int(kDepth); }));
  EXPECT_EQ(world.pair.client.send(write), PostStatus::kOk);
}

TEST(SendQueue, RefusedChainsSayWhere) {
  World world(4);
  world.connect();
  Buffer good(*world.pair.client.pd, 64, Access::kNone);
  Buffer foreign(*world.pair.server.pd, 64, Access::kNone);
  Buffer out_of_bounds(*world.pair.client.pd, 64, Access::kNone);
  const Sge fine = good.sge();
  const Sge wrong_device = foreign.sge();
  Sge too_long = out_of_bounds.sge();
  too_long.length = 65;
  Recorded done;
  const std::array<Sge, 5> many{fine, fine, fine, fine, fine};
  const auto status_of = [&](std::span<const Sge> sges, Opcode opcode = Opcode::kSend) {
    WorkRequest bad{.completion = &done, .opcode = opcode, .sges = sges};
    const WorkRequest first{.next = &bad, .completion = &done, .opcode = Opcode::kRdmaWrite};
    const PostResult result = world.pair.client.qp->post_send(first);
    EXPECT_EQ(result.refused, &bad);
    return result.status;
  };
  EXPECT_EQ(status_of({&wrong_device, 1}), PostStatus::kBadSge);
  EXPECT_EQ(status_of({&too_long, 1}), PostStatus::kBadSge);
  EXPECT_EQ(status_of(many), PostStatus::kTooManySges);
  EXPECT_EQ(status_of({&fine, 1}, Opcode::kRdmaRead), PostStatus::kBadSge) << "sink not writable";
  EXPECT_EQ(status_of({many.data(), 2}, Opcode::kRdmaRead), PostStatus::kTooManySges);
  EXPECT_EQ(status_of({}, Opcode::kLocalInv), PostStatus::kBadKey);
  EXPECT_EQ(status_of({}, Opcode::kRegMr), PostStatus::kBadKey);
  EXPECT_EQ(status_of({}, Opcode::kRecv), PostStatus::kUnsupported);
}

TEST(SendQueue, FenceWaitsForReads) {
  World world(4);
  world.connect();
  Buffer remote(*world.pair.server.pd, 64, Access::kRemoteRead | kSink, 0x77);
  Buffer local(*world.pair.client.pd, 64, kSink);
  Buffer echo(*world.pair.server.pd, 64, kSink);
  const Sge sge = local.sge();
  Recorded read, write;
  // The WRITE sends what the READ brings; only the fence makes that right.
  WorkRequest fenced{.completion = &write,
                     .opcode = Opcode::kRdmaWrite,
                     .fence = true,
                     .sges = {&sge, 1},
                     .remote_addr = echo.at(0),
                     .rkey = echo.mr->rkey()};
  ASSERT_EQ(world.pair.client.send({.next = &fenced,
                                    .completion = &read,
                                    .opcode = Opcode::kRdmaRead,
                                    .sges = {&sge, 1},
                                    .remote_addr = remote.at(0),
                                    .rkey = remote.mr->rkey()}),
            PostStatus::kOk);
  ASSERT_TRUE(world.until([&] { return echo.memory.back() == std::byte(0x77); }));
  EXPECT_EQ(echo.memory, remote.memory);
}

TEST(SendQueue, RegistrationServesTheRequestAfterIt) {
  World world(4);
  world.connect();
  Buffer remote(*world.pair.server.pd, 300, Access::kRemoteRead, 0x31);
  Buffer local(*world.pair.client.pd, 300, Access::kLocalWrite);
  auto made = world.pair.client.pd->alloc_fast_mr({.sg_gaps = true, .ceiling = kSink});
  ASSERT_TRUE(made.ok());
  FastMr& key = **made;
  const Sge parts[] = {local.mr->sge(200, 100), local.mr->sge(0, 150), local.mr->sge(160, 10)};
  ASSERT_EQ(key.map(parts), 3u);
  EXPECT_EQ(key.length(), 260u);
  const Sge sink = key.sge();
  Recorded read;
  WorkRequest wr_read{.completion = &read,
                      .opcode = Opcode::kRdmaReadWithInv,
                      .sges = {&sink, 1},
                      .remote_addr = remote.at(0),
                      .rkey = remote.mr->rkey()};
  ASSERT_EQ(world.pair.client.send({.next = &wr_read,
                                    .opcode = Opcode::kRegMr,
                                    .signalled = false,
                                    .mr = &key,
                                    .access = kSink}),
            PostStatus::kOk);
  ASSERT_TRUE(world.until([&] { return read.done(); })) << world.pair.client.detail;
  ASSERT_TRUE(read.good());
  for (size_t i = 0; i < 300; ++i) {
    const bool mapped = i >= 200 || i < 150 || (i >= 160 && i < 170);
    EXPECT_EQ(local.memory[i], std::byte(mapped ? 0x31 : 0)) << i;
  }
  // The READ ended the key.
  EXPECT_EQ(world.pair.client.send({.opcode = Opcode::kLocalInv, .rkey = key.rkey()}),
            PostStatus::kBadKey);
}

TEST(SendQueue, LocalInvalidationEndsAKeyForThePeer) {
  World world(4);
  world.connect();
  Buffer memory(*world.pair.client.pd, 64, Access::kLocalWrite);
  auto made = world.pair.client.pd->alloc_fast_mr({.ceiling = kSink});
  FastMr& key = **made;
  const Sge sge = memory.sge();
  ASSERT_EQ(key.map({&sge, 1}), 1u);
  Recorded reg, inv, write;
  ASSERT_EQ(world.pair.client.send({.completion = &reg,
                                    .opcode = Opcode::kRegMr,
                                    .mr = &key,
                                    .access = kSink | Access::kRemoteRead}),
            PostStatus::kAccessDenied)
      << "beyond the ceiling";
  ASSERT_EQ(world.pair.client.send(
                {.completion = &reg, .opcode = Opcode::kRegMr, .mr = &key, .access = kSink}),
            PostStatus::kOk);
  ASSERT_EQ(
      world.pair.client.send({.completion = &inv, .opcode = Opcode::kLocalInv, .rkey = key.rkey()}),
      PostStatus::kOk);
  ASSERT_TRUE(world.until([&] { return inv.done(); }));
  EXPECT_TRUE(reg.good());
  EXPECT_TRUE(inv.good());
  Buffer out(*world.pair.server.pd, 64, Access::kNone, 0x99);
  const Sge from = out.sge();
  ASSERT_EQ(world.pair.server.send({.completion = &write,
                                    .opcode = Opcode::kRdmaWrite,
                                    .sges = {&from, 1},
                                    .remote_addr = key.remote_addr(),
                                    .rkey = key.rkey()}),
            PostStatus::kOk);
  ASSERT_TRUE(world.until(
      [&] { return world.pair.client.disconnected && world.pair.server.disconnected; }));
  EXPECT_EQ(world.pair.client.why.reason, DisconnectReason::kProtocol);
  EXPECT_EQ(world.pair.server.why.reason, DisconnectReason::kTerminated);
  EXPECT_EQ(memory.memory[0], std::byte(0));
}

TEST(SendQueue, ReadThePeerRefusesEndsWithRemoteAccess) {
  World world(4);
  world.connect();
  Buffer remote(*world.pair.server.pd, 64, Access::kNone);
  Buffer sink(*world.pair.client.pd, 64, kSink);
  const Sge sge = sink.sge();
  Recorded read, behind;
  WorkRequest send{.completion = &behind};
  ASSERT_EQ(world.pair.client.send({.next = &send,
                                    .completion = &read,
                                    .opcode = Opcode::kRdmaRead,
                                    .sges = {&sge, 1},
                                    .remote_addr = remote.at(0),
                                    .rkey = remote.mr->rkey()}),
            PostStatus::kOk);
  ASSERT_TRUE(world.until([&] { return world.pair.client.disconnected; }));
  EXPECT_EQ(read.wc.status, WcStatus::kRemoteAccess);
  EXPECT_EQ(read.calls, 1);
  EXPECT_EQ(behind.calls, 1);
  EXPECT_EQ(world.pair.client.why.reason, DisconnectReason::kTerminated);
}

TEST(Srq, ServesSeveralQpsInOrder) {
  World world(4);
  auto srq = *world.pair.server.pd->create_srq(world.reactor, {.max_wr = 8, .max_sge = 1});
  world.pair.server.options.srq = srq.get();
  world.connect();
  Buffer inbox(*world.pair.server.pd, 64, Access::kLocalWrite);
  Buffer out(*world.pair.client.pd, 16, Access::kNone, 0x61);
  const Sge to = inbox.sge(), from = out.sge();
  Recorded received[3], sent;
  for (Recorded& each : received) {
    ASSERT_EQ(srq->post_recv({.completion = &each, .sges = {&to, 1}}), PostStatus::kOk);
  }
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(world.pair.client.send({.completion = &sent, .sges = {&from, 1}}), PostStatus::kOk);
  }
  ASSERT_TRUE(world.until([&] { return received[1].done(); }));
  EXPECT_TRUE(received[0].good());
  EXPECT_EQ(received[0].wc.qp, world.pair.server.qp.get());
  world.pair.client.qp->disconnect();
  ASSERT_TRUE(world.until([&] { return world.pair.server.disconnected; }));
  EXPECT_FALSE(received[2].done()) << "a receive of the Srq outlives the Qp";
}

// A server whose Srq is empty, and a client that sends to it.
struct EmptySrq {
  explicit EmptySrq(uint64_t seed, Nanoseconds patience) : world(seed) {
    srq = *world.pair.server.pd->create_srq(world.reactor, {.max_wr = 8, .max_sge = 1});
    world.pair.server.options.srq = srq.get();
    world.pair.server.options.receive_wait = patience;
    world.connect();
    inbox = std::make_unique<Buffer>(*world.pair.server.pd, 5000, Access::kLocalWrite);
    out = std::make_unique<Buffer>(*world.pair.client.pd, 5000, Access::kNone);
    out->pattern(7);
  }
  ~EmptySrq() { world.pair.server.qp.reset(); }
  void send(Recorded& sent) {
    const Sge from = out->sge();
    ASSERT_EQ(world.pair.client.send({.completion = &sent, .sges = {&from, 1}}), PostStatus::kOk);
  }
  void receive(Recorded& received) {
    const Sge to = inbox->sge();
    ASSERT_EQ(srq->post_recv({.completion = &received, .sges = {&to, 1}}), PostStatus::kOk);
  }
  void settle() {
    for (int i = 0; i < 2000; ++i) world.reactor.step();
  }
  World world;
  std::unique_ptr<Srq> srq;
  std::unique_ptr<Buffer> inbox, out;
};

TEST_P(Seeded, SendsWaitForReceivesOfAnEmptySrq) {
  SCOPED_TRACE(GetParam());
  EmptySrq test(GetParam(), Nanoseconds::max());
  constexpr int kSends = 5;
  Recorded sent[kSends], received[kSends];
  for (Recorded& each : sent) test.send(each);
  for (Recorded& each : received) {
    test.settle();
    EXPECT_FALSE(each.done());
    test.inbox->pattern(0);
    test.receive(each);
    ASSERT_TRUE(test.world.until([&] { return each.done(); }));
    EXPECT_TRUE(each.good());
    EXPECT_EQ(test.inbox->memory, test.out->memory);
  }
  EXPECT_TRUE(test.world.until([&] { return sent[kSends - 1].done(); }));
}

// Nothing else would wake it: the peer's bytes are here.
TEST(EmptySrq, TheReactorDoesNotSleepWhenAReceiveHasComeForASend) {
  EmptySrq test(4, Nanoseconds::max());
  Recorded sent, received;
  test.send(sent);
  test.settle();
  test.world.reactor.poll();
  test.receive(received);
  EXPECT_FALSE(test.world.reactor.arm());
  EXPECT_TRUE(test.world.until([&] { return received.done(); }));
}

TEST(EmptySrq, ASendEndsTheConnectionWhenItMayNotWait) {
  EmptySrq test(4, Nanoseconds::zero());
  Recorded sent;
  test.send(sent);
  ASSERT_TRUE(test.world.until([&] { return test.world.pair.server.disconnected; }));
  EXPECT_EQ(test.world.pair.server.detail, to_string(term::kUntaggedNoBuffer));
}

TEST(EmptySrq, ASendThatHasWaitedLongEnoughEndsTheConnection) {
  EmptySrq test(4, std::chrono::seconds(3));
  Recorded sent;
  const Nanoseconds start = test.world.reactor.now();
  test.send(sent);
  ASSERT_TRUE(test.world.until([&] { return test.world.pair.client.disconnected; }));
  EXPECT_GE(test.world.reactor.now() - start, std::chrono::seconds(3));
  EXPECT_EQ(test.world.pair.server.detail, to_string(term::kUntaggedNoBuffer));
  EXPECT_EQ(test.world.pair.client.why.reason, DisconnectReason::kTerminated);
  EXPECT_EQ(test.world.pair.server.qp->statistics().receives_missing, 1u);
}

TEST(EmptySrq, AnEndDropsWhatWaits) {
  for (const bool abort : {false, true}) {
    EmptySrq test(4, Nanoseconds::max());
    Recorded sent, late;
    test.send(sent);
    test.settle();
    if (abort) {
      test.world.pair.server.qp->abort();
    } else {
      test.world.pair.server.qp->disconnect();
    }
    ASSERT_TRUE(test.world.until([&] { return test.world.pair.server.disconnected; }));
    EXPECT_EQ(test.world.pair.server.why.reason, DisconnectReason::kLocal);
    test.receive(late);  // wakes nobody
    test.settle();
    EXPECT_FALSE(late.done());
    test.world.pair.server.qp.reset();
    test.srq.reset();
  }
}

TEST(EmptySrq, ForAPeerThatHasClosedAMessageWaitsASingleWhile) {
  EmptySrq test(19, Nanoseconds::max());  // all of it fits into the stream
  Recorded sent;
  test.send(sent);
  test.settle();
  test.world.pair.client.qp->disconnect();
  ASSERT_TRUE(test.world.until([&] { return test.world.pair.server.disconnected; }));
  EXPECT_EQ(test.world.pair.server.why.reason, DisconnectReason::kPeer);
  EXPECT_TRUE(sent.good());
}

TEST(EmptySrq, AReceiveOfTheQpsOwnIsWaitedForToo) {
  World world(4);
  world.pair.server.options.receive_wait = Nanoseconds::max();
  world.connect();
  Buffer inbox(*world.pair.server.pd, 64, Access::kLocalWrite);
  Buffer out(*world.pair.client.pd, 16, Access::kNone, 0x61);
  const Sge to = inbox.sge(), from = out.sge();
  Recorded received, sent;
  ASSERT_EQ(world.pair.client.send({.completion = &sent, .sges = {&from, 1}}), PostStatus::kOk);
  for (int i = 0; i < 2000; ++i) world.reactor.step();
  EXPECT_FALSE(world.pair.server.disconnected);
  ASSERT_EQ(world.pair.server.qp->post_recv({.completion = &received, .sges = {&to, 1}}),
            PostStatus::kOk);
  ASSERT_TRUE(world.until([&] { return received.done(); }));
  EXPECT_TRUE(received.good());
}

TEST(Connection, DialingWithoutAListenerIsReported) {
  World world(4);
  auto made = world.pair.client_device->connect(
      {.transport = "uiwarp", .host = "", .port = 1, .options = {}}, *world.pair.client.pd,
      world.pair.client_options, {}, world.pair.client);
  ASSERT_TRUE(made.ok());
  world.pair.client.qp = *std::move(made);
  Recorded received;
  Buffer inbox(*world.pair.client.pd, 64, Access::kLocalWrite);
  const Sge to = inbox.sge();
  ASSERT_EQ(world.pair.client.qp->post_recv({.completion = &received, .sges = {&to, 1}}),
            PostStatus::kOk);
  ASSERT_TRUE(world.until([&] { return world.pair.client.disconnected; }));
  EXPECT_EQ(received.wc.status, WcStatus::kFlushed);
  EXPECT_FALSE(world.pair.client.connected);
}

TEST(Connection, DestroyingAQpFlushesFromTheDestructor) {
  World world(4);
  world.connect();
  Buffer inbox(*world.pair.server.pd, 64, Access::kLocalWrite);
  const Sge to = inbox.sge();
  Recorded received;
  ASSERT_EQ(world.pair.server.qp->post_recv({.completion = &received, .sges = {&to, 1}}),
            PostStatus::kOk);
  world.pair.server.qp.reset();
  EXPECT_EQ(received.calls, 1);
  EXPECT_EQ(received.wc.status, WcStatus::kFlushed);
  EXPECT_FALSE(world.pair.server.disconnected);
  ASSERT_TRUE(world.until([&] { return world.pair.client.disconnected; }));
}

TEST(Connection, QpMayDieInsideItsOwnEvents) {
  World world(4);
  world.connect();
  world.pair.server.after_disconnect = [&] { world.pair.server.qp.reset(); };
  Buffer inbox(*world.pair.client.pd, 64, Access::kLocalWrite);
  const Sge to = inbox.sge();
  Recorded received;
  received.then = [&] { world.pair.client.qp.reset(); };
  ASSERT_EQ(world.pair.client.qp->post_recv({.completion = &received, .sges = {&to, 1}}),
            PostStatus::kOk);
  Recorded sent;
  ASSERT_EQ(world.pair.server.send({.completion = &sent}), PostStatus::kOk);
  ASSERT_TRUE(world.until([&] { return world.pair.server.disconnected; }));
  EXPECT_EQ(world.pair.client.qp, nullptr);
  EXPECT_EQ(world.pair.server.qp, nullptr);
}

TEST(Connection, CloseNotifiesBothSidesAndSendsWhatWasPosted) {
  World world(4);
  world.connect();
  Buffer inbox(*world.pair.server.pd, 5000, Access::kLocalWrite);
  Buffer out(*world.pair.client.pd, 5000, Access::kNone, 0x42);
  const Sge to = inbox.sge(), from = out.sge();
  Recorded received, sent;
  ASSERT_EQ(world.pair.server.qp->post_recv({.completion = &received, .sges = {&to, 1}}),
            PostStatus::kOk);
  ASSERT_EQ(world.pair.client.send({.completion = &sent, .sges = {&from, 1}}), PostStatus::kOk);
  world.pair.client.qp->disconnect();
  ASSERT_TRUE(world.until(
      [&] { return world.pair.client.disconnected && world.pair.server.disconnected; }));
  EXPECT_TRUE(sent.good());
  EXPECT_TRUE(received.good());
  EXPECT_EQ(world.pair.client.why.reason, DisconnectReason::kLocal);
  EXPECT_EQ(world.pair.server.why.reason, DisconnectReason::kPeer);
}

TEST(Connection, AnOldPeerWithoutAnswerTimesOut) {
  World world(4);
  // A listener of the network that never answers.
  struct Mute final : AcceptHandler {
    void on_accept(std::unique_ptr<Stream> stream) override { kept = std::move(stream); }
    void on_accept_error(const absl::Status& error) override { ADD_FAILURE() << error; }
    std::unique_ptr<Stream> kept;
  } mute;
  auto listener = *world.network->listen(
      world.reactor, {.transport = "uiwarp", .host = "", .port = 0, .options = {}}, mute);
  auto made = world.pair.client_device->connect(
      {.transport = "uiwarp", .host = "", .port = listener->port(), .options = {}},
      *world.pair.client.pd, world.pair.client_options, {}, world.pair.client);
  ASSERT_TRUE(made.ok());
  world.pair.client.qp = *std::move(made);
  ASSERT_TRUE(world.until([&] { return world.pair.client.disconnected; }));
  EXPECT_EQ(world.pair.client.why.reason, DisconnectReason::kTimeout);
}

}  // namespace
}  // namespace mrpool::uiwarp::testing
