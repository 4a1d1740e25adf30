// Files of targetcli, key by key: the served configuration and the notes.
#include "examples/iser/target/import.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "examples/iser/target/config_json.h"
#include "examples/iser/target/import_stores.h"
#include "examples/iser/target/options.h"

namespace mrpool::iser_target {
namespace {

using base::ImportWeight;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kSaved[] = R"({
  "fabric_modules": [],
  "storage_objects": [
    {"aio": false,
     "alua_tpgs": [{"alua_access_state": 0, "name": "default_tg_pt_gp", "tg_pt_gp_id": 0}],
     "attributes": {"block_size": 512, "emulate_pr": 1, "emulate_tpu": 0, "pi_prot_type": 0,
                    "queue_depth": 128},
     "dev": "/srv/disk.img", "name": "disk", "plugin": "fileio", "size": 67108864,
     "write_back": true, "wwn": "0a1b2c3d-1111-4222-8333-444455556666"},
    {"alua_tpgs": [], "attributes": {"block_size": 512}, "dev": "/dev/sdb", "name": "whole",
     "plugin": "block", "readonly": false, "write_back": false, "wwn": "5d9b1c2e"}],
  "targets": [{
    "fabric": "iscsi", "wwn": "iqn.2026-11.org.example:disk",
    "tpgs": [{
      "attributes": {"authentication": 1, "demo_mode_write_protect": 1, "generate_node_acls": 0,
                     "prod_mode_write_protect": 0, "t10_pi": 0},
      "enable": true,
      "luns": [{"alias": "0f", "alua_tg_pt_gp_name": "default_tg_pt_gp", "index": 0,
                "storage_object": "/backstores/fileio/disk"},
               {"alias": "1f", "alua_tg_pt_gp_name": "default_tg_pt_gp", "index": 1,
                "storage_object": "/backstores/block/whole"}],
      "node_acls": [
        {"attributes": {"authentication": -1, "nopin_timeout": 15},
         "chap_mutual_password": "the target says", "chap_mutual_userid": "disk",
         "chap_password": "the host says so", "chap_userid": "host",
         "mapped_luns": [{"alias": "a", "index": 3, "tpg_lun": 0, "write_protect": false},
                         {"alias": "b", "index": 4, "tpg_lun": 1, "write_protect": false}],
         "node_wwn": "IQN.2026-11.org.example:host"}],
      "parameters": {"ImmediateData": "Yes", "InitialR2T": "No", "MaxConnections": "1",
                     "TargetAlias": "LIO Target"},
      "portals": [{"ip_address": "10.0.0.1", "iser": true, "offload": false, "port": 3261}],
      "tag": 1}]}]
})";

engine::ImportOptions machine() {
  engine::ImportOptions options;
  options.blocks = [](const std::string& path) {
    return path.starts_with("/dev/") ? engine::BlockSize{.device = true, .bytes = 4096}
                                     : engine::BlockSize{};
  };
  return options;
}

absl::StatusOr<Imported> import(const std::string& text) {
  return import_targetcli(text, machine());
}

using Changes = std::vector<std::pair<std::string_view, std::string_view>>;
absl::StatusOr<Imported> with(const Changes& changes) {
  std::string text = kSaved;
  for (const auto& [from, to] : changes) {
    const size_t at = text.find(from);
    EXPECT_NE(at, text.npos) << from;
    if (at != text.npos) text.replace(at, from.size(), to);
  }
  return import(text);
}

std::string notes(const absl::StatusOr<Imported>& imported, ImportWeight weight) {
  std::string all;
  if (!imported.ok()) return absl::StrCat("failed: ", imported.status().message());
  for (const base::ImportNote& note : imported->notes) {
    if (note.weight == weight) absl::StrAppend(&all, note.text, "\n");
  }
  return all;
}
// What LUN number `i` of the first target serves.
std::string served(const absl::StatusOr<Imported>& imported, size_t i) {
  if (!imported.ok()) return absl::StrCat("failed: ", imported.status().message());
  return storage_of(imported->config, imported->config.targets[0].luns[i]);
}
std::string minor(const Changes& changes) { return notes(with(changes), ImportWeight::kMinor); }
std::string lost(const Changes& changes) { return notes(with(changes), ImportWeight::kLost); }
std::string wider(const Changes& changes) { return notes(with(changes), ImportWeight::kWider); }

