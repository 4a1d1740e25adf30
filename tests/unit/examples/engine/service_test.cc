// The service: ports change as a whole or not at all, admission has limits, a stop ends, and
// statistics report what happened.
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

TEST(EnginePorts, TakeHostsThatWereResolvedBefore) {
  World world;
  const std::vector<std::string> named = {"uiwarp://no-such-host.invalid:1001"};
  EXPECT_EQ(world.service.new_hosts(named), std::vector<std::string>{"no-such-host.invalid"});
  {
    auto change = world.service.prepare(named, {{"no-such-host.invalid", "127.0.0.1"}});
    ASSERT_TRUE(change.ok()) << change.status();
    EXPECT_TRUE(Peer(world, 1001).up);
    world.service.commit(*std::move(change));
  }
  EXPECT_EQ(world.service.new_hosts(named), std::vector<std::string>{}) << "it is open";
  EXPECT_FALSE(world.service
                   .prepare(std::vector<std::string>{"uiwarp://other.invalid:1002"},
                            {{"other.invalid", absl::NotFoundError("leads nowhere")}})
                   .ok());
  EXPECT_TRUE(world.stop());
}

TEST(EnginePorts, WaitForTheirAddressWhereThatIsAskedFor) {
  const std::vector<std::string> both = {"uiwarp://127.0.0.1:1001",
                                         "uiwarp://127.0.0.1:1002?crc=on"};
  Options options;
  options.retry_listen = true;
  World world(options);
  ASSERT_TRUE(world.listen(both).ok());
  EXPECT_EQ(ports(world), PortList{1001});
  ASSERT_EQ(world.service.waiting_ports().size(), 1u);
  EXPECT_EQ(world.service.waiting_ports()[0].address, both[1]);
  EXPECT_EQ(world.service.waiting_ports()[0].why, "no such device");
  EXPECT_FALSE(world.service.retry_ports());
  // What can never be an address is an error all the same.
  EXPECT_FALSE(world.listen({both[0], "uiwarp://127.0.0.1:x"}).ok());
  EXPECT_EQ(world.service.waiting_ports().size(), 1u) << "and changes nothing";

  world.second_device_up = true;
  EXPECT_TRUE(world.service.retry_ports());
  EXPECT_TRUE(world.service.waiting_ports().empty());
  EXPECT_EQ(ports(world), (PortList{1001, 1002}));
  EXPECT_EQ(world.service.portals().size(), 2u);
  EXPECT_TRUE(Peer(world, 1002).up);
  EXPECT_FALSE(world.service.retry_ports());
  EXPECT_TRUE(world.stop());
}

TEST(EnginePorts, RemovedAddressesAreNoLongerRetried) {
  Options options;
  options.retry_listen = true;
  World world(options);
  ASSERT_TRUE(world.listen({"uiwarp://127.0.0.1:1001", "uiwarp://127.0.0.1:1002?crc=on"}).ok());
  ASSERT_TRUE(world.listen({"uiwarp://127.0.0.1:1001"}).ok());
  EXPECT_TRUE(world.service.waiting_ports().empty());
  EXPECT_TRUE(world.stop());
}

