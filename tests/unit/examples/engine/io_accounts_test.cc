#include "examples/engine/io_accounts.h"

#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace mrpool::engine {
namespace {

using std::chrono::microseconds;

const metrics::HostState* find(const metrics::Snapshot& in, std::string_view name) {
  for (const auto& host : in.hosts) {
    if (host.name == name) return &host;
  }
  return nullptr;
}

metrics::Snapshot with_unit() {
  metrics::Snapshot snapshot;
  snapshot.targets.push_back({.name = "t", .units = {{.number = 1}}});
  return snapshot;
}

TEST(IoAccounts, SumOverWorkersHostsAndUnits) {
  IoAccounts accounts;
  const auto a = accounts.open(0, "a", "t", 1);
  const auto b = accounts.open(1, "a", "t", 1);
  const auto c = accounts.open(1, "c", "t", 1);
  const auto other = accounts.open(1, "c", "t", 2);
  EXPECT_EQ(accounts.open(0, "a", "t", 1), a);
  a->count(IoClass::kRead, 4096, microseconds(10));
  b->count(IoClass::kRead, 8192, microseconds(20));
  c->count(IoClass::kWrite, 512, microseconds(5));
  c->failed(false);
  c->failed(true);
  other->count(IoClass::kOther, 0, microseconds(1));
  other->count(IoClass::kWrite, 512, std::chrono::seconds(2));
  other->count(IoClass::kRead, 512, std::chrono::hours(2));  // above all bounds
  metrics::Snapshot snapshot = with_unit();
  accounts.add_io(snapshot);
  accounts.add_latencies(snapshot);
  const metrics::IoTotals& unit = snapshot.targets[0].units[0].io;
  EXPECT_EQ(unit.reads.completed, 2u);
  EXPECT_EQ(unit.reads.bytes, 12288u);
  EXPECT_EQ(unit.reads.ns, 30000u);
  EXPECT_EQ(unit.writes.completed, 1u);
  EXPECT_EQ(unit.others.completed, 0u);
  EXPECT_EQ(unit.errors, 2u);
  EXPECT_EQ(unit.storage, 1u);
  EXPECT_EQ(unit.slow, 0u);
  ASSERT_NE(find(snapshot, "c"), nullptr);
  EXPECT_EQ(find(snapshot, "c")->io.others.completed, 1u);
  EXPECT_EQ(find(snapshot, "c")->io.slow, 2u);
  EXPECT_EQ(snapshot.reads[0].counts[1], 1u);  // 4 KiB in 10 us
  EXPECT_EQ(snapshot.reads[1].counts[2], 1u);  // 8 KiB in 20 us
  EXPECT_EQ(snapshot.writes[0].counts[0], 1u);
  EXPECT_EQ(snapshot.reads[0].counts[metrics::kLatencyBounds], 1u);
  EXPECT_EQ(snapshot.reads[1].ns, 20000u);
}

TEST(IoAccounts, OutliveTheirSessions) {
  IoAccounts accounts;
  accounts.open(0, "a", "t", 1)->count(IoClass::kRead, 1, microseconds(1));
  accounts.open(0, "a", "t", 1)->count(IoClass::kRead, 1, microseconds(1));
  metrics::Snapshot snapshot = with_unit();
  accounts.add_io(snapshot);
  EXPECT_EQ(find(snapshot, "a")->io.reads.completed, 2u);
}

TEST(IoAccounts, HostsAreBounded) {
  IoAccounts accounts;
  const auto stays = accounts.open(0, "stays", "t", 1);
  stays->count(IoClass::kRead, 1, microseconds(1));
  for (size_t i = 0; i < 3 * kMaxHosts; ++i) {
    accounts.open(0, "host " + std::to_string(i), "t", 1)
        ->count(IoClass::kWrite, 1, microseconds(1));
  }
  metrics::Snapshot snapshot = with_unit();
  accounts.add_io(snapshot);
  EXPECT_EQ(snapshot.hosts.size(), kMaxHosts + 1);
  EXPECT_EQ(find(snapshot, "stays")->io.reads.completed, 1u);
  EXPECT_EQ(find(snapshot, "host 0"), nullptr);  // the oldest went first
  EXPECT_EQ(find(snapshot, kOthers)->io.writes.completed, 2 * kMaxHosts + 1);
  // No total fell.
  EXPECT_EQ(snapshot.targets[0].units[0].io.writes.completed, 3 * kMaxHosts);
}

TEST(IoAccounts, HostsWithSessionsKeepTheirPlace) {
  IoAccounts accounts;
  std::vector<std::shared_ptr<IoAccount>> open;
  for (size_t i = 0; i < kMaxHosts; ++i) {
    open.push_back(accounts.open(0, "host " + std::to_string(i), "t", 1));
  }
  const auto late = accounts.open(0, "late", "t", 1);
  const auto later = accounts.open(0, "later", "t", 1);
  EXPECT_EQ(late, later);
  late->count(IoClass::kRead, 1, microseconds(1));
  metrics::Snapshot snapshot = with_unit();
  snapshot.sessions.push_back({.host = "late", .queues = {{}, {}}});
  accounts.add_io(snapshot);
  EXPECT_EQ(find(snapshot, "late"), nullptr);
  EXPECT_EQ(find(snapshot, kOthers)->io.reads.completed, 1u);
  EXPECT_EQ(find(snapshot, kOthers)->connections, 2u);
}

TEST(IoAccounts, SessionsAreShownWhileTheyLast) {
  IoAccounts accounts;
  auto first = accounts.enter({.host = "a", .target = "t", .number = 1, .queues = {{}}});
  const auto second = accounts.enter({.host = "b", .target = "t", .number = 2, .queues = {{}}});
  EXPECT_EQ(accounts.sessions().size(), 2u);
  first.reset();
  ASSERT_EQ(accounts.sessions().size(), 1u);
  EXPECT_EQ(accounts.sessions()[0].host, "b");
  metrics::Snapshot snapshot = with_unit();
  snapshot.sessions = accounts.sessions();
  accounts.add_io(snapshot);
  EXPECT_EQ(find(snapshot, "b")->connections, 1u);
}

// For ThreadSanitizer: workers count and open while somebody reads, and no read goes back.
TEST(IoAccounts, AreReadWhileWorkersCount) {
  constexpr uint64_t kCommands = 20000;
  IoAccounts accounts;
  std::vector<std::thread> workers;
  for (uint32_t worker = 0; worker < 2; ++worker) {
    workers.emplace_back([&accounts, worker] {
      for (uint64_t i = 0; i < kCommands; i += 100) {
        const auto account = accounts.open(worker, "host " + std::to_string(i % 700), "t", 1);
        for (int n = 0; n < 100; ++n) account->count(IoClass::kRead, 4096, microseconds(n));
      }
    });
  }
  uint64_t before = 0;
  while (before < 2 * kCommands) {
    metrics::Snapshot snapshot = with_unit();
    accounts.add_io(snapshot);
    accounts.add_latencies(snapshot);
    const uint64_t now = snapshot.targets[0].units[0].io.reads.completed;
    ASSERT_GE(now, before);
    before = now;
  }
  for (std::thread& worker : workers) worker.join();
}

}  // namespace
}  // namespace mrpool::engine
