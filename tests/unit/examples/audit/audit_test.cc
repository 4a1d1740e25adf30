// The audit finds nothing wrong with uiwarp, and finds every canary.
#include "examples/audit/audit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "examples/audit/canary.h"

namespace mrpool::audit {
namespace {

using testing::HasSubstr;

Address loopback() {
  return {.transport = "uiwarp", .host = "127.0.0.1", .port = 0, .options = ""};
}

std::vector<std::string> broken(const Report& report) {
  std::vector<std::string> names;
  for (const FlagLine& line : report.flags) {
    if (line.verdict == Verdict::kBroken) names.push_back(line.flags);
  }
  for (const RuleLine& line : report.rules) {
    if (line.verdict == Verdict::kBroken) names.push_back(line.rule + ": " + line.outcome);
  }
  return names;
}

TEST(Audit, TheSoftDeviceBreaksNoRule) {
  const auto device = Device::open(loopback());
  ASSERT_TRUE(device.ok()) << device.status();
  const auto report = run(**device, loopback());
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->passed()) << testing::PrintToString(broken(*report));
  // All it has, it must have been asked for.
  for (const RuleLine& line : report->rules) EXPECT_EQ(line.verdict, Verdict::kHolds) << line.rule;
  EXPECT_GT(report->flags.size(), 30u);
}

class Canary : public testing::TestWithParam<CanaryRule> {};

TEST_P(Canary, IsCaughtByItsRule) {
  const auto device = Device::open(loopback());
  ASSERT_TRUE(device.ok()) << device.status();
  const auto canary = make_canary(*device, GetParam().name);
  ASSERT_TRUE(canary.ok()) << canary.status();
  const auto report = run(**canary, loopback());
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_FALSE(report->passed());
  const std::vector<std::string> names = broken(*report);
  EXPECT_TRUE(std::any_of(
      names.begin(), names.end(),
      [](const std::string& name) { return name.starts_with(std::string(GetParam().caught_by)); }))
      << "blamed instead: " << testing::PrintToString(names);
}

std::string name_of(const testing::TestParamInfo<CanaryRule>& info) {
  std::string name(info.param.name);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, Canary,
                         testing::ValuesIn(canary_rules().begin(), canary_rules().end()), name_of);

TEST(Canaries, AnUnknownOneIsRefusedWithTheNamesThereAre) {
  const auto device = Device::open(loopback());
  ASSERT_TRUE(device.ok()) << device.status();
  const auto canary = make_canary(*device, "gravity");
  EXPECT_EQ(canary.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(canary.status().message()), HasSubstr("fast-bound"));
}

TEST(Report, AllFormsNameTheBrokenRules) {
  const Report report{.device = "dev0",
                      .registration = "memory windows",
                      .flags = {{"local_write|bit 21", "unknown", "x", Verdict::kHolds}},
                      .rules = {{"stale-key", "a READ", "data moved", Verdict::kBroken}}};
  EXPECT_FALSE(report.passed());
  EXPECT_THAT(to_table(report), HasSubstr("BROKEN  stale-key"));
  EXPECT_THAT(to_markdown(report), HasSubstr("`local_write\\|bit 21`"));
  EXPECT_THAT(to_json(report), HasSubstr(R"("passed":false)"));
}

}  // namespace
}  // namespace mrpool::audit
