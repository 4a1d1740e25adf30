#include "examples/iser/target/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "examples/iser/target/options.h"
#include "examples/iser/target/state_file.h"

namespace mrpool::iser_target {
namespace {

using testing::HasSubstr;

std::string error_of(const absl::Status& status) { return std::string(status.message()); }

TEST(Config, JsonWithSeveralTargets) {
  const auto config = parse_json(R"({
    "listen": ["uiwarp://127.0.0.1:3260"], "state_dir": "/var/lib/x", "block_size": 4096,
    "staging": "8MiB", "initial_r2t": false, "discovery_chap": "user:twelve bytes!",
    "targets": [{"name": "iqn.a:1", "alias": "one", "luns": ["ram:1MiB", "null:1GiB"],
                 "chap": "a:twelve bytes one", "mutual_chap": "b:twelve bytes two",
                 "initiators": ["iqn.h:1"]},
                {"name": "iqn.a:2", "luns": ["ram:1MiB"]}]})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(validate(*config).ok()) << validate(*config);
  ASSERT_EQ(config->targets.size(), 2u);
  EXPECT_EQ(config->targets[0].luns[1], "null:1GiB");
  EXPECT_EQ(config->targets[0].authentication.outgoing->user, "b");
  EXPECT_EQ(config->block_size, 4096u);
  EXPECT_EQ(config->engine.staging, 8u << 20);
  EXPECT_FALSE(config->initial_r2t);
}

TEST(Config, MistakesAreNamed) {
  EXPECT_THAT(error_of(parse_json("{").status()), HasSubstr("not JSON"));
  EXPECT_THAT(error_of(parse_json(R"({"listn": []})").status()), HasSubstr("listn"));
  EXPECT_THAT(error_of(parse_json(R"({"listen": "x"})").status()), HasSubstr("listen"));
  EXPECT_THAT(error_of(parse_json(R"({"mrs": 0})").status()), HasSubstr("mrs"));
  EXPECT_THAT(error_of(parse_json(R"({"targets": [{"name": 5}]})").status()),
              HasSubstr("targets[0].name"));
  EXPECT_THAT(error_of(parse_json(R"({"targets": [{"chap": "a:short"}]})").status()),
              HasSubstr("5 bytes"));
}

absl::StatusOr<Options> parse(std::vector<std::string> arguments) {
  return parse_arguments(arguments);
}

TEST(Options, BelongToTheTargetInFrontOfThem) {
  const auto options =
      parse({"--listen", "uiwarp://127.0.0.1:0", "--target", "iqn.a:1", "--lun", "ram:1MiB",
             "--target=iqn.a:2", "--lun=ram:2MiB", "--initiator", "iqn.h:1", "--no-initial-r2t"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->config.targets[1].luns[0], "ram:2MiB");
  EXPECT_EQ(options->config.targets[1].initiators[0], "iqn.h:1");
  EXPECT_TRUE(options->config.targets[0].initiators.empty());
  EXPECT_FALSE(options->config.initial_r2t);
}

TEST(Options, WhatTheEngineIsTold) {
  const auto options =
      parse({"--listen", "uiwarp://:0", "--target", "iqn.a:1", "--lun", "ram:1MiB", "--threads",
             "3", "--strict-ordering", "--stall-timeout", "7s", "--verbose", "--spin", "9us"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->config.engine.threads, 3u);
  EXPECT_FALSE(options->config.engine.relaxed_ordering);
  EXPECT_EQ(options->config.engine.stall_timeout, std::chrono::seconds(7));
  EXPECT_TRUE(options->config.engine.verbose);
  EXPECT_EQ(options->config.engine.spin, std::chrono::microseconds(9));
  const auto file = parse_json(R"({"threads": 2, "stall_timeout": 20, "relaxed_ordering": false})");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->engine.threads, 2u);
  EXPECT_EQ(file->engine.stall_timeout, std::chrono::seconds(20));
  EXPECT_FALSE(file->engine.relaxed_ordering);
}

TEST(Options, MistakesAreNamed) {
  EXPECT_THAT(error_of(parse({}).status()), HasSubstr("--listen"));
  EXPECT_THAT(error_of(parse({"--lun", "ram:1MiB"}).status()), HasSubstr("--target"));
  EXPECT_THAT(error_of(parse({"--nonsense"}).status()), HasSubstr("--nonsense"));
  EXPECT_THAT(error_of(parse({"--listen"}).status()), HasSubstr("needs a value"));
  EXPECT_THAT(error_of(parse({"--listen", "uiwarp:/x", "--target", "iqn.a:1"}).status()),
              HasSubstr("uiwarp:/x"));
  EXPECT_THAT(error_of(parse({"--listen", "uiwarp://:0", "--target", "disk"}).status()),
              HasSubstr("no iSCSI name"));
  EXPECT_THAT(error_of(parse({"--listen", "uiwarp://:0", "--target", "iqn.a:1", "--lun", "ram:1MiB",
                              "--mutual-chap", "u:twelve bytes!!"})
                           .status()),
              HasSubstr("one-way CHAP"));
  EXPECT_THAT(error_of(parse({"--listen", "uiwarp://:0", "--target", "iqn.a:1", "--lun", "ram:1MiB",
                              "--chap", "u:twelve bytes!!", "--mutual-chap", "u:twelve bytes!!"})
                           .status()),
              HasSubstr("must differ"));
  for (const char* const staging : {"512KiB", "8GiB"}) {
    EXPECT_THAT(error_of(parse({"--listen", "uiwarp://:0", "--target", "iqn.a:1", "--lun",
                                "ram:1MiB", "--staging", staging})
                             .status()),
                HasSubstr("from 2MiB to"));
  }
  EXPECT_TRUE(parse({"--help"})->answer.has_value());
}

TEST(Config, ATargetHasAsManyLunsAsHaveAnAddress) {
  Config config;
  config.listen = {"uiwarp://127.0.0.1:0"};
  config.targets.push_back({.name = "iqn.a:1"});
  config.targets[0].luns.assign(16384, "null:1MiB");
  EXPECT_TRUE(validate(config).ok()) << validate(config);
  config.targets[0].luns.emplace_back("null:1MiB");
  EXPECT_THAT(error_of(validate(config)), HasSubstr("16385 LUNs"));
}

TEST(Options, NamesMayBeWrittenInCapitals) {
  const auto options = parse({"--listen", "uiwarp://:0", "--target", "IQN.a:Disk", "--lun",
                              "ram:1MiB", "--initiator", "iqn.h:Host"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->config.targets[0].name, "iqn.a:disk");
  EXPECT_EQ(options->config.targets[0].initiators[0], "iqn.h:host");
}

TEST(StateFile, IsReplacedWholeAndRemovedWhenEmpty) {
  const auto path =
      std::filesystem::temp_directory_path() / ("mrpool-state-" + std::to_string(::getpid()));
  EXPECT_EQ(read_state(path).value(), "");
  ASSERT_TRUE(write_state(path, "one\n").ok());
  ASSERT_TRUE(write_state(path, "two\n").ok());
  EXPECT_EQ(read_state(path).value(), "two\n");
  ASSERT_TRUE(write_state(path, "").ok());
  EXPECT_FALSE(std::filesystem::exists(path));
  EXPECT_TRUE(write_state(path, "").ok());
  EXPECT_FALSE(write_state("/nonexistent-folder/state", "x").ok());
}

}  // namespace
}  // namespace mrpool::iser_target
