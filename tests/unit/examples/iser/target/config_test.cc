#include "examples/iser/target/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "examples/iser/target/options.h"

namespace mrpool::iser_target {
namespace {

using testing::HasSubstr;

std::string error_of(const absl::Status& status) { return std::string(status.message()); }

TEST(Config, JsonWithSeveralTargets) {
  auto config = parse_json(R"({
    "listen": ["uiwarp://127.0.0.1:3260"], "state_dir": "/var/lib/x", "block_size": 4096,
    "staging": "8MiB", "initial_r2t": false, "discovery_chap": "user:twelve bytes!",
    "targets": [{"name": "iqn.2026-11.a:1", "alias": "one", "luns": ["ram:1MiB", "null:1GiB"],
                 "chap": "a:twelve bytes one", "mutual_chap": "b:twelve bytes two",
                 "initiators": ["iqn.2026-11.h:1"]},
                {"name": "iqn.2026-11.a:2", "luns": ["ram:1MiB"]}]})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(complete(*config).ok()) << complete(*config);
  ASSERT_EQ(config->targets.size(), 2u);
  EXPECT_EQ(config->targets[0].luns[1].storage, "null:1GiB");
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
  const auto options = parse({"--listen", "uiwarp://127.0.0.1:0", "--target", "iqn.2026-11.a:1",
                              "--lun", "ram:1MiB", "--target=iqn.2026-11.a:2", "--lun=ram:2MiB",
                              "--initiator", "iqn.2026-11.h:1", "--no-initial-r2t"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->config.targets[1].luns[0].storage, "ram:2MiB");
  EXPECT_EQ(options->config.targets[1].initiators->at(0).name, "iqn.2026-11.h:1");
  EXPECT_FALSE(options->config.targets[0].initiators.has_value());
  EXPECT_FALSE(options->config.initial_r2t);
}

TEST(Options, OptionsOfTheEngine) {
  const auto options = parse({"--listen", "uiwarp://:0", "--target", "iqn.2026-11.a:1", "--lun",
                              "ram:1MiB", "--threads", "3", "--strict-ordering", "--stall-timeout",
                              "7s", "--verbose", "--spin", "9us"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->config.engine.threads, 3u);
  EXPECT_FALSE(options->config.engine.relaxed_ordering);
  EXPECT_EQ(options->config.engine.stall_timeout, std::chrono::seconds(7));
  EXPECT_TRUE(options->config.engine.verbose);
  EXPECT_EQ(options->config.engine.spin, std::chrono::microseconds(9));
  const auto file = parse_json(
      R"({"threads": 2, "stall_timeout": 20, "stop_timeout": 21, "relaxed_ordering": false})");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->engine.threads, 2u);
  EXPECT_EQ(file->engine.stall_timeout, std::chrono::seconds(20));
  EXPECT_EQ(file->engine.stop_timeout, std::chrono::seconds(21));
  EXPECT_FALSE(file->engine.relaxed_ordering);
}

TEST(Options, MistakesAreNamed) {
  EXPECT_THAT(error_of(parse({}).status()), HasSubstr("--listen"));
  EXPECT_THAT(error_of(parse({"--lun", "ram:1MiB"}).status()), HasSubstr("--target"));
  EXPECT_THAT(error_of(parse({"--nonsense"}).status()), HasSubstr("--nonsense"));
  EXPECT_THAT(error_of(parse({"--listen"}).status()), HasSubstr("needs a value"));
  EXPECT_THAT(error_of(parse({"--listen", "uiwarp://:1", "--listen", "uiwarp://:1", "--target",
                              "iqn.2026-11.a:1", "--lun", "ram:1MiB"})
                           .status()),
              HasSubstr("\"uiwarp://:1\" is configured twice"));
  EXPECT_THAT(error_of(parse({"--listen", "uiwarp:/x", "--target", "iqn.2026-11.a:1"}).status()),
              HasSubstr("uiwarp:/x"));
  EXPECT_THAT(error_of(parse({"--listen", "uiwarp://:0", "--target", "disk"}).status()),
              HasSubstr("not an iSCSI name"));
  EXPECT_THAT(error_of(parse({"--listen", "uiwarp://:0", "--target", "iqn.2026-11.a:1", "--lun",
                              "ram:1MiB", "--mutual-chap", "u:twelve bytes!!"})
                           .status()),
              HasSubstr("one-way CHAP"));
  EXPECT_THAT(
      error_of(parse({"--listen", "uiwarp://:0", "--target", "iqn.2026-11.a:1", "--lun", "ram:1MiB",
                      "--chap", "u:twelve bytes!!", "--mutual-chap", "u:twelve bytes!!"})
                   .status()),
      HasSubstr("must differ"));
  for (const char* const staging : {"512KiB", "8GiB"}) {
    EXPECT_THAT(error_of(parse({"--listen", "uiwarp://:0", "--target", "iqn.2026-11.a:1", "--lun",
                                "ram:1MiB", "--staging", staging})
                             .status()),
                HasSubstr("from 3MiB to"));
  }
  EXPECT_TRUE(parse({"--help"})->answer.has_value());
}

// A file with one target, whose keys are the name, a LUN and `keys`.
absl::StatusOr<Config> with_target(const std::string& keys, const std::string& others = "") {
  auto config = parse_json(R"({"listen": ["uiwarp://:0"], "targets": [
    {"name": "iqn.2026-11.a:1", "luns": ["ram:1MiB"])" +
                           keys + "}" + others + "]}");
  if (!config.ok()) return config;
  if (absl::Status status = complete(*config); !status.ok()) return status;
  return config;
}

TEST(Access, AnEmptyListAdmitsNobodyAndAMissingOneAll) {
  const auto closed = with_target(R"(, "initiators": [])");
  ASSERT_TRUE(closed.ok()) << closed.status();
  EXPECT_FALSE(closed->targets[0].account("iqn.2026-11.h:1").has_value());
  const auto open = with_target("");
  ASSERT_TRUE(open.ok()) << open.status();
  EXPECT_TRUE(open->targets[0].account("iqn.2026-11.h:1").has_value());
}

TEST(Access, EmptySecretsAreRefused) {
  for (const char* const keys :
       {R"(, "chap": "")", R"(, "chap": "alice:")",
        R"(, "chap": "alice:twelve bytes!", "mutual_chap": "")",
        R"(, "initiators": [{"name": "iqn.2026-11.h:1", "chap": ""}])", R"(, "chap": null)"}) {
    EXPECT_THAT(error_of(with_target(keys).status()), HasSubstr("chap")) << keys;
  }
  EXPECT_FALSE(parse_json(R"({"discovery_chap": ""})").ok());
}

TEST(Access, AccountsBelongToInitiators) {
  const auto config =
      with_target(R"(, "chap": "a:a has a secret", "mutual_chap": "t:the target's own",
      "initiators": ["iqn.2026-11.h:A", {"name": "iqn.2026-11.h:b", "chap": "b:b has a secret"}])");
  ASSERT_TRUE(config.ok()) << config.status();
  const TargetConfig& target = config->targets[0];
  EXPECT_EQ(target.account("iqn.2026-11.h:a")->incoming->user, "a");
  EXPECT_EQ(target.account("iqn.2026-11.h:b")->incoming->user, "b");
  EXPECT_EQ(target.account("iqn.2026-11.h:b")->outgoing->user, "t");
  EXPECT_FALSE(target.account("iqn.2026-11.h:c").has_value());

  EXPECT_THAT(
      error_of(
          with_target(
              R"(, "chap": "a:a has a secret", "initiators": ["iqn.2026-11.h:a", "iqn.2026-11.h:b"])")
              .status()),
      testing::AllOf(HasSubstr("iqn.2026-11.h:a and iqn.2026-11.h:b"),
                     HasSubstr("give each initiator its own")));
  EXPECT_THAT(error_of(with_target(R"(, "chap": "a:a has a secret", "initiators":
                  [{"name": "iqn.2026-11.h:b", "chap": "b:b has a secret"}])")
                           .status()),
              HasSubstr("is unused"));
  EXPECT_THAT(error_of(with_target(R"(, "initiators":
                  [{"name": "iqn.2026-11.h:b", "mutual_chap": "b:b has a secret"}])")
                           .status()),
              HasSubstr("one-way CHAP"));
  EXPECT_THAT(
      error_of(with_target(R"(, "initiators": ["iqn.2026-11.h:b", {"name": "iqn.2026-11.h:B"}])")
                   .status()),
      HasSubstr("twice"));
  EXPECT_THAT(error_of(with_target(R"(, "initiators": [5])").status()),
              HasSubstr("initiators must be a list of strings or objects"));
  EXPECT_THAT(error_of(with_target(R"(, "initiators": [{"nam": "iqn.2026-11.h:b"}])").status()),
              HasSubstr("initiators[0].nam is not known"));
}

// RFC 7143 §9.2.1. Each pair of purposes, wherever the two stand.
TEST(Access, ASecretHasOnePurpose) {
  const std::string second = R"(, {"name": "iqn.2026-11.a:2", "luns": ["ram:1MiB"], )";
  const struct {
    std::string keys, others, names;
  } both[] = {
      {R"(, "chap": "a:one secret only")",
       second + R"("chap": "b:another secret", "mutual_chap": "c:one secret only"})",
       "iqn.2026-11.a:2, mutual_chap: has the secret of iqn.2026-11.a:1, chap"},
      {R"(, "chap": "a:one secret only")", second + R"("chap": "a:one secret only"})",
       "iqn.2026-11.a:2, chap: has the secret of iqn.2026-11.a:1, chap"},
      {R"(, "chap": "a:one secret only", "mutual_chap": "c:another secret")",
       second + R"("chap": "b:a third secret", "mutual_chap": "c:another secret"})",
       "iqn.2026-11.a:2, mutual_chap: has the secret of iqn.2026-11.a:1, mutual_chap"},
      {R"(, "initiators": [{"name": "iqn.2026-11.h:a", "chap": "a:one secret only"},
                           {"name": "iqn.2026-11.h:b", "chap": "b:one secret only"}])",
       "",
       "initiator iqn.2026-11.h:b, chap: has the secret of iqn.2026-11.a:1, initiator "
       "iqn.2026-11.h:a, chap"},
  };
  for (const auto& [keys, others, names] : both) {
    EXPECT_THAT(error_of(with_target(keys, others).status()), HasSubstr(names));
  }
  // One initiator may have one secret at several targets, and a target one for several initiators.
  const auto shared = with_target(
      R"(, "initiators": [{"name": "iqn.2026-11.h:a", "chap": "a:one secret only", "mutual_chap": "t:the target's own"},
                          {"name": "iqn.2026-11.h:b", "chap": "b:b has a secret", "mutual_chap": "t:the target's own"}])",
      second + R"("chap": "a:one secret only", "initiators": ["iqn.2026-11.h:a"]})");
  EXPECT_TRUE(shared.ok()) << shared.status();

  Config config = *shared;
  config.discovery.incoming = iscsi::Credentials{"d", "one secret only"};
  EXPECT_THAT(error_of(complete(config)), HasSubstr("discovery, discovery_chap"));
}

