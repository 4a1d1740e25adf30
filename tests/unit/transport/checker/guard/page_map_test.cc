#include "transport/checker/guard/page_map.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace mrpool::guard {
namespace {

constexpr uintptr_t kPage = 0x10000;

struct PageMapTest : testing::Test {
  void SetUp() override { ASSERT_TRUE(map->open()); }
  Handle add(uintptr_t begin, uintptr_t end, uint64_t note = 0) {
    const Handle op = map->add_op({note});
    map->add_slot(op, begin, end);
    return op;
  }
  Handle at(uintptr_t begin, uintptr_t end) {
    const Page* page = map->find(begin);
    return page == nullptr ? 0 : map->guarding(*page, begin, end, first);
  }
  void drop(Handle op) {
    map->drop_op(op, [](Page&) {});
  }
  std::unique_ptr<PageMap> map = std::make_unique<PageMap>();
  uintptr_t first = 0;
};

TEST_F(PageMapTest, FindsTheFirstGuardedByte) {
  const Handle op = add(kPage + 8, kPage + 16, 7);
  EXPECT_EQ(at(kPage, kPage + 8), 0u);
  EXPECT_EQ(at(kPage + 16, kPage + 20), 0u);
  EXPECT_EQ(at(kPage, kPage + 100), op);
  EXPECT_EQ(first, kPage + 8);
  EXPECT_EQ(at(kPage + 15, kPage + 16), op);
  EXPECT_EQ(map->note(op)[0], 7u);
}

TEST_F(PageMapTest, DroppedOpGuardsNothing) {
  const Handle op = add(kPage, kPage + 16);
  drop(op);
  EXPECT_EQ(at(kPage, kPage + 16), 0u);
  drop(op);  // a handle that ended
  const Handle next = add(kPage, kPage + 16);
  EXPECT_NE(next, op);
  drop(op);
  EXPECT_EQ(at(kPage, kPage + 16), next);
}

TEST_F(PageMapTest, LaterOpReplacesWhatItCovers) {
  const Handle whole = add(kPage, kPage + 64);
  const Handle later = add(kPage + 32, kPage + 100);
  EXPECT_EQ(at(kPage + 31, kPage + 32), whole);
  EXPECT_EQ(at(kPage + 32, kPage + 33), later);
  const Handle last = add(kPage, kPage + 4096);
  EXPECT_EQ(at(kPage, kPage + 1), last);
  EXPECT_EQ(map->find(kPage)->slots, 1);
  drop(whole);
  drop(later);
  EXPECT_EQ(at(kPage, kPage + 1), last);
}

TEST_F(PageMapTest, OpEndsOnAllItsPages) {
  const Handle op = map->add_op({});
  for (int i = 0; i < 5; ++i) map->add_slot(op, kPage + i * kPageBytes, kPage + i * kPageBytes + 9);
  int visited = 0;
  map->drop_op(op, [&](Page& page) {
    EXPECT_EQ(page.slots, 0);
    ++visited;
  });
  EXPECT_EQ(visited, 5);
}

TEST_F(PageMapTest, ForgottenPagesAreUsedAgain) {
  for (uintptr_t i = 0; i < 3 * PageMap::kPages; ++i) {
    const Handle op = add(kPage + i * kPageBytes, kPage + i * kPageBytes + 1);
    Page* page = map->find(kPage + i * kPageBytes);
    ASSERT_NE(page, nullptr) << i;
    drop(op);
    map->drop_page(*page);
    ASSERT_EQ(map->find(kPage + i * kPageBytes), nullptr);
  }
}

TEST_F(PageMapTest, FullTablesGuardLess) {
  std::vector<Handle> ops;
  for (uintptr_t i = 0; i < PageMap::kPages + 10; ++i) {
    ops.push_back(add(kPage + i * kPageBytes, kPage + i * kPageBytes + 1));
  }
  EXPECT_EQ(map->find(kPage + (PageMap::kPages + 5) * kPageBytes), nullptr);
  for (const Handle op : ops) drop(op);
  EXPECT_EQ(at(kPage, kPage + 1), 0u);
}

TEST_F(PageMapTest, SlotsOfOnePageAreLimited) {
  for (uintptr_t i = 0; i < PageMap::kSlotsPerPage + 10; ++i) add(kPage + i * 2, kPage + i * 2 + 1);
  EXPECT_EQ(map->find(kPage)->slots, PageMap::kSlotsPerPage);
  map->clear(*map->find(kPage));
  EXPECT_EQ(at(kPage, kPage + 4096), 0u);
}

}  // namespace
}  // namespace mrpool::guard
