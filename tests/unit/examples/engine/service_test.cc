// The service: ports change as a whole or not at all, admission has limits, a stop comes to its
// end, and statistics say what there was.
#include "examples/engine/service.h"

#include <gtest/gtest.h>

#include "tests/unit/examples/engine/copy_world.h"

namespace mrpool::engine::testing {
namespace {

std::vector<uint16_t> ports(const World& world) {
  std::vector<uint16_t> all;
  for (const auto& port : world.service.listening()) all.push_back(port.address.port);
  return all;
}
using PortList = std::vector<uint16_t>;

TEST(EnginePorts, ChangeAsAWhole) {
  World world;
  ASSERT_TRUE(world.listen({"uiwarp://127.0.0.1:1001", "uiwarp://127.0.0.1:1002"}).ok());
  EXPECT_EQ(ports(world), (PortList{1001, 1002}));
  Peer before(world, 1001);
  ASSERT_TRUE(world.listen({"uiwarp://127.0.0.1:1002", "uiwarp://127.0.0.1:1003"}).ok());
  EXPECT_EQ(ports(world), (PortList{1002, 1003}));
  EXPECT_TRUE(Peer(world, 1003).up);
  EXPECT_FALSE(Peer(world, 1001).up) << "it is closed";
  before.copy(0, 1);
  EXPECT_TRUE(world.until([&] { return before.answers.size() == 1; })) << "its connections are not";
  EXPECT_TRUE(world.stop());
}

TEST(EnginePorts, AnErrorChangesNothing) {
  World world;
  ASSERT_TRUE(world.listen({"uiwarp://127.0.0.1:1001"}).ok());
  for (const char* bad : {"verbs://127.0.0.1:1003", "tcp", "uiwarp://127.0.0.1:1002x"}) {
    const absl::Status status = world.listen({"uiwarp://127.0.0.1:1002", bad});
    EXPECT_FALSE(status.ok()) << bad;
    EXPECT_EQ(ports(world), PortList{1001});
    EXPECT_FALSE(Peer(world, 1002).up) << "what was opened is closed again";
    EXPECT_TRUE(Peer(world, 1001).up);
  }
  EXPECT_TRUE(world.stop());
}

TEST(EnginePorts, AChangeThatIsNotMadeClosesWhatItOpened) {
  World world;
  {
    auto change = world.service.prepare(std::vector<std::string>{"uiwarp://127.0.0.1:1001"});
    ASSERT_TRUE(change.ok()) << change.status();
    EXPECT_TRUE(Peer(world, 1001).up) << "it is open already";
  }
  EXPECT_FALSE(Peer(world, 1001).up);
  EXPECT_EQ(ports(world), PortList{});
  EXPECT_TRUE(world.stop());
}

TEST(EngineAdmission, TheProtocolMayRefuse) {
  World world;
  ASSERT_TRUE(world.listen({"uiwarp://127.0.0.1:1001"}).ok());
  Peer peer(world, 1001, "something");
  EXPECT_FALSE(peer.up);
  EXPECT_EQ(peer.said, "no");
  EXPECT_TRUE(world.stop());
}

TEST(EngineAdmission, ConnectionsAndTheirMemoryAreLimited) {
  for (const bool memory : {false, true}) {
    Options options;
    if (memory) {
      options.max_connection_memory = 2 * CopyProtocol().look({}, {}).layout.worst_memory();
    } else {
      options.max_connections = 2;
    }
    World world(options);
    ASSERT_TRUE(world.listen({"uiwarp://127.0.0.1:1001"}).ok());
    auto first = std::make_unique<Peer>(world, 1001);
    Peer second(world, 1001);
    EXPECT_TRUE(first->up && second.up);
    Peer third(world, 1001);
    EXPECT_FALSE(third.up);
    EXPECT_EQ(third.said, "f");
    first.reset();
    world.run_for(milliseconds(100));
    EXPECT_TRUE(Peer(world, 1001).up) << "there is room again";
    EXPECT_TRUE(world.stop());
  }
}

TEST(EngineAdmission, WorkersTakeConnectionsInTurn) {
  World world({.threads = 3});
  ASSERT_TRUE(world.listen({"uiwarp://127.0.0.1:1001"}).ok());
  std::vector<std::unique_ptr<Peer>> peers;
  for (int i = 0; i < 6; ++i) peers.push_back(std::make_unique<Peer>(world, 1001));
  for (uint32_t i = 0; i < 3; ++i) EXPECT_EQ(world.service.worker(i).link_count(), 2u);
  EXPECT_EQ(world.service.connections(), 6u);
  EXPECT_TRUE(world.stop());
}

TEST(EngineStop, EndsWhatIsUnderWay) {
  for (int steps : {1, 10, 30, 100, 300}) {
    World world({.threads = 2});
    ASSERT_TRUE(world.listen({"uiwarp://127.0.0.1:1001"}).ok());
    Peer one(world, 1001), two(world, 1001);
    for (uint64_t i = 0; i < 8; ++i) {
      one.copy(2 * kChunk, i);
      two.copy(2 * kChunk, i);
    }
    for (int i = 0; i < steps; ++i) world.reactor.step();
    EXPECT_TRUE(world.stop()) << steps;
    EXPECT_EQ(world.service.held(), 0u) << steps;
    EXPECT_EQ(world.protocol.ended, 2u) << steps;
    EXPECT_FALSE(Peer(world, 1001).up) << "nobody listens any more";
  }
}

TEST(EngineStop, WithoutConnectionsIsOverAtOnce) {
  World world;
  EXPECT_TRUE(world.stop());
}

TEST(EngineStatistics, SayWhatThereWas) {
  World world({.threads = 2});
  ASSERT_TRUE(world.listen({"uiwarp://127.0.0.1:1001"}).ok());
  Peer refused(world, 1001, "something");
  Peer peer(world, 1001);
  peer.copy(kChunk, 1);
  ASSERT_TRUE(world.until([&] { return peer.answers.size() == 1; }));
  Statistics all;
  world.service.add_statistics(all);
  const auto value = [&](const char* path) {
    const uint64_t* found = all.find(path);
    return found == nullptr ? ~uint64_t{0} : *found;
  };
  EXPECT_EQ(value("connections_rejected"), 1u);
  EXPECT_EQ(value("worker/0/connections_accepted"), 1u);
  EXPECT_EQ(value("worker/1/connections_accepted"), 0u);
  EXPECT_EQ(value("worker/0/staging/chunks"), 4u);
  EXPECT_EQ(value("worker/0/staging/high_water"), 1u);
  EXPECT_EQ(value("device/uiwarp/mrs/gets"), 1u) << "the sink of the READ";
  EXPECT_TRUE(world.stop());
  // What a destroyed worker had is kept.
  world.service.destroy_worker(0);
  Statistics after;
  world.service.add_statistics(after);
  EXPECT_EQ(*after.find("worker/0/connections_accepted"), 1u);
  EXPECT_EQ(*after.find("worker/0/staging/in_use"), 0u);
}

}  // namespace
}  // namespace mrpool::engine::testing
