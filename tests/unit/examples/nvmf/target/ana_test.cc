// ANA in the target's logic: states by group and port, the log page with its change counts, the
// event, what Identify reports, and admin commands of a namespace that is not accessible.
#include "examples/nvmf/target/ana.h"

#include <gmock/gmock.h>

#include "tests/unit/examples/nvmf/target/logic_fixture.h"

namespace mrpool::nvmf_target::testing {
namespace {

using nvme::AdminOpcode;
using nvme::Status;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

struct Group {
  uint32_t id = 0;
  uint32_t nsids = 0;
  uint64_t changes = 0;
  uint8_t state = 0;
  std::vector<uint32_t> members{};
};

class AnaTest : public TargetFixture {
 protected:
  AnaTest() {
    namespaces_.push_back(make_namespace(5, "ram:1MiB"));
    namespaces_.back().ana_group = 2;
    apply();
  }

  void set(AnaState state, uint32_t group = 0, std::string listener = {}) {
    set_ana_state(rules_, {group, std::move(listener), state});
    apply();
  }
  std::vector<Group> read(Controller& controller, bool groups_only = false) {
    constexpr uint32_t kBytes = 4096;
    nvme::Sqe sqe = log_command(NVME_LOG_LID_ANA, kBytes);
    if (groups_only) sqe.cdw10 = sqe.cdw10 | 1u << 8;
    const AdminReply reply = controller.admin(sqe, kBytes, now_);
    EXPECT_STATUS(reply.status, Status::kSuccess);
    std::vector<Group> groups;
    if (reply.data.size() != kBytes) return groups;
    const auto head = nvme::read_struct<Head>(reply.data);
    changes_ = head.changes;
    std::span<const std::byte> rest = std::span(reply.data).subspan(sizeof(Head));
    for (uint32_t i = 0; i < head.groups; ++i) {
      const auto one = nvme::read_struct<Descriptor>(rest);
      rest = rest.subspan(sizeof(Descriptor));
      Group& group = groups.emplace_back(Group{one.group, one.nsids, one.changes, one.state});
      for (uint32_t n = 0; n < one.nsids; ++n) {
        group.members.push_back(nvme::read_struct<uint32_t>(rest));
        rest = rest.subspan(4);
      }
    }
    return groups;
  }
  std::vector<AsyncCompletion> events(Controller& controller) { return controller.take_events(); }
  void watch(Controller& controller) {
    (void)controller.admin(
        admin_command(AdminOpcode::kSetFeatures, 0, NVME_FEAT_FID_ASYNC_EVENT, kEventAccess), 0,
        now_);
    EXPECT_EQ(controller.admin(admin_command(AdminOpcode::kAsyncEventRequest), 0, now_).kind,
              AdminReply::Kind::kPark);
  }

  struct Head {
    uint64_t changes;
    uint16_t groups;
    uint8_t reserved[6];
  };
  static_assert(sizeof(Head) == 16);
  struct Descriptor {
    uint32_t group;
    uint32_t nsids;
    uint64_t changes;
    uint8_t state;
    uint8_t reserved[15];
  };
  static_assert(sizeof(Descriptor) == 32);

