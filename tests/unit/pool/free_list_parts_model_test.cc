// The free list's parts under exhaustive exploration (explorer.h): magazine, hot slot, stack. The
// canaries take one precaution away each and must fail.
#include <gtest/gtest.h>

#include "tests/unit/pool/model.h"

namespace mrpool::internal {
namespace {

// ------------------------------------------------------------------------------- magazine

template <typename Platform>
Explorer::Scenario owner_against_thieves(int nodes, int pops, int thieves) {
  auto world = std::make_shared<MagazineWorld<Platform>>(nodes);
  Explorer::Scenario scenario;
  scenario.threads.push_back([world, pops] {
    for (int i = 0; i < pops; ++i) world->pop();
  });
  for (int t = 0; t < thieves; ++t) scenario.threads.push_back([world] { world->steal(); });
  scenario.check = [world] { world->check(); };
  return scenario;
}

TEST(MagazineModel, NoNodeIsTakenTwice) {
  expect_right("pop pop | steal", [] { return owner_against_thieves<ModelPlatform>(2, 2, 1); });
  expect_right("pop pop | steal | steal",
               [] { return owner_against_thieves<ModelPlatform>(2, 2, 2); });
  expect_right("pop pop pop | steal | steal",
               [] { return owner_against_thieves<ModelPlatform>(3, 3, 2); });
}

TEST(MagazineModel, NodesThatComeBackAreNotConfused) {
  for (int nodes : {1, 2}) {
    expect_right("pop push pop | steal steal", [nodes] {
      auto world = std::make_shared<MagazineWorld<ModelPlatform>>(nodes);
      return Explorer::Scenario{{[world] {
                                   world->pop_push();
                                   world->pop();
                                 },
                                 [world] {
                                   world->steal();
                                   world->steal();
                                 }},
                                [world] { world->check(); }};
    });
  }
}

TEST(MagazineModel, CanaryWithoutTheHeavyFence) {
  expect_caught("pop pop | steal | steal, no heavy fence",
                [] { return owner_against_thieves<NoHeavyFence>(2, 2, 2); });
}

// ------------------------------------------------------------------------------- hot slot

template <typename Platform>
struct HotWorld {
  using Node = FreeNode<Platform>;
  HotWorld() {
    slot.push(&nodes[0]);
    ledger.took(&nodes[1]);  // the owner holds it
  }
  void pop() { mine = took(slot.pop()); }
  // What MrPool does with a node that the slot has no room for: it goes elsewhere.
  void push(Node* node) {
    if (node == nullptr) return;
    ledger.gives(node);
    if (!slot.push(node)) elsewhere.insert(node);
  }
  Node* steal() {
    for (bool lost = true; lost;) {
      if (Node* node = took(slot.steal([] { Platform::heavy_fence(); }, lost))) return node;
    }
    return nullptr;
  }
  Node* took(Node* node) {
    ledger.took(node);
    return node;
  }
  void check() {
    if (ledger.held() + elsewhere.size() + (slot.peek() != nullptr ? 1 : 0) != 2) {
      Explorer::fail("a node is lost");
    }
  }
  Node nodes[2];
  Node* mine = nullptr;
  HotSlot<Platform> slot;
  Ledger<Node> ledger;
  std::set<Node*> elsewhere;
};

using OwnerSteps = void (*)(HotWorld<ModelPlatform>&);

template <typename Platform>
Explorer::Scenario hot_owner_against_thieves(void (*owner)(HotWorld<Platform>&), int thieves,
                                             int steals) {
  auto world = std::make_shared<HotWorld<Platform>>();
  Explorer::Scenario scenario;
  scenario.threads.push_back([world, owner] { owner(*world); });
  for (int t = 0; t < thieves; ++t) {
    scenario.threads.push_back([world, steals] {
      for (int i = 0; i < steals; ++i) world->steal();
    });
  }
  scenario.check = [world] { world->check(); };
  return scenario;
}

TEST(HotSlotModel, NoNodeIsTakenTwiceOrLost) {
  struct Case {
    const char* name;
    OwnerSteps owner;
    bool two_thieves;  // else it grows too large
  };
  const Case cases[] = {
      {"pop", [](auto& w) { w.pop(); }, true},
      {"pop push", [](auto& w) { w.pop(), w.push(w.mine); }, true},
      {"push-other", [](auto& w) { w.push(&w.nodes[1]); }, true},
      {"pop push pop", [](auto& w) { w.pop(), w.push(w.mine), w.pop(); }, true},
      {"pop push-other pop", [](auto& w) { w.pop(), w.push(&w.nodes[1]), w.pop(); }, false},
      {"pop push-other pop push pop",
       [](auto& w) { w.pop(), w.push(&w.nodes[1]), w.pop(), w.push(w.mine), w.pop(); }, false},
  };
  for (const Case& c : cases) {
    for (int steals : {1, 2}) {
      expect_right((std::string(c.name) + (steals == 1 ? " | steal" : " | steal steal")).c_str(),
                   [&] { return hot_owner_against_thieves<ModelPlatform>(c.owner, 1, steals); });
    }
    if (!c.two_thieves) continue;
    expect_right((std::string(c.name) + " | steal | steal").c_str(),
                 [&] { return hot_owner_against_thieves<ModelPlatform>(c.owner, 2, 1); });
  }
}

// A thief gives what it stole to the owner, who puts it back: the same node in the same place.
TEST(HotSlotModel, AReturnedNodeIsNotConfused) {
  expect_right("pop push-what-was-stolen pop | steal, hand over | steal", [] {
    auto world = std::make_shared<HotWorld<ModelPlatform>>();
    auto handed = std::make_shared<ModelPlatform::Atomic<FreeNode<ModelPlatform>*>>(nullptr);
    return Explorer::Scenario{
        {[world, handed] {
           world->pop();
           world->push(handed->load());
           world->pop();
         },
         [world, handed] { handed->store(world->steal()); }, [world] { world->steal(); }},
        [world] { world->check(); }};
  });
}

TEST(HotSlotModel, CanaryWithoutTheHeavyFence) {
  expect_caught("pop | steal, no heavy fence", [] {
    return hot_owner_against_thieves<NoHeavyFence>(
        +[](HotWorld<NoHeavyFence>& w) { w.pop(); }, 1, 1);
  });
}

// ------------------------------------------------------------------------------- stack

template <typename Stack>
struct StackWorld {
  StackWorld() {
    for (uint32_t i = 3; i-- > 0;) stack.push(i, link());
  }
  auto link() {
    return [this](uint32_t i) -> auto& { return links[i]; };
  }
  uint32_t pop() {
    const uint32_t i = stack.pop(link());
    if (i == Stack::kNil) return i;
    if (held[i]) Explorer::fail("an index was popped twice");
    held[i] = true;
    return i;
  }
  void push(uint32_t i) {
    if (i == Stack::kNil) return;
    held[i] = false;
    stack.push(i, link());
  }
  ModelPlatform::Atomic<uint32_t> links[3];
  bool held[3] = {};
  Stack stack;
};

// The same without a tag: ABA.
class UntaggedStack {
 public:
  static constexpr uint32_t kNil = 99;
  template <typename Link>
  void push(uint32_t index, Link link) {
    uint32_t head = head_.load();
    do {
      link(index).store(head, std::memory_order_relaxed);
    } while (!head_.compare_exchange_weak(head, index));
  }
  template <typename Link>
  uint32_t pop(Link link) {
    uint32_t head = head_.load();
    while (head != kNil && !head_.compare_exchange_weak(head, link(head).load())) {
    }
    return head;
  }

 private:
  ModelPlatform::Atomic<uint32_t> head_{kNil};
};

template <typename Stack>
Explorer::Scenario aba() {
  auto world = std::make_shared<StackWorld<Stack>>();
  return {{[world] { world->pop(); },
           [world] {
             const uint32_t a = world->pop();
             world->pop();
             world->push(a);
             world->pop();
             world->pop();
           }},
          [] {}};
}

TEST(StackModel, TagsKeepAbaAway) {
  expect_right("pop | pop pop push pop pop", [] { return aba<TaggedStack<ModelPlatform>>(); });
}

TEST(StackModel, CanaryWithoutTags) {
  expect_caught("pop | pop pop push pop pop, no tag", [] { return aba<UntaggedStack>(); });
}

}  // namespace
}  // namespace mrpool::internal