constexpr std::pair<std::string_view, std::string_view> kAnybody{R"("generate_node_acls": 0)",
                                                                 R"("generate_node_acls": 1)"};
constexpr std::pair<std::string_view, std::string_view> kNoProof{R"("authentication": 1)",
                                                                 R"("authentication": 0)"};
constexpr std::pair<std::string_view, std::string_view> kWrites{R"("demo_mode_write_protect": 1)",
                                                                R"("demo_mode_write_protect": 0)"};
constexpr std::pair<std::string_view, std::string_view> kNoAcl{
    R"("node_acls": [)", R"("node_acls": [], "acls_before": [)"};

TEST(Targetcli, IsServedAsConfigured) {
  auto imported = import(kSaved);
  ASSERT_TRUE(imported.ok()) << imported.status();
  EXPECT_THAT(imported->notes, IsEmpty()) << imported->notes[0].text;
  Config& config = imported->config;
  ASSERT_TRUE(complete(config).ok()) << complete(config);
  EXPECT_THAT(config.listen, ElementsAre("verbs://10.0.0.1:3261"));
  EXPECT_TRUE(config.open_discovery) << "discovery needs no proof there";
  EXPECT_FALSE(config.initial_r2t);
  EXPECT_TRUE(config.immediate_data);
  ASSERT_EQ(config.targets.size(), 1u);
  const TargetConfig& target = config.targets[0];
  EXPECT_EQ(target.name, "iqn.2026-11.org.example:disk");
  EXPECT_EQ(target.alias, "LIO Target");
  ASSERT_EQ(target.initiators->size(), 1u);
  EXPECT_EQ(target.initiators->at(0).name, "iqn.2026-11.org.example:host");
  EXPECT_EQ(target.initiators->at(0).authentication.incoming->secret, "the host says so");
  EXPECT_EQ(target.initiators->at(0).authentication.outgoing->user, "disk");
  ASSERT_EQ(target.luns.size(), 2u);
  EXPECT_EQ(target.luns[0].store, "disk");
  EXPECT_EQ(served(imported, 0), "file:/srv/disk.img,size=67108864");
  EXPECT_EQ(target.luns[0].lun, 3) << "as the initiator sees it";
  EXPECT_EQ(block_size_of(config, target.luns[0]), 512u);
  EXPECT_EQ(target.luns[0].names.serial, "0a1b2c3d-1111-4222-8333-444455556666");
  EXPECT_EQ(served(imported, 1), "file:/dev/sdb,direct");
  EXPECT_EQ(target.luns[1].lun, 4);
}

// A storage object with one LUN becomes a named store.
TEST(Targetcli, StorageObjectsKeepTheirNames) {
  auto imported = import(kSaved);
  ASSERT_TRUE(imported.ok()) << imported.status();
  ASSERT_EQ(imported->config.stores.size(), 2u);
  EXPECT_EQ(imported->config.stores[0].name, "whole");
  EXPECT_EQ(imported->config.stores[0].block_size, 512u);
  const auto twice = with({{R"({"alias": "b", "index": 4, "tpg_lun": 1, "write_protect": false})",
                            R"({"index": 4, "tpg_lun": 0, "write_protect": false})"}});
  ASSERT_TRUE(twice.ok()) << twice.status();
  EXPECT_THAT(twice->config.stores, IsEmpty());
  const auto alike = with({{R"("name": "whole")", R"("name": "disk")"},
                           {"/backstores/block/whole", "/backstores/block/disk"}});
  ASSERT_TRUE(alike.ok()) << alike.status();
  EXPECT_EQ(alike->config.stores.size(), 1u);
  EXPECT_EQ(served(alike, 0), "file:/srv/disk.img,size=67108864");
  const auto odd = with({{R"("name": "whole")", R"("name": "a,b")"},
                         {"/backstores/block/whole", "/backstores/block/a,b"}});
  ASSERT_TRUE(odd.ok()) << odd.status();
  EXPECT_EQ(odd->config.stores.size(), 1u);
  EXPECT_EQ(served(odd, 1), "file:/dev/sdb,direct");
}