  uint64_t changes_ = 0;
};

TEST(AnaRules, TheLastOneForAGroupAndAPortIsValid) {
  Ana ana;
  const std::string here = "uiwarp://10.0.0.1:4420";
  set_ana_state(ana.rules, {2, here, AnaState::kInaccessible});
  EXPECT_EQ(ana.at("10.0.0.1:4420")[2], AnaState::kInaccessible);
  EXPECT_EQ(ana.at("10.0.0.1:4420")[1], AnaState::kOptimized);
  EXPECT_EQ(ana.at("10.0.0.2:4420")[2], AnaState::kOptimized);
  set_ana_state(ana.rules, {0, here, AnaState::kNonOptimized});
  EXPECT_THAT(ana.rules, SizeIs(1)) << "it replaces the one that it covers";
  EXPECT_EQ(ana.at("10.0.0.1:4420")[2], AnaState::kNonOptimized);
  set_ana_state(ana.rules, {2, {}, AnaState::kChange});
  EXPECT_THAT(ana.rules, SizeIs(2));
  EXPECT_EQ(ana.at("10.0.0.1:4420")[2], AnaState::kChange);
  EXPECT_EQ(ana.at("10.0.0.1:4420")[1], AnaState::kNonOptimized);
  set_ana_state(ana.rules, {0, {}, AnaState::kOptimized});
  EXPECT_THAT(ana.rules, SizeIs(1));
}

TEST(AnaRules, ListenersMatchTheAddressThatAHostConnectedTo) {
  EXPECT_TRUE(came_through("uiwarp://0.0.0.0:4420", "10.0.0.1:4420"));
  EXPECT_FALSE(came_through("uiwarp://0.0.0.0:4420", "[fd00::1]:4420"));
  EXPECT_TRUE(came_through("uiwarp://[::]:4420", "10.0.0.1:4420"));
  EXPECT_TRUE(came_through("uiwarp://[fd00::1]:4420", "[fd00:0::1]:4420"));
  EXPECT_FALSE(came_through("uiwarp://10.0.0.1:4420", "10.0.0.1:4421"));
  EXPECT_TRUE(came_through("uiwarp://10.0.0.1:0", "10.0.0.1:4421"));
  EXPECT_FALSE(came_through("not an address", "10.0.0.1:4421"));
}

TEST(AnaRules, NamesOfStates) {
  for (const std::string_view each : nvme::kAnaStateNames) {
    const auto state = nvme::parse_ana_state(each);
    ASSERT_TRUE(state.ok());
    EXPECT_EQ(to_string(*state), each);
  }
  EXPECT_EQ(*nvme::parse_ana_state("non-optimized"), AnaState::kNonOptimized);
  EXPECT_THAT(std::string(nvme::parse_ana_state("broken").status().message()),
              HasSubstr("optimized, non_optimized, inaccessible, persistent_loss, change"));
}

TEST_F(AnaTest, LogPageHasTheGroupsOfThePort) {
  set(AnaState::kInaccessible, 2, "uiwarp://10.0.0.1:4420");
  set(AnaState::kPersistentLoss, 1, "uiwarp://10.0.0.9:4420");
  auto c = enabled();
  const auto groups = read(*c);
  ASSERT_THAT(groups, SizeIs(2));
  EXPECT_EQ(groups[0].id, 1u);
  EXPECT_EQ(groups[0].state, uint8_t(AnaState::kOptimized));
  EXPECT_THAT(groups[0].members, ElementsAre(1, 3));
  EXPECT_EQ(groups[1].id, 2u);
  EXPECT_EQ(groups[1].state, uint8_t(AnaState::kInaccessible));
  EXPECT_THAT(groups[1].members, ElementsAre(5));
  const auto brief = read(*c, true);
  ASSERT_THAT(brief, SizeIs(2));
  EXPECT_EQ(brief[0].nsids, 0u);
  EXPECT_EQ(brief[1].state, uint8_t(AnaState::kInaccessible));
}

TEST_F(AnaTest, ChangesAreCounted) {
  auto c = enabled();
  const auto before = read(*c);
  const uint64_t all = changes_;
  set(AnaState::kNonOptimized, 2);
  const auto after = read(*c);
  EXPECT_EQ(changes_, all + 1);
  EXPECT_EQ(after[0].changes, before[0].changes);
  EXPECT_EQ(after[1].changes, before[1].changes + 1);
  apply();  // nothing new
  (void)read(*c);
  EXPECT_EQ(changes_, all + 1);
  namespaces_.pop_back();  // the group has none left
  apply();
  EXPECT_THAT(read(*c), SizeIs(1));
  EXPECT_EQ(changes_, all + 2);
}

TEST_F(AnaTest, AHostLearnsOfAChangeAtItsPortOnce) {
  auto c = enabled();
  watch(*c);
  set(AnaState::kInaccessible, 2, "uiwarp://10.0.0.9:4420");
  EXPECT_THAT(events(*c), IsEmpty()) << "another port";
  set(AnaState::kInaccessible, 7);
  EXPECT_THAT(events(*c), IsEmpty()) << "a group without namespaces";
  set(AnaState::kInaccessible, 2);
  const auto told = events(*c);
  ASSERT_THAT(told, SizeIs(1));
  EXPECT_EQ(told[0].result, 2u | 3u << 8 | 0x0cu << 16);
  (void)c->admin(admin_command(AdminOpcode::kAsyncEventRequest), 0, now_);
  set(AnaState::kOptimized, 2);
  EXPECT_THAT(events(*c), IsEmpty()) << "masked until the log page was read";
  (void)read(*c);
  set(AnaState::kChange, 2);
  EXPECT_THAT(events(*c), SizeIs(1));
}

// The state in the group of gateways takes precedence over what was configured.
TEST_F(AnaTest, AGroupOfAnotherGatewayIsInaccessible) {
  set(AnaState::kNonOptimized, 1);
  auto c = enabled();
  const uint64_t before = read(*c)[1].changes;
  watch(*c);
  AnaStates owned;
  owned.fill(AnaState::kInaccessible);
  owned[1] = AnaState::kOptimized;
  target_.set_ownership(std::make_shared<const AnaStates>(owned));
  EXPECT_THAT(events(*c), SizeIs(1));
  auto groups = read(*c);
  EXPECT_EQ(groups[0].state, uint8_t(AnaState::kNonOptimized)) << "as configured, where it serves";
  EXPECT_EQ(groups[1].state, uint8_t(AnaState::kInaccessible));
  EXPECT_EQ(groups[1].changes, before + 1);
  (void)c->admin(admin_command(AdminOpcode::kAsyncEventRequest), 0, now_);
  target_.set_ownership(std::make_shared<const AnaStates>(owned));
  EXPECT_THAT(events(*c), IsEmpty()) << "nothing new";
  apply();  // a reload
  groups = read(*c);
  EXPECT_EQ(groups[1].state, uint8_t(AnaState::kInaccessible));
}

TEST_F(AnaTest, AMoveToAnotherGroupIsReportedAsBoth) {
  auto c = enabled();
  (void)c->admin(admin_command(AdminOpcode::kSetFeatures, 0, NVME_FEAT_FID_ASYNC_EVENT,
                               kEventAccess | kEventNamespace),
                 0, now_);
  for (int i = 0; i < 2; ++i) {
    (void)c->admin(admin_command(AdminOpcode::kAsyncEventRequest), 0, now_);
  }
  namespaces_[0].ana_group = 4;
  apply();
  EXPECT_THAT(events(*c), SizeIs(2));
}

TEST_F(AnaTest, IdentifyReportsIt) {
  set(AnaState::kInaccessible, 2);
  auto c = enabled();
  const auto identify = [&](uint32_t cns, uint32_t nsid) {
    return c->admin(admin_command(AdminOpcode::kIdentify, nsid, cns), 4096, now_);
  };
  const auto id = page<nvme_id_ctrl>(identify(NVME_IDENTIFY_CNS_CTRL, 0));
  EXPECT_NE(id.cmic & 1 << 3, 0);
  EXPECT_NE(id.oaes & 1u << 11, 0u);
  EXPECT_EQ(id.anacap, 0x1f);
  EXPECT_EQ(id.anatt, kAnaTransitionTime);
  EXPECT_EQ(id.anagrpmax, kMaxAnaGroups);
  EXPECT_EQ(id.nanagrpid, kMaxAnaGroups);
  const auto one = page<nvme_id_ns>(identify(NVME_IDENTIFY_CNS_NS, 1));
  EXPECT_EQ(one.anagrpid, 1u);
  EXPECT_EQ(one.nuse, one.nsze);
  EXPECT_NE(one.nmic & 1, 0);
  const auto five = page<nvme_id_ns>(identify(NVME_IDENTIFY_CNS_NS, 5));
  EXPECT_EQ(five.anagrpid, 2u);
  EXPECT_EQ(five.nuse, 0u);
  EXPECT_NE(five.nsze, 0u) << "Linux takes a namespace without a capacity for a removed one";
}

TEST_F(AnaTest, AdminCommandsOfANamespaceThatIsNotAccessible) {
  auto c = enabled();
  const auto each = [&](Status expected) {
    const std::pair<AdminOpcode, uint32_t> commands[] = {
        {AdminOpcode::kSetFeatures, NVME_FEAT_FID_ERR_RECOVERY},
        {AdminOpcode::kSetFeatures, NVME_FEAT_FID_RESV_MASK},
        {AdminOpcode::kGetFeatures, NVME_FEAT_FID_RESV_MASK},
        {AdminOpcode::kSetFeatures, NVME_FEAT_FID_WRITE_PROTECT},
        {AdminOpcode::kGetFeatures, NVME_FEAT_FID_WRITE_PROTECT}};
    for (const auto& [opcode, feature] : commands) {
      EXPECT_STATUS(c->admin(admin_command(opcode, 5, feature), 0, now_).status, expected)
          << feature;
    }
    EXPECT_STATUS(c->admin(admin_command(AdminOpcode::kSetFeatures, nvme::kBroadcastNsid,
                                         NVME_FEAT_FID_RESV_MASK),
                           0, now_)
                      .status,
                  expected);
  };
  set(AnaState::kInaccessible, 2);
  each(Status::kAnaInaccessible);
  set(AnaState::kPersistentLoss, 2);
  each(Status::kAnaPersistentLoss);
  set(AnaState::kChange, 2);
  each(Status::kAnaTransition);
  set(AnaState::kNonOptimized, 2);
  EXPECT_STATUS(
      c->admin(admin_command(AdminOpcode::kSetFeatures, 5, NVME_FEAT_FID_RESV_MASK), 0, now_)
          .status,
      Status::kSuccess);
}

TEST_F(AnaTest, ASubsystemMayReportNone) {
  Target::Served plain;
  plain.options.nqn = kNqn;
  plain.options.serial = "s1";
  plain.options.ana_reporting = false;
  plain.namespaces = namespaces_;
  target_.apply({plain}, {});
  auto c = enabled();
  const auto id = page<nvme_id_ctrl>(
      c->admin(admin_command(AdminOpcode::kIdentify, 0, NVME_IDENTIFY_CNS_CTRL), 4096, now_));
  EXPECT_EQ(id.cmic & 1 << 3, 0);
  EXPECT_EQ(id.anacap, 0);
  EXPECT_EQ(id.oaes & 1u << 11, 0u);
  EXPECT_STATUS(c->admin(log_command(NVME_LOG_LID_ANA, 64), 64, now_).status,
                dnr(Status::kInvalidLogPage));
  EXPECT_STATUS(
      c->admin(admin_command(AdminOpcode::kSetFeatures, 0, NVME_FEAT_FID_ASYNC_EVENT, kEventAccess),
               0, now_)
          .status,
      dnr(Status::kInvalidField));
}

TEST_F(AnaTest, ControllerIdsAreOfTheRange) {
  Target::Served few;
  few.options.nqn = kNqn;
  few.options.serial = "s1";
  few.options.min_cntlid = 100;
  few.options.max_cntlid = 102;
  few.namespaces = namespaces_;
  target_.apply({few}, {});
  EXPECT_EQ(connect()->identity().id, 100);
  auto second = connect();
  EXPECT_EQ(second->identity().id, 101);
  EXPECT_EQ(connect()->identity().id, 102);
  const auto more = [this] {
    return target_.connect(connect_command(0), connect_data(kNqn, kHost), facts(0), now_);
  };
  EXPECT_STATUS(more().status, Status::kConnectControllerBusy);
  target_.disconnected(*second, 0);
  EXPECT_STATUS(
      target_.connect(connect_command(0), connect_data(kNqn, kOtherHost), facts(0), now_).status,
      Status::kConnectControllerBusy)
      << "the id is in use until the controller has drained";
  target_.drained(*second, 0);
  const Connected again = more();
  EXPECT_STATUS(again.status, Status::kSuccess);
  EXPECT_EQ(again.result, 101u);
}

}  // namespace
}  // namespace mrpool::nvmf_target::testing
