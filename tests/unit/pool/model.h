// What the model tests share: a scenario that must hold in every execution, a canary that must not,
// and who has which node. See explorer.h.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <set>
#include <vector>

#include "pool/free_list_impl.h"
#include "tests/unit/pool/explorer.h"

namespace mrpool::internal {

using testing::Explorer;
using testing::ModelPlatform;

// Beyond this a scenario has grown too large to be called explored.
inline constexpr uint64_t kLimit = 3'000'000;

inline void expect_right(const char* name, const std::function<Explorer::Scenario()>& make) {
  Explorer explorer;
  explorer.explore(make, kLimit);
  EXPECT_FALSE(explorer.failed()) << name << ": " << explorer.failure() << ", execution "
                                  << explorer.executions();
  EXPECT_TRUE(explorer.exhausted()) << name << ": not explored in " << kLimit << " executions";
  std::printf("%s: %llu executions\n", name, (unsigned long long)explorer.executions());
}

inline void expect_caught(const char* name, const std::function<Explorer::Scenario()>& make) {
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

// One magazine, some nodes, and what threads do with them.
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

}  // namespace mrpool::internal
