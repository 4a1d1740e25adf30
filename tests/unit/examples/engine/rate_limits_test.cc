// Limits as people write them: in files, in options of a storage, in calls.
#include "examples/engine/rate_limits.h"

#include <gtest/gtest.h>

#include <boost/json/serialize.hpp>

#include "examples/base/json_object.h"
#include "examples/base/json_text.h"
#include "examples/engine/host_limits.h"

namespace mrpool::engine {
namespace {

absl::StatusOr<RateLimits> read(std::string_view text) {
  const auto json = base::parse_json_text(text);
  if (!json.ok()) return json.status();
  base::JsonObject object(*json);
  RateLimits limits;
  read_limits(object, limits);
  if (absl::Status status = object.finish(); !status.ok()) return status;
  return limits;
}

TEST(RateLimits, AreReadAndWritten) {
  const auto limits =
      read(R"({"rw_ios_per_sec": 1500, "r_mbytes_per_sec": 10, "qos_burst_ms": 5})");
  ASSERT_TRUE(limits.ok()) << limits.status();
  EXPECT_EQ(limits->rw_ios_per_sec, 1500u) << "not rounded";
  boost::json::object written;
  write_limits(*limits, written);
  EXPECT_EQ(read(boost::json::serialize(written)).value(), *limits);
  EXPECT_EQ(describe(*limits), "1500 I/Os/s, reading 10 MiB/s; burst 5 ms");
  boost::json::object none;
  write_limits({}, none);
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(boost::json::serialize(show_limits({})),
            R"({"rw_ios_per_sec":0,"rw_mbytes_per_sec":0,"r_mbytes_per_sec":0,)"
            R"("w_mbytes_per_sec":0})");
}

TEST(RateLimits, MistakesAreNamed) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"rw_ios_per_sec": -1})", "rw_ios_per_sec"},
      {R"({"rw_mbytes_per_sec": 1000001})", "1000000"},
      {R"({"w_mbytes_per_sec": "fast"})", "w_mbytes_per_sec"},
      {R"({"rw_ios_per_sec": 1, "qos_burst_ms": 0})", "qos_burst_ms"},
      {R"({"qos_burst_ms": 20})", "nothing is limited"}};
  for (const auto& [text, expected] : cases) {
    const std::string message(read(text).status().message());
    EXPECT_NE(message.find(expected), std::string::npos) << text << ": " << message;
  }
}

// The limits among the options of a storage.
absl::StatusOr<RateLimits> take(std::string text, RateLimits limits = {}) {
  auto spec = storage::parse_spec(text);
  if (!spec.ok()) return spec.status();
  if (absl::Status status = take_limits(spec->options, limits); !status.ok()) return status;
  EXPECT_EQ(storage::to_text(*spec), "ram:1MiB,nsid=3");
  return limits;
}

TEST(RateLimits, AreOptionsOfAStorage) {
  EXPECT_EQ(take("ram:1MiB,nsid=3").value(), RateLimits());
  EXPECT_EQ(take("ram:1MiB,rw_ios_per_sec=10,nsid=3,qos_burst_ms=20").value(),
            (RateLimits{.rw_ios_per_sec = 10, .burst_ms = 20}));
  EXPECT_EQ(take("ram:1MiB,nsid=3,qos_burst_ms=20", {.w_mbytes_per_sec = 3}).value(),
            (RateLimits{.w_mbytes_per_sec = 3, .burst_ms = 20}));
  const std::pair<const char*, const char*> cases[] = {
      {"ram:1MiB,rw_ios_per_sec=many", "rw_ios_per_sec: 'many'"},
      {"ram:1MiB,r_mbytes_per_sec=1000001", "1000000"},
      {"ram:1MiB,qos_burst_ms=20", "nothing is limited"},
      {"ram:1MiB,rw_ios_per_sec=1,rw_ios_per_sec=2", "twice"}};
  for (const auto& [text, expected] : cases) {
    const std::string message(take(text).status().message());
    EXPECT_NE(message.find(expected), std::string::npos) << text << ": " << message;
  }
  const auto both = take("ram:1MiB,rw_ios_per_sec=1", {.rw_ios_per_sec = 2});
  EXPECT_NE(both.status().message().find("\"rw_ios_per_sec\" is given here and as a key"),
            std::string::npos)
      << both.status();
}

