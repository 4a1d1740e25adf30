// A link on a queue pair: answers, transfers, shortage, and every way a connection ends.
#include <gtest/gtest.h>

#include <algorithm>

#include "examples/engine/ending.h"
#include "tests/unit/examples/engine/copy_world.h"

namespace mrpool::engine::testing {
namespace {

class LinkTest : public ::testing::Test {
 protected:
  LinkTest() { EXPECT_TRUE(world_.listen({"uiwarp://127.0.0.1:4420"}).ok()); }
  ~LinkTest() override {
    EXPECT_TRUE(world_.stop()) << "the engine does not stop";
    EXPECT_EQ(world_.service.held(), 0u);
    EXPECT_EQ(world_.service.connections(), 0u);
  }
  size_t connections() { return world_.service.connections(); }
  bool gone() {
    return world_.until([&] { return connections() == 0; });
  }

  World world_;
};

TEST(Ending, IsAKindAndAReason) {
  const Disconnect reset{.reason = DisconnectReason::kReset, .detail = "Connection reset by peer"};
  const std::string kind(to_string(reset.reason));
  EXPECT_EQ(ending(reset, {}), kind + ": Connection reset by peer");
  EXPECT_EQ(ending(reset, "too slow"), kind + ": too slow");
  EXPECT_EQ(ending({.reason = DisconnectReason::kPeer, .detail = {}}, {}),
            std::string(to_string(DisconnectReason::kPeer)));
}

TEST_F(LinkTest, AnswersWithAndWithoutData) {
  Peer peer(world_, 4420);
  ASSERT_TRUE(peer.up);
  EXPECT_EQ(peer.said, "hi");
  std::fill_n(peer.memory.begin(), Peer::kHalf, std::byte{5});
  peer.copy(0, 1);
  peer.copy(3 * kChunk - 5, 2);
  ASSERT_TRUE(world_.until([&] { return peer.answers.size() == 2; }));
  EXPECT_EQ(peer.answers, (std::vector<uint64_t>{1, 2}));
  const auto copied = peer.memory.begin() + Peer::kHalf;
  EXPECT_EQ(std::count(copied, copied + 3 * kChunk - 5, std::byte{5}), 3 * kChunk - 5);
  EXPECT_EQ(copied[3 * kChunk - 5], std::byte{0}) << "not a byte more";
}

TEST_F(LinkTest, WaitsInOrderForStagingMemory) {
  Peer peer(world_, 4420);
  std::vector<uint64_t> expected;
  for (uint64_t round = 0; round < 5; ++round) {
    for (uint64_t i = 0; i < 8; ++i) {  // four chunks in all, three for each copy
      peer.copy(3 * kChunk, 8 * round + i);
      expected.push_back(8 * round + i);
    }
    ASSERT_TRUE(world_.until([&] { return peer.answers.size() == expected.size(); }));
  }
  EXPECT_EQ(peer.answers, expected);
  EXPECT_GT(world_.service.worker(0).staging().waits(), 0u);
}

TEST_F(LinkTest, EndsWithTheConnectionWhateverIsUnderWay) {
  for (int steps : {1, 5, 20, 40, 80, 160, 320}) {
    Peer peer(world_, 4420);
    ASSERT_TRUE(peer.up);
    for (uint64_t i = 0; i < 8; ++i) peer.copy(2 * kChunk, i);
    for (int i = 0; i < steps; ++i) world_.reactor.step();
    world_.network->break_all();
    ASSERT_TRUE(gone()) << steps;
    EXPECT_EQ(world_.service.worker(0).staging().in_use(), 0u) << steps;
    EXPECT_EQ(world_.service.worker(0).staging().waiting(), 0u) << steps;
  }
  EXPECT_EQ(world_.protocol.ended, 7u);
}

TEST_F(LinkTest, StaysUntilItsSessionIsIdle) {
  auto peer = std::make_unique<Peer>(world_, 4420);
  world_.protocol.last->hold = 1;
  peer.reset();
  world_.run_for(seconds(1));
  EXPECT_EQ(connections(), 1u);
  EXPECT_TRUE(world_.protocol.last->link().closed());
  world_.protocol.last->hold = 0;
  world_.protocol.last->link().session_idle();
  EXPECT_TRUE(gone());
  EXPECT_EQ(world_.protocol.ended, 1u);
}

TEST_F(LinkTest, IsDroppedWhenItsPeerBreaksTheRules) {
  Peer peer(world_, 4420);
  peer.send({}, 7);
  EXPECT_TRUE(world_.until([&] { return peer.down; }));
  EXPECT_TRUE(gone());
}

TEST(LinkStall, DropsALinkWithStalledTransfers) {
  World world({.mrs = 1, .stall_timeout = seconds(3)});
  ASSERT_TRUE(world.listen({"uiwarp://127.0.0.1:4420"}).ok());
  Peer peer(world, 4420);
  peer.copy(0, 1);
  ASSERT_TRUE(world.until([&] { return peer.answers.size() == 1; }));
  world.run_for(seconds(10));
  EXPECT_TRUE(peer.up && !peer.down) << "silence without a transfer harms nobody";
  {
    // The READ waits for an MR that does not come.
    MrPool::Lease only = world.protocol.last->link().device()->pool()->get();
    ASSERT_TRUE(only);
    peer.copy(100, 2);
    world.run_for(seconds(2));
    EXPECT_FALSE(peer.down);
    world.run_for(seconds(2));
    EXPECT_TRUE(peer.down);
    EXPECT_EQ(world.service.connections(), 0u);
  }
  EXPECT_TRUE(world.stop());
  EXPECT_EQ(world.service.held(), 0u);
}

// The peer answers a READ every two seconds. Some progress is not enough: its others wait.
TEST(LinkStall, DropsALinkThatKeepsTransfersWaiting) {
  World world({.stall_timeout = seconds(3)});
  ASSERT_TRUE(world.listen({"uiwarp://127.0.0.1:4420"}).ok());
  world.network->set_options(
      {.window = 2 << 10, .min_delay = milliseconds(250), .max_delay = milliseconds(250)});
  Peer peer(world, 4420);
  for (uint64_t i = 0; i < 8; ++i) peer.copy(16 << 10, i);
  world.run_for(seconds(6));
  EXPECT_TRUE(peer.down);
  EXPECT_LT(peer.answers.size(), 3u);
  EXPECT_TRUE(world.stop());
  EXPECT_EQ(world.service.held(), 0u);
}

// A slow peer with much under way gets through it: what it moves counts.
TEST(LinkStall, KeepsASlowLinkThatMovesEnough) {
  World world({.stall_timeout = seconds(1)});
  ASSERT_TRUE(world.listen({"uiwarp://127.0.0.1:4420"}).ok());
  constexpr size_t kWindow = 64 << 10;
  const Nanoseconds delay = seconds(1) * kWindow / (2 * kLeastRate);
  world.network->set_options({.window = kWindow, .min_delay = delay, .max_delay = delay});
  Peer peer(world, 4420);
  for (uint64_t i = 0; i < 8; ++i) peer.copy(Peer::kHalf / 2, i);  // 4 MiB each way: 16 seconds
  EXPECT_TRUE(world.until([&] { return peer.answers.size() == 8; }, 5'000'000));
  EXPECT_FALSE(peer.down);
  EXPECT_TRUE(world.stop());
}

TEST_F(LinkTest, TicksWhileItIsUp) {
  Peer peer(world_, 4420);
  world_.run_for(10 * kTick);
  EXPECT_GE(world_.protocol.last->ticks, 9u);
  EXPECT_LE(world_.protocol.last->ticks, 11u);
}

}  // namespace
}  // namespace mrpool::engine::testing
