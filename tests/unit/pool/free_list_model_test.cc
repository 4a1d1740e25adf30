// The free list's code under exhaustive exploration (explorer.h): all interleavings and all store
// buffer delays of small scenarios. The canaries take one precaution away each and must fail.
#include <gtest/gtest.h>

#include <set>

#include "pool/free_list_impl.h"
#include "tests/unit/pool/explorer.h"

namespace mrpool::internal {
namespace {

using testing::Explorer;
using testing::ModelPlatform;

// Beyond this a scenario has grown too large to be called explored.
constexpr uint64_t kLimit = 3'000'000;

void expect_right(const char* name, const std::function<Explorer::Scenario()>& make) {
  Explorer explorer;
  explorer.explore(make, kLimit);
  EXPECT_FALSE(explorer.failed()) << name << ": " << explorer.failure() << ", execution "
                                  << explorer.executions();
  EXPECT_TRUE(explorer.exhausted()) << name << ": not explored in " << kLimit << " executions";
  std::printf("%s: %llu executions\n", name, (unsigned long long)explorer.executions());
}

void expect_caught(const char* name, const std::function<Explorer::Scenario()>& make) {
  Explorer explorer;
  explorer.explore(make, kLimit);
  EXPECT_TRUE(explorer.failed()) << name << " was not caught in " << explorer.executions()
                                 << " executions";
  std::printf("%s: caught in execution %llu: %s\n", name, (unsigned long long)explorer.executions(),
              explorer.failure().c_str());
}

// Who has which node.
template <typename Node>
class Ledger {
 public:
  void took(Node* node) {
    if (node == nullptr) return;
    if (!held_.insert(node).second) Explorer::fail("a node was taken twice");
  }
  void gives(Node* node) { held_.erase(node); }
  size_t held() const { return held_.size(); }

