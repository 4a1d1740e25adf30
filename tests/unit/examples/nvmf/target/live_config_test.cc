// What the control socket adds to a configuration: named stores, listeners of subsystems, nothing
// to serve yet; and that all of it is the same when it is written and read again.
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

}  // namespace
}  // namespace mrpool::nvmf_target
