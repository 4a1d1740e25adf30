// Moving bytes: every operation, every size, in order, exactly once.
#include <poll.h>

#include <cstring>
#include <random>

#include "tests/conformance/fixture.h"

namespace mrpool::conformance {
namespace {

constexpr Access kLocal = Access::kLocalWrite;
constexpr Access kPeerReads = Access::kLocalWrite | Access::kRemoteRead;
constexpr Access kPeerWrites = Access::kLocalWrite | Access::kRemoteWrite;
constexpr size_t kMiB = size_t{1} << 20;

class Transfer : public ConformanceTest {};

TEST_F(Transfer, SendArrivesWhole) {
  connect();
  Region inbox(*server.pd, 256, kLocal);
  Region outbox(*client.pd, 100, Access::kNone);
  outbox.fill(1);
  Op& received = server.receive(inbox.sge());
  Op& sent = client.send(outbox.sge());
  ASSERT_TRUE(finish(received));
  ASSERT_TRUE(finish(sent));
  EXPECT_TRUE(sent.ok());
  EXPECT_EQ(sent.wc.opcode, Opcode::kSend);
  EXPECT_EQ(sent.wc.qp, client.qp.get());
  EXPECT_TRUE(received.ok());
  EXPECT_EQ(received.wc.opcode, Opcode::kRecv);
  EXPECT_EQ(received.wc.qp, server.qp.get());
  EXPECT_EQ(received.wc.byte_len, 100u);
  EXPECT_FALSE(received.wc.invalidated);
  EXPECT_TRUE(same_bytes(inbox.bytes(0, 100), outbox.bytes()));
  EXPECT_FALSE(inbox.differs(0, 100, 156));
}

TEST_F(Transfer, SolicitedIsPassedOn) {
  connect();
  Region inbox(*server.pd, 64, kLocal);
  Region outbox(*client.pd, 8, Access::kNone);
  Op& plain = server.receive(inbox.sge(0, 8));
  Op& asked = server.receive(inbox.sge(8, 8));
  const Sge sge = outbox.sge();
  client.send(sge);
  client.post({.opcode = Opcode::kSend, .solicited = true, .sges = {&sge, 1}});
  ASSERT_TRUE(finish(asked));
  EXPECT_TRUE(plain.ok());
  EXPECT_TRUE(asked.ok());
  if (caps().iwarp && caps().name.starts_with("uiwarp")) {
    // Verbs shows solicited events at the channel, not in the completion.
    EXPECT_FALSE(plain.wc.solicited);
    EXPECT_TRUE(asked.wc.solicited);
  }
}

TEST_F(Transfer, GatheredAndScattered) {
  connect({.max_send_sge = 3}, {.max_recv_sge = 2});
  Region inbox(*server.pd, 256, kLocal);
  Region outbox(*client.pd, 256, Access::kNone);
  outbox.fill(9);
  const std::array<Sge, 2> to = {inbox.sge(128, 10), inbox.sge(7, 100)};
  const std::array<Sge, 3> from = {outbox.sge(1, 5), outbox.sge(100, 20), outbox.sge(50, 7)};
  Op& received = server.receive(to);
  client.post({.opcode = Opcode::kSend, .sges = from});
  ASSERT_TRUE(finish(received));
  ASSERT_TRUE(received.ok());
  ASSERT_EQ(received.wc.byte_len, 32u);
  std::vector<std::byte> sent, got;
  for (const Sge& sge : from) sent.insert(sent.end(), sge.addr, sge.addr + sge.length);
  for (const Sge& sge : to) got.insert(got.end(), sge.addr, sge.addr + sge.length);
  got.resize(32);
  EXPECT_TRUE(same_bytes(got, sent));
  EXPECT_EQ(inbox.bytes()[7 + 22], std::byte{0});
}

TEST_F(Transfer, NothingAtAllIsAMessageToo) {
  connect();
  Region inbox(*server.pd, 64, kLocal);
  Op& first = server.receive(inbox.sge());
  Op& second = server.receive(std::span<const Sge>());
  client.post({.opcode = Opcode::kSend});
  client.post({.opcode = Opcode::kSend});
  ASSERT_TRUE(finish(second));
  EXPECT_TRUE(first.ok());
  EXPECT_EQ(first.wc.byte_len, 0u);
  EXPECT_TRUE(second.ok());
  EXPECT_FALSE(inbox.differs(0));
}

TEST_F(Transfer, EmptyWriteAndReadTouchNothing) {
  connect();
  Region remote(*server.pd, 64, kPeerReads | kPeerWrites);
  Region local(*client.pd, 64, sink_access());
  remote.fill(4);
  Op& write = client.write(local.sge(0, 0), remote.remote(), remote.rkey());
  Op& read = client.read(local.sge(0, 0), remote.remote(), remote.rkey());
  ASSERT_TRUE(finish(write));
  ASSERT_TRUE(finish(read));
  EXPECT_TRUE(write.ok());
  EXPECT_TRUE(read.ok());
  EXPECT_FALSE(remote.differs(4));
  EXPECT_FALSE(local.differs(0));
}

TEST_F(Transfer, WriteThenSendMakesTheDataVisible) {
  connect();
  Region remote(*server.pd, 64 * 1024, kPeerWrites);
  Region local(*client.pd, 64 * 1024, Access::kNone);
  Region inbox(*server.pd, 16, kLocal);
  for (uint8_t round = 1; round <= 50; ++round) {
    local.fill(round);
    Op& received = server.receive(inbox.sge());
    client.write(local.sge(), remote.remote(), remote.rkey());
    client.send(local.sge(0, 16));
    ASSERT_TRUE(finish(received));
    ASSERT_TRUE(received.ok());
    ASSERT_FALSE(remote.differs(round)) << "round " << int{round};
    ASSERT_TRUE(until([&] { return client.all_finished(); }));
  }
}

TEST_F(Transfer, ReadFetchesThePeersMemory) {
  connect();
  Region remote(*server.pd, 8192, kPeerReads);
  Region local(*client.pd, 8192, sink_access());
  remote.fill(5);
  Op& read = client.read(local.sge(100, 4000), remote.remote(33), remote.rkey());
  ASSERT_TRUE(finish(read));
  EXPECT_TRUE(read.ok());
  EXPECT_EQ(read.wc.opcode, Opcode::kRdmaRead);
  EXPECT_TRUE(same_bytes(local.bytes(100, 4000), remote.bytes(33, 4000)));
  EXPECT_FALSE(local.differs(0, 0, 100));
  EXPECT_FALSE(local.differs(0, 4100, 4092));
}

TEST_F(Transfer, MoreReadsThanCreditsCompleteInOrder) {
  connect({.ord = 4}, {.ird = 4});
  constexpr size_t kReads = 64;
  constexpr size_t kSize = 3000;
  Region remote(*server.pd, kReads * kSize, kPeerReads);
  Region local(*client.pd, kReads * kSize, sink_access());
  remote.fill(6);
  std::vector<Op*> reads;
  for (size_t i = 0; i < kReads; ++i) {
    reads.push_back(
        &client.read(local.sge(i * kSize, kSize), remote.remote(i * kSize), remote.rkey()));
  }
  ASSERT_TRUE(until([&] { return client.all_finished(); }));
  for (const Op* op : reads) EXPECT_TRUE(op->ok());
  EXPECT_EQ(client.finished, reads);
  EXPECT_TRUE(same_bytes(local.bytes(), remote.bytes()));
}

TEST_F(Transfer, AFenceWaitsForEarlierReads) {
  connect();
  Region remote(*server.pd, kMiB, kPeerReads);
  Region local(*client.pd, kMiB, sink_access());
  Region inbox(*server.pd, 16, kLocal);
  remote.fill(7);
  Op& received = server.receive(inbox.sge());
  Op& read = client.read(local.sge(), remote.remote(), remote.rkey());
  // The message echoes the first bytes of what the READ fetches.
  const Sge echo = local.sge(0, 16);
  client.post({.opcode = Opcode::kSend, .fence = true, .sges = {&echo, 1}});
  ASSERT_TRUE(finish(received));
  EXPECT_TRUE(received.ok());
  EXPECT_TRUE(finish(read));
  EXPECT_TRUE(same_bytes(inbox.bytes(), remote.bytes(0, 16)));
}

TEST_F(Transfer, LargeOnes) {
  connect();
  for (const size_t size : {kMiB - 1, kMiB + 1, 4 * kMiB + 3, 16 * kMiB}) {
    SCOPED_TRACE(size);
    if (size > caps().max_message) break;
    Region local(*client.pd, size, sink_access());
    Region remote(*server.pd, size, kPeerReads | kPeerWrites);
    local.fill(static_cast<uint8_t>(size % 200 + 1));
    Op& write = client.write(local.sge(), remote.remote(), remote.rkey());
    ASSERT_TRUE(finish(write));
    ASSERT_TRUE(write.ok());
    Region back(*client.pd, size, sink_access());
    Op& read = client.read(back.sge(), remote.remote(), remote.rkey());
    ASSERT_TRUE(finish(read));
    ASSERT_TRUE(read.ok());
    ASSERT_TRUE(same_bytes(back.bytes(), local.bytes()));
    Region inbox(*server.pd, size, kLocal);
    Op& received = server.receive(inbox.sge());
    Op& sent = client.send(local.sge());
    ASSERT_TRUE(finish(received));
    ASSERT_TRUE(received.ok());
    ASSERT_EQ(received.wc.byte_len, size);
    ASSERT_TRUE(same_bytes(inbox.bytes(), local.bytes()));
    ASSERT_TRUE(finish(sent));
  }
}

TEST_F(Transfer, BothDirectionsAtOnce) {
  connect();
  constexpr size_t kSize = 2 * kMiB;
  Region a(*client.pd, kSize, Access::kNone), b(*server.pd, kSize, Access::kNone);
  Region to_a(*client.pd, kSize, kPeerWrites), to_b(*server.pd, kSize, kPeerWrites);
  a.fill(1);
  b.fill(2);
  // Neither side reads before both have more to send than any socket buffer holds.
  Op& out = client.write(a.sge(), to_b.remote(), to_b.rkey());
  Op& in = server.write(b.sge(), to_a.remote(), to_a.rkey());
  ASSERT_TRUE(finish(out));
  ASSERT_TRUE(finish(in));
  Region inbox_a(*client.pd, 8, kLocal), inbox_b(*server.pd, 8, kLocal);
  Op& end_a = client.receive(inbox_a.sge());
  Op& end_b = server.receive(inbox_b.sge());
  client.send(a.sge(0, 8));
  server.send(b.sge(0, 8));
  ASSERT_TRUE(finish(end_a));
  ASSERT_TRUE(finish(end_b));
  EXPECT_TRUE(same_bytes(to_a.bytes(), b.bytes()));
  EXPECT_TRUE(same_bytes(to_b.bytes(), a.bytes()));
}

TEST_F(Transfer, UnsignalledIsSilent) {
  connect();
  Region inbox(*server.pd, 64, kLocal);
  Region outbox(*client.pd, 8, Access::kNone);
  for (int i = 0; i < 8; ++i) server.receive(inbox.sge(i * 8, 8));
  const Sge sge = outbox.sge();
  for (int i = 0; i < 7; ++i) {
    const WorkRequest silent{.opcode = Opcode::kSend, .signalled = false, .sges = {&sge, 1}};
    ASSERT_TRUE(client.qp->post_send(silent).ok());
  }
  Op& last = client.send(sge);
  ASSERT_TRUE(finish(last));
  ASSERT_TRUE(until([&] { return server.all_finished(); }));
  EXPECT_EQ(client.finished.size(), 1u);
  // Their slots come back with the next signalled completion: the queue never fills.
  for (int round = 0; round < 100; ++round) {
    for (int i = 0; i < 8; ++i) server.receive(inbox.sge(i * 8, 8));
    for (int i = 0; i < 7; ++i) {
      const WorkRequest silent{.opcode = Opcode::kSend, .signalled = false, .sges = {&sge, 1}};
      ASSERT_TRUE(client.qp->post_send(silent).ok());
    }
    ASSERT_TRUE(finish(client.send(sge)));
    ASSERT_TRUE(until([&] { return server.all_finished(); }));
  }
}

TEST_F(Transfer, AChainIsTakenInOrder) {
  connect();
  Region remote(*server.pd, 4096, kPeerWrites);
  Region local(*client.pd, 4096, Access::kNone);
  Region inbox(*server.pd, 64, kLocal);
  local.fill(8);
  Op& received = server.receive(inbox.sge());
  const Sge data = local.sge();
  const Sge message = local.sge(0, 64);
  Op& sent = client.ops.emplace_back(client, Opcode::kSend);
  const WorkRequest send{.completion = &sent, .opcode = Opcode::kSend, .sges = {&message, 1}};
  WorkRequest write{.next = const_cast<WorkRequest*>(&send),
                    .opcode = Opcode::kRdmaWrite,
                    .signalled = false,
                    .sges = {&data, 1},
                    .remote_addr = remote.remote(),
                    .rkey = remote.rkey()};
  ASSERT_TRUE(client.qp->post_send(write).ok());
  ASSERT_TRUE(finish(received));
  EXPECT_FALSE(remote.differs(8));
  EXPECT_TRUE(finish(sent));
}

TEST_F(Transfer, RequestsMayLiveOnTheStack) {
  connect();
  Region inbox(*server.pd, 64, kLocal);
  Region outbox(*client.pd, 64, Access::kNone);
  outbox.fill(2);
  Op& received = server.receive(inbox.sge());
  Op& sent = client.ops.emplace_back(client, Opcode::kSend);
  [&] {
    Sge sge = outbox.sge();
    WorkRequest request{.completion = &sent, .opcode = Opcode::kSend, .sges = {&sge, 1}};
    ASSERT_TRUE(client.qp->post_send(request).ok());
    // A device that kept the pointer would read this.
    sge = {nullptr, 0xffffffff, Lkey{0}};
    request = {.opcode = Opcode::kLocalInv};
  }();
  ASSERT_TRUE(finish(received));
  EXPECT_TRUE(received.ok());
  EXPECT_TRUE(same_bytes(inbox.bytes(), outbox.bytes()));
  EXPECT_TRUE(finish(sent));
}

TEST_F(Transfer, ThousandsOfMessagesInOrder) {
  connect();
  constexpr uint32_t kMessages = 5000;
  constexpr uint32_t kWindow = 100;
  Region inbox(*server.pd, kWindow * 4, kLocal);
  Region outbox(*client.pd, kWindow * 4, Access::kNone);
  uint32_t received = 0, posted = 0, sent = 0;
  for (; posted < kWindow; ++posted) server.receive(inbox.sge(posted * 4, 4));
  while (received < kMessages) {
    // A receive is there for every message on its way.
    while (sent < posted && sent - received < kWindow && sent < kMessages) {
      if (client.finished.size() + kWindow <= sent) break;
      std::memcpy(outbox.bytes(sent % kWindow * 4, 4).data(), &sent, 4);
      client.send(outbox.sge(sent % kWindow * 4, 4));
      ++sent;
    }
    ASSERT_TRUE(until([&] { return server.finished.size() > received; }));
    for (; received < server.finished.size(); ++received) {
      ASSERT_TRUE(server.finished[received]->ok());
      uint32_t number;
      std::memcpy(&number, inbox.bytes(received % kWindow * 4, 4).data(), 4);
      ASSERT_EQ(number, received);
      if (posted < kMessages) server.receive(inbox.sge(posted++ % kWindow * 4, 4));
    }
  }
  EXPECT_TRUE(until([&] { return client.all_finished(); }));
}

TEST_F(Transfer, RandomMixtureAgreesWithAModel) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 rng(seed);
  const auto below = [&](size_t n) { return static_cast<size_t>(rng() % n); };
  connect({.max_send_wr = 64});
  constexpr size_t kSize = 256 * 1024;
  Region local(*client.pd, kSize, sink_access());
  // The model trusts the order of WRITEs, so the region has to ask for it.
  Region remote(*server.pd, kSize, kPeerReads | kPeerWrites | Access::kDisableRelaxedOrdering);
  local.fill(1);
  remote.fill(2);
  std::vector<std::byte> local_model(local.bytes().begin(), local.bytes().end());
  std::vector<std::byte> remote_model(remote.bytes().begin(), remote.bytes().end());
  for (int round = 0; round < 300; ++round) {
    // One of each at most in flight, so that the model knows the order.
    const size_t length = below(2) == 0 ? below(200) : below(100'000);
    const size_t here = below(kSize - length), there = below(kSize - length);
    if (below(2) == 0) {
      client.write(local.sge(here, length), remote.remote(there), remote.rkey());
      std::copy_n(local_model.begin() + here, length, remote_model.begin() + there);
    } else {
      client.read(local.sge(here, length), remote.remote(there), remote.rkey());
      std::copy_n(remote_model.begin() + there, length, local_model.begin() + here);
    }
    ASSERT_TRUE(until([&] { return client.all_finished(); }));
    ASSERT_TRUE(client.finished.back()->ok()) << to_string(client.finished.back()->status());
  }
  // A READ that completed has passed every WRITE before it.
  client.read(local.sge(0, 1), remote.remote(0), remote.rkey());
  local_model[0] = remote_model[0];
  ASSERT_TRUE(until([&] { return client.all_finished(); }));
  EXPECT_TRUE(same_bytes(local.bytes(), local_model));
  EXPECT_TRUE(same_bytes(remote.bytes(), remote_model));
}

TEST_F(Transfer, IdleForeignLoopIsWokenByWorkOfItsOwnThread) {
  // Work handed to a Qp after Reactor::arm() must make Reactor::fd() readable.
  connect();
  Region inbox(*server.pd, 64, kLocal);
  Region outbox(*client.pd, 64, Access::kNone);
  for (int round = 0; round < 20; ++round) {
    Op& received = server.receive(inbox.sge());
    for (int i = 0; i < 10; ++i) reactor->poll();
    while (!reactor->arm()) reactor->poll();
    client.send(outbox.sge());
    const auto limit = std::chrono::steady_clock::now() + environment().patience;
    while (!received.finished()) {
      pollfd wait{.fd = reactor->fd(), .events = POLLIN, .revents = 0};
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          limit - std::chrono::steady_clock::now());
      ASSERT_EQ(::poll(&wait, 1, static_cast<int>(left.count())), 1) << "round " << round;
      while (reactor->poll() > 0 || !reactor->arm()) {
      }
    }
    EXPECT_TRUE(received.ok());
  }
  EXPECT_TRUE(until([&] { return client.all_finished(); }));
}

}  // namespace
}  // namespace mrpool::conformance