TEST(EnginePorts, AreAnnouncedByNumericAddresses) {
  World world;
  ASSERT_TRUE(world.listen({"uiwarp://localhost:1001"}).ok());
  const std::vector<Portal> portals = world.service.portals();
  ASSERT_EQ(portals.size(), 1u);
  EXPECT_TRUE(portals[0].address == "127.0.0.1" || portals[0].address == "::1");
  EXPECT_EQ(world.service.listening()[0].address.host, "localhost") << "as it was written";
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

// Two connections have room, or the memory of two.
Options for_two(bool memory) {
  Options options;
  if (memory) {
    options.max_connection_memory = 2 * CopyProtocol().look({}, {}).layout.worst_memory();
  } else {
    options.max_connections = 2;
  }
  return options;
}

// A peer that the protocol has admitted.
std::unique_ptr<Peer> admitted(World& world) {
  auto peer = std::make_unique<Peer>(world, 1001);
  peer->copy(0, 1);
  EXPECT_TRUE(world.until([&] { return peer->answers.size() == 1; }));
  return peer;
}

TEST(EngineAdmission, ConnectionsAndTheirMemoryAreLimited) {
  for (const bool memory : {false, true}) {
    World world(for_two(memory));
    ASSERT_TRUE(world.listen({"uiwarp://127.0.0.1:1001"}).ok());
    auto first = admitted(world);
    auto second = admitted(world);
    Peer third(world, 1001);
    EXPECT_FALSE(third.up);
    EXPECT_EQ(third.said, "f");
    first.reset();
    world.run_for(milliseconds(100));
    EXPECT_TRUE(Peer(world, 1001).up) << "there is room again";
    EXPECT_FALSE(second->down);
    EXPECT_TRUE(world.stop());
  }
}

TEST(EngineAdmission, StrangersMakeRoomFirstThenGuests) {
  for (const bool memory : {false, true}) {
    World world(for_two(memory));
    ASSERT_TRUE(world.listen({"uiwarp://127.0.0.1:1001"}).ok());
    world.protocol.standing = Standing::kGuest;
    auto guest = admitted(world);
    world.protocol.standing = Standing::kMember;
    Peer stranger(world, 1001);
    ASSERT_TRUE(stranger.up);
    world.run_for(2 * kLoginGrace);
    auto member = admitted(world);
    EXPECT_TRUE(world.until([&] { return stranger.down; })) << "who has not logged in goes first";
    EXPECT_FALSE(guest->down);
    auto other = admitted(world);
    EXPECT_TRUE(world.until([&] { return guest->down; })) << "then who only looks around";
    EXPECT_FALSE(member->down);
    EXPECT_FALSE(Peer(world, 1001).up) << "members stay";
    EXPECT_EQ(world.service.worker(0).evicted(), 2u);
    EXPECT_FALSE(other->down);
    EXPECT_TRUE(world.stop());
    EXPECT_EQ(world.service.connections(), 0u);
  }
}

// Guests that come and come do not keep others from logging in.
TEST(EngineAdmission, ANewPeerMayLogInNextToGuests) {
  World world(for_two(/*memory=*/false));
  ASSERT_TRUE(world.listen({"uiwarp://127.0.0.1:1001"}).ok());
  world.protocol.standing = Standing::kGuest;
  auto guest = admitted(world);
  world.protocol.standing = Standing::kMember;
  Peer late(world, 1001);
  Peer next(world, 1001);
  EXPECT_TRUE(world.until([&] { return guest->down; }));
  late.copy(0, 1);
  EXPECT_TRUE(world.until([&] { return late.answers.size() == 1; }));
  EXPECT_FALSE(late.down);
  EXPECT_TRUE(world.stop());
}

TEST(EngineAdmission, OneHostLeavesConnectionsForOthers) {
  Options options;
  options.max_connections = 8;
  World world(options);
  ASSERT_TRUE(world.listen({"uiwarp://127.0.0.1:1001"}).ok());
  std::vector<std::unique_ptr<Peer>> peers;
  for (int i = 0; i < 7; ++i) peers.push_back(admitted(world));
  Peer eighth(world, 1001);
  eighth.copy(0, 1);
  EXPECT_TRUE(world.until([&] { return eighth.down; })) << "the host has its share";
  world.protocol.host = "another";
  auto another = admitted(world);
  EXPECT_FALSE(another->down);
  peers.pop_back();
  world.run_for(milliseconds(100));
  world.protocol.host = "host";
  peers.push_back(admitted(world));
  EXPECT_FALSE(peers.back()->down);
  EXPECT_TRUE(world.stop());
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

TEST(EngineStop, EndsOutstandingWork) {
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
