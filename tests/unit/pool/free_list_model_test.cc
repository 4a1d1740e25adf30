// The free list as a whole under exhaustive exploration (explorer.h): all interleavings and all
// store buffer delays of small scenarios. The canaries take one precaution away each and must fail.
#include <gtest/gtest.h>

#include "tests/unit/pool/model.h"

namespace mrpool::internal {
namespace {

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
      return list->has_waiters();
    }
    return list->disturbed(*slots[t]) && list->check_waiters(*slots[t]);
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

TEST(FreeListModel, EmptyIsNeverReturnedWhileANodeIsFree) {
  for (int rounds : {1, 2}) {
    const std::string twice = rounds == 2 ? ", twice" : "";
    expect_right(("get put | get put, both with slots" + twice).c_str(),
                 [=] { return one_each<ModelPlatform>(2, 2, 2, rounds); });
    expect_right(("get put | get put, one with a slot" + twice).c_str(),
                 [=] { return one_each<ModelPlatform>(2, 1, 1, rounds); });
    expect_right(("get put | get put, overflow only" + twice).c_str(),
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
  // Both nodes were put before any search: one is hot, one is in the magazine.
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
             world->list->set_has_waiters(true);
             world->list->heavy_fence(world->slots[1]);
             *got = world->get(1) != nullptr;
           }},
          [saw, got] {
            if (!*saw && !*got) Explorer::fail("a wake-up is lost");
          }};
}

TEST(FreeListModel, NoWakeUpIsLost) {
  expect_right("put | wait", [] { return return_against_wait<ModelPlatform>(2); });
  expect_right("put | wait, overflow only", [] { return return_against_wait<ModelPlatform>(0); });
}

// The owner puts and finds out that nobody waits any more, while the next one begins to wait.
TEST(FreeListModel, AttentionIsNotClearedForTheNextWaiter) {
  expect_right("put get put | wait", [] {
    auto world = std::make_shared<ListWorld<ModelPlatform>>(1, 2, 2);
    auto* node = world->must_get(0);
    world->list->set_has_waiters(true);  // somebody waited, and does not any more
    world->list->set_has_waiters(false);
    auto saw = std::make_shared<bool>(false);
    auto got = std::make_shared<bool>(false);
    return Explorer::Scenario{{[world, node, saw] {
                                 *saw = world->put(0, node);
                                 if (*saw) return;
                                 if (auto* again = world->get(0)) *saw = world->put(0, again);
                               },
                               [world, got] {
                                 world->list->set_has_waiters(true);
                                 world->list->heavy_fence(world->slots[1]);
                                 *got = world->get(1) != nullptr;
                               }},
                              [saw, got] {
                                if (!*saw && !*got) Explorer::fail("a wake-up is lost");
                              }};
  });
}

// The waiter is alone, and does without the heavy fence, when it looks who else is there.
TEST(FreeListModel, NewcomersSeeWaiters) {
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
                                 world->list->set_has_waiters(true);
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