TEST(Access, OptionsOfAnInitiator) {
  const auto options = parse(
      {"--listen", "uiwarp://:0", "--target", "iqn.2026-11.a:1", "--lun", "ram:1MiB", "--initiator",
       "iqn.2026-11.h:a", "--initiator-chap", "a:a has a secret", "--initiator", "iqn.2026-11.h:b",
       "--initiator-chap", "b:b has a secret", "--initiator-mutual-chap", "t:the target's own"});
  ASSERT_TRUE(options.ok()) << options.status();
  const TargetConfig& target = options->config.targets[0];
  EXPECT_EQ(target.account("iqn.2026-11.h:a")->incoming->user, "a");
  EXPECT_FALSE(target.account("iqn.2026-11.h:a")->outgoing.has_value());
  EXPECT_EQ(target.account("iqn.2026-11.h:b")->outgoing->user, "t");
  EXPECT_THAT(error_of(parse({"--listen", "uiwarp://:0", "--target", "iqn.2026-11.a:1", "--lun",
                              "ram:1MiB", "--initiator-chap", "a:a has a secret"})
                           .status()),
              HasSubstr("must follow its --initiator"));
}

TEST(Config, MistakesHaveTheirLines) {
  const auto error = [](const std::string& of_target) {
    auto config =
        parse_json("{\"listen\": [\"uiwarp://:0\"],\n\"targets\": [\n" + of_target + "]}");
    return error_of(config.ok() ? complete(*config) : config.status());
  };
  EXPECT_EQ(error(R"({"name": "iqn.2026-11.a:1", "luns": []})"),
            "line 3: iqn.2026-11.a:1: no LUN; write \"luns\": [\"ram:64MiB\"], or --lun ram:64MiB");
  EXPECT_THAT(error(R"({"name": "iqn.2026-11.a:1", "luns": ["ram:1MiB", "ram:1MiB,lun=x"]})"),
              HasSubstr("line 3: targets[0].luns[1]: lun: 'x'"));
  EXPECT_THAT(error(R"({"name": "iqn.2026-11.a:1", "luns": ["ram:1MiB"],
                        "mutual_chap": "u:twelve bytes!!"})"),
              HasSubstr("line 3: iqn.2026-11.a:1: mutual CHAP needs"));
}

