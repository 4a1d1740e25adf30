// Files of nvmetcli, key by key: the served configuration and the notes.
#include "examples/nvmf/target/import.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "examples/nvmf/target/config_json.h"
#include "examples/nvmf/target/options.h"

namespace mrpool::nvmf_target {
namespace {

using base::ImportWeight;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

// As Debian's kernel 6.1 has it, with what must not lead to a note.
constexpr char kSaved[] = R"({
  "hosts": [{"dhchap": {"ctrl_key": "", "dhgroup": "null", "hash": "sha256", "key": ""},
             "nqn": "nqn.2026-11.org.example:host"}],
  "ports": [{
    "addr": {"adrfam": "ipv4", "traddr": "10.0.0.1", "treq": "not specified",
             "trsvcid": "4421", "trtype": "rdma"},
    "ana_groups": [{"ana": {"state": "optimized"}, "grpid": 1}],
    "param": {"inline_data_size": "16384", "pi_enable": "0"},
    "portid": 1, "referrals": [],
    "subsystems": ["nqn.2026-11.org.example:disk"]}],
  "subsystems": [{
    "allowed_hosts": ["nqn.2026-11.org.example:host"],
    "attr": {"allow_any_host": "0", "cntlid_max": "65519", "cntlid_min": "1",
             "model": "mrpool NVMe-oF target", "pi_enable": "0", "qid_max": "128",
             "serial": "0123456789abcdef", "version": "1.3"},
    "namespaces": [{
      "ana": {"grpid": "1"}, "ana_grpid": 1,
      "device": {"nguid": "00000000-0000-0000-0000-000000000000", "path": "/srv/a,b.img",
                 "uuid": "0a1b2c3d-0000-4000-8000-000000000001"},
      "enable": 1, "nsid": 7}],
    "nqn": "nqn.2026-11.org.example:disk",
    "passthru": [{"admin_timeout": 0, "clear_ids": 0, "device": {"path": ""}, "enable": 0,
                  "io_timeout": 0}]}]
})";

engine::ImportOptions machine() {
  engine::ImportOptions options;
  options.blocks = [](const std::string& path) {
    return path.starts_with("/dev/") ? engine::BlockSize{.device = true, .bytes = 512}
                                     : engine::BlockSize{};
  };
  return options;
}

absl::StatusOr<Imported> import(const std::string& text) {
  return import_nvmetcli(text, machine());
}

// Of the file with `from` replaced.
absl::StatusOr<Imported> with(std::string_view from, std::string_view to) {
  std::string text = kSaved;
  const size_t at = text.find(from);
  EXPECT_NE(at, text.npos) << from;
  return import(text.replace(at, from.size(), to));
}

std::string notes(const absl::StatusOr<Imported>& imported, ImportWeight weight) {
  std::string all;
  if (!imported.ok()) return absl::StrCat("failed: ", imported.status().message());
  for (const base::ImportNote& note : imported->notes) {
    if (note.weight == weight) absl::StrAppend(&all, note.text, "\n");
  }
  return all;
}
std::string minor(std::string_view from, std::string_view to) {
  return notes(with(from, to), ImportWeight::kMinor);
}
std::string lost(std::string_view from, std::string_view to) {
  return notes(with(from, to), ImportWeight::kLost);
}

TEST(Nvmetcli, IsServedAsConfigured) {
  auto imported = import(kSaved);
  ASSERT_TRUE(imported.ok()) << imported.status();
  EXPECT_THAT(imported->notes, IsEmpty()) << imported->notes[0].text;
  Config& config = imported->config;
  ASSERT_TRUE(complete(config).ok()) << complete(config);
  EXPECT_THAT(config.listen, testing::ElementsAre("verbs://10.0.0.1:4421"));
  EXPECT_EQ(config.in_capsule, 16384u);
  ASSERT_EQ(config.subsystems.size(), 1u);
  const SubsystemConfig& subsystem = config.subsystems[0];
  EXPECT_EQ(subsystem.nqn, "nqn.2026-11.org.example:disk");
  EXPECT_EQ(subsystem.serial, "0123456789abcdef");
  EXPECT_THAT(*subsystem.hosts, testing::ElementsAre("nqn.2026-11.org.example:host"));
  ASSERT_EQ(subsystem.namespaces.size(), 1u);
  EXPECT_EQ(subsystem.namespaces[0].nsid, 7u);
  EXPECT_EQ(subsystem.namespaces[0].storage, "file:/srv/a%2Cb.img,direct");
  EXPECT_EQ(subsystem.namespaces[0].block_size, 4096u);
  EXPECT_EQ(storage::format_uuid(subsystem.namespaces[0].uuid),
            "0a1b2c3d-0000-4000-8000-000000000001");
  EXPECT_EQ(subsystem.line, 11u);
}

