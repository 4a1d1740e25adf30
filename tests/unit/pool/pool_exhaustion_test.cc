// A pool that is too small makes transfers slow; it fails none and ends no connection. Linux had
// this as a fault in production in March 2026 (00da250c21b0): a queue pair's pool ran dry, requests
// failed, connections were dropped and the peers sent again.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <vector>

#include "mrpool/callback.h"
#include "mrpool/rw.h"
#include "tests/unit/pool/fake_device.h"

namespace mrpool {
namespace {

using testing::fake_caps;
using testing::FakePd;
using testing::FakeQp;
using testing::FakeReactor;

constexpr size_t kConnections = 8;
constexpr size_t kReads = 32;  // of each connection

struct Connection;

struct Read : RwOperation {
  explicit Read(Connection& of) : RwOperation(to_method<&Read::finished>), connection(of) {}
  void finished(WcStatus status);
  Connection& connection;
};

struct Connection {
  FakeQp qp;
  std::unique_ptr<RwContext> context;
  std::deque<Read> reads;
  std::vector<const Read*> done;
  size_t failed = 0;
};

void Read::finished(WcStatus status) {
  connection.done.push_back(this);
  connection.failed += status != WcStatus::kSuccess;
}

TEST(PoolExhaustion, FailsNoTransferAndDropsNoConnection) {
  DeviceCaps caps = fake_caps();
  caps.iwarp = caps.read_sink_needs_remote_write = true;
  const RwLimits limits{.max_operations = kReads, .max_segments = 1};
  const RwQueueNeeds needs = rw_queue_needs(caps, limits);
  FakePd pd(caps);
  FakeReactor reactor;
  auto pool = *MrPool::create(pd, {.count = 1, .max_segments = 1, .access = needs.pool_access});
  std::byte memory[64];
  const Sge sge{memory, sizeof memory, Lkey{1}};

  std::deque<Connection> connections;
  for (size_t c = 0; c < kConnections; ++c) {
    Connection& connection = connections.emplace_back(Connection{
        .qp = FakeQp(pd, reactor, needs.send_wr, 16), .context = {}, .reads = {}, .done = {}});
    connection.context = *RwContext::create(connection.qp, pool.get(), limits);
    for (size_t r = 0; r < kReads; ++r) {
      ASSERT_EQ(
          connection.context->start(connection.reads.emplace_back(connection), RwDirection::kRead,
                                    {&sge, 1}, {RemoteAddr{0}, sizeof memory, Rkey{1}}),
          PostStatus::kOk);
    }
  }

  for (size_t turns = 0; turns < 2 * kConnections * kReads; ++turns) {
    for (Connection& connection : connections) connection.qp.complete_all();
    reactor.poll();
    // Those that wait have their turn: none gets ahead.
    std::vector<size_t> done;
    for (const Connection& connection : connections) done.push_back(connection.done.size());
    const auto [least, most] = std::ranges::minmax(done);
    ASSERT_LE(most - least, 2u);
  }

  for (const Connection& connection : connections) {
    EXPECT_EQ(connection.failed, 0u);
    EXPECT_TRUE(connection.qp.connected());
    ASSERT_EQ(connection.done.size(), kReads);
    for (size_t r = 0; r < kReads; ++r) EXPECT_EQ(connection.done[r], &connection.reads[r]);
  }
  const MrPoolStats stats = pool->stats();
  EXPECT_EQ(stats.gets, kConnections * kReads);
  EXPECT_GT(stats.waits, kConnections * (kReads - 1));
  EXPECT_EQ(stats.in_use, 0u);
  connections.clear();
}

}  // namespace
}  // namespace mrpool