TEST(Config, NamesHaveADate) {
  for (const char* const name : {"iqn.2026-1", "iqn.2026-13.a:1", "iqn.2026-11", "iqn.26-11.a:1",
                                 "eui.02004567a425678", "naa.52004567ba64678x"}) {
    Config config{.listen = {"uiwarp://:0"}, .targets = {{.name = name, .luns = {"ram:1MiB"}}}};
    EXPECT_THAT(error_of(complete(config)), HasSubstr("is not an iSCSI name")) << name;
  }
  for (const char* const name : {"iqn.2026-12.a", "eui.02004567a425678d", "naa.52004567ba64678d"}) {
    Config config{.listen = {"uiwarp://"}, .targets = {{.name = name, .luns = {"ram:1MiB"}}}};
    EXPECT_TRUE(complete(config).ok()) << name;
    EXPECT_EQ(config.listen[0], "uiwarp://:3260");
  }
}

TEST(Config, ATargetHasAsManyLunsAsHaveAnAddress) {
  Config config;
  config.listen = {"uiwarp://127.0.0.1:0"};
  config.targets.push_back({.name = "iqn.2026-11.a:1"});
  config.targets[0].luns.assign(16384, "null:1MiB");
  EXPECT_TRUE(complete(config).ok()) << complete(config);
  config.targets[0].luns.emplace_back("null:1MiB");
  EXPECT_THAT(error_of(complete(config)), HasSubstr("16385 LUNs"));
}