TEST(Nvmetcli, IsPrintedAsOurOwn) {
  auto imported = import(kSaved);
  ASSERT_TRUE(imported.ok() && complete(imported->config).ok());
  imported->config.engine.threads = 3;
  imported->config.engine.spin = Nanoseconds::max();
  imported->config.engine.stall_timeout = std::chrono::milliseconds(1500);
  const std::string text = to_json(imported->config);
  const auto again = parse_config(text);
  ASSERT_TRUE(again.ok()) << again.status() << text;
  EXPECT_EQ(to_json(*again), text);
  EXPECT_EQ(again->engine.stall_timeout, std::chrono::milliseconds(1500));
  EXPECT_EQ(again->engine.spin, Nanoseconds::max());
  EXPECT_EQ(again->subsystems[0].namespaces[0].storage, "file:/srv/a%2Cb.img,direct");
}

TEST(Nvmetcli, BlocksHaveTheSizeThatTheKernelGivesThem) {
  const auto disk = with("/srv/a,b.img", "/dev/sdb");
  ASSERT_TRUE(disk.ok());
  EXPECT_EQ(disk->config.subsystems[0].namespaces[0].block_size, 512u);
  EXPECT_EQ(disk->config.subsystems[0].namespaces[0].storage, "file:/dev/sdb,direct");
  const auto buffered = with(R"("enable": 1, "nsid")", R"("enable": 1, "buffered_io": 1, "nsid")");
  ASSERT_TRUE(buffered.ok());
  EXPECT_EQ(buffered->config.subsystems[0].namespaces[0].storage, "file:/srv/a%2Cb.img");
}

TEST(Nvmetcli, IdentifiersStay) {
  // Older versions have the NGUID alone.
  const auto old = with(R"("nguid": "00000000-0000-0000-0000-000000000000")",
                        R"("nguid": "0a1b2c3d-0000-4000-8000-000000000002")");
  EXPECT_THAT(notes(old, ImportWeight::kLost), HasSubstr("device.nguid: hosts see the UUID"));
  const auto none = with(R"(,
                 "uuid": "0a1b2c3d-0000-4000-8000-000000000001")",
                         "");
  EXPECT_EQ(none->config.subsystems[0].namespaces[0].uuid, Uuid{});
  const auto wrong = with("0a1b2c3d-0000-4000-8000-000000000001", "0a1b");
  EXPECT_THAT(std::string(wrong.status().message()),
              HasSubstr("line 19: subsystems[0].namespaces[0].device.uuid"));
}

TEST(Nvmetcli, TheListOfHostsIsThatOfTheFile) {
  const auto anybody = with(R"("allow_any_host": "0")", R"("allow_any_host": "1")");
  EXPECT_FALSE(anybody->config.subsystems[0].hosts.has_value());
  const auto unsaid = with(R"("allow_any_host": "0", )", "");
  ASSERT_TRUE(unsaid->config.subsystems[0].hosts.has_value());
  const auto nobody =
      with(R"("allowed_hosts": ["nqn.2026-11.org.example:host"])", R"("allowed_hosts": [])");
  ASSERT_TRUE(nobody->config.subsystems[0].hosts.has_value());
  EXPECT_TRUE(nobody->config.subsystems[0].hosts->empty());
}

// Of the bytes 0 to 31.
constexpr char kSecret[] = "DHHC-1:00:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh+KfiaR:";

std::string with_secrets(const std::string& key, const std::string& ctrl_key) {
  return absl::StrReplaceAll(
      kSaved, {{R"("key": "")", absl::StrCat("\"key\": \"", key, "\"")},
               {R"("ctrl_key": "", "dhgroup": "null")",
                absl::StrCat("\"ctrl_key\": \"", ctrl_key, "\", \"dhgroup\": \"ffdhe4096\"")}});
}

