#include "examples/load/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

namespace mrpool::load {
namespace {

JobStats two_seconds_of_reads() {
  JobStats stats;
  stats.runtime = std::chrono::seconds(2);
  for (uint64_t i = 1; i <= 1000; ++i) {
    ++stats.direction[0].ios;
    stats.direction[0].bytes += 4096;
    stats.direction[0].latency.add(i * 1000);
  }
  return stats;
}

TEST(Report, JsonHasFiosKeys) {
  const JobStats jobs[] = {two_seconds_of_reads(), two_seconds_of_reads()};
  Options options;
  const auto document = boost::json::parse(to_json(options, jobs, {"program", "perf", {}}));
  ASSERT_EQ(document.at("jobs").as_array().size(), 2u);
  const auto& read = document.at("jobs").at(0).at("read");
  EXPECT_DOUBLE_EQ(read.at("iops").as_double(), 500);
  EXPECT_EQ(read.at("bw_bytes").to_number<uint64_t>(), 2'048'000u);
  EXPECT_EQ(read.at("runtime").to_number<uint64_t>(), 2000u);
  EXPECT_NEAR(read.at("clat_ns").at("percentile").at("50.000000").to_number<double>(), 500'000,
              10'000);
  EXPECT_EQ(document.at("jobs").at(0).at("error").to_number<int>(), 0);
}

TEST(Report, JsonPlusHasTheHistogram) {
  const JobStats jobs[] = {two_seconds_of_reads()};
  Options options;
  const auto latency = [&] {
    return boost::json::parse(to_json(options, jobs, {"program", "perf", {}}))
        .at("jobs")
        .at(0)
        .at("read")
        .at("clat_ns")
        .as_object();
  };
  EXPECT_FALSE(latency().contains("bins"));
  options.output_format = OutputFormat::kJsonPlus;
  const boost::json::object with = latency();
  uint64_t samples = 0;
  for (const auto& bin : with.at("bins").as_object()) samples += bin.value().to_number<uint64_t>();
  EXPECT_EQ(samples, 1000u);
}

TEST(Report, GroupReportingAddsUpAndKeepsTheTime) {
  const JobStats jobs[] = {two_seconds_of_reads(), two_seconds_of_reads()};
  Options options;
  options.group_reporting = true;
  const auto document = boost::json::parse(to_json(options, jobs, {"program", "perf", {}}));
  ASSERT_EQ(document.at("jobs").as_array().size(), 1u);
  EXPECT_DOUBLE_EQ(document.at("jobs").at(0).at("read").at("iops").as_double(), 1000);
}

TEST(Report, TextShowsErrorsAndVerification) {
  JobStats job = two_seconds_of_reads();
  job.verified = 9;
  job.verify_errors = 1;
  job.first_error = "block 7 is stale";
  Options options;
  options.verify = true;
  const std::string text = to_text(options, {&job, 1});
  EXPECT_THAT(text, testing::HasSubstr("9 blocks checked, 1 verification errors"));
  EXPECT_THAT(text, testing::HasSubstr("block 7 is stale"));
  EXPECT_THAT(text, testing::HasSubstr("500 IOPS"));
}

TEST(Report, LiveLineShowsTheLastTick) {
  Progress jobs[2];
  LiveLine line;
  line.tick(jobs, std::chrono::seconds(100));
  for (int i = 0; i < 2000; ++i) jobs[i % 2].add(Direction::kWrite, 512);
  EXPECT_THAT(line.tick(jobs, std::chrono::seconds(102)),
              testing::HasSubstr("write 1000 IOPS 500KiB/s"));
  EXPECT_THAT(line.tick(jobs, std::chrono::seconds(103)), testing::HasSubstr("write 0 IOPS"));
}

}  // namespace
}  // namespace mrpool::load