TEST(RateLimits, ACallChangesWhatItGives) {
  RateLimits limits{.rw_ios_per_sec = 10, .w_mbytes_per_sec = 5};
  EXPECT_TRUE(
      set_limits(control::Given({{"rw_ios_per_sec", 0}, {"r_mbytes_per_sec", 7}}), limits).ok());
  EXPECT_EQ(limits, (RateLimits{.r_mbytes_per_sec = 7, .w_mbytes_per_sec = 5}));
  EXPECT_FALSE(set_limits(control::Given({{"name", "disk"}}), limits).ok());
  EXPECT_TRUE(set_limits(control::Given({{"qos_burst_ms", 50}}), limits).ok());
  EXPECT_EQ(limits.burst_ms, 50u);
  EXPECT_TRUE(
      set_limits(control::Given({{"r_mbytes_per_sec", 0}, {"w_mbytes_per_sec", 0}}), limits).ok());
  EXPECT_EQ(limits, RateLimits()) << "a burst does not outlive the limits";
  const absl::Status alone = set_limits(control::Given({{"qos_burst_ms", 50}}), limits);
  EXPECT_NE(alone.message().find("qos_burst_ms: nothing is limited"), std::string::npos) << alone;
}

absl::StatusOr<HostLimitMap> read_hosts(std::string_view text) {
  const auto json = base::parse_json_text(text);
  if (!json.ok()) return json.status();
  base::JsonObject object(*json);
  HostLimitMap limits;
  read_host_limits(object, "host_limits", "nqn", limits);
  if (absl::Status status = object.finish(); !status.ok()) return status;
  return limits;
}

TEST(HostLimits, AreReadAndWritten) {
  const auto limits = read_hosts(
      R"({"host_limits": [{"nqn": "b", "rw_ios_per_sec": 7}, {"nqn": "*", "w_mbytes_per_sec": 3}]})");
  ASSERT_TRUE(limits.ok()) << limits.status();
  boost::json::object written;
  written["host_limits"] = write_host_limits(*limits, "nqn");
  EXPECT_EQ(read_hosts(boost::json::serialize(written)).value(), *limits);
  for (
      const char* wrong :
      {R"({"host_limits": [{"nqn": "b"}]})", R"({"host_limits": [{"rw_ios_per_sec": 7}]})",
       R"({"host_limits": [{"nqn": "b", "rw_ios_per_sec": 7}, {"nqn": "b", "rw_ios_per_sec": 8}]})"}) {
    EXPECT_FALSE(read_hosts(wrong).ok()) << wrong;
  }
}

TEST(HostLimits, AHostHasItsOwnOrThoseOfTheOthers) {
  HostLimits limits;
  const auto before = limits.limiter("a");
  EXPECT_FALSE(before->limits_something());
  limits.set({{"a", {.rw_ios_per_sec = 7}}, {"*", {.rw_ios_per_sec = 9}}});
  EXPECT_EQ(before->limits().rw_ios_per_sec, 7u) << "of a host that is connected";
  EXPECT_EQ(limits.limiter("a"), before);
  const auto b = limits.limiter("b");
  const auto c = limits.limiter("c");
  EXPECT_NE(b, c) << "each has what the entry says";
  EXPECT_EQ(c->limits().rw_ios_per_sec, 9u);
  limits.set({});
  EXPECT_FALSE(before->limits_something());
  EXPECT_FALSE(c->limits_something());
  HostLimitMap map;
  EXPECT_TRUE(set_host_limits(control::Given({{"rw_ios_per_sec", 4}}), "h", map).ok());
  EXPECT_EQ(map.at("h").rw_ios_per_sec, 4u);
  EXPECT_TRUE(set_host_limits(control::Given({{"rw_ios_per_sec", 0}}), "h", map).ok());
  EXPECT_TRUE(map.empty());
  EXPECT_FALSE(set_host_limits(control::Given({{"host", "h"}}), "h", map).ok());
}

}  // namespace
}  // namespace mrpool::engine
