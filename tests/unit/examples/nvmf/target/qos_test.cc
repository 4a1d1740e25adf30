// Limits of namespaces as hosts meet them, on a virtual clock: the rate, what is held back and what
// never is, fairness between hosts, and changes while commands wait.
#include "tests/unit/examples/nvmf/target/raw_host.h"

namespace mrpool::nvmf_target::testing {
namespace {

constexpr char kOther[] = "nqn.2024-01.org.example:other";
constexpr size_t kBack = 2 << 20;

// Keeps `depth` commands of one kind under way.
struct Load {
  Load(RawQueue& of, IoOpcode what, uint32_t size, uint32_t depth)
      : queue(of), opcode(what), blocks(size) {
    for (uint32_t i = 0; i < depth; ++i) send();
  }
  void send() {
    const nvme::Sqe sqe = queue.io(opcode, 0, blocks, opcode == IoOpcode::kRead ? kBack : 0);
    pending.push_back(sqe.command_id);
    queue.submit(sqe);
  }
  void step() {
    for (uint16_t& id : pending) {
      const auto at = queue.answers.find(id);
      if (at == queue.answers.end()) continue;
      EXPECT_STATUS(at->second.status(), Status::kSuccess);
      queue.answers.erase(at);
      ++done;
      const nvme::Sqe sqe = queue.io(opcode, 0, blocks, opcode == IoOpcode::kRead ? kBack : 0);
      id = sqe.command_id;
      queue.submit(sqe);
    }
  }
  RawQueue& queue;
  const IoOpcode opcode;
  const uint32_t blocks;
  std::vector<uint16_t> pending;
  uint64_t done = 0;
};

void run(World& world, std::vector<Load*> loads, Nanoseconds time) {
  const Nanoseconds end = world.reactor.now() + time;
  while (world.reactor.now() < end && world.reactor.step()) {
    for (Load* load : loads) load->step();
  }
}

TEST(Qos, ServesTheRateOfCommands) {
  World world;
  world.limits = {{.rw_ios_per_sec = 1000, .burst_ms = 10}};
  world.serve({"ram:8MiB"});
  Host host(world);
  Load load(host.io, IoOpcode::kWrite, 4, 31);
  run(world, {&load}, milliseconds(500));
  EXPECT_NEAR(double(load.done), 510, 5);
}

TEST(Qos, ServesTheRateOfBytes) {
  World world;
  world.limits = {{.r_mbytes_per_sec = 50, .burst_ms = 1}};
  world.serve({"ram:8MiB", "ram:8MiB"});
  Host host(world);
  Load load(host.io, IoOpcode::kRead, 16, 8);
  run(world, {&load}, milliseconds(500));
  EXPECT_NEAR(double(load.done), 0.5 * 50 * 16, 8);
}

// Two worth a second; the others wait without staging memory and MRs.
TEST(Qos, HeldCommandsUseNoStagingMemoryAndNoMr) {
  World world;
  world.limits = {{.rw_ios_per_sec = 1}};
  world.serve({"ram:8MiB", "ram:8MiB"});
  Host host(world);
  host.io.order.clear();
  for (uint32_t i = 0; i < 28; ++i) host.io.submit(host.io.io(IoOpcode::kWrite, 0, 32));
  world.run_for(milliseconds(100));
  EXPECT_EQ(host.io.order.size(), 1u);
  EXPECT_EQ(world.service().engine().worker(0).staging().in_use(), 0u);
  EXPECT_EQ(world.service().engine().devices().at(0)->pool()->stats().in_use, 0u);
  // What is never held back, and another namespace.
  nvme::Sqe flush = host.io.io(IoOpcode::kFlush, 0, 1);
  flush.sgl = SglDescriptor::keyed({}, false);
  EXPECT_STATUS(host.io.execute(flush).status(), Status::kSuccess);
  EXPECT_STATUS(host.io.execute(host.io.io(IoOpcode::kRead, 0, 1, 0, 2)).status(),
                Status::kSuccess);
  EXPECT_STATUS(host.admin.execute(host.admin.admin(AdminOpcode::kKeepAlive)).status(),
                Status::kSuccess);
  EXPECT_LT(world.reactor.now(), seconds(2));
  metrics::Snapshot seen;
  world.service().observe(seen);
  EXPECT_EQ(seen.targets.at(0).units.at(0).io.throttled, 27u);
  EXPECT_EQ(seen.targets.at(0).units.at(1).io.throttled, 0u);
}

TEST(Qos, AnAbortEndsAHeldCommandImmediately) {
  World world;
  world.limits = {{.rw_ios_per_sec = 1}};
  world.serve({"ram:8MiB"});
  Host host(world);
  EXPECT_STATUS(host.io.execute(host.io.io(IoOpcode::kRead, 0, 1)).status(), Status::kSuccess);
  const nvme::Sqe first = host.io.io(IoOpcode::kRead, 0, 1);
  const nvme::Sqe second = host.io.io(IoOpcode::kRead, 0, 1);
  host.io.submit(first);
  host.io.submit(second);
  world.run_for(milliseconds(1));
  const auto cdw10 = uint32_t(1u | uint32_t(first.command_id) << 16);
  const nvme::Cqe answer = host.admin.execute(host.admin.admin(AdminOpcode::kAbort, cdw10));
  EXPECT_STATUS(answer.status(), Status::kSuccess);
  EXPECT_EQ(uint32_t(uint64_t(answer.result)), 0u) << "aborted";
  EXPECT_STATUS(host.io.wait(first.command_id).status(), Status::kAbortRequested);
  EXPECT_STATUS(host.io.wait(second.command_id).status(), Status::kSuccess);
  EXPECT_LT(world.reactor.now(), seconds(4));
}

TEST(Qos, HeldCommandsOfAClosedConnectionDoNotDelayOthers) {
  World world;
  world.limits = {{.rw_ios_per_sec = 10}};
  world.serve({"ram:8MiB"});
  Host other(world, 32, kOther, 8);
  {
    Host host(world);
    for (uint32_t i = 0; i < 20; ++i) host.io.submit(host.io.io(IoOpcode::kWrite, 0, 4));
    other.io.submit(other.io.io(IoOpcode::kRead, 0, 1));
    world.run_for(milliseconds(10));
  }
  const Nanoseconds before = world.reactor.now();
  for (int i = 0; i < 5; ++i) {
    EXPECT_STATUS(other.io.execute(other.io.io(IoOpcode::kRead, 0, 1)).status(), Status::kSuccess);
  }
  EXPECT_LT(world.reactor.now() - before, milliseconds(800));
}

TEST(Qos, HeldCommandsFollowAChangedLimit) {
  World world;
  world.limits = {{.rw_ios_per_sec = 1}};
  world.serve({"ram:8MiB"});
  Host host(world, 64);
  const auto send = [&] {
    for (uint32_t i = 0; i < 60; ++i) host.io.submit(host.io.io(IoOpcode::kWrite, 0, 4));
    host.io.order.clear();
    world.run_for(milliseconds(10));
    EXPECT_LE(host.io.order.size(), 1u);
  };
  send();
  world.limits = {{.rw_ios_per_sec = 1000}};
  world.serve({"ram:8MiB"});
  world.run_for(milliseconds(130));
  EXPECT_GE(host.io.order.size(), 59u);
  world.limits = {{.rw_ios_per_sec = 1}};
  world.serve({"ram:8MiB"});
  EXPECT_STATUS(host.io.execute(host.io.io(IoOpcode::kRead, 0, 1)).status(), Status::kSuccess);
  send();
  world.limits.clear();
  world.serve({"ram:8MiB"});
  world.run_for(milliseconds(100));
  EXPECT_EQ(host.io.order.size(), 60u) << "without disconnecting";
  EXPECT_TRUE(host.io.connected());
}

TEST(Qos, AHeldCommandOfAReplacedStoreIsRefused) {
  World world;
  world.limits = {{.rw_ios_per_sec = 1}};
  world.serve({"ram:8MiB"});
  Host host(world);
  EXPECT_STATUS(host.io.execute(host.io.io(IoOpcode::kRead, 0, 1)).status(), Status::kSuccess);
  const nvme::Sqe late = host.io.io(IoOpcode::kRead, 0, 1);
  host.io.submit(late);
  world.run_for(milliseconds(10));
  world.limits.clear();
  world.serve({"null:1MiB"});  // another store
  EXPECT_STATUS(host.io.wait(late.command_id).status(), dnr(Status::kInvalidNamespace));
}

// Of the first namespace.
metrics::IoTotals totals(World& world) {
  metrics::Snapshot seen;
  world.service().observe(seen);
  return seen.targets.at(0).units.at(0).io;
}

double seconds_held(World& world) { return double(totals(world).throttled_ns) / 1e9; }

// However a wait ends, its time counts; and a command counts once.
TEST(Qos, MetricsCountEveryWait) {
  World world;
  world.limits = {{.rw_ios_per_sec = 1}};
  world.serve({"ram:8MiB"});
  Host host(world);
  EXPECT_STATUS(host.io.execute(host.io.io(IoOpcode::kRead, 0, 1)).status(), Status::kSuccess);
  std::vector<nvme::Sqe> commands;
  for (int i = 0; i < 4; ++i) {
    commands.push_back(host.io.io(IoOpcode::kRead, 0, 1));
    host.io.submit(commands.back());
  }
  world.run_for(milliseconds(500));
  const auto cdw10 = uint32_t(1u | uint32_t(commands[3].command_id) << 16);
  host.admin.execute(host.admin.admin(AdminOpcode::kAbort, cdw10));
  EXPECT_NEAR(seconds_held(world), 0.5, 0.02) << "aborted";
  EXPECT_STATUS(host.io.wait(commands[0].command_id).status(), Status::kSuccess);
  EXPECT_NEAR(seconds_held(world), 1.5, 0.05) << "and released";
  world.limits.clear();
  world.serve({"ram:8MiB"});
  EXPECT_STATUS(host.io.wait(commands[1].command_id).status(), Status::kSuccess);
  EXPECT_STATUS(host.io.wait(commands[2].command_id).status(), Status::kSuccess);
  EXPECT_NEAR(seconds_held(world), 3.5, 0.15) << "and both by the end of the limit";
  EXPECT_EQ(totals(world).throttled, 4u);
  EXPECT_EQ(totals(world).reads.completed, 4u);
}

TEST(Qos, TheLimitOfAConnectedHostChanges) {
  World world;
  world.serve({"ram:8MiB", "ram:8MiB"});
  Host host(world), other(world, 32, kOther, 8);
  const auto read = [](Host& of, uint32_t nsid) {
    return of.io.execute(of.io.io(IoOpcode::kRead, 0, 1, 0, nsid)).status();
  };
  EXPECT_STATUS(read(host, 1), Status::kSuccess);
  world.host_limits = {{kHostNqn, {.rw_ios_per_sec = 1}}};
  world.serve({"ram:8MiB", "ram:8MiB"});
  EXPECT_STATUS(read(host, 1), Status::kSuccess);
  // The limit is that of all namespaces together, and of this host alone.
  const nvme::Sqe held = host.io.io(IoOpcode::kRead, 0, 1, 0, 2);
  host.io.submit(held);
  const Nanoseconds before = world.reactor.now();
  for (int i = 0; i < 100; ++i) EXPECT_STATUS(read(other, 2), Status::kSuccess);
  EXPECT_LT(world.reactor.now() - before, milliseconds(100));
  EXPECT_FALSE(host.io.answers.contains(held.command_id));
  world.host_limits.clear();
  world.serve({"ram:8MiB", "ram:8MiB"});
  EXPECT_STATUS(host.io.wait(held.command_id).status(), Status::kSuccess);
  EXPECT_LT(world.reactor.now() - before, milliseconds(300));
  EXPECT_TRUE(host.io.connected());
}

// First the host's own limit, then that of the store.
TEST(Qos, HostAndStoreLimitsBothApply) {
  World world;
  world.limits = {{.rw_ios_per_sec = 500}};
  world.host_limits = {{kHostNqn, {.rw_ios_per_sec = 100}}, {"*", {.rw_ios_per_sec = 2000}}};
  world.serve({"ram:8MiB"});
  Host host(world), other(world, 32, kOther, 8);
  Load slow(host.io, IoOpcode::kRead, 1, 16);
  Load fast(other.io, IoOpcode::kRead, 1, 16);
  run(world, {&slow, &fast}, seconds(1));
  EXPECT_NEAR(double(slow.done), 100, 5);
  EXPECT_NEAR(double(slow.done + fast.done), 505, 10);
}

// One that is not limited, and another store of the same thread: a flood that a limit holds back
// costs it nothing.
TEST(Qos, AHeldFloodDoesNotDelayOtherHosts) {
  const auto latency = [](bool flooded) {
    World world;
    world.host_limits = {{kHostNqn, {.rw_mbytes_per_sec = 1}}};
    world.serve({"ram:8MiB"});
    Host flood(world, 128), honest(world, 32, kOther, 8);
    std::unique_ptr<Load> load;
    if (flooded) load = std::make_unique<Load>(flood.io, IoOpcode::kWrite, 32, 120);
    world.run_for(seconds(1));
    const Nanoseconds before = world.reactor.now();
    for (int i = 0; i < 200; ++i) {
      EXPECT_STATUS(honest.io.execute(honest.io.io(IoOpcode::kRead, 0, 1)).status(),
                    Status::kSuccess);
    }
    return (world.reactor.now() - before).count() / 200;
  };
  EXPECT_LT(double(latency(true)), 1.2 * double(latency(false)));
}

TEST(Qos, TheServiceStopsWithHeldCommands) {
  World world;
  world.limits = {{.rw_ios_per_sec = 1}};
  world.serve({"ram:8MiB"});
  Host host(world);
  for (int i = 0; i < 20; ++i) host.io.submit(host.io.io(IoOpcode::kWrite, 0, 4));
  world.run_for(milliseconds(10));
  const Nanoseconds before = world.reactor.now();
  world.stop();
  EXPECT_TRUE(host.io.wait_down());
  EXPECT_LT(world.reactor.now() - before, seconds(3)) << "it does not serve them first";
}

TEST(Qos, DeletingAQueueEndsItsHeldCommands) {
  World world;
  world.limits = {{.rw_ios_per_sec = 1}};
  world.serve({"ram:8MiB"});
  Host host(world);
  for (int i = 0; i < 20; ++i) host.io.submit(host.io.io(IoOpcode::kWrite, 0, 4));
  world.run_for(milliseconds(10));
  nvme::PropertyCommand disconnect;
  disconnect.type = nvme::FabricsType::kDisconnect;
  disconnect.command_id = host.io.next_id++;
  EXPECT_STATUS(host.io.execute(disconnect).status(), Status::kSuccess);
  EXPECT_TRUE(host.io.wait_down());
  EXPECT_STATUS(host.admin.execute(host.admin.admin(AdminOpcode::kKeepAlive)).status(),
                Status::kSuccess);
}

TEST(Qos, RemovingANamespaceEndsItsHeldCommands) {
  World world;
  world.limits = {{}, {.rw_ios_per_sec = 1}};
  world.serve({"ram:8MiB,name=one", "ram:8MiB,name=two"});
  Host host(world);
  host.io.order.clear();
  for (int i = 0; i < 20; ++i) host.io.submit(host.io.io(IoOpcode::kWrite, 0, 4, 0, 2));
  world.run_for(milliseconds(10));
  world.serve({"ram:8MiB,name=one"});
  world.run_for(milliseconds(200));
  ASSERT_EQ(host.io.order.size(), 20u);
  EXPECT_STATUS(host.io.order.back().status(), dnr(Status::kInvalidNamespace));
  EXPECT_EQ(totals(world).throttled, 0u) << "of the other namespace";
}

// Time from sending the commands until the last answer, in seconds.
double time_of(World& world, RawQueue& io, const std::vector<nvme::Sqe>& commands) {
  const Nanoseconds before = world.reactor.now();
  for (const nvme::Sqe& each : commands) io.submit(each);
  for (const nvme::Sqe& each : commands) {
    EXPECT_STATUS(io.wait(each.command_id).status(), Status::kSuccess);
  }
  return double((world.reactor.now() - before).count()) / 1e9;
}

nvme::Sqe verify_of(RawQueue& io, uint32_t blocks) {
  nvme::Sqe sqe = io.io(IoOpcode::kVerify, 0, blocks);
  sqe.sgl = SglDescriptor::keyed({}, false);
  return sqe;
}

// Of the first 16 blocks; its range is at 3 MiB of the host's memory.
nvme::Sqe copy_of(RawQueue& io) {
  constexpr uint64_t kRange = 3 << 20;
  nvme_copy_range range{};
  range.nlb = nvme::le(uint16_t{15});
  std::memcpy(&io.memory[kRange], &range, sizeof range);
  nvme::Sqe sqe = io.io(IoOpcode::kCopy, 32, 1);
  sqe.cdw12 = uint32_t{0};
  sqe.sgl = SglDescriptor::keyed(io.buffer(kRange, sizeof range), false);
  return sqe;
}

std::vector<nvme::Sqe> fused_of(RawQueue& io) {
  std::vector<nvme::Sqe> pair = {io.io(IoOpcode::kCompare, 0, 1), io.io(IoOpcode::kWrite, 0, 1)};
  for (int i = 0; i < 2; ++i) pair[size_t(i)].flags = uint8_t(pair[size_t(i)].flags | (i + 1));
  return pair;
}

// Verify counts what it reads, Copy what it reads and again what it writes.
TEST(Qos, VerifyAndCopyCountTheirBytes) {
  World world;
  world.limits = {{.rw_mbytes_per_sec = 1, .burst_ms = 1}};
  world.serve({"ram:8MiB"});
  Host host(world);
  EXPECT_NEAR(time_of(world, host.io, {verify_of(host.io, 16)}), 1.0 / 16, 0.01);
  world.run_for(milliseconds(100));
  EXPECT_NEAR(time_of(world, host.io, {copy_of(host.io)}), 2.0 / 16, 0.01);
  EXPECT_EQ(totals(world).throttled, 2u);
}

// A Copy that waits has no memory, and pays for the ranges that it copies, not for earlier ones.
TEST(Qos, AHeldCopyHoldsNothing) {
  World world;
  world.limits = {{.w_mbytes_per_sec = 1, .burst_ms = 1}};
  world.serve({"ram:8MiB"});
  Host host(world);
  const Nanoseconds before = world.reactor.now();
  nvme::Sqe copy = copy_of(host.io);
  host.io.submit(copy);
  world.run_for(milliseconds(10));
  EXPECT_EQ(world.service().engine().worker(0).staging().in_use(), 0u);
  nvme_copy_range range{};
  range.nlb = nvme::le(uint16_t{31});
  std::memcpy(&host.io.memory[3 << 20], &range, sizeof range);
  EXPECT_STATUS(host.io.wait(copy.command_id).status(), Status::kSuccess);
  EXPECT_GT(world.reactor.now() - before, milliseconds(120));
  // Its end while it waits.
  copy = copy_of(host.io);
  host.io.submit(copy);
  world.run_for(milliseconds(10));
  const auto cdw10 = uint32_t(1u | uint32_t(copy.command_id) << 16);
  host.admin.execute(host.admin.admin(AdminOpcode::kAbort, cdw10));
  EXPECT_STATUS(host.io.wait(copy.command_id).status(), Status::kAbortRequested);
  host.io.submit(copy_of(host.io));
  world.run_for(milliseconds(10));
}

// Compare and Write waits for both commands at once, and ends as a whole.
TEST(Qos, AFusedOperationIsHeldAsAWhole) {
  World world;
  world.limits = {{.rw_ios_per_sec = 10, .burst_ms = 1}};
  world.serve({"ram:8MiB"});
  Host host(world);
  host.io.fill(0, 4096, 0);  // as the store
  EXPECT_NEAR(time_of(world, host.io, fused_of(host.io)), 0.1, 0.02) << "two commands";
  EXPECT_EQ(totals(world).throttled, 1u);
  std::vector<nvme::Sqe> pair = fused_of(host.io);
  for (const nvme::Sqe& each : pair) host.io.submit(each);
  world.run_for(milliseconds(10));
  const auto cdw10 = uint32_t(1u | uint32_t(pair[1].command_id) << 16);
  host.admin.execute(host.admin.admin(AdminOpcode::kAbort, cdw10));
  EXPECT_STATUS(host.io.wait(pair[0].command_id).status(), Status::kFailedFused);
  EXPECT_STATUS(host.io.wait(pair[1].command_id).status(), Status::kAbortRequested);
  // And by the end of the connection.
  for (const nvme::Sqe& each : fused_of(host.io)) host.io.submit(each);
  world.run_for(milliseconds(10));
}

// A flood with a deep queue and large commands, and a host with a few small ones.
TEST(Qos, HostsShareALimitOfBytes) {
  World world;
  world.limits = {{.rw_mbytes_per_sec = 20}};
  world.serve({"ram:8MiB"});
  Host flood(world, 128), honest(world, 32, kOther, 8);
  Load heavy(flood.io, IoOpcode::kWrite, 32, 120);
  Load light(honest.io, IoOpcode::kWrite, 1, 16);
  run(world, {&heavy, &light}, milliseconds(500));
  const uint64_t flooded = heavy.done * 32, had = light.done;
  EXPECT_GT(double(had), 0.45 * double(had + flooded)) << had << " of " << had + flooded;
}

TEST(Qos, HostsShareALimitOfCommands) {
  World world;
  world.limits = {{.rw_ios_per_sec = 2000}};
  world.serve({"ram:8MiB"});
  Host flood(world, 128), honest(world, 32, kOther, 8);
  Load heavy(flood.io, IoOpcode::kRead, 1, 120);
  Load light(honest.io, IoOpcode::kRead, 1, 4);
  run(world, {&heavy, &light}, milliseconds(500));
  EXPECT_GT(double(light.done), 0.45 * double(light.done + heavy.done));
}

}  // namespace
}  // namespace mrpool::nvmf_target::testing
