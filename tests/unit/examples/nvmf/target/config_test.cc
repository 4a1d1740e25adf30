// The configuration file and the command line: what is read, and what is refused with which words.
#include "examples/nvmf/target/config.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

#include "examples/nvmf/target/config_json.h"
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
  EXPECT_EQ(b.namespaces[0].uuid, Uuid{}) << "follows from the store";
  EXPECT_FALSE(b.namespaces[0].given);
  EXPECT_TRUE(a.namespaces[1].given);
  // Generated names for missing values are the same in every run.
  EXPECT_EQ(parse_config(kGood)->subsystems[1].serial, b.serial);
}

TEST(ConfigFile, AnaAndControllerIds) {
  const auto with = [](std::string_view keys) {
    std::string text = kGood;
    return text.insert(text.find("\"serial\""), std::string(keys));
  };
  const std::string good = with(R"("min_cntlid": 10, "max_cntlid": 20,
      "ana_states": [{"ana_state": "non-optimized"},
                     {"ana_group": 2, "listener": "uiwarp://127.0.0.1",
                      "ana_state": "inaccessible"}], )");
  const auto config = parse_config(good);
  ASSERT_TRUE(config.ok()) << config.status();
  const SubsystemConfig& a = config->subsystems[0];
  EXPECT_EQ(a.min_cntlid, 10);
  EXPECT_EQ(a.max_cntlid, 20);
  EXPECT_EQ(a.ana, (std::vector<AnaRule>{{.state = AnaState::kNonOptimized},
                                         {2, "uiwarp://127.0.0.1:4420", AnaState::kInaccessible}}));
  EXPECT_EQ(a.namespaces[0].ana_group, 1u);
  // What is written is read as the same.
  const auto again = parse_config(to_json(*config));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->subsystems[0].ana, a.ana);
  EXPECT_EQ(again->subsystems[0].max_cntlid, 20);

  const auto wrong = [&](std::string_view keys, std::string_view part) {
    const std::string error = error_of(with(keys));
    EXPECT_NE(error.find(part), error.npos) << error;
  };
  wrong(R"("min_cntlid": 5, "max_cntlid": 4, )", "min_cntlid 5 is above max_cntlid 4");
  wrong(R"("ana_states": [{"ana_state": "good"}], )", "'good' is not a state; use optimized");
  wrong(R"("ana_states": [{}], )", "is not a state");
  wrong(R"("ana_states": [{"ana_state": "change", "listener": "uiwarp://127.0.0.2"}], )",
        "\"uiwarp://127.0.0.2:4420\" is not a listener");
  wrong(R"("ana_states": [{"ana_state": "change", "listener": "uiwarp://localhost"}], )",
        "ANA needs a numeric address");
  wrong(R"("ana_states": [{"ana_state": "change", "ana_group": 129}], )", "128");
  wrong(R"("ana_reporting": false, "ana_states": [{"ana_state": "change"}], )", "no ANA reporting");
}

TEST(ConfigFile, HasTheOptionsOfTheWholeDaemon) {
  const auto with = [](std::string_view keys) {
    std::string text = kGood;
    return text.insert(1, std::string(keys));
  };
  const auto config = parse_config(with(
      R"("threads": 3, "staging": "64MiB", "mrs": 7, "max_connections": 9, "stall_timeout": 4,
          "storage_timeout": 5, "stop_timeout": 6,
         "force_mr": true, "relaxed_ordering": false, "verbose": true,)"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->engine.threads, 3u);
  EXPECT_EQ(config->engine.staging, 64u << 20);
  EXPECT_EQ(config->engine.mrs, 7u);
  EXPECT_EQ(config->engine.max_connections, 9u);
  EXPECT_EQ(config->engine.stall_timeout, std::chrono::seconds(4));
  EXPECT_EQ(config->engine.storage_timeout, std::chrono::seconds(5));
  EXPECT_EQ(config->engine.stop_timeout, std::chrono::seconds(6));
  EXPECT_TRUE(config->engine.force_mr);
  EXPECT_FALSE(config->engine.relaxed_ordering);
  EXPECT_TRUE(config->engine.verbose);
  for (const char* wrong :
       {"\"threads\": 1000,", "\"staging\": \"1MiB\",", "\"mrs\": 0,", "\"staging\": \"much\",",
        "\"stall_timeout\": 99999,", "\"stop_timeout\": 99999,"}) {
    const std::string key = std::string(wrong).substr(1, 3);
    EXPECT_NE(error_of(with(wrong)).find(key), std::string::npos) << wrong;
  }
}

// Sizes and times as the command line takes them.
TEST(ConfigFile, AcceptsTextsAndNumbers) {
  const auto with = [](std::string_view keys) {
    std::string text = kGood;
    return parse_config(text.insert(1, std::string(keys)));
  };
  const auto texts = with(R"("staging": "64M", "in_capsule": "8KiB", "spin": "500us",
                             "stall_timeout": "2m", "stop_timeout": "1500ms",)");
  ASSERT_TRUE(texts.ok()) << texts.status();
  EXPECT_EQ(texts->engine.staging, 64u << 20);
  EXPECT_EQ(texts->in_capsule, 8192u);
  EXPECT_EQ(texts->engine.spin, std::chrono::microseconds(500));
  EXPECT_EQ(texts->engine.stall_timeout, std::chrono::minutes(2));
  EXPECT_EQ(texts->engine.stop_timeout, std::chrono::milliseconds(1500));
  const auto numbers = with(R"("staging": 67108864, "in_capsule": 8192, "spin": 0.5,
                               "stall_timeout": 120, "stop_timeout": 1.5,)");
  ASSERT_TRUE(numbers.ok()) << numbers.status();
  EXPECT_EQ(numbers->engine.staging, 64u << 20);
  EXPECT_EQ(numbers->in_capsule, 8192u);
  EXPECT_EQ(numbers->engine.spin, std::chrono::milliseconds(500));
  EXPECT_EQ(numbers->engine.stop_timeout, std::chrono::milliseconds(1500));
  EXPECT_EQ(with(R"("spin": "forever",)")->engine.spin, Nanoseconds::max());
  EXPECT_NE(with(R"("threads": 257,)").status().message().find("from 1 to 256"), std::string::npos);
}

TEST(ConfigFile, ServesSomething) {
  EXPECT_NE(error_of(R"({"listen": ["uiwarp://:0"],
    "subsystems": [{"nqn": "nqn.2024-01.org.example:a", "namespaces": []}]})")
                .find("line 2: nqn.2024-01.org.example:a: no namespace; write"),
            std::string::npos);
}