 private:
  std::set<Node*> held_;
};

// A canary's platform: the heavy fence is missing.
struct NoHeavyFence : ModelPlatform {
  static void heavy_fence() { full_fence(); }
};

// ------------------------------------------------------------------------------- magazine

template <typename Platform>
struct MagazineWorld {
  using Node = FreeNode<Platform>;
  explicit MagazineWorld(int count) : nodes(size_t(count)) {
    magazine.set_capacity(4);
    for (Node& node : nodes) magazine.fill(&node);
  }
  void pop() { ledger.took(magazine.pop()); }
  void pop_push() {
    Node* const node = magazine.pop();
    ledger.took(node);
    if (node == nullptr) return;
    ledger.gives(node);
    if (!magazine.push(node)) Explorer::fail("no room for what just left");
  }
  void steal() {
    bool lost = false;
    ledger.took(magazine.steal([] { Platform::heavy_fence(); }, lost));
  }
  void check() {
    if (ledger.held() + size_t(magazine.size()) != nodes.size()) Explorer::fail("a node is lost");
  }
  std::vector<Node> nodes;
  Magazine<Platform> magazine;
  Ledger<Node> ledger;
};

// ------------------------------------------------------------------------------- the explorer

using Word = ModelPlatform::Atomic<int>;

struct Litmus {
  Word x{0}, y{0};
  int a = -1, b = -1;
  void record() const { Explorer::record(std::to_string(a) + std::to_string(b)); }
};

// Two stores, two loads: whoever fences how.
Explorer::Scenario store_buffering(void (*fence_a)(), void (*fence_b)()) {
  auto l = std::make_shared<Litmus>();
  return {{[l, fence_a] {
             l->x.store(1, std::memory_order_release);
             fence_a();
             l->a = l->y.load();
           },
           [l, fence_b] {
             l->y.store(1, std::memory_order_release);
             fence_b();
             l->b = l->x.load();
           }},
          [l] { l->record(); }};
}

TEST(Explorer, KnowsStoreBuffersAndFences) {
  using P = ModelPlatform;
  const auto outcomes = [](void (*a)(), void (*b)()) {
    Explorer explorer;
    explorer.explore([=] { return store_buffering(a, b); }, kLimit);
    EXPECT_TRUE(explorer.exhausted());
    return explorer.outcomes();
  };
  using Set = std::set<std::string>;
  const Set all = {"00", "01", "10", "11"};
  const Set ordered = {"01", "10", "11"};
  EXPECT_EQ(outcomes(P::light_fence, P::light_fence), all);
  EXPECT_EQ(outcomes(P::light_fence, P::full_fence), all);
  EXPECT_EQ(outcomes(P::full_fence, P::full_fence), ordered);
  EXPECT_EQ(outcomes(P::light_fence, P::heavy_fence), ordered);
}

// The reduction against the plain search of every interleaving.
TEST(Explorer, ReductionLosesNoOutcome) {
  const auto compare = [](const char* name, const std::function<Explorer::Scenario()>& make) {
    Explorer reduced;
    reduced.explore(make, kLimit);
    Explorer every;
    every.explore(make, kLimit, Explorer::Search::kEvery);
    EXPECT_TRUE(reduced.exhausted() && every.exhausted()) << name;
    EXPECT_EQ(reduced.outcomes(), every.outcomes()) << name;
    EXPECT_GT(every.outcomes().size(), 1u) << name;
    std::printf("%s: %zu outcomes in %llu executions, of %llu\n", name, reduced.outcomes().size(),
                (unsigned long long)reduced.executions(), (unsigned long long)every.executions());
  };
  // Two words, three threads, stores, loads and exchanges: each thread's view is an outcome.
  compare("three threads", [] {
    auto l = std::make_shared<Litmus>();
    auto c = std::make_shared<int>(-1);
    return Explorer::Scenario{{[l] {
                                 l->x.store(1, std::memory_order_release);
                                 l->a = l->y.load();
                               },
                               [l] {
                                 l->y.store(1, std::memory_order_release);
                                 int expected = 0;
                                 l->b = l->x.compare_exchange_strong(expected, 2) ? 9 : expected;
                               },
                               [l, c] { *c = l->x.load() * 2 + l->y.load(); }},
                              [l, c] {
                                Explorer::record(std::to_string(l->a) + std::to_string(l->b) +
                                                 std::to_string(*c) + std::to_string(l->x.load()));
                              }};
  });
  compare("pop | steal", [] {
    auto world = std::make_shared<MagazineWorld<ModelPlatform>>(1);
    auto l = std::make_shared<Litmus>();
    return Explorer::Scenario{{[world, l] { l->a = world->magazine.pop() != nullptr; },
                               [world, l] {
                                 bool lost = false;
                                 l->b = world->magazine.steal(ModelPlatform::heavy_fence, lost) !=
                                        nullptr;
                                 if (lost) l->b = 2;
                               }},
                              [l] { l->record(); }};
  });
  compare("put | wait", [] {
    auto world = std::make_shared<MagazineWorld<ModelPlatform>>(0);
    auto hungry = std::make_shared<Word>(0);
    auto l = std::make_shared<Litmus>();
    world->nodes.resize(1);
    return Explorer::Scenario{{[world, hungry, l] {
                                 world->magazine.push(world->nodes.data());
                                 l->a = hungry->load();
                               },
                               [world, hungry, l] {
                                 hungry->store(1, std::memory_order_release);
                                 ModelPlatform::heavy_fence();
                                 l->b = int(world->magazine.size());
                               }},
                              [l] { l->record(); }};
  });
}

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
TEST(HotSlotModel, ANodeThatComesBackIsNotConfused) {
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

// ------------------------------------------------------------------------------- free list

template <typename Platform>
struct ListWorld {
  using Node = FreeNode<Platform>;
  // `attached` slots have their magazines from the start.
  ListWorld(uint32_t count, uint32_t max_threads, int attached) : nodes(count) {
    for (Node& node : nodes) pointers.push_back(&node);
    list = std::make_unique<FreeList<Platform>>(pointers.data(), count, max_threads);
    for (int t = 0; t < attached; ++t) slots[t] = list->attach();
  }
  Node* get(int t) {
    Node* node = slots[t] != nullptr ? list->pop(*slots[t]) : nullptr;
    if (node == nullptr) node = list->take(slots[t]);
    ledger.took(node);
    return node;
  }
  Node* must_get(int t) {
    Node* const node = get(t);
    if (node == nullptr) Explorer::fail("told empty while a node was free");
    return node;
  }
  // As MrPool does it: true when this put has to serve those who wait.
  bool put(int t, Node* node) {
    if (node == nullptr) return false;
    ledger.gives(node);
    if (slots[t] == nullptr || !list->push(*slots[t], node)) {
      list->give(slots[t], node);
      return list->hungry();
    }
    return list->disturbed(*slots[t]) && list->look_up(*slots[t]);
  }
  void check() {
    std::set<const Node*> free;
    list->for_each_free([&](const Node* node) {
      if (!free.insert(node).second) Explorer::fail("a node is free in two places");
    });
    if (ledger.held() + free.size() != nodes.size()) Explorer::fail("a node is lost");
  }
  std::vector<Node> nodes;
  std::vector<Node*> pointers;
  std::unique_ptr<FreeList<Platform>> list;
  ThreadSlot<Platform>* slots[4] = {};
  Ledger<Node> ledger;
};

// As many entries as threads, one entry each at most: nobody may find the list empty, wherever the
// others' entries are. All nodes start in thread 0's magazine.
template <typename Platform>
Explorer::Scenario one_each(int threads, uint32_t max_threads, int attached, int rounds) {
  auto world = std::make_shared<ListWorld<Platform>>(uint32_t(threads), max_threads, attached);
  Explorer::Scenario scenario;
  for (int t = 0; t < threads; ++t) {
    scenario.threads.push_back([world, t, rounds] {
      for (int i = 0; i < rounds; ++i) world->put(t, world->must_get(t));
    });
  }
  scenario.check = [world] { world->check(); };
  return scenario;
}

TEST(FreeListModel, NobodyIsToldEmptyWhileANodeIsFree) {
  for (int rounds : {1, 2}) {
    const std::string twice = rounds == 2 ? ", twice" : "";
    expect_right(("get put | get put, both with slots" + twice).c_str(),
                 [=] { return one_each<ModelPlatform>(2, 2, 2, rounds); });
    expect_right(("get put | get put, one with a slot" + twice).c_str(),
                 [=] { return one_each<ModelPlatform>(2, 1, 1, rounds); });
    expect_right(("get put | get put, spill only" + twice).c_str(),
                 [=] { return one_each<ModelPlatform>(2, 0, 0, rounds); });
  }
  expect_right("get put | get put | get put, two with slots",
               [] { return one_each<ModelPlatform>(3, 2, 2, 1); });
}

TEST(FreeListModel, NodesThatMoveAreNotOverlooked) {
  // Thread 0 puts into its magazine what thread 1 or 2 looks for, in every order.
  expect_right("get put | get | one node kept apart", [] {
    auto world = std::make_shared<ListWorld<ModelPlatform>>(2, 2, 2);
    auto* held = world->get(1);
    return Explorer::Scenario{{[world] { world->put(0, world->must_get(0)); },
                               [world, held] {
                                 world->put(1, held);
                                 world->must_get(1);
                               }},
                              [world] { world->check(); }};
  });
}

// The one node is in a hot slot, or on its way there, while another thread looks for it.
TEST(FreeListModel, HotNodesAreReachable) {
  for (uint32_t count : {1u, 2u}) {
    expect_right(("put get | get, " + std::to_string(count) + " nodes").c_str(), [=] {
      auto world = std::make_shared<ListWorld<ModelPlatform>>(count, 2, 2);
      auto* held = world->must_get(0);
      return Explorer::Scenario{{[world, held] {
                                   world->put(0, held);
                                   world->get(0);
                                 },
                                 [world] { world->get(1); }},
                                [world] { world->check(); }};
    });
  }
  // Both nodes have been put before anybody looks: one hot, one behind it.
  expect_right("get | get | two nodes in one slot", [] {
    auto world = std::make_shared<ListWorld<ModelPlatform>>(2, 3, 3);
    auto* a = world->must_get(0);
    auto* b = world->must_get(0);
    world->put(0, a);
    world->put(0, b);
    return Explorer::Scenario{{[world] { world->must_get(1); }, [world] { world->must_get(2); }},
                              [world] { world->check(); }};
  });
  expect_right("get | get | two nodes in the first one's slot", [] {
    auto world = std::make_shared<ListWorld<ModelPlatform>>(2, 2, 2);
    auto* a = world->must_get(0);
    auto* b = world->must_get(0);
    world->put(0, a);
    world->put(0, b);
    return Explorer::Scenario{{[world] { world->must_get(0); }, [world] { world->must_get(1); }},
                              [world] { world->check(); }};
  });
}

// A slot's next owner finds the node that the last one left in it.
TEST(FreeListModel, HotNodesOutliveTheirThread) {
  expect_right("put detach | get", [] {
    auto world = std::make_shared<ListWorld<ModelPlatform>>(1, 2, 2);
    auto* held = world->must_get(0);
    return Explorer::Scenario{{[world, held] {
                                 world->put(0, held);
                                 world->list->detach(world->slots[0]);
                                 world->slots[0] = nullptr;
                               },
                               [world] { world->put(1, world->get(1)); }},
                              [world] {
                                world->check();
                                if (world->get(1) == nullptr) Explorer::fail("out of reach");
                              }};
  });
  expect_right("detach | attach get put", [] {
    auto world = std::make_shared<ListWorld<ModelPlatform>>(1, 2, 1);
    world->put(0, world->must_get(0));
    return Explorer::Scenario{{[world] {
                                 world->list->detach(world->slots[0]);
                                 world->slots[0] = nullptr;
                               },
                               [world] {
                                 world->slots[1] = world->list->attach();
                                 world->put(1, world->must_get(1));
                               }},
                              [world] { world->check(); }};
  });
}

TEST(FreeListModel, ThreadsMayComeAndGo) {
  expect_right("attach get put detach | get", [] {
    auto world = std::make_shared<ListWorld<ModelPlatform>>(2, 2, 0);
    return Explorer::Scenario{{[world] {
                                 world->slots[0] = world->list->attach();
                                 world->put(0, world->must_get(0));
                                 world->list->detach(world->slots[0]);
                               },
                               [world] { world->must_get(1); }},
                              [world] { world->check(); }};
  });
}

template <typename Platform>
Explorer::Scenario return_against_wait(uint32_t max_threads) {
  auto world = std::make_shared<ListWorld<Platform>>(1, max_threads, int(max_threads));
  auto* node = world->get(0);
  auto saw = std::make_shared<bool>(false);
  auto got = std::make_shared<bool>(false);
  return {{[world, node, saw] { *saw = world->put(0, node); },
           [world, got] {
             world->list->set_hungry(true);
             world->list->heavy_fence(world->slots[1]);
             *got = world->get(1) != nullptr;
           }},
          [saw, got] {
            if (!*saw && !*got) Explorer::fail("a wake-up is lost");
          }};
}

TEST(FreeListModel, NoWakeUpIsLost) {
  expect_right("put | wait", [] { return return_against_wait<ModelPlatform>(2); });
  expect_right("put | wait, spill only", [] { return return_against_wait<ModelPlatform>(0); });
}

// The owner puts and finds out that nobody waits any more, while the next one begins to wait.
TEST(FreeListModel, AttentionIsNotClearedForTheNextWaiter) {
  expect_right("put get put | wait", [] {
    auto world = std::make_shared<ListWorld<ModelPlatform>>(1, 2, 2);
    auto* node = world->must_get(0);
    world->list->set_hungry(true);  // somebody waited, and does not any more
    world->list->set_hungry(false);
    auto saw = std::make_shared<bool>(false);
    auto got = std::make_shared<bool>(false);
    return Explorer::Scenario{{[world, node, saw] {
                                 *saw = world->put(0, node);
                                 if (*saw) return;
                                 if (auto* again = world->get(0)) *saw = world->put(0, again);
                               },
                               [world, got] {
                                 world->list->set_hungry(true);
                                 world->list->heavy_fence(world->slots[1]);
                                 *got = world->get(1) != nullptr;
                               }},
                              [saw, got] {
                                if (!*saw && !*got) Explorer::fail("a wake-up is lost");
                              }};
  });
}

// The waiter is alone, and does without the heavy fence, when it looks who else is there.
TEST(FreeListModel, NewcomersSeeThatSomebodyWaits) {
  expect_right("attach put | wait", [] {
    auto world = std::make_shared<ListWorld<ModelPlatform>>(1, 2, 0);
    world->slots[1] = world->list->attach();
    auto* node = world->must_get(1);
    auto saw = std::make_shared<bool>(false);
    auto got = std::make_shared<bool>(false);
    return Explorer::Scenario{{[world, node, saw] {
                                 world->slots[0] = world->list->attach();
                                 *saw = world->put(0, node);
                               },
                               [world, got] {
                                 world->list->set_hungry(true);
                                 world->list->heavy_fence(world->slots[1]);
                                 *got = world->get(1) != nullptr;
                               }},
                              [saw, got] {
                                if (!*saw && !*got) Explorer::fail("a wake-up is lost");
                              }};
  });
}

TEST(FreeListModel, CanariesWithoutTheHeavyFence) {
  expect_caught("put | wait, no heavy fence", [] { return return_against_wait<NoHeavyFence>(2); });
}

}  // namespace
}  // namespace mrpool::internal
