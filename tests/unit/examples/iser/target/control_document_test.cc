// Groups and target nodes, and the configuration that results from them: conversion in both
// directions, and refusals because more access than the groups would be granted.
#include "examples/iser/target/control_document.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "examples/iser/target/config_json.h"
#include "examples/iser/target/control_methods.h"

namespace mrpool::iser_target {
namespace {

using testing::HasSubstr;

constexpr char kFile[] = R"({
  "listen": ["uiwarp://127.0.0.1:3260"],
  "discovery_chap": "d:discovery secret",
  "stores": [{"name": "s", "storage": "null:1MiB"}, {"name": "free", "storage": "null:1MiB", "block_size": 4096}],
  "targets": [
    {"name": "iqn.2026-11.a:1", "alias": "one", "luns": [{"storage": "ram:1MiB,name=a", "lun": 7}],
     "initiators": [{"name": "iqn.2026-11.h:1", "chap": "a:secret of one", "mutual_chap": "t:secret of target"},
                    {"name": "iqn.2026-11.h:2", "chap": "b:secret of two"}]},
    {"name": "iqn.2026-11.a:2", "luns": [{"storage": "ram:1MiB,name=b", "lun": 0}, {"store": "s", "lun": 1}], "chap": "c:everybodys secret"},
    {"name": "iqn.2026-11.a:3", "luns": [{"storage": "ram:1MiB,name=c", "lun": 0}], "initiators": []}]})";

ControlDocument document() {
  auto config = parse_json(kFile);
  EXPECT_TRUE(config.ok()) << config.status();
  EXPECT_TRUE(complete(*config).ok());
  return ControlDocument::from(*config);
}

std::string error_of(const ControlDocument& from) {
  return std::string(served_config(from).status().message());
}

TEST(ControlDocument, AFileIsTheSameAfterTheWayThereAndBack) {
  auto config = parse_json(kFile);
  ASSERT_TRUE(config.ok() && complete(*config).ok());
  const auto back = served_config(ControlDocument::from(*config));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*to_json(*back), *to_json(*config));
  const ControlDocument from = document();
  EXPECT_EQ(from.portals.at(1).at(0), "uiwarp://127.0.0.1:3260");
  EXPECT_EQ(from.initiators.at(2).at(0), kAnybody);
  EXPECT_TRUE(from.initiators.at(3).empty());
}

TEST(ControlDocument, EveryTargetHasTheSamePortals) {
  ControlDocument from = document();
  from.portals[2] = {"uiwarp://127.0.0.2:3260"};
  EXPECT_EQ(served_config(from)->listen.size(), 1u) << "no target has it";
  from.nodes.at("iqn.2026-11.a:1").maps.emplace_back(2, 1);
  EXPECT_THAT(error_of(from), HasSubstr("every portal serves every target here"));
  for (auto& [name, node] : from.nodes) node.maps.emplace_back(2, node.maps[0].second);
  EXPECT_EQ(served_config(from)->listen.size(), 2u);
  from.nodes.at("iqn.2026-11.a:2").maps.clear();
  EXPECT_THAT(error_of(from), HasSubstr("iqn.2026-11.a:2 has no portal group"));
  from.nodes.clear();
  EXPECT_EQ(served_config(from)->listen.size(), 2u) << "all, without a target";
}

TEST(ControlDocument, NoInitiatorIsAdmittedWithoutTheAccountOfItsGroup) {
  ControlDocument from = document();
  std::vector<GroupAccount>& group = from.accounts.at(1);
  group.erase(group.begin());
  EXPECT_THAT(error_of(from), HasSubstr("initiator iqn.2026-11.h:1 has no account in group 1"));
  group.clear();
  EXPECT_NE(error_of(from), "");
  from.nodes.at("iqn.2026-11.a:1").auth.chap_group = 0;
  EXPECT_EQ(error_of(from), "");
  from.nodes.at("iqn.2026-11.a:1").auth.require_chap = true;
  EXPECT_THAT(error_of(from), HasSubstr("require_chap needs a chap_group"));
}

TEST(ControlDocument, AnAccountOfOneInitiatorIsNotForOthers) {
  ControlDocument from = document();
  from.accounts.at(2).push_back({.user = "x", .secret = "secret of nobody"});
  EXPECT_THAT(error_of(from), HasSubstr("more than one account without an initiator"));
  from.accounts.at(2) = {
      {.user = "x", .secret = "secret of one x", .initiator = "iqn.2026-11.h:1"}};
  EXPECT_THAT(error_of(from), HasSubstr("any initiator may log in; list them instead"));
  from.accounts.at(2).clear();
  EXPECT_THAT(error_of(from), HasSubstr("group 2 has no account"));
}

TEST(ControlDocument, DisabledAndOneWayProofs) {
  ControlDocument from = document();
  from.nodes.at("iqn.2026-11.a:1").auth.mutual_chap = false;
  auto config = served_config(from);
  ASSERT_TRUE(config.ok()) << config.status();
  const auto* initiator = &config->targets[0].initiators->at(0);
  EXPECT_TRUE(initiator->authentication.incoming && !initiator->authentication.outgoing);
  from.nodes.at("iqn.2026-11.a:1").auth.disable_chap = true;
  config = served_config(from);
  EXPECT_FALSE(config->targets[0].initiators->at(0).authentication.incoming.has_value());
  from.discovery = {};
  EXPECT_FALSE(served_config(from)->discovery.incoming.has_value());
}

}  // namespace
}  // namespace mrpool::iser_target
