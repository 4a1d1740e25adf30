// The tree of statistics: paths, sums, and order.
#include "examples/engine/statistics_tree.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace mrpool::engine {
namespace {

TEST(Statistics, IsATreeOfNames) {
  Statistics all;
  Statistics& device = all.child("device").child("uiwarp");
  device.add("crc_errors", 2);
  all.add("connections", 7);
  device.child("mrs").add("in_use", 0);
  all.child("worker").child("0").add("links", 3);
  ASSERT_NE(all.find("device/uiwarp/crc_errors"), nullptr);
  EXPECT_EQ(*all.find("device/uiwarp/crc_errors"), 2u);
  EXPECT_EQ(*all.find("connections"), 7u);
  EXPECT_EQ(*all.find("device/uiwarp/mrs/in_use"), 0u);
  for (const char* path : {"", "device", "device/", "device/rxe0/x", "connections/x", "nothing"}) {
    EXPECT_EQ(all.find(path), nullptr) << path;
  }
  std::vector<std::string> paths;
  all.visit([&](const std::string& path, uint64_t) { paths.push_back(path); });
  EXPECT_EQ(paths, (std::vector<std::string>{"connections", "device/uiwarp/crc_errors",
                                             "device/uiwarp/mrs/in_use", "worker/0/links"}));
}

TEST(Statistics, TwoSourcesOfOneNameBecomeOne) {
  Statistics all;
  all.child("device").add("sends", 2);
  all.child("device").add("sends", 3);
  EXPECT_EQ(*all.find("device/sends"), 5u);
}

}  // namespace
}  // namespace mrpool::engine
