// How a daemon adapts to its process's limits.
#include "examples/engine/process_limits.h"

#include <gtest/gtest.h>

namespace mrpool::engine {
namespace {

constexpr uint64_t kNone = ~uint64_t{0};

TEST(ProcessLimits, SufficientLimitsAreNotReported) {
  Options options;
  EXPECT_TRUE(fit({.descriptors = 1 << 20, .descriptors_in_use = 9, .locked_memory = 8 << 20},
                  {.threads = 4, .stores = 40, .ports = 2}, options)
                  .empty());
  EXPECT_EQ(options.possible_connections, options.max_connections);
  EXPECT_TRUE(
      fit({.descriptors = kNone, .locked_memory = kNone}, {.verbs = true}, options).empty());
}

TEST(ProcessLimits, ConnectionsUseTheRemainingDescriptors) {
  Options options;
  const auto lacking = fit({.descriptors = 1024, .descriptors_in_use = 9, .locked_memory = kNone},
                           {.threads = 2, .stores = 40, .ports = 1}, options);
  ASSERT_EQ(lacking.size(), 1u);
  EXPECT_NE(lacking[0].find("the limit is 1024"), std::string::npos) << lacking[0];
  EXPECT_NE(lacking[0].find("of 4096 connections"), std::string::npos) << lacking[0];
  EXPECT_GT(options.possible_connections, 0u);
  EXPECT_LT(2 * options.possible_connections + 40 + 9, 1024u);
  EXPECT_EQ(options.max_connections, kDefaultMaxConnections) << "what was asked for stays known";
  // With hardly any there is still one.
  (void)fit({.descriptors = 20, .descriptors_in_use = 19, .locked_memory = kNone}, {}, options);
  EXPECT_EQ(options.possible_connections, 1u);
}

TEST(ProcessLimits, VerbsLocksMemory) {
  Options options{.staging = 64 << 20};
  const ProcessLimits limits{.descriptors = kNone, .locked_memory = 8 << 20};
  const auto lacking = fit(limits, {.threads = 2, .verbs = true}, options);
  ASSERT_EQ(lacking.size(), 1u);
  EXPECT_NE(lacking[0].find("needs 128 MiB, the limit is 8 MiB"), std::string::npos) << lacking[0];
  EXPECT_TRUE(fit(limits, {.threads = 2}, options).empty()) << "uiwarp locks nothing";
}

}  // namespace
}  // namespace mrpool::engine
