// The gate of compare and write under several threads, with a checker: no pass overlaps an
// exclusive one, and every waiting pass is granted unless it is taken back.
//
// Environment: GATE_STRESS_PASSES (per thread, default 20000), GATE_STRESS_SEED (default random,
// printed).
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "examples/storage/range_gate.h"
#include "mrpool/reactor.h"

namespace mrpool::storage {
namespace {

constexpr uint32_t kBlocks = 12;
constexpr uint32_t kPassesAtOnce = 4;

uint64_t environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 0) : otherwise;
}

// Who is on each block. The plain word is what an exclusive pass writes and others read: TSan
// reports a pair that the gate does not order.
struct Block {
  std::atomic<int> shared{0};
  std::atomic<int> exclusive{0};
  uint64_t word = 0;
};

// One thread with passes that enter, stay for some rounds of the loop, and leave.
class Lane {
 public:
  Lane(RangeGate& gate, std::array<Block, kBlocks>& blocks, uint32_t number, uint64_t seed,
       uint64_t passes)
      : gate_(gate), blocks_(blocks), number_(number), random_(seed), left_(passes) {}

  void run() {
    reactor_ = *Reactor::create();
    for (uint32_t i = 0; i < kPassesAtOnce; ++i) {
      walkers_.push_back(std::make_unique<Walker>(*this));
      walkers_.back()->start();
    }
    if (running_ != 0) reactor_->run();
    walkers_.clear();
  }

 private:
  struct Walker : RangeGate::Pass {
    explicit Walker(Lane& owner)
        : Pass([](mrpool::Task& self) { static_cast<Walker&>(self).inside(); }),
          lane(owner),
          stay(*this) {
      ++lane.running_;
    }
    // Goes on until a pass has to wait, or stays inside for a while.
    void start() {
      while (lane.left_ != 0) {
        --lane.left_;
        exclusive = lane.random_() % 8 == 0;
        offset = lane.random_() % kBlocks;
        length = 1 + lane.random_() % std::min<uint64_t>(4, kBlocks - offset);
        if (!lane.gate_.enter(*this, lane.number_, *lane.reactor_)) {
          if (lane.random_() % 8 != 0) return;
          ASSERT_TRUE(lane.gate_.cancel(*this));
          continue;
        }
        if (!arrive()) return;
      }
      if (--lane.running_ == 0) lane.reactor_->stop();
    }
    void inside() {
      if (arrive()) start();
    }
    // True: it has left again.
    bool arrive() {
      lane.mark(*this, 1);
      if (lane.random_() % 2 == 0) {
        lane.reactor_->post(stay);
        return false;
      }
      depart();
      return true;
    }
    void depart() {
      lane.mark(*this, -1);
      lane.gate_.leave(*this, lane.number_);
    }
    struct Stay : mrpool::Task {
      explicit Stay(Walker& owner)
          : Task([](mrpool::Task& self) {
              Walker& walker = static_cast<Stay&>(self).walker;
              walker.depart();
              walker.start();
            }),
            walker(owner) {}
      Walker& walker;
    };
    Lane& lane;
    Stay stay;
  };

  void mark(const Walker& pass, int by) {
    for (uint64_t i = pass.offset; i < pass.offset + pass.length; ++i) {
      Block& block = blocks_[i];
      if (pass.exclusive) {
        ASSERT_EQ(block.shared.load(), 0);
        ASSERT_EQ(block.exclusive.fetch_add(by), by > 0 ? 0 : 1);
        ++block.word;
      } else {
        ASSERT_EQ(block.exclusive.load(), 0);
        block.shared.fetch_add(by);
        sum_ += block.word;
      }
    }
  }

  RangeGate& gate_;
  std::array<Block, kBlocks>& blocks_;
  const uint32_t number_;
  std::mt19937_64 random_;
  uint64_t left_;
  uint64_t sum_ = 0;
  uint32_t running_ = 0;
  std::unique_ptr<Reactor> reactor_;
  std::vector<std::unique_ptr<Walker>> walkers_;
};

TEST(RangeGateStress, ExclusivePassesAreAloneAndEveryWaiterIsGranted) {
  const uint64_t seed = environment("GATE_STRESS_SEED", std::random_device{}());
  std::fprintf(stderr, "GATE_STRESS_SEED=%llu\n", static_cast<unsigned long long>(seed));
  const uint64_t passes = environment("GATE_STRESS_PASSES", 20'000);
  for (const uint32_t threads : {1u, 2u, 4u}) {
    RangeGate gate;
    std::array<Block, kBlocks> blocks;
    std::vector<std::unique_ptr<Lane>> lanes;
    std::vector<std::thread> running;
    for (uint32_t i = 0; i < threads; ++i) {
      lanes.push_back(std::make_unique<Lane>(gate, blocks, i, seed + i, passes));
      running.emplace_back([&lane = *lanes.back()] { lane.run(); });
    }
    for (std::thread& thread : running) thread.join();
    EXPECT_TRUE(gate.empty());
  }
}

}  // namespace
}  // namespace mrpool::storage
