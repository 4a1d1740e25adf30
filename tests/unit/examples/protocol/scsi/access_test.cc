// ALUA: states, the commands that report and set them, and what is refused in which state.
#include "examples/protocol/scsi/access.h"

#include "tests/unit/examples/protocol/scsi/unit_fixture.h"

namespace mrpool::scsi {
namespace {

const Cdb kReport = cdb({0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 1, 0});
Cdb set_groups(uint8_t bytes) { return cdb({0xa4, 0x0a, 0, 0, 0, 0, 0, 0, 0, bytes}); }
const Cdb kRead = cdb({0x28, 0, 0, 0, 0, 0, 0, 0, 1});
const Cdb kReady = cdb({0x00});

class AccessTest : public UnitTest {
 protected:
  AccessTest() : UnitTest(in_group(facts())) {}
  static UnitFacts in_group(UnitFacts facts) {
    facts.port_group = 0x102;
    facts.relative_port = 0x203;
    return facts;
  }
  // Both initiators have taken the unit attention.
  void set(AccessState state) {
    unit.set_access(state);
    alice.take_attention();
    bob.take_attention();
  }
};

TEST_F(AccessTest, InquiryAndDeviceIdentification) {
  expect_good(begin(cdb({0x12, 0, 0, 0, 96})));
  EXPECT_EQ(data[5] & 0x30, 0x30) << "TPGS";
  expect_good(begin(cdb({0x12, 1, 0x83, 0, 255})));
  int found = 0;
  for (size_t at = 4; at < data.size(); at += 4 + data[at + 3]) {
    if ((data[at + 1] & 0x3f) == 0x14) found += be::load16(&data[at + 6]) == 0x203 ? 1 : 0;
    if ((data[at + 1] & 0x3f) == 0x15) found += be::load16(&data[at + 6]) == 0x102 ? 1 : 0;
  }
  EXPECT_EQ(found, 2);
}

TEST_F(AccessTest, ReportHasTheGroup) {
  set(AccessState::kNonOptimized);
  expect_good(begin(kReport));
  ASSERT_EQ(data.size(), 16u);
  EXPECT_EQ(be::load32(&data[0]), 12u);
  EXPECT_EQ(data[4], 0x01);
  EXPECT_EQ(data[5], 0x8f);
  EXPECT_EQ(be::load16(&data[6]), 0x102);
  EXPECT_EQ(data[9], 2) << "changed by the target";
  EXPECT_EQ(data[11], 1);
  EXPECT_EQ(be::load16(&data[14]), 0x203);
  Cdb extended = kReport;
  extended[1] |= 0x20;
  expect_good(begin(extended));
  ASSERT_EQ(data.size(), 20u);
  EXPECT_EQ(data[4], 0x10);
  EXPECT_EQ(data[5], kTransitionSeconds);
  extended[1] |= 0x40;
  expect_sense(begin(extended), kInvalidFieldInCdb);
}

TEST_F(AccessTest, SetChangesItAndTellsTheOthers) {
  expect_good(run(alice, set_groups(8), {0, 0, 0, 0, 0x02, 0, 0x01, 0x02}));
  EXPECT_EQ(unit.access(), AccessState::kStandby);
  expect_sense(begin(alice, kRead), kPortStandby);
  expect_sense(begin(bob, kReady), kAccessStateChanged);
  expect_sense(begin(bob, kReady), kPortStandby);
  expect_good(begin(bob, kReport));
  EXPECT_EQ(data[9], 1) << "by a command";
  expect_good(run(bob, set_groups(8), {0, 0, 0, 0, 0x00, 0, 0x01, 0x02}));
  EXPECT_EQ(unit.access(), AccessState::kOptimized);
}

TEST_F(AccessTest, WhatCannotBeSet) {
  expect_good(run(alice, set_groups(0), {}));
  expect_sense(run(alice, set_groups(6), {0, 0, 0, 0, 0, 0}), kParameterListLength);
  expect_sense(run(alice, set_groups(8), {0, 0, 0, 0, 0x0f, 0, 1, 2}), kInvalidFieldInParameters);
  expect_sense(run(alice, set_groups(8), {0, 0, 0, 0, 0x0e, 0, 1, 2}), kInvalidFieldInParameters);
  expect_sense(run(alice, set_groups(8), {0, 0, 0, 0, 0x01, 0, 9, 9}), kInvalidFieldInParameters);
  EXPECT_EQ(unit.access(), AccessState::kOptimized);
}

class ImplicitAccessTest : public UnitTest {
 protected:
  ImplicitAccessTest() : UnitTest(implicit(facts())) {}
  static UnitFacts implicit(UnitFacts facts) {
    facts.explicit_alua = false;
    return facts;
  }
};

TEST_F(ImplicitAccessTest, InitiatorsCannotSetIt) {
  expect_good(begin(cdb({0x12, 0, 0, 0, 96})));
  EXPECT_EQ(data[5] & 0x30, 0x10) << "TPGS";
  expect_sense(begin(alice, set_groups(8)), kInvalidFieldInCdb);
  Cdb asks = cdb({0xa3, 0x0c, 0x02, 0xa4, 0, 0x0a, 0, 0, 0, 64});  // REPORT SUPPORTED OPCODES
  expect_good(begin(asks));
  EXPECT_EQ(data[1], 0x01) << "not supported";
  unit.set_access(AccessState::kStandby);
  bob.take_attention();
  expect_sense(begin(bob, kRead), kPortStandby);
  expect_good(begin(bob, kReport));
}

// Every command of the table in every state.
TEST_F(AccessTest, RefusalsByState) {
  const std::pair<AccessState, Sense> states[] = {{AccessState::kStandby, kPortStandby},
                                                  {AccessState::kUnavailable, kPortUnavailable},
                                                  {AccessState::kTransitioning, kAccessTransition}};
  for (const auto& [state, sense] : states) {
    EXPECT_EQ(refusal(state, Command::kRead16), sense);
    EXPECT_EQ(refusal(state, Command::kWrite10), sense);
    EXPECT_EQ(refusal(state, Command::kUnmap), sense);
    EXPECT_EQ(refusal(state, Command::kTestUnitReady), sense);
    EXPECT_EQ(refusal(state, Command::kInquiry), std::nullopt);
    EXPECT_EQ(refusal(state, Command::kReportPortGroups), std::nullopt);
    EXPECT_EQ(refusal(state, Command::kSetPortGroups), std::nullopt);
    const bool standby = state == AccessState::kStandby;
    EXPECT_EQ(refusal(state, Command::kReadCapacity16).has_value(), !standby);
    EXPECT_EQ(refusal(state, Command::kPersistentReserveOut).has_value(), !standby);
    set(state);
    expect_sense(begin(kReady), sense);
    expect_good(begin(cdb({0x03, 0, 0, 0, 18})));  // REQUEST SENSE polls it
    EXPECT_EQ(data[2] & 0x0f, int(sense.key));
    EXPECT_EQ(data[12], sense.asc);
    EXPECT_EQ(data[13], sense.ascq);
  }
  for (const Operation& operation : operations()) {
    EXPECT_EQ(refusal(AccessState::kNonOptimized, operation.command), std::nullopt);
  }
}

TEST_F(AccessTest, AConfiguredStateDoesNotUndoACommand) {
  unit.configure_access(AccessState::kNonOptimized);
  EXPECT_EQ(unit.access(), AccessState::kNonOptimized);
  unit.set_access(AccessState::kStandby, AccessChange::kByCommand);
  unit.configure_access(AccessState::kNonOptimized);
  EXPECT_EQ(unit.access(), AccessState::kStandby);
  unit.configure_access(AccessState::kOptimized);
  EXPECT_EQ(unit.access(), AccessState::kOptimized);
}

TEST(AccessStates, Names) {
  for (const std::string_view each : kAccessStateNames) {
    const auto state = parse_access_state(each);
    ASSERT_TRUE(state.ok());
    EXPECT_EQ(to_string(*state), each);
    EXPECT_EQ(access_state_of(uint64_t(*state)), *state);
  }
  EXPECT_FALSE(parse_access_state("lba-dependent").ok());
  EXPECT_EQ(access_state_of(4), std::nullopt);
}

}  // namespace
}  // namespace mrpool::scsi