TEST(Targetcli, UnitsKeepTheNamesThatTheKernelMakes) {
  const auto hex = [](std::string_view serial) {
    const std::vector<uint8_t> naa = kernel_naa(serial);
    return absl::BytesToHexString(std::string(naa.begin(), naa.end()));
  };
  EXPECT_EQ(hex("0a1b2c3d-1111-4222-8333-444455556666"), "60014050a1b2c3d11114222833344445");
  EXPECT_EQ(hex("5d9b1c2e"), "60014055d9b1c2e00000000000000000");
}

TEST(Targetcli, IsPrintedAsOurOwn) {
  auto imported = import(kSaved);
  ASSERT_TRUE(imported.ok() && complete(imported->config).ok());
  const auto text = to_json(imported->config);
  ASSERT_TRUE(text.ok()) << text.status();
  auto again = parse_json(*text);
  ASSERT_TRUE(again.ok()) << again.status() << *text;
  ASSERT_TRUE(complete(*again).ok()) << complete(*again);
  EXPECT_EQ(*to_json(*again), *text);
  EXPECT_EQ(again->targets[0].luns[0].names, imported->config.targets[0].luns[0].names);
  const auto colon = with({{R"("chap_userid": "host")", R"("chap_userid": "iqn.x:host")"}});
  EXPECT_EQ(colon->config.targets[0].initiators->at(0).authentication.incoming->user, "iqn.x:host");
  EXPECT_THAT(std::string(to_json(colon->config).status().message()), HasSubstr("has a colon"));
}

TEST(Targetcli, EveryKindOfStorageIsServedOrNamed) {
  const auto spec = [](const Changes& changes) { return served(with(changes), 1); };
  EXPECT_EQ(spec({{R"("readonly": false)", R"("readonly": true)"}}), "file:/dev/sdb,direct,ro");
  EXPECT_EQ(served(with({{R"("aio": false)", R"("aio": true)"}}), 0),
            "file:/srv/disk.img,direct,size=67108864");
  EXPECT_EQ(served(with({{"/srv/disk.img", "/dev/sdc"}}), 0), "file:/dev/sdc");
  const Changes memory{{R"("dev": "/dev/sdb", "name": "whole",
     "plugin": "block", "readonly": false, "write_back": false)",
                        R"("size": 1048576, "name": "whole", "plugin": "ramdisk")"},
                       {"/backstores/block/whole", "/backstores/ramdisk/whole"}};
  EXPECT_EQ(spec(memory), "ram:1048576,name=whole");
  EXPECT_THAT(lost(memory), HasSubstr("storage_objects[1].plugin: the content of the kernel"));
  Changes null = memory;
  null.push_back({R"("plugin": "ramdisk")", R"("plugin": "ramdisk", "nullio": true)"});
  EXPECT_EQ(spec(null), "null:1048576,name=whole");
  const Changes scsi{
      {R"("plugin": "block", "readonly": false, "write_back": false)", R"("plugin": "pscsi")"},
      {"/backstores/block/whole", "/backstores/pscsi/whole"}};
  EXPECT_EQ(spec(scsi), "file:/dev/sdb,direct");
  EXPECT_THAT(lost(scsi), HasSubstr("SCSI commands are not passed through"));
  Changes tape = scsi;
  tape.push_back({"/dev/sdb", "1:0:0:0"});
  EXPECT_THAT(lost(tape), HasSubstr("LUN 4 is not served: \"1:0:0:0\" is not a block device"));
  const Changes user{{R"("plugin": "block", "readonly": false, "write_back": false)",
                      R"("plugin": "user", "config": "rbd/a", "size": 1)"},
                     {"/backstores/block/whole", "/backstores/user/whole"}};
  EXPECT_THAT(lost(user), HasSubstr("storage of the kind \"user\" is not known"));
  EXPECT_THAT(lost({{"/backstores/block/whole", "/backstores/block/gone"}}),
              HasSubstr("has no storage object /backstores/block/gone"));
  const auto device =
      with({{R"("block_size": 512}, "dev": "/dev/sdb")", R"("x": 512}, "dev": "/dev/sdb")"}});
  EXPECT_EQ(block_size_of(device->config, device->config.targets[0].luns[1]), 4096u)
      << "as the device has it";
}

