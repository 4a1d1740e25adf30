// MrTable against std::map; removed entries leak nothing.
#include "transport/verbs/mr_table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace mrpool::verbs {
namespace {

TEST(MrTable, FindsWhatAMapFinds) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  MrTable<int> table;
  std::map<uint32_t, int*> model;
  int regions[64];
  for (int step = 0; step < 200'000; ++step) {
    // Few keys, half of them with the same hash but for the wrap: clusters form and dissolve.
    const uint32_t key = random() % 2 == 0 ? random() % 256 : (random() % 64) << 25;
    if (model.contains(key)) {
      table.erase(key);
      model.erase(key);
    } else if (model.size() < 100) {
      int* const region = &regions[random() % 64];
      table.insert(key, region);
      model[key] = region;
    }
    const uint32_t other = random() % 2 == 0 ? random() % 256 : (random() % 64) << 25;
    const auto known = model.find(other);
    ASSERT_EQ(table.find(other), known == model.end() ? nullptr : known->second) << "step " << step;
  }
  EXPECT_LE(table.capacity(), 1024u);
}

TEST(MrTable, KeysThatComeAndGoLeaveNoEntries) {
  MrTable<int> table;
  int region = 0;
  std::mt19937 random(1);
  for (int i = 0; i < 1'000'000; ++i) {
    const auto key = uint32_t(random());
    table.insert(key, &region);
    EXPECT_EQ(table.find(key), &region);
    table.erase(key);
    EXPECT_EQ(table.find(key), nullptr);
  }
  EXPECT_EQ(table.capacity(), 64u);
}

}  // namespace
}  // namespace mrpool::verbs