TEST(Nvmetcli, AHostProvesWhatItProvedToTheKernel) {
  const auto imported = import(with_secrets(kSecret, kSecret));
  ASSERT_TRUE(imported.ok()) << imported.status();
  EXPECT_EQ(notes(imported, ImportWeight::kWider), "");
  const HostProofs& proofs = imported->config.subsystems.at(0).proofs;
  ASSERT_TRUE(proofs.contains("nqn.2026-11.org.example:host"));
  const HostProof& proof = proofs.begin()->second;
  EXPECT_EQ(proof.key, kSecret);
  EXPECT_EQ(proof.ctrlr_key, kSecret);
  // What the kernel prefers goes first; it takes others too.
  EXPECT_EQ(proof.digests.front(), nvme::auth::Hash::kSha256);
  EXPECT_EQ(proof.digests.size(), 3u);
  EXPECT_EQ(proof.dhgroups.front(), nvme::auth::Group::kFfdhe4096);
  EXPECT_EQ(proof.dhgroups.size(), 6u);
  // The kernel asks for no proof where any host may connect.
  const std::string anybody = absl::StrReplaceAll(
      with_secrets(kSecret, ""), {{R"("allow_any_host": "0")", R"("allow_any_host": "1")"}});
  EXPECT_TRUE(import(anybody)->config.subsystems.at(0).proofs.empty());
  EXPECT_THAT(notes(import(with_secrets("", kSecret)), ImportWeight::kLost),
              HasSubstr("hosts[0].dhchap.ctrl_key: has no effect without a key"));
}

TEST(Nvmetcli, AWrongSecretIsRefusedAndNotShown) {
  const auto refused = import(with_secrets("DHHC-1:00:AAAA:", ""));
  const std::string said(refused.status().message());
  EXPECT_THAT(said, HasSubstr("hosts[0].dhchap.key"));
  EXPECT_THAT(said, HasSubstr("is not a DH-HMAC-CHAP secret"));
  EXPECT_THAT(said, Not(HasSubstr("AAAA")));
}

TEST(Nvmetcli, PortsWithoutAnAddressOfOursAreNamed) {
  EXPECT_THAT(lost(R"("trtype": "rdma")", R"("trtype": "tcp")"),
              HasSubstr("ports[0].addr.trtype: is \"tcp\": this daemon supports RDMA only"));
  EXPECT_THAT(lost(R"("trtype": "rdma")", R"("trtype": "tcp")"),
              HasSubstr("nqn.2026-11.org.example:disk is not served: no port"));
  EXPECT_THAT(lost(R"("trtype": "rdma")", R"("trtype": "")"), HasSubstr("is empty"));
  EXPECT_THAT(lost(R"("adrfam": "ipv4")", R"("adrfam": "ib")"), HasSubstr("neither ipv4 nor ipv6"));
  EXPECT_THAT(lost(R"("treq": "not specified")", R"("treq": "required")"),
              HasSubstr("no secure channel"));
  EXPECT_FALSE(with("4421", "99999").ok());
  const auto six = with(R"("ipv4", "traddr": "10.0.0.1")", R"("ipv6", "traddr": "fe80::1")");
  EXPECT_EQ(six->config.listen[0], "verbs://[fe80::1]:4421");
}

TEST(Nvmetcli, Referrals) {
  const auto with = [](const std::string& referral) {
    return import(absl::StrReplaceAll(
        kSaved, {{R"("referrals": [])", absl::StrCat(R"("referrals": [)", referral, "]")}}));
  };
  const std::string address =
      R"({"enable": 1, "name": "other", "addr": {"adrfam": "ipv4", "traddr": "10.0.0.9",
          "portid": "3", "treq": "required", "trsvcid": "8009", "trtype": "tcp"}})";
  const auto one = with(address + ", " + address);  // both name one place
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_EQ(notes(one, ImportWeight::kLost), "");
  ASSERT_EQ(one->config.referrals.size(), 1u);
  EXPECT_EQ(name_of(one->config.referrals[0]), "tcp://10.0.0.9:8009");
  EXPECT_TRUE(one->config.referrals[0].secure_channel);
  const auto off = with(absl::StrReplaceAll(address, {{R"("enable": 1)", R"("enable": 0)"}}));
  EXPECT_TRUE(off->config.referrals.empty());
  EXPECT_EQ(notes(off, ImportWeight::kLost), "");
  const auto loop = with(absl::StrReplaceAll(address, {{R"("tcp")", R"("loop")"}}));
  EXPECT_TRUE(loop->config.referrals.empty());
  EXPECT_THAT(notes(loop, ImportWeight::kLost), AllOf(HasSubstr("ports[0].referrals[0].addr"),
                                                      HasSubstr("\"loop\" is not possible")));
  EXPECT_THAT(notes(with(R"({"enable": 1, "name": "other"})"), ImportWeight::kLost),
              HasSubstr("it has no address"));
}