TEST(Targetcli, ListedInitiatorsProveWhatTheyProved) {
  // Of the group, that of one initiator goes first.
  const auto open = with({kNoProof});
  EXPECT_FALSE(open->config.targets[0].initiators->at(0).authentication.incoming.has_value());
  EXPECT_THAT(notes(open, ImportWeight::kMinor), HasSubstr("need not prove its account there"));
  EXPECT_FALSE(open->config.open_discovery);
  const auto own = with({kNoProof, {R"("authentication": -1)", R"("authentication": 1)"}});
  EXPECT_TRUE(own->config.targets[0].initiators->at(0).authentication.incoming.has_value());
  const auto none = with({{R"("chap_password": "the host says so", "chap_userid": "host",)", ""}});
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_THAT(*none->config.targets[0].initiators, IsEmpty()) << "it cannot log in there either";
  EXPECT_THAT(std::string(with({{"the host says so", "short"}}).status().message()),
              HasSubstr("node_acls[0].chap_password: the CHAP secret has 5 bytes"));
  EXPECT_FALSE(with({{R"("chap_userid": "host")", R"("chap_userid": "")"}}).ok());
}

TEST(Targetcli, EveryInitiatorSeesTheLunsThatItHad) {
  constexpr std::string_view kOther = R"("node_acls": [
        {"node_wwn": "iqn.2026-11.org.example:b", "chap_userid": "b", "chap_password": "the other says",
         "mapped_luns": [{"index": 3, "tpg_lun": 0, "write_protect": false}]},)";
  EXPECT_THAT(wider({{R"("node_acls": [)", kOther}}),
              HasSubstr("here all initiators of a target see the same LUNs"));
  EXPECT_THAT(std::string(with({{R"("tpg_lun": 1)", R"("tpg_lun": 9)"}}).status().message()),
              HasSubstr("there is no LUN 9 in the group"));
  // One alone may see less than there is, and only read.
  const auto less = with({{R"({"alias": "b", "index": 4, "tpg_lun": 1, "write_protect": false})",
                           R"({"index": 9, "tpg_lun": 1, "write_protect": true})"}});
  ASSERT_EQ(less->config.targets[0].luns.size(), 2u);
  EXPECT_EQ(served(less, 1), "file:/dev/sdb,direct,ro");
  EXPECT_EQ(less->config.targets[0].luns[1].lun, 9);
  const auto reads = with({{R"("prod_mode_write_protect": 0)", R"("prod_mode_write_protect": 1)"}});
  EXPECT_EQ(served(reads, 0), "file:/srv/disk.img,size=67108864,ro");
}