TEST(Options, NamesMayBeWrittenInCapitals) {
  const auto options = parse({"--listen", "uiwarp://:0", "--target", "IQN.2026-11.a:Disk", "--lun",
                              "ram:1MiB", "--initiator", "iqn.2026-11.h:Host"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->config.targets[0].name, "iqn.2026-11.a:disk");
  EXPECT_EQ(options->config.targets[0].initiators->at(0).name, "iqn.2026-11.h:host");
}

TEST(Config, LunsMayHaveNumbersAndNames) {
  auto config = parse_json(R"({"listen": ["uiwarp://:0"], "targets": [{"name": "iqn.2026-11.a:1",
    "luns": ["ram:1MiB", "ram:1MiB,lun=7,serial=A1",
             {"storage": "ram:1MiB,bs=4096", "lun": 0, "naa": "6000000000000000000000000000000A",
              "uuid": "0a1b2c3d-0000-4000-8000-000000000001"},
             {"storage": "ram:1MiB", "block_size": 4096}]}]})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(complete(*config).ok()) << complete(*config);
  const TargetConfig& target = config->targets[0];
  EXPECT_THAT(lun_numbers(target), testing::ElementsAre(1, 7, 0, 2));
  EXPECT_EQ(target.luns[1].storage, "ram:1MiB");
  EXPECT_EQ(target.luns[1].names.serial, "A1");
  EXPECT_EQ(target.luns[2].names.naa.size(), 16u);
  EXPECT_EQ(target.luns[2].names.uuid[0], 0x0a);
  EXPECT_EQ(block_size_of(*config, target.luns[0]), 512u);
  EXPECT_EQ(block_size_of(*config, target.luns[2]), 4096u);
  EXPECT_EQ(block_size_of(*config, target.luns[3]), 4096u);
}

