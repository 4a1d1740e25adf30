#include "examples/protocol/scsi/reservations.h"

#include <gmock/gmock.h>

#include "tests/unit/examples/protocol/scsi/unit_fixture.h"

namespace mrpool::scsi {
namespace {

enum { kRegister, kReserve, kRelease, kClear, kPreempt, kPreemptAndAbort, kIgnore, kMove };

class ReservationsTest : public UnitTest {
 protected:
  Plan out(Nexus& nexus, int action, uint64_t key, uint64_t action_key, int type = 1,
           uint8_t flags = 0) {
    std::vector<uint8_t> list(24);
    be::store64(&list[0], key);
    be::store64(&list[8], action_key);
    list[20] = flags;
    return run(nexus, cdb({0x5f, action, type, 0, 0, 0, 0, 0, 24}), list);
  }
  void expect_conflict(const Plan& plan) { EXPECT_EQ(plan.status, Status::kReservationConflict); }
  void register_both() {
    expect_good(out(alice, kRegister, 0, 0xa));
    expect_good(out(bob, kRegister, 0, 0xb));
  }
  std::vector<uint64_t> keys() {
    expect_good(begin(alice, cdb({0x5e, 0, 0, 0, 0, 0, 0, 1, 0})));
    std::vector<uint64_t> found;
    for (size_t at = 8; at < data.size(); at += 8) found.push_back(be::load64(&data[at]));
    return found;
  }
  bool may(Nexus& nexus, int opcode) {
    const Plan plan = begin(nexus, cdb({opcode, 0, 0, 0, 0, 0, 0, 0, 1}));
    return plan.status != Status::kReservationConflict;
  }
  bool may_read(Nexus& nexus) { return may(nexus, 0x28); }
  bool may_write(Nexus& nexus) { return may(nexus, 0x2a); }
};

TEST_F(ReservationsTest, RegistrationNeedsTheRightKey) {
  expect_conflict(out(alice, kRegister, 5, 0xa));
  expect_good(out(alice, kRegister, 0, 0xa));
  expect_conflict(out(alice, kRegister, 0, 0xaa));
  expect_good(out(alice, kRegister, 0xa, 0xaa));
  expect_good(out(bob, kIgnore, 0, 0xb));
  expect_good(out(bob, kIgnore, 99, 0xbb));
  EXPECT_EQ(keys(), (std::vector<uint64_t>{0xaa, 0xbb}));
  EXPECT_EQ(be::load32(&data[0]), 4u);  // PRGENERATION
  expect_good(out(bob, kRegister, 0xbb, 0));
  EXPECT_EQ(keys(), (std::vector<uint64_t>{0xaa}));
}

TEST_F(ReservationsTest, OnlyRegistrantsReserve) {
  expect_conflict(out(alice, kReserve, 0, 0));
  register_both();
  expect_conflict(out(alice, kReserve, 0xb, 0));
  expect_good(out(alice, kReserve, 0xa, 0));
  expect_good(out(alice, kReserve, 0xa, 0));  // again: nothing happens
  expect_conflict(out(alice, kReserve, 0xa, 0, 3));
  expect_conflict(out(bob, kReserve, 0xb, 0));
}

struct TypeCase {
  int type;
  bool registrant_reads, registrant_writes, stranger_reads;
};

class ReservationTypes : public ReservationsTest, public testing::WithParamInterface<TypeCase> {};

TEST_P(ReservationTypes, AllowWhatTheStandardAllows) {
  Nexus carol("iqn.c,i,0x000000000003");
  unit.attach(carol);
  carol.take_attention();
  register_both();
  expect_good(out(alice, kReserve, 0xa, 0, GetParam().type));
  EXPECT_TRUE(may_read(alice));
  EXPECT_TRUE(may_write(alice));
  EXPECT_EQ(may_read(bob), GetParam().registrant_reads);
  EXPECT_EQ(may_write(bob), GetParam().registrant_writes);
  EXPECT_EQ(may_read(carol), GetParam().stranger_reads);
  EXPECT_FALSE(may_write(carol));
  for (const int always : {0x00, 0x12, 0x25, 0x03}) EXPECT_TRUE(may(carol, always));
  unit.detach(carol);
}

INSTANTIATE_TEST_SUITE_P(
    All, ReservationTypes,
    testing::Values(TypeCase{1, true, false, true}, TypeCase{3, false, false, false},
                    TypeCase{5, true, true, true}, TypeCase{6, true, true, false},
                    TypeCase{7, true, true, true}, TypeCase{8, true, true, false}));

TEST_F(ReservationsTest, TypesAndScopesThatDoNotExist) {
  register_both();
  expect_sense(out(alice, kReserve, 0xa, 0, 2), kInvalidFieldInCdb);
  expect_sense(out(alice, kReserve, 0xa, 0, 0x11), kInvalidFieldInCdb);
}

TEST_F(ReservationsTest, ReleaseByTheHolderOnly) {
  register_both();
  expect_good(out(alice, kReserve, 0xa, 0, 1));
  expect_good(out(bob, kRelease, 0xb, 0, 1));  // not the holder: nothing happens
  EXPECT_FALSE(may_write(bob));
  expect_sense(out(alice, kRelease, 0xa, 0, 3), kInvalidRelease);
  expect_good(out(alice, kRelease, 0xa, 0, 1));
  EXPECT_TRUE(may_write(bob));
}

TEST_F(ReservationsTest, ReleaseOfARegistrantsOnlyTypeIsAnnounced) {
  register_both();
  expect_good(out(alice, kReserve, 0xa, 0, 5));
  expect_good(out(alice, kRelease, 0xa, 0, 5));
  expect_sense(begin(bob, cdb({0x00})), kReservationsReleased);
}

TEST_F(ReservationsTest, UnregisteringTheHolderReleases) {
  register_both();
  expect_good(out(alice, kReserve, 0xa, 0, 6));
  expect_good(out(alice, kRegister, 0xa, 0));
  expect_sense(begin(bob, cdb({0x00})), kReservationsReleased);
  EXPECT_TRUE(may_write(bob));
}

TEST_F(ReservationsTest, AllRegistrantsHoldUntilTheLastLeaves) {
  register_both();
  expect_good(out(alice, kReserve, 0xa, 0, 7));
  expect_good(out(alice, kRegister, 0xa, 0));
  EXPECT_FALSE(may_write(alice));
  EXPECT_TRUE(may_write(bob));
  expect_good(out(bob, kRegister, 0xb, 0));
  EXPECT_TRUE(may_write(alice));
}

TEST_F(ReservationsTest, ClearRemovesEverything) {
  register_both();
  expect_good(out(alice, kReserve, 0xa, 0, 3));
  expect_good(out(bob, kClear, 0xb, 0));
  expect_sense(begin(alice, cdb({0x00})), kReservationsPreempted);
  EXPECT_TRUE(keys().empty());
  EXPECT_TRUE(may_write(alice));
}

TEST_F(ReservationsTest, PreemptTakesOverTheReservation) {
  register_both();
  expect_good(out(alice, kReserve, 0xa, 0, 3));
  expect_good(out(bob, kPreempt, 0xb, 0xa, 1));
  expect_sense(begin(alice, cdb({0x00})), kRegistrationsPreempted);
  EXPECT_EQ(keys(), (std::vector<uint64_t>{0xb}));
  EXPECT_TRUE(may_write(bob));
  EXPECT_TRUE(may_read(alice));
  EXPECT_FALSE(may_write(alice));
}

TEST_F(ReservationsTest, PreemptOfARegistrationOnly) {
  register_both();
  expect_good(out(bob, kPreempt, 0xb, 0xa, 1));
  expect_sense(begin(alice, cdb({0x00})), kRegistrationsPreempted);
  EXPECT_EQ(keys(), (std::vector<uint64_t>{0xb}));
  expect_conflict(out(bob, kPreempt, 0xb, 0xdead, 1));
  expect_sense(out(bob, kPreempt, 0xb, 0, 1), kInvalidFieldInParameters);
}

TEST_F(ReservationsTest, PreemptAndAbortNamesWhoseTasksEnd) {
  register_both();
  expect_good(out(alice, kReserve, 0xa, 0, 3));
  expect_good(out(bob, kPreemptAndAbort, 0xb, 0xa, 3));
  EXPECT_EQ(preempted, std::vector<std::string>{alice.port()});
  expect_good(out(bob, kRelease, 0xb, 0, 3));
  EXPECT_THAT(preempted, testing::IsEmpty());
}

TEST_F(ReservationsTest, RegisterAndMove) {
  register_both();
  expect_good(out(alice, kReserve, 0xa, 0, 1));
  std::vector<uint8_t> list(24 + 28);
  be::store64(&list[0], 0xa);
  be::store64(&list[8], 0xc);
  list[17] = 0x02;  // UNREG
  be::store16(&list[18], 1);
  be::store32(&list[20], 28);
  list[24] = 0x45;
  be::store16(&list[26], 24);
  std::ranges::copy(bob.port(), list.begin() + 28);
  const Cdb command = cdb({0x5f, kMove, 1, 0, 0, 0, 0, 0, 52});
  expect_good(run(alice, command, list));
  EXPECT_EQ(keys(), (std::vector<uint64_t>{0xc}));
  EXPECT_TRUE(may_write(bob));
  EXPECT_FALSE(may_write(alice));
}

// What a TransportID names becomes a line of the kept state, and an initiator has chosen every
// byte.
TEST_F(ReservationsTest, AReservationMovesToAnInitiatorPortAndToNothingElse) {
  register_both();
  expect_good(out(alice, kReserve, 0xa, 0, 1));
  const auto move = [&](uint8_t format, std::string_view name) {
    std::vector<uint8_t> list(24 + 44);
    be::store64(&list[0], 0xa);
    be::store64(&list[8], 0xc);
    list[17] = 0x01;  // APTPL
    be::store16(&list[18], 1);
    be::store32(&list[20], 44);
    list[24] = format;
    be::store16(&list[26], 40);
    std::ranges::copy(name, list.begin() + 28);
    return run(alice, cdb({0x5f, kMove, 1, 0, 0, 0, 0, 0, 68}), list);
  };
  for (const std::string_view name :
       {"iqn.c", "iqn.c,i,0x", "iqn.c,i,0x00000000000", "iqn.c,i,0x0000000000033",
        "iqn.c,i,0x00000000000g", ",i,0x000000000003", "iqn.c\nkey 1 x,i,0x000000000003",
        "iqn c,i,0x000000000003"}) {
    expect_sense(move(0x45, name), kInvalidFieldInParameters);
  }
  expect_sense(move(0x05, "iqn.c,i,0x000000000003"),
               kInvalidFieldInParameters);  // no port's format
  EXPECT_FALSE(may_write(bob));
  // Hexadecimal digits are digits in either case.
  expect_good(move(0x45, "iqn.c,i,0X00000000000A"));
  Nexus carol("iqn.c,i,0x00000000000a");
  unit.attach(carol);
  carol.take_attention();
  EXPECT_TRUE(may_write(carol));
  unit.detach(carol);
  Reservations again(true);
  EXPECT_TRUE(again.restore(saved));
}

TEST_F(ReservationsTest, ListsOfAWrongLength) {
  const Cdb command = cdb({0x5f, 0, 0, 0, 0, 0, 0, 0, 16});
  expect_sense(run(alice, command, std::vector<uint8_t>(16)), kParameterListLength);
  expect_sense(out(alice, kRegister, 0, 1, 0, 0x08), kInvalidFieldInParameters);  // SPEC_I_PT
}

TEST_F(ReservationsTest, WhatReadReservationAndCapabilitiesSay) {
  register_both();
  expect_good(begin(alice, cdb({0x5e, 1, 0, 0, 0, 0, 0, 1, 0})));
  EXPECT_EQ(data.size(), 8u);
  expect_good(out(alice, kReserve, 0xa, 0, 5));
  expect_good(begin(bob, cdb({0x5e, 1, 0, 0, 0, 0, 0, 1, 0})));
  ASSERT_EQ(data.size(), 24u);
  EXPECT_EQ(be::load64(&data[8]), 0xau);
  EXPECT_EQ(data[21], 5);
  expect_good(begin(bob, cdb({0x5e, 2, 0, 0, 0, 0, 0, 1, 0})));
  EXPECT_EQ(data[2] & 0x01, 1);
  EXPECT_EQ(be::load16(&data[4]), 0xea01);
  expect_good(begin(bob, cdb({0x5e, 3, 0, 0, 0, 0, 0, 1, 0})));
  EXPECT_EQ(be::load32(&data[4]), data.size() - 8);
  EXPECT_EQ(be::load64(&data[8]), 0xau);
  EXPECT_EQ(data[20], 1);
}

TEST_F(ReservationsTest, WithAptplTheStateSurvives) {
  expect_good(out(alice, kRegister, 0, 0xa, 0, 0x01));
  EXPECT_FALSE(saved.empty());
  expect_good(out(bob, kRegister, 0, 0xb, 0, 0x01));
  expect_good(out(alice, kReserve, 0xa, 0, 3));

  Reservations restored(true);
  ASSERT_TRUE(restored.restore(saved));
  EXPECT_TRUE(restored.holds(alice.port()));
  EXPECT_TRUE(restored.registered(bob.port()));
  EXPECT_FALSE(restored.allows(bob.port(), Reserved::kAllowedAsRead));
  EXPECT_EQ(restored.generation(), 2u);
  EXPECT_EQ(restored.serialize(), saved);

  // The last registration without APTPL ends it: nothing is kept.
  expect_good(out(bob, kIgnore, 0, 0xb));
  EXPECT_TRUE(saved.empty());
}

TEST_F(ReservationsTest, AStateThatCannotBeSavedIsNotTaken) {
  save_status = absl::DataLossError("disk full");
  expect_sense(out(alice, kRegister, 0, 0xa, 0, 0x01), kInternalFailure);
  EXPECT_FALSE(unit.reservations().registered(alice.port()));
}

TEST(Reservations, GarbageIsNotRestored) {
  Reservations reservations(true);
  EXPECT_FALSE(reservations.restore("nonsense\n"));
  EXPECT_FALSE(reservations.restore("aptpl x 0 \n"));
  EXPECT_FALSE(reservations.restore("aptpl 1 2 \n"));
  EXPECT_FALSE(reservations.restore("key 1 iqn.a"));
  EXPECT_TRUE(reservations.restore(""));
}

TEST(Reservations, AptplWithoutAStateDirectoryIsRefused) {
  LogicalUnit unit({.blocks = 8}, nullptr);
  Nexus nexus("iqn.a,i,0x1");
  std::vector<uint8_t> data, list(24);
  std::vector<Range> ranges;
  list[15] = 1;
  list[20] = 0x01;
  const Cdb command = cdb({0x5f, 0, 0, 0, 0, 0, 0, 0, 24});
  unit.begin(nexus, command, data);
  EXPECT_EQ(unit.finish(nexus, command, list, ranges).kind, Plan::Kind::kReserve);
  EXPECT_FALSE(unit.may_block());
  EXPECT_EQ(unit.reserve_out(nexus.port(), command, list).plan.sense.asc, 0x26);
}

}  // namespace
}  // namespace mrpool::scsi
