#include "examples/metrics/families.h"

#include <boost/json/parse.hpp>
#include <set>
#include <string>

#include "examples/metrics/buckets.h"
#include "examples/metrics/status_json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/examples/metrics/example_snapshot.h"

namespace mrpool::metrics {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Buckets, SizesAreInclusive) {
  EXPECT_EQ(size_class(0), 0u);
  uint64_t bound = 4096;
  for (size_t i = 0; i + 1 < kSizeClasses; ++i, bound *= 4) {
    EXPECT_EQ(size_class(bound), i);
    EXPECT_EQ(size_class(bound + 1), i + 1);
  }
  EXPECT_EQ(size_class(~uint64_t{0}), kSizeClasses - 1);
}

TEST(Buckets, LatenciesAreInclusive) {
  EXPECT_EQ(latency_bucket(0), 0u);
  for (size_t i = 0; i < kLatencyBounds; ++i) {
    EXPECT_EQ(latency_bucket(latency_bound_ns(i)), i);
    EXPECT_EQ(latency_bucket(latency_bound_ns(i) + 1), i + 1);
  }
  EXPECT_EQ(latency_bucket(~uint64_t{0}), kLatencyBounds);
}

TEST(Families, HaveWhatTheSnapshotHas) {
  const std::string text = to_text(make_families(example_snapshot()));
  for (const char* line : {
           "mrpool_build_info{program=\"mrpool-nvmf-target\",protocol=\"nvme\",version=\"1.2.3\"} "
           "1",
           "mrpool_staging_wait_seconds_total{worker=\"0\"} 1.5",
           "mrpool_device_crc_errors_total{device=\"uiwarp\"} 4",
           "mrpool_device_reads_outstanding_max{device=\"uiwarp\"} 9",
           "mrpool_device_terminates_sent_total{device=\"uiwarp\",code=\"mpa_crc\"} 1",
           "mrpool_device_terminates_received_total{device=\"uiwarp\",code=\"mpa_crc\"} 2",
           "mrpool_pool_mrs_in_use{device=\"uiwarp\"} 5",
           "mrpool_pool_wait_seconds_total{device=\"uiwarp\"} 2.5",
           "mrpool_unit_reads_completed_total{target=\"nqn.2026-11.org.mrpool:a\",unit=\"1\"} 10",
           "mrpool_unit_capacity_bytes{target=\"nqn.2026-11.org.mrpool:a\",unit=\"1\"} 1048576",
           "mrpool_host_written_bytes_total{host=\"nqn.host\"} 81920",
           "mrpool_host_connections{host=\"nqn.host\"} 2",
           "mrpool_subsystem_busy_seconds_total{target=\"nqn.2026-11.org.mrpool:a\"} 2",
           "mrpool_command_seconds_count{operation=\"read\",size=\"4KiB\"} 7",
           "mrpool_command_seconds_sum{operation=\"read\",size=\"4KiB\"} 3",
           "mrpool_gateway_members{gateway=\"a\"} 2",
           "mrpool_gateway_cluster_answers{gateway=\"a\"} 1",
           "mrpool_gateway_group_owner{group=\"1\",owner=\"a\"} 1",
           "mrpool_gateway_group_serves{group=\"1\"} 1",
           "mrpool_gateway_group_term{group=\"1\"} 7",
           "mrpool_gateway_lease_seconds{group=\"1\"} 1.5",
           "mrpool_gateway_takeovers_total{group=\"1\"} 2",
           "mrpool_gateway_losses_total{group=\"1\"} 1",
           "mrpool_gateway_fences_total{group=\"1\"} 3",
           "mrpool_gateway_takeover_seconds{group=\"1\"} 0.25",
           "mrpool_slow_commands_total 1",
           "mrpool_stores_hung 1",
       }) {
    EXPECT_THAT(text, HasSubstr(std::string(line) + "\n"));
  }
}

TEST(Families, HistogramsAreCumulative) {
  for (const auto& family : make_families(example_snapshot())) {
    for (const auto& metric : family.metric) {
      uint64_t before = 0;
      double bound = 0;
      for (const auto& bucket : metric.histogram.bucket) {
        EXPECT_GE(bucket.cumulative_count, before);
        EXPECT_GT(bucket.upper_bound, bound);
        before = bucket.cumulative_count;
        bound = bucket.upper_bound;
      }
      EXPECT_EQ(before, metric.histogram.sample_count);
    }
  }
}

TEST(Families, HaveDistinctNames) {
  std::set<std::string> names;
  for (const auto& family : make_families(example_snapshot())) {
    EXPECT_TRUE(names.insert(family.name).second) << family.name;
    EXPECT_FALSE(family.help.empty()) << family.name;
  }
}

TEST(Families, NamesOfPeersAreEscaped) {
  Snapshot snapshot = example_snapshot();
  snapshot.hosts[0].name = "a\"b\\c\nd";
  EXPECT_THAT(to_text(make_families(snapshot)), HasSubstr(R"(host="a\"b\\c\nd"})"));
}

TEST(StatusJson, IsJsonOfEveryPart) {
  Snapshot snapshot = example_snapshot();
  snapshot.hosts[0].name = "a\"b\n";
  const auto json = boost::json::parse(status_json(snapshot)).as_object();
  EXPECT_EQ(json.at("hosts").at(0).at("name"), "a\"b\n");
  EXPECT_EQ(json.at("targets").at(0).at("units").at(0).at("bytes"), 1048576);
  EXPECT_EQ(json.at("devices").at(0).at("pool").at("in_use"), 5);
  EXPECT_EQ(json.at("sessions").at(0).at("queues").as_array().size(), 1u);
  EXPECT_EQ(json.at("read_latencies").as_array().size(),
            json.at("latency_bounds_ns").as_array().size() + 1);
  EXPECT_EQ(json.at("read_latencies").at(2), 6);
}

}  // namespace
}  // namespace mrpool::metrics