TEST(Targetcli, InitiatorsWithoutAnAclAreAdmittedAsThere) {
  const auto open = with({kNoProof, kAnybody, kWrites, kNoAcl});
  ASSERT_TRUE(open.ok()) << open.status();
  EXPECT_FALSE(open->config.targets[0].initiators.has_value());
  EXPECT_EQ(open->config.targets[0].luns[0].lun, 0);
  EXPECT_EQ(notes(open, ImportWeight::kWider), "");
  // Demo mode lets them read alone, unless somebody changed that.
  const auto reads = with({kNoProof, kAnybody, kNoAcl});
  EXPECT_EQ(served(reads, 1), "file:/dev/sdb,direct,ro");
  // Nobody has an account, so only those with an ACL can log in.
  const auto closed = with({kAnybody, kWrites});
  EXPECT_TRUE(closed->config.targets[0].initiators.has_value());
  const auto account =
      with({kAnybody,
            kWrites,
            kNoAcl,
            {R"("tag": 1)", R"("x": 1, "chap_userid": "all", "chap_password": "everybody says")"}});
  ASSERT_TRUE(account.ok()) << account.status();
  EXPECT_EQ(account->config.targets[0].authentication.incoming->user, "all");
  // Another ACL has its own account and LUNs.
  const std::string beside = wider(
      {kAnybody,
       kWrites,
       {R"("tag": 1)", R"("x": 1, "chap_userid": "all", "chap_password": "everybody says")"}});
  EXPECT_THAT(beside, HasSubstr("not by its own account"));
  EXPECT_THAT(beside, HasSubstr("would see the common LUNs"));
}

TEST(Targetcli, PortalsWithoutIserAreNamed) {
  EXPECT_THAT(lost({{R"("iser": true)", R"("iser": false)"}}),
              HasSubstr("portals[0].iser: is off: this daemon supports iSER only"));
  EXPECT_THAT(lost({{R"("iser": true)", R"("iser": false)"}}),
              HasSubstr("is not served: no portal"));
  EXPECT_THAT(lost({{R"("enable": true)", R"("enable": false)"}}), HasSubstr("no portal group"));
  EXPECT_EQ(with({{R"("10.0.0.1")", R"("[::0]")"}})->config.listen[0], "verbs://[::0]:3261");
  EXPECT_THAT(lost({{R"("fabric": "iscsi")", R"("fabric": "loopback")"}}),
              HasSubstr("fabric: is \"loopback\": this daemon supports iSCSI only"));
  const std::string two = absl::StrReplaceAll(kSaved, {{R"("targets": [{)", R"("targets": [{
    "fabric": "iscsi", "wwn": "iqn.2026-11.org.example:b", "tpgs": [{"enable": true,
      "attributes": {"authentication": 0, "generate_node_acls": 1, "demo_mode_write_protect": 0},
      "luns": [{"index": 0, "storage_object": "/backstores/block/whole"}],
      "portals": [{"ip_address": "10.0.0.2", "iser": true, "port": 3260}]}, {"enable": true,
      "portals": [{"ip_address": "10.0.0.3", "iser": true, "port": 3260}]}]}, {)"}});
  const auto imported = import(two);
  EXPECT_THAT(notes(imported, ImportWeight::kWider),
              HasSubstr("iqn.2026-11.org.example:disk would be reached by verbs://10.0.0.2:3260"));
  EXPECT_THAT(notes(imported, ImportWeight::kLost),
              HasSubstr("a target has one portal group here"));
  EXPECT_THAT(notes(imported, ImportWeight::kMinor), HasSubstr("all targets have one InitialR2T"));
}

TEST(Targetcli, DiscoveryAsksForWhatItAskedFor) {
  constexpr std::string_view kAccount =
      R"("fabric_modules": [{"name": "iscsi", "discovery_enable_auth": true, "discovery_userid": "d",
                             "discovery_password": "discovery says"}])";
  const auto closed = with({{R"("fabric_modules": [])", kAccount}});
  EXPECT_EQ(closed->config.discovery.incoming->user, "d");
  EXPECT_FALSE(closed->config.open_discovery);
  const auto nobody =
      with({{R"("fabric_modules": [])",
             R"("fabric_modules": [{"name": "iscsi", "discovery_enable_auth": true}])"}});
  EXPECT_FALSE(nobody->config.open_discovery);
}