TEST(ConfigFile, Referrals) {
  const auto with = [](std::string_view keys) {
    std::string text = kGood;
    return parse_config(text.insert(1, "\"referrals\": [" + std::string(keys) + "],"));
  };
  const auto config = with(R"({"traddr": "10.0.0.9", "trsvcid": "4420"},
      {"trtype": "TCP", "traddr": "[fd00::9]", "trsvcid": "8009", "adrfam": "IPv6",
       "secure_channel": true},
      {"traddr": "10.0.0.9", "trsvcid": "4420", "subnqn": "nqn.2024-01.org.example:c"})");
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_EQ(config->referrals.size(), 3u);
  EXPECT_EQ(name_of(config->referrals[0]), "rdma://10.0.0.9:4420");
  EXPECT_EQ(name_of(config->referrals[1]), "tcp://[fd00::9]:8009");
  EXPECT_TRUE(config->referrals[1].secure_channel);
  EXPECT_EQ(name_of(config->referrals[2]), "rdma://10.0.0.9:4420 nqn.2024-01.org.example:c");
  const auto again = parse_config(to_json(*config));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(to_json(*again), to_json(*config));
  const std::pair<const char*, const char*> kWrong[] = {
      {R"({"trsvcid": "4420"})", "referrals[0].traddr: \"\" is not a numeric address"},
      {R"({"traddr": "10.0.0.9"})", "referrals[0].trsvcid: the port is missing"},
      {R"({"traddr": "10.0.0.9", "trsvcid": "70000"})", "trsvcid"},
      {R"({"traddr": "::1", "trsvcid": "1", "adrfam": "ipv4"})", "adrfam: ::1 is not ipv4"},
      {R"({"traddr": "fe80::1%lo", "trsvcid": "1"})", "leave out %lo"},
      {R"({"traddr": "0.0.0.0", "trsvcid": "1"})", "not an address that hosts can connect to"},
      {R"({"trtype": "fc", "traddr": "10.0.0.9", "trsvcid": "1"})", "write rdma or tcp"},
      {R"({"traddr": "10.0.0.9", "trsvcid": "1", "subnqn": "disk"})", "is not an NQN"},
      {R"({"traddr": "::1", "trsvcid": "1"}, {"traddr": "0::1", "trsvcid": "1"})",
       "referral rdma://[::1]:1 is given twice"},
  };
  for (const auto& [keys, why] : kWrong) {
    const auto refused = with(keys);
    ASSERT_FALSE(refused.ok()) << keys;
    EXPECT_NE(refused.status().message().find(why), std::string::npos) << refused.status();
  }
}

// The command line takes precedence over the file.
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
  EXPECT_NE(replaced("\"nsid\": 1", "\"nsid\": 5000").find("from 1 to 1024"), std::string::npos);
  EXPECT_NE(replaced("example:b", "example:a").find("given twice"), std::string::npos);
  EXPECT_NE(replaced("nqn.2024-01.org.example:b", "b").find("not a subsystem NQN"),
            std::string::npos);
  EXPECT_NE(replaced("nqn.2024-01.org.example:h", "h").find("host \"h\""), std::string::npos);
  EXPECT_NE(replaced("0a1b2c3d", "zz").find("not a UUID"), std::string::npos);
  EXPECT_NE(replaced("uiwarp://", "uiwarp:/").find("uiwarp:/"), std::string::npos);
  EXPECT_NE(replaced("\"A1\"", "7").find("serial must be a string"), std::string::npos);
  EXPECT_NE(replaced("false", "0").find("true or false"), std::string::npos);
  EXPECT_NE(replaced("\"ram:1MiB\"", "\"\"").find("without \"storage\""), std::string::npos);
}

