// The configuration file and the command line: what is read, and what is refused with which words.
#include "examples/nvmf/target/config.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

#include "examples/nvmf/target/options.h"

namespace mrpool::nvmf_target {
namespace {

constexpr char kGood[] = R"({
  "listen": ["uiwarp://127.0.0.1:4420"],
  "subsystems": [
    {"nqn": "nqn.2024-01.org.example:a", "serial": "A1",
     "hosts": ["nqn.2024-01.org.example:h"],
     "traffic_based_keep_alive": false,
     "namespaces": [
       {"storage": "ram:1MiB"},
       {"storage": "null:1TiB", "nsid": 1, "block_size": 512,
        "uuid": "0a1b2c3d-0000-4000-8000-000000000001"}]},
    {"nqn": "nqn.2024-01.org.example:b", "namespaces": [{"storage": "ram:1MiB"}]}
  ]})";

std::string error_of(std::string_view text) {
  const auto config = parse_config(text);
  return config.ok() ? "" : std::string(config.status().message());
}

TEST(ConfigFile, IsReadWhole) {
  const auto config = parse_config(kGood);
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_EQ(config->subsystems.size(), 2u);
  const SubsystemConfig& a = config->subsystems[0];
  EXPECT_EQ(a.serial, "A1");
  EXPECT_FALSE(a.traffic_keep_alive);
  ASSERT_TRUE(a.hosts.has_value());
  ASSERT_EQ(a.namespaces.size(), 2u);
  EXPECT_EQ(a.namespaces[0].nsid, 2u) << "1 is taken by the other";
  EXPECT_EQ(a.namespaces[1].block_size, 512u);
  EXPECT_EQ(a.namespaces[1].uuid[0], 0x0a);
  const SubsystemConfig& b = config->subsystems[1];
  EXPECT_FALSE(b.hosts.has_value());
  EXPECT_EQ(b.serial.size(), 16u);
  EXPECT_NE(b.namespaces[0].uuid, a.namespaces[0].uuid);
  // Names made up for what was left out stay the same from run to run.
  EXPECT_EQ(parse_config(kGood)->subsystems[1].namespaces[0].uuid, b.namespaces[0].uuid);
}

TEST(ConfigFile, SaysWhatTheWholeDaemonIsToldToo) {
  const auto with = [](std::string_view keys) {
    std::string text = kGood;
    return text.insert(1, std::string(keys));
  };
  const auto config = parse_config(with(
      R"("threads": 3, "staging": "64MiB", "mrs": 7, "max_connections": 9, "stall_timeout": 4,
         "force_mr": true, "relaxed_ordering": false, "verbose": true,)"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->engine.threads, 3u);
  EXPECT_EQ(config->engine.staging, 64u << 20);
  EXPECT_EQ(config->engine.mrs, 7u);
  EXPECT_EQ(config->engine.max_connections, 9u);
  EXPECT_EQ(config->engine.stall_timeout, std::chrono::seconds(4));
  EXPECT_TRUE(config->engine.force_mr);
  EXPECT_FALSE(config->engine.relaxed_ordering);
  EXPECT_TRUE(config->engine.verbose);
  for (const char* wrong : {"\"threads\": 1000,", "\"staging\": \"1MiB\",", "\"mrs\": 0,",
                            "\"staging\": \"much\",", "\"stall_timeout\": 99999,"}) {
    const std::string key = std::string(wrong).substr(1, 3);
    EXPECT_NE(error_of(with(wrong)).find(key), std::string::npos) << wrong;
  }
}

// What the command line says goes before what the file says.
TEST(CommandLine, GoesBeforeTheFile) {
  const std::string path = ::testing::TempDir() + "nvmf_config_test.json";
  std::ofstream(path) << std::string(kGood).insert(1, R"("threads": 3, "mrs": 7,)");
  const auto options = parse_arguments(std::vector<std::string>{"--config", path, "--mrs", "8"});
  std::remove(path.c_str());
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->service.engine.threads, 3u);
  EXPECT_EQ(options->service.engine.mrs, 8u);
}