TEST(Config, LunsMayHaveNamedStores) {
  auto config = parse_json(R"({"listen": ["uiwarp://:0"], "block_size": 4096,
    "stores": [{"name": "a", "storage": "ram:1MiB"},
               {"name": "b", "storage": "ram:1MiB", "block_size": 512,
                "uuid": "0a1b2c3d-0000-4000-8000-000000000001"}],
    "targets": [{"name": "iqn.2026-11.a:1",
                 "luns": ["ram:1MiB", {"store": "b", "lun": 4, "serial": "A1"}]}]})");
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_TRUE(complete(*config).ok()) << complete(*config);
  const LunConfig& lun = config->targets[0].luns[1];
  EXPECT_EQ(storage_of(*config, lun), "ram:1MiB,name=b");
  EXPECT_EQ(block_size_of(*config, lun), 512u);
  EXPECT_EQ(given_names(*config, lun).uuid[0], 0x0a);
  const std::vector<storage::WantedStore> wanted = wanted_stores(*config);
  ASSERT_EQ(wanted.size(), 3u);
  EXPECT_EQ(wanted[0].spec, "ram:1MiB");
  EXPECT_EQ(wanted[1].spec, "ram:1MiB,name=a");
  EXPECT_EQ(wanted[1].block_size, 4096u) << "the daemon's";
  EXPECT_TRUE(wanted[2].named);
}

TEST(Config, NamedStoresHaveOneLun) {
  const auto error = [](const std::string& stores, const std::string& luns) {
    auto config = parse_json(R"({"listen": ["uiwarp://:0"], "stores": [)" + stores +
                             "], \"targets\": [\n{\"name\": \"iqn.2026-11.a:1\", \"luns\": [" +
                             luns + "]}]}");
    return error_of(config.ok() ? complete(*config) : config.status());
  };
  const std::string a = R"({"name": "a", "storage": "ram:1MiB"})";
  EXPECT_EQ(error(a, R"({"store": "a"})"), "");
  EXPECT_EQ(error(a, R"("ram:1MiB")"), "") << "none has it";
  const std::pair<std::string, std::string> cases[] = {
      {error(a, R"({"store": "b"})"), "line 2: iqn.2026-11.a:1, LUN b: there is no store"},
      {error(a, R"({"store": "a"}, {"store": "a"})"), "the store is iqn.2026-11.a:1 LUN 0 already"},
      {error(a, R"({"store": "a", "storage": "ram:1MiB"})"), "is given together with \"storage\""},
      {error(a, R"({"store": "a", "block_size": 512})"), "it is that of the store; leave it out"},
      {error(a, R"({"store": ""})"), "storage: is missing"},
      {error(a + "," + a, R"({"store": "a"})"), "store \"a\" is given twice"},
      {error(R"({"name": "a b", "storage": "ram:1MiB"})", ""), "is not a name for a store"},
      {error(R"({"name": "a", "storage": "ram:1MiB", "block_size": 0})", ""),
       "must be a whole number"},
      {error(R"({"name": "a", "storage": "ram:1MiB", "block_size": 8})", ""), "use 512 or 4096"},
  };
  for (const auto& [message, expected] : cases) EXPECT_THAT(message, HasSubstr(expected));
}

