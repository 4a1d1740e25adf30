#include "examples/load/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace mrpool::load {
namespace {

using testing::HasSubstr;

absl::StatusOr<Options> parse(std::vector<std::string> arguments, uint64_t device = 64 << 20) {
  Options options;
  base::CommandLine command("test", "A test.");
  add_options(command, options, {.iodepth = 1023, .numjobs = 64});
  absl::Status status = command.parse(arguments);
  if (status.ok()) status = finish_options(options, device, 512);
  if (!status.ok()) return status;
  return options;
}

TEST(Options, NamesAreFios) {
  const auto o = parse({"--rw",
                        "randrw",
                        "--bs=128k",
                        "--iodepth",
                        "32",
                        "--numjobs",
                        "4",
                        "--runtime",
                        "5",
                        "--size",
                        "16m",
                        "--offset",
                        "1m",
                        "--rwmixread",
                        "70",
                        "--verify",
                        "crc32c",
                        "--output-format",
                        "json",
                        "--group_reporting",
                        "--time_based",
                        "--norandommap"});
  ASSERT_TRUE(o.ok()) << o.status();
  EXPECT_EQ(o->rw, Pattern::kRandRw);
  EXPECT_EQ(o->bs, 128u << 10);
  EXPECT_EQ(o->iodepth, 32u);
  EXPECT_EQ(o->numjobs, 4u);
  EXPECT_EQ(o->runtime, std::chrono::seconds(5));
  EXPECT_EQ(o->range.size, 16u << 20);
  EXPECT_EQ(o->rwmixread, 70u);
  EXPECT_TRUE(o->verify && o->group_reporting && o->time_based && o->norandommap);
  EXPECT_EQ(o->output_format, OutputFormat::kJson);
}

TEST(Options, SizeDefaultsToTheRestOfTheDevice) {
  EXPECT_EQ(parse({"--offset", "1m"})->range.size, 63u << 20);
}

TEST(Options, RefusalsNameTheOption) {
  const auto refusal = [](std::vector<std::string> argv, uint64_t device = 64 << 20) {
    return std::string(parse(std::move(argv), device).status().message());
  };
  EXPECT_THAT(refusal({"--bs", "1000"}), HasSubstr("--bs 1000"));
  EXPECT_THAT(refusal({"--size", "65m"}), HasSubstr("--size"));
  EXPECT_THAT(refusal({"--offset", "64m"}), HasSubstr("--offset"));
  EXPECT_THAT(refusal({"--iodepth", "0"}), HasSubstr("--iodepth: '0' is not"));
  EXPECT_THAT(refusal({"--numjobs", "65"}), HasSubstr("from 1 to 64"));
  EXPECT_THAT(refusal({"--numjobs", "4", "--size", "8k"}), HasSubstr("4 jobs"));
  EXPECT_THAT(refusal({"--rwmixread", "101"}), HasSubstr("--rwmixread"));
  EXPECT_THAT(refusal({"--rwmixread", "70", "--rw", "write"}),
              HasSubstr("--rwmixread is for --rw rw and randrw"));
  EXPECT_THAT(refusal({"--ramp_time", "1"}), HasSubstr("--runtime"));
  EXPECT_THAT(refusal({"--time_based"}), HasSubstr("--runtime"));
  EXPECT_THAT(refusal({"--verify", "crc32c"}, uint64_t{1} << 40), HasSubstr("--size"));
}

TEST(Options, JobsThatVerifyDoNotOverlapAndLeaveNothingOut) {
  auto o = parse({"--numjobs", "3", "--size", "40k", "--verify", "crc32c"});
  ASSERT_TRUE(o.ok());
  uint64_t end = 0;
  for (uint32_t job = 0; job < 3; ++job) {
    const Region region = job_region(*o, job);
    EXPECT_EQ(region.begin, end);
    EXPECT_GT(region.end, region.begin);
    end = region.end;
  }
  EXPECT_EQ(end, 40u << 10);
}

}  // namespace
}  // namespace mrpool::load