TEST(ConfigFile, ErrorsNameThePlace) {
  const auto replaced = [](std::string_view from, std::string_view to) {
    std::string text = kGood;
    text.replace(text.find(from), from.size(), to);
    return error_of(text);
  };
  EXPECT_NE(error_of("{").find("not JSON"), std::string::npos);
  EXPECT_NE(error_of("[]").find("object"), std::string::npos);
  EXPECT_NE(error_of("{}").find("listen"), std::string::npos);
  EXPECT_NE(replaced("\"serial\"", "\"serail\"").find("subsystems[0].serail is not known"),
            std::string::npos);
  EXPECT_NE(replaced("512", "520").find("520"), std::string::npos);
  EXPECT_NE(replaced("\"nsid\": 1", "\"nsid\": -1").find("nsid must be"), std::string::npos);
  EXPECT_NE(replaced("\"nsid\": 1", "\"nsid\": 5000").find("above 1024"), std::string::npos);
  EXPECT_NE(replaced("example:b", "example:a").find("given twice"), std::string::npos);
  EXPECT_NE(replaced("nqn.2024-01.org.example:b", "b").find("no subsystem NQN"), std::string::npos);
  EXPECT_NE(replaced("nqn.2024-01.org.example:h", "h").find("host \"h\""), std::string::npos);
  EXPECT_NE(replaced("0a1b2c3d", "zz").find("no UUID"), std::string::npos);
  EXPECT_NE(replaced("uiwarp://", "uiwarp:/").find("uiwarp:/"), std::string::npos);
  EXPECT_NE(replaced("\"A1\"", "7").find("serial must be a string"), std::string::npos);
  EXPECT_NE(replaced("false", "0").find("true or false"), std::string::npos);
  EXPECT_NE(replaced("\"ram:1MiB\"", "\"\"").find("without \"storage\""), std::string::npos);
}

absl::StatusOr<DaemonOptions> arguments(std::vector<std::string> list) {
  return parse_arguments(list);
}
const std::vector<std::string> kArguments = {"--listen",
                                             "uiwarp://127.0.0.1:0",
                                             "--subnqn",
                                             "nqn.2024-01.org.example:a",
                                             "--namespace",
                                             "ram:1MiB",
                                             "--namespace=file:/x,bs=512",
                                             "--host-nqn",
                                             "nqn.2024-01.org.example:h"};

TEST(CommandLine, IsRead) {
  std::vector<std::string> list = kArguments;
  for (const char* more :
       {"--threads", "4", "--spin", "forever", "--force-mr", "--verbose", "--no-traffic-keep-alive",
        "--in-capsule=8k", "--staging", "64MiB", "--stall-timeout", "500s"}) {
    list.emplace_back(more);
  }
  const auto options = arguments(list);
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->service.engine.threads, 4u);
  EXPECT_EQ(options->service.engine.spin, Nanoseconds::max());
  EXPECT_TRUE(options->service.engine.force_mr);
  EXPECT_EQ(options->service.in_capsule, 8192u);
  EXPECT_EQ(options->service.engine.staging, 64u << 20);
  EXPECT_EQ(options->service.engine.stall_timeout, std::chrono::seconds(500));
  const SubsystemConfig& subsystem = options->config.subsystems.at(0);
  EXPECT_FALSE(subsystem.traffic_keep_alive);
  ASSERT_EQ(subsystem.namespaces.size(), 2u);
  EXPECT_EQ(subsystem.namespaces[1].nsid, 2u);
  EXPECT_EQ(subsystem.namespaces[1].block_size, 512u);
  EXPECT_TRUE(subsystem.hosts->contains("nqn.2024-01.org.example:h"));
}

TEST(CommandLine, ErrorsNameTheValue) {
  const auto message = [](std::vector<std::string> more) {
    std::vector<std::string> list = kArguments;
    list.insert(list.end(), more.begin(), more.end());
    const auto options = parse_arguments(list);
    return options.ok() ? std::string() : std::string(options.status().message());
  };
  EXPECT_EQ(message({}), "");
  EXPECT_NE(message({"--frobnicate"}).find("--frobnicate"), std::string::npos);
  EXPECT_NE(message({"--threads", "0"}).find("'0'"), std::string::npos);
  EXPECT_NE(message({"--spin", "50"}).find("from 0ns to 1s"), std::string::npos);
  EXPECT_NE(message({"--staging", "1MiB"}).find("from 2MiB"), std::string::npos);
  EXPECT_NE(message({"--namespace", "tape:1"}).find("ram:64MiB"), std::string::npos);
  EXPECT_NE(message({"--threads", "two"}).find("whole number"), std::string::npos);
  EXPECT_NE(message({"--threads"}).find("needs a value"), std::string::npos);
  EXPECT_NE(message({"--in-capsule", "100"}).find("multiple of 16"), std::string::npos);
  EXPECT_NE(message({"--subnqn", "x"}).find("--config"), std::string::npos);
  EXPECT_NE(message({"--config", "f"}).find("takes the place"), std::string::npos);
  EXPECT_NE(message({"--listen", "tcp"}).find("tcp"), std::string::npos);
  EXPECT_FALSE(arguments({}).ok());
  // Without effect there, so refused there.
  const auto keep_alive = arguments({"--config", "f", "--no-traffic-keep-alive"});
  EXPECT_FALSE(keep_alive.ok());
  EXPECT_NE(keep_alive.status().message().find("traffic_based_keep_alive"), std::string::npos);
  EXPECT_TRUE(arguments({"--help"})->answer.has_value());
}

}  // namespace
}  // namespace mrpool::nvmf_target