TEST(Targetcli, AluaGroupsAndTheirStates) {
  const auto first = [](std::string_view number) {
    const auto imported = with({{R"("alua_access_state": 0)",
                                 absl::StrCat("\"alua_access_state\": ", std::string(number))},
                                {R"("tg_pt_gp_id": 0)", R"("tg_pt_gp_id": 7)"}});
    EXPECT_TRUE(imported.ok()) << imported.status();
    return imported->config.targets[0].luns[0];
  };
  EXPECT_EQ(first("0").alua_state, scsi::AccessState::kOptimized);
  EXPECT_EQ(first("0").alua_group, 7);
  EXPECT_EQ(first("1").alua_state, scsi::AccessState::kNonOptimized);
  EXPECT_EQ(first("2").alua_state, scsi::AccessState::kStandby);
  EXPECT_EQ(first("4").alua_state, scsi::AccessState::kUnavailable);
  EXPECT_EQ(import(kSaved)->config.targets[0].luns[1].alua_group, 1) << "the group is not there";
  EXPECT_TRUE(first("0").explicit_alua);
  EXPECT_FALSE(first(R"(0, "alua_access_type": 1)").explicit_alua);
  EXPECT_TRUE(first(R"(0, "alua_access_type": 3)").explicit_alua);
}

TEST(Targetcli, WhatInitiatorsSeeOtherwiseIsNamed) {
  EXPECT_THAT(lost({{R"("alua_access_state": 0)", R"("alua_access_state": 4)"}}),
              HasSubstr("its LUNs are unavailable"));
  EXPECT_THAT(lost({{R"("pi_prot_type": 0)", R"("pi_prot_type": 1)"}}), HasSubstr("pi_prot_type"));
  EXPECT_THAT(lost({{R"("t10_pi": 0)", R"("t10_pi": 1)"}}), HasSubstr("t10_pi"));
  EXPECT_THAT(minor({{R"("emulate_pr": 1)", R"("emulate_pr": 0)"}}), HasSubstr("emulate_pr"));
  EXPECT_THAT(minor({{R"("MaxConnections": "1")", R"("MaxConnections": "4")"}}),
              HasSubstr("MaxConnections"));
  EXPECT_THAT(lost({{R"("emulate_pr": 1)", R"("to_come": 1)"}}),
              HasSubstr("storage_objects[0].attributes.to_come: is not known here"));
}

TEST(Targetcli, IsTakenByTheDaemon) {
  const std::string path = ::testing::TempDir() + "targetcli_test.json";
  const auto options = [&](const std::string& text, std::vector<std::string> more = {}) {
    std::ofstream(path) << text;
    std::vector<std::string> arguments{"--config", path};
    arguments.insert(arguments.end(), more.begin(), more.end());
    auto parsed = parse_arguments(arguments);
    std::remove(path.c_str());
    return parsed;
  };
  const auto good = options(kSaved, {"--threads", "2", "--import-transport", "uiwarp"});
  ASSERT_TRUE(good.ok()) << good.status();
  EXPECT_EQ(good->config.listen[0], "uiwarp://10.0.0.1:3261");
  EXPECT_EQ(good->config.engine.threads, 2u);
  const std::string closed = absl::StrReplaceAll(kSaved, {{R"("node_acls": [)", R"("node_acls": [
        {"node_wwn": "iqn.2026-11.org.example:b", "chap_userid": "b", "chap_password": "the other says",
         "mapped_luns": [{"index": 3, "tpg_lun": 0, "write_protect": false}]},)"}});
  EXPECT_THAT(std::string(options(closed).status().message()), HasSubstr("--import-anyway"));
  EXPECT_TRUE(options(closed, {"--import-anyway"}).ok());
  EXPECT_THAT(
      std::string(options(R"({"ports": [], "hosts": [], "subsystems": []})").status().message()),
      HasSubstr("use mrpool-nvmf-target"));
  const auto nothing =
      options(absl::StrReplaceAll(kSaved, {{R"("iser": true)", R"("iser": false)"}}));
  EXPECT_THAT(std::string(nothing.status().message()), HasSubstr("supports iSER only"));
}

}  // namespace
}  // namespace mrpool::iser_target