// With the line, the place and the fix.
TEST(ConfigFile, ContradictionsAreRefused) {
  const auto error =
      [](const std::string& first, const std::string& second, const std::string& serial = "S") {
        return error_of(R"({"listen": ["uiwarp://:0"], "subsystems": [
      {"nqn": "nqn.2024-01.org.example:a", "serial": ")" +
                        serial + R"(",
       "namespaces": [
         {)" + first + R"(},
         {)" + second + "}]}]}");
      };
  const std::string ram = R"("storage": "ram:1MiB")";
  const std::string uuid = "0a1b2c3d-0000-4000-8000-000000000001";
  EXPECT_EQ(error(ram, ram), "");
  const std::pair<std::string, std::string> cases[] = {
      {error(R"("storage": "ram:1MiB,bs=512", "block_size": 4096)", ram),
       "line 4: subsystems[0].namespaces[0].block_size: 4096 contradicts ram:1MiB,bs=512; leave"},
      {error(ram, R"("storage": "ram:1MiB,nsid=3", "nsid": 3)"), "line 5: subsystems[0]"},
      {error(ram, R"("storage": "ram:1MiB,nsid=x")"), "nsid: 'x' is not a whole number"},
      {error(ram, R"("storage": "ram:1MiB,nsid")"), "option \"nsid\" needs a value"},
      {error(R"("storage": "ram:1MiB,nsid=2")", R"("storage": "ram:1MiB", "nsid": 2)"),
       "line 5: nqn.2024-01.org.example:a: nsid 2 is given twice, first in line 4"},
      {error(ram, R"("storage": "ram:1536", "block_size": 4096)"),
       "line 5: nqn.2024-01.org.example:a namespace 2: \"ram:1536\": 1536 bytes is not a whole"},
      {error(ram + R"(, "uuid": ")" + uuid + "\"", R"("storage": "ram:1MiB,uuid=)" + uuid + "\""),
       "line 5: nqn.2024-01.org.example:a namespace 2: uuid " + uuid + " is that of line 4"},
      {error(ram, ram, "gr\u00fcn"), "line 2: serial \"gr\xc3\xbcn\" has characters that are not"},
      {error(ram, ram, "a\\u0000b"), "control character"},
      {error(ram, ram, std::string(21, '1')), "line 2: serial"},
      {error(R"("nsid": 1, "nsid": 2, )" + ram, ram), "namespaces[0].nsid is given twice"},
  };
  for (const auto& [message, expected] : cases) {
    EXPECT_NE(message.find(expected), std::string::npos) << message << "\nshould say " << expected;
  }
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
        "--in-capsule=8k", "--staging", "64MiB", "--stall-timeout", "500s", "--storage-timeout",
        "2m", "--stop-timeout=1s"}) {
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
  EXPECT_EQ(options->service.engine.storage_timeout, std::chrono::minutes(2));
  EXPECT_EQ(options->service.engine.stop_timeout, std::chrono::seconds(1));
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
  EXPECT_NE(message({"--staging", "1MiB"}).find("from 3MiB"), std::string::npos);
  EXPECT_EQ(message({"--namespace", "ram:1MiB,nsid=9"}), "");
  EXPECT_NE(message({"--namespace", "ram:1MiB,nsid=2", "--namespace", "ram:1MiB,nsid=2"})
                .find("nsid 2 is given twice"),
            std::string::npos);
  EXPECT_NE(message({"--namespace", "ram:1MiB,uuid=7"}).find("not a UUID"), std::string::npos);
  EXPECT_NE(message({"--namespace", "tape:1"}).find("ram:64MiB"), std::string::npos);
  EXPECT_NE(message({"--threads", "two"}).find("whole number"), std::string::npos);
  EXPECT_NE(message({"--threads"}).find("needs a value"), std::string::npos);
  EXPECT_NE(message({"--in-capsule", "100"}).find("multiple of 16"), std::string::npos);
  EXPECT_NE(message({"--subnqn", "x"}).find("--config"), std::string::npos);
  EXPECT_NE(message({"--config", "f"}).find("--config and --listen exclude each other"),
            std::string::npos);
  EXPECT_NE(message({"--listen", "tcp"}).find("tcp"), std::string::npos);
  EXPECT_FALSE(arguments({}).ok());
  // Without effect there, so refused there.
  const auto keep_alive = arguments({"--config", "f", "--no-traffic-keep-alive"});
  EXPECT_FALSE(keep_alive.ok());
  EXPECT_NE(keep_alive.status().message().find("--no-traffic-keep-alive exclude"),
            std::string::npos);
  EXPECT_TRUE(arguments({"--help"})->answer.has_value());
}

}  // namespace
}  // namespace mrpool::nvmf_target