// With the line, the place and the fix.
TEST(Config, ContradictionsAreRefused) {
  const auto error = [](const std::string& first, const std::string& second) {
    auto config = parse_json(R"({"listen": ["uiwarp://:0"], "targets": [
      {"name": "iqn.2026-11.a:1", "luns": [
        )" + first + ",\n" + second +
                             "]}]}");
    return error_of(config.ok() ? complete(*config) : config.status());
  };
  const std::string ram = "\"ram:1MiB\"";
  EXPECT_EQ(error(ram, ram), "");
  const std::pair<std::string, std::string> cases[] = {
      {error(R"({"storage": "ram:1MiB,bs=512", "block_size": 4096})", ram),
       "line 3: targets[0].luns[0].block_size: 4096 contradicts ram:1MiB,bs=512; leave"},
      {error(R"("ram:1MiB,lun=4")", R"({"storage": "ram:1MiB", "lun": 4})"),
       "line 4: iqn.2026-11.a:1, LUN ram:1MiB: lun 4 is that of line 3"},
      {error(R"({"storage": "ram:1MiB,lun=4", "lun": 4})", ram), "given here and as a key"},
      {error(R"({"storage": "ram:1MiB", "lun": 16384})", ram),
       "lun must be a whole number from 0 to 16383"},
      {error(R"("ram:1MiB,lun=x")", ram), "lun: 'x' is not a whole number from 0 to 16383"},
      {error(R"("ram:1MiB,serial=gr\u00fcn")", ram), "printable ASCII"},
      {error(R"("ram:1MiB,serial=a%20b")", ram), "without spaces"},
      {error(R"("ram:1MiB,naa=4000000000000001")", ram), "is not an NAA identifier; write 16"},
      {error(R"("ram:1MiB,naa=300000000000001")", ram), "is not an NAA identifier"},
      {error(R"("ram:1MiB,serial=1")", R"("ram:1MiB,serial=1")"),
       "line 4: iqn.2026-11.a:1, LUN ram:1MiB: serial 1 is that of line 3"},
      {error(R"("ram:1MiB,naa=3000000000000001")", R"("ram:1MiB,naa=3000000000000001")"), "naa "},
      {error(ram, R"("ram:1000")"),
       "line 4: iqn.2026-11.a:1, LUN ram:1000: \"ram:1000\": 1000 bytes is not"},
      {error(R"({"storage": ""})", ram), "line 3: targets[0].luns[0].storage: is missing; write"},
  };
  for (const auto& [message, expected] : cases) EXPECT_THAT(message, HasSubstr(expected));
}

TEST(Config, AnAliasIsShortText) {
  Config config{.listen = {"uiwarp://:0"},
                .targets = {{.name = "iqn.2026-11.a:1", .alias = "Größe", .luns = {"ram:1MiB"}}}};
  EXPECT_TRUE(complete(config).ok()) << complete(config);
  for (const std::string& alias : {std::string(256, 'a'), std::string("a\nb"), std::string(1, 0)}) {
    config.targets[0].alias = alias;
    EXPECT_THAT(error_of(complete(config)), HasSubstr("iqn.2026-11.a:1: the alias has"));
  }
}

// The block size that the file or a later option gives counts, not the one of the option's help.
TEST(Options, ALunsSizeIsCheckedWithItsBlockSize) {
  EXPECT_TRUE(
      parse({"--listen", "uiwarp://:0", "--target", "iqn.2026-11.a:1", "--lun", "ram:1536"}).ok());
  EXPECT_THAT(error_of(parse({"--listen", "uiwarp://:0", "--target", "iqn.2026-11.a:1", "--lun",
                              "ram:1536", "--block-size", "4096"})
                           .status()),
              HasSubstr("not a whole number"));
}

TEST(Config, WhatAReloadCannotChangeIsNamed) {
  Config running, wanted;
  wanted.block_size = 4096;
  wanted.listen = {"uiwarp://127.0.0.1:0"};
  EXPECT_TRUE(unchangeable(running, wanted).empty());
  wanted.engine.state_dir = "/var/lib/mrpool";
  wanted.initial_r2t = false;
  wanted.immediate_data = false;
  wanted.engine.threads = 7;
  wanted.engine.staging *= 2;
  EXPECT_THAT(unchangeable(running, wanted), testing::ElementsAre("threads", "staging", "state_dir",
                                                                  "initial_r2t", "immediate_data"));
}

}  // namespace
}  // namespace mrpool::iser_target