TEST(Nvmetcli, APortDoesNotOpenWhatItDidNotHave) {
  const std::string other = absl::StrReplaceAll(kSaved, {{R"("subsystems": [{)", R"("subsystems": [{
    "nqn": "nqn.2026-11.org.example:b", "attr": {"allow_any_host": "1"},
    "namespaces": [{"nsid": 1, "enable": 1, "device": {"path": "/srv/b"}}]}, {)"},
                                                         {R"("ports": [{)", R"("ports": [{
    "portid": 2, "addr": {"trtype": "rdma", "adrfam": "ipv4", "traddr": "10.0.0.2"},
    "subsystems": ["nqn.2026-11.org.example:b", "nqn.2026-11.org.example:gone"]}, {)"}});
  const auto imported = import(other);
  const std::string all = notes(imported, ImportWeight::kWider);
  EXPECT_THAT(all, HasSubstr("nqn.2026-11.org.example:b would be reached by port 1"));
  EXPECT_THAT(all, HasSubstr("nqn.2026-11.org.example:disk would be reached by port 2"));
  EXPECT_THAT(notes(imported, ImportWeight::kLost),
              HasSubstr("the file has no subsystem nqn.2026-11.org.example:gone"));
  EXPECT_EQ(imported->config.listen.size(), 2u);
}

TEST(Nvmetcli, AnaGroupsAndTheirStates) {
  const auto rules = [](const absl::StatusOr<Imported>& imported) {
    return imported->config.subsystems[0].ana;
  };
  EXPECT_THAT(rules(import(kSaved)), IsEmpty());
  const std::string port1 = "verbs://10.0.0.1:4421";
  EXPECT_EQ(rules(with(R"("state": "optimized")", R"("state": "inaccessible")")),
            (std::vector<AnaRule>{{1, port1, AnaState::kInaccessible}}));
  EXPECT_EQ(rules(with(R"("state": "optimized")", R"("state": "non-optimized")")),
            (std::vector<AnaRule>{{1, port1, AnaState::kNonOptimized}}));
  const auto moved = with(R"("ana_grpid": 1)", R"("ana_grpid": 2)");
  EXPECT_EQ(moved->config.subsystems[0].namespaces[0].ana_group, 2u);
  EXPECT_EQ(rules(moved), (std::vector<AnaRule>{{2, port1, AnaState::kInaccessible}}));
  EXPECT_FALSE(with(R"("state": "optimized")", R"("state": "broken")").ok());
  EXPECT_FALSE(with(R"("ana_grpid": 1)", R"("ana_grpid": 129)").ok());
  const std::string two = absl::StrReplaceAll(kSaved, {{R"("ports": [{)", R"("ports": [{
    "portid": 2, "addr": {"trtype": "rdma", "adrfam": "ipv4", "traddr": "10.0.0.2"},
    "ana_groups": [{"grpid": 1, "ana": {"state": "inaccessible"}}],
    "subsystems": ["nqn.2026-11.org.example:disk"]}, {)"}});
  auto both = import(two);
  EXPECT_EQ(rules(both), (std::vector<AnaRule>{{1, "verbs://10.0.0.2", AnaState::kInaccessible}}));
  EXPECT_EQ(notes(both, ImportWeight::kWider), "");
  ASSERT_TRUE(complete(both->config).ok());
  EXPECT_EQ(rules(both)[0].listener, "verbs://10.0.0.2:4420");
}

TEST(Nvmetcli, DisabledObjectsAreNotServed) {
  EXPECT_THAT(lost(R"("enable": 1)", R"("enable": 0)"), HasSubstr("namespaces[0].enable: is off"));
  EXPECT_THAT(lost("/srv/a,b.img", ""), HasSubstr("device.path: is empty"));
  EXPECT_THAT(
      lost(R"("device": {"path": ""}, "enable": 0)", R"("device": {"path": ""}, "enable": 1)"),
      HasSubstr("passes commands through"));
  EXPECT_THAT(lost(R"("subsystems": ["nqn.2026-11.org.example:disk"])", R"("subsystems": [])"),
              HasSubstr("has no subsystem that is served"));
}

TEST(Nvmetcli, WhatHostsSeeOtherwiseIsNamed) {
  EXPECT_THAT(minor("mrpool NVMe-oF target", "Linux"), HasSubstr("attr.model: is \"Linux\""));
  EXPECT_THAT(minor(R"("version": "1.3")", R"("version": "1.2")"), HasSubstr("attr.version"));
  EXPECT_THAT(minor(R"("qid_max": "128")", R"("qid_max": "4")"), HasSubstr("attr.qid_max"));
  EXPECT_EQ(with(R"("cntlid_min": "1")", R"("cntlid_min": "9")")->config.subsystems[0].min_cntlid,
            9);
  EXPECT_EQ(with("65519", "99")->config.subsystems[0].max_cntlid, 99);
  EXPECT_FALSE(with("65519", "70000").ok());
  EXPECT_THAT(lost(R"("pi_enable": "0", "qid)", R"("pi_enable": "1", "qid)"),
              HasSubstr("attr.pi_enable"));
  EXPECT_THAT(minor(R"("version": "1.3")", R"("version": "1.3", "ieee_oui": "0x123456")"),
              HasSubstr("ieee_oui"));
  EXPECT_THAT(lost(R"("enable": 1, "nsid")", R"("enable": 1, "resv": {"enable": "1"}, "nsid")"),
              HasSubstr("resv.enable"));
  EXPECT_THAT(lost(R"("version": "1.3")", R"("version": "1.3", "to_come": "1")"),
              HasSubstr("line 15: subsystems[0].attr.to_come: is not known here"));
  EXPECT_THAT(lost(R"("hosts":)", R"("discovery": {"nqn": "nqn.2026-11.org.x:d"}, "hosts":)"),
              HasSubstr("discovery.nqn"));
}

TEST(Nvmetcli, ValuesThatCannotBeAreErrors) {
  EXPECT_THAT(
      std::string(with(R"("nsid": 7)", R"("nsid": "seven")").status().message()),
      HasSubstr("line 20: subsystems[0].namespaces[0].nsid: \"seven\" is not a whole number"));
  EXPECT_FALSE(with(R"("allow_any_host": "0")", R"("allow_any_host": "maybe")").ok());
  EXPECT_FALSE(with(R"("portid": 1)", R"("portid": {})").ok());
  EXPECT_FALSE(with(R"("addr": {)", R"("addr": 5, "x": {)").ok());
  EXPECT_FALSE(import("[]").ok());
  EXPECT_FALSE(import("{").ok());
}

TEST(Nvmetcli, IsTakenByTheDaemon) {
  const std::string path = ::testing::TempDir() + "nvmetcli_test.json";
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
  EXPECT_EQ(good->config.listen[0], "uiwarp://10.0.0.1:4421");
  EXPECT_EQ(good->service.engine.threads, 2u);
  EXPECT_EQ(good->service.in_capsule, 16384u);

  const std::string closed =
      absl::StrReplaceAll(kSaved, {{R"("ports": [{)", R"("ports": [{
    "portid": 2, "addr": {"trtype": "rdma", "adrfam": "ipv4", "traddr": "10.0.0.2"},
    "subsystems": ["nqn.2026-11.org.example:b"]}, {)"},
                                   {R"("subsystems": [{)", R"("subsystems": [{
    "nqn": "nqn.2026-11.org.example:b", "attr": {"allow_any_host": "1", "serial": "b"},
    "namespaces": [{"nsid": 1, "enable": 1, "device": {"path": "/srv/b"}}]}, {)"}});
  const auto refused = options(closed);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("--import-anyway"));
  const auto accepted = options(closed, {"--import-anyway"});
  ASSERT_TRUE(accepted.ok()) << accepted.status();
  EXPECT_EQ(accepted->notes.size(), 2u);

  const auto nothing = options(absl::StrReplaceAll(kSaved, {{"\"rdma\"", "\"tcp\""}}));
  EXPECT_THAT(std::string(nothing.status().message()), HasSubstr("nothing to listen on"));
  EXPECT_THAT(std::string(nothing.status().message()), HasSubstr("supports RDMA only"));
  EXPECT_THAT(std::string(options(R"({"storage_objects": [], "targets": []})").status().message()),
              HasSubstr("use mrpool-iser-target"));
}

}  // namespace
}  // namespace mrpool::nvmf_target
