// What the control socket adds to a configuration: named stores, listeners of subsystems, nothing
// to serve yet; and that all of it is the same when it is written and read again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "examples/nvmf/target/config.h"
#include "examples/nvmf/target/config_json.h"
#include "examples/nvmf/target/options.h"

namespace mrpool::nvmf_target {
namespace {

constexpr char kGood[] = R"({
  "control": "/run/x", "listen": ["uiwarp://127.0.0.1"],
  "stores": [{"name": "Malloc0", "storage": "ram:1MiB"},
             {"name": "disk", "storage": "file:/srv/a%2Cb.img", "block_size": 512,
              "uuid": "0a1b2c3d-0000-4000-8000-000000000001"}],
  "subsystems": [
    {"nqn": "nqn.2024-01.org.example:a", "model": "M", "max_namespaces": 2,
     "hosts": ["nqn.2024-01.org.example:h"], "allow_any_host": true,
     "listeners": ["uiwarp://127.0.0.1", "uiwarp://[::1]"],
     "namespaces": [{"store": "disk", "nsid": 7}, {"storage": "ram:1MiB"}]},
    {"nqn": "nqn.2024-01.org.example:b"}]})";

std::string replaced(std::string_view from, std::string_view to) {
  std::string text = kGood;
  text.replace(text.find(from), from.size(), to);
  const auto config = parse_config(text);
  return config.ok() ? "" : std::string(config.status().message());
}

TEST(LiveConfig, IsReadAndWritten) {
  const auto config = parse_config(kGood);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->stores[0].storage, "ram:1MiB,name=Malloc0");
  EXPECT_EQ(config->stores[1].block_size, 512u);
  const SubsystemConfig& first = config->subsystems[0];
  EXPECT_TRUE(admits_any(first));
  EXPECT_EQ(first.namespaces[1].nsid, 1u);
  EXPECT_EQ(storage_of(*config, first.namespaces[0]), "file:/srv/a%2Cb.img");
  EXPECT_EQ(block_size_of(*config, first.namespaces[0]), 512u);
  EXPECT_EQ(ports_of(*config),
            (std::vector<std::string>{"uiwarp://127.0.0.1:4420", "uiwarp://[::1]:4420"}));
  const auto wanted = wanted_stores(*config);
  ASSERT_EQ(wanted.size(), 3u);
  EXPECT_EQ(wanted[0].place, "namespace 1");
  EXPECT_EQ(wanted[2].place, "disk");
  const auto again = parse_config(to_json(*config));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(to_json(*again), to_json(*config));
}

TEST(LiveConfig, MistakesAreNamed) {
  const std::tuple<std::string_view, std::string_view, std::string_view> cases[] = {
      {R"("store": "disk")", R"("store": "disc")", "there is no store \"disc\""},
      {R"("store": "disk")", R"("store": "disk", "storage": "ram:1MiB")", "leave one of them out"},
      {R"({"storage": "ram:1MiB"})", R"({"store": "disk"})", "already; remove it there first"},
      {R"("name": "disk")", R"("name": "Malloc0")", "store \"Malloc0\" is given twice"},
      {R"("name": "disk")", R"("name": "a b")", "is not a name for a store"},
      {R"("ram:1MiB"})", R"("tape:1"})", "store Malloc0: "},
      {R"("max_namespaces": 2)", R"("max_namespaces": 1)", "more than max_namespaces"},
      {R"("model": "M")", R"("model": "01234567890123456789012345678901234567890")",
       "40 characters"},
      {R"("uiwarp://[::1]")", R"("nowhere")", "nowhere"},
      {R"("control": "/run/x",)", "", "no namespace; write"}};
  for (const auto& [from, to, expected] : cases) {
    const std::string message = replaced(from, to);
    EXPECT_NE(message.find(expected), std::string::npos) << message << "\nshould say " << expected;
  }
}

TEST(LiveConfig, ADaemonWithAControlSocketMayServeNothingYet) {
  EXPECT_TRUE(parse_config(R"({"control": "/run/x"})").ok());
  EXPECT_FALSE(parse_config("{}").ok());
  EXPECT_TRUE(parse_config("{}", true).ok());
  EXPECT_TRUE(parse_arguments(std::vector<std::string>{"--control", "/run/x"}).ok());
  EXPECT_FALSE(parse_arguments(std::vector<std::string>{}).ok());
}

constexpr char kGateway[] = R"({
  "listen": ["uiwarp://127.0.0.1"],
  "gateway_group": {"storage": "rbd:pool/gateways,conf=/c,id=u", "name": "a", "lease": "3s", "rejoin": "1m"},
  "stores": [{"name": "disk", "storage": "rbd:pool/disk,conf=/c"}],
  "subsystems": [
    {"nqn": "nqn.2024-01.org.example:a", "max_cntlid": 1000,
     "namespaces": [{"storage": "rbd:pool/a", "nsid": 1},
                    {"store": "disk", "nsid": 2, "anagrpid": 3}]}]})";

