// The explorer itself: it knows store buffers and fences, and its reduction loses no outcome.
#include <gtest/gtest.h>

#include "tests/unit/pool/model.h"

namespace mrpool::internal {
namespace {

using Word = ModelPlatform::Atomic<int>;

struct Litmus {
  Word x{0}, y{0};
  int a = -1, b = -1;
  void record() const { Explorer::record(std::to_string(a) + std::to_string(b)); }
};

// Two stores and two loads, with all combinations of fences.
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

}  // namespace
}  // namespace mrpool::internal