TEST(GatewayConfig, StoresHaveTheClientOfTheirGroup) {
  const auto config = parse_config(kGateway);
  ASSERT_TRUE(config.ok()) << config.status();
  const auto wanted = wanted_stores(*config);
  ASSERT_EQ(wanted.size(), 2u);
  EXPECT_EQ(wanted[0].spec, "rbd:pool/a,conf=/c,id=u,client=1");
  EXPECT_EQ(wanted[1].spec, "rbd:pool/disk,conf=/c,id=u,client=3");
  EXPECT_EQ(gateway_groups(*config), 3u);
  const auto again = parse_config(to_json(*config));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->engine.gateway, config->engine.gateway);
  EXPECT_EQ(again->subsystems[0].namespaces[0].storage, "rbd:pool/a") << "as it was written";
}

TEST(GatewayConfig, MistakesAreNamed) {
  const std::tuple<std::string_view, std::string_view, std::string_view> cases[] = {
      {"rbd:pool/gateways,conf=/c,id=u", "file:/a", "write rbd:POOL/OBJECT"},
      {"rbd:pool/gateways,conf=/c,id=u", "rbd:pool/g,ro", "ro is not known"},
      {R"("storage": "rbd:pool/gateways,conf=/c,id=u", )", "", "is missing; write rbd:POOL/OBJECT"},
      {R"("lease": "3s")", R"("lease": "3ms")", "lease"},
      {R"("lease": "3s")", R"("groups": 2)", "anagrpid 3 is above the 2 ANA groups"},
      {R"("name": "a")", R"("names": "a")", "names"},
      {"rbd:pool/a", "ram:1MiB", "all gateways serve images of it"},
      {"rbd:pool/a", "rbd:pool/a,client=1", "client= is the gateway's own"},
      {"rbd:pool/a", "rbd:pool/a,conf=/other", "conf= is not that of the gateways' records"},
      {R"("max_cntlid": 1000)", R"("ana_reporting": false)", "gateways need ANA reporting"}};
  for (const auto& [from, to, why] : cases) {
    std::string text = kGateway;
    text.replace(text.find(from), from.size(), to);
    const auto config = parse_config(text);
    ASSERT_FALSE(config.ok()) << to;
    EXPECT_THAT(std::string(config.status().message()), ::testing::HasSubstr(std::string(why)));
  }
}

TEST(GatewayConfig, CommandLine) {
  const std::vector<std::string> served = {"--listen",    "uiwarp://127.0.0.1",
                                           "--subnqn",    "nqn.2024-01.org.example:a",
                                           "--namespace", "rbd:pool/a"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), served.begin(), served.end());
    return parse_arguments(more);
  };
  const auto one = with({"--gateway-group", "rbd:pool/g", "--gateway-name", "a"});
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_EQ(one->service.engine.gateway.name, "a");
  EXPECT_EQ(wanted_stores(one->config)[0].spec, "rbd:pool/a,client=1");
  const auto unnamed = with({"--gateway-group", "rbd:pool/g"});
  ASSERT_TRUE(unnamed.ok()) << unnamed.status();
  EXPECT_NE(unnamed->service.engine.gateway.name, "");
  EXPECT_THAT(std::string(with({"--gateway-name", "a"}).status().message()),
              ::testing::HasSubstr("need --gateway-group"));
  EXPECT_THAT(
      std::string(
          with({"--gateway-group", "rbd:pool/g", "--gateway-name", "a b"}).status().message()),
      ::testing::HasSubstr("\"a b\" is not a gateway's name"));
}

}  // namespace
}  // namespace mrpool::nvmf_target
