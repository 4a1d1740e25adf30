#include "examples/protocol/scsi/logical_unit.h"

#include "examples/protocol/scsi/target_device.h"
#include "tests/unit/examples/protocol/scsi/unit_fixture.h"

namespace mrpool::scsi {
namespace {

using Kind = Plan::Kind;

TEST_F(UnitTest, TestUnitReadyIsGood) { expect_good(begin(cdb({0x00}))); }

TEST_F(UnitTest, UnknownOperationCodes) {
  expect_sense(begin(cdb({0xff})), kInvalidOpcode);
  expect_sense(begin(cdb({0x9e, 0x1f})), kInvalidFieldInCdb);
  expect_sense(begin(cdb({0x5e, 0x1f})), kInvalidFieldInCdb);
}

// Every command of the table is carried out by something, and only those that ask for a parameter
// list go on with one.
TEST_F(UnitTest, EveryListedCommandIsKnown) {
  for (const Operation& operation : operations()) {
    if (operation.command == Command::kReportLuns) continue;  // the target device's
    Cdb command{};
    command[0] = operation.opcode;
    if (operation.service_action >= 0) command[1] = uint8_t(operation.service_action);
    if (operation.command == Command::kStartStopUnit) command[4] = 1;  // START
    const Plan plan = begin(command);
    EXPECT_NE(plan.sense, kInvalidOpcode.at_cdb(0)) << operation.name;
    const Plan rest = unit.finish(alice, command, {}, ranges);
    EXPECT_EQ(rest.sense == kInvalidOpcode.at_cdb(0), plan.kind != Kind::kParameters)
        << operation.name;
    // What is answered from here is cut to an allocation length; READ CAPACITY(10) has none.
    if (!data.empty() && operation.command != Command::kReadCapacity10) {
      EXPECT_TRUE(allocation_length(command).has_value()) << operation.name;
    }
  }
}

TEST_F(UnitTest, NacaIsRefused) {
  expect_sense(begin(cdb({0x00, 0, 0, 0, 0, 0x04})), kInvalidFieldInCdb);
}

// --- Reads and writes ---

struct MoveCase {
  Cdb command;
  Kind kind;
  uint64_t lba, blocks, data_out;
};

class Moves : public UnitTest, public testing::WithParamInterface<MoveCase> {};

TEST_P(Moves, NameTheirBlocks) {
  const MoveCase& expected = GetParam();
  const Plan plan = begin(expected.command);
  EXPECT_EQ(plan.kind, expected.kind);
  EXPECT_EQ(plan.status, Status::kGood);
  EXPECT_EQ(plan.lba, expected.lba);
  EXPECT_EQ(plan.blocks, expected.blocks);
  EXPECT_EQ(plan.data_out, expected.data_out);
}

INSTANTIATE_TEST_SUITE_P(
    Commands, Moves,
    testing::Values(
        MoveCase{cdb({0x08, 0, 0, 7, 2, 0}), Kind::kRead, 7, 2, 0},
        MoveCase{cdb({0x08, 0, 0, 7, 0, 0}), Kind::kRead, 7, 256, 0},
        MoveCase{cdb({0x28, 0, 0, 0, 0, 7, 0, 0, 2}), Kind::kRead, 7, 2, 0},
        MoveCase{cdb({0xa8, 0, 0, 0, 0, 7, 0, 0, 0, 2}), Kind::kRead, 7, 2, 0},
        MoveCase{cdb({0x88, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 2}), Kind::kRead, 7, 2, 0},
        MoveCase{cdb({0x0a, 0, 0, 7, 2, 0}), Kind::kWrite, 7, 2, 1024},
        MoveCase{cdb({0x2a, 0, 0, 0, 0, 7, 0, 0, 2}), Kind::kWrite, 7, 2, 1024},
        MoveCase{cdb({0xaa, 0, 0, 0, 0, 7, 0, 0, 0, 2}), Kind::kWrite, 7, 2, 1024},
        MoveCase{cdb({0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 2}), Kind::kWrite, 7, 2, 1024},
        MoveCase{cdb({0x2e, 2, 0, 0, 0, 7, 0, 0, 2}), Kind::kWriteAndVerify, 7, 2, 1024},
        MoveCase{cdb({0xae, 0, 0, 0, 0, 7, 0, 0, 0, 2}), Kind::kWriteAndVerify, 7, 2, 1024},
        MoveCase{cdb({0x8e, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 2}), Kind::kWriteAndVerify, 7, 2,
                 1024},
        MoveCase{cdb({0x2f, 0, 0, 0, 0, 7, 0, 0, 2}), Kind::kVerify, 7, 2, 0},
        MoveCase{cdb({0xaf, 2, 0, 0, 0, 7, 0, 0, 0, 2}), Kind::kVerify, 7, 2, 1024},
        MoveCase{cdb({0x8f, 2, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 2}), Kind::kVerify, 7, 2, 1024},
        MoveCase{cdb({0x89, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 2}), Kind::kCompareAndWrite, 7, 2,
                 2048},
        MoveCase{cdb({0x41, 0, 0, 0, 0, 7, 0, 0, 2}), Kind::kWriteSame, 7, 2, 512},
        MoveCase{cdb({0x93, 0x08, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 2}), Kind::kWriteSame, 7, 2,
                 512},
        MoveCase{cdb({0x93, 0x01, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 2}), Kind::kZero, 7, 2, 0}));

class BlockCommands : public UnitTest, public testing::WithParamInterface<int> {
 protected:
  // A CDB of the command with its LBA and length.
  static Cdb make(int opcode, uint64_t lba, uint32_t blocks) {
    Cdb command{};
    command[0] = uint8_t(opcode);
    if (opcode == 0x89) {
      be::store64(&command[2], lba);
      command[13] = uint8_t(blocks);
    } else if (opcode < 0x60) {
      be::store32(&command[2], uint32_t(lba));
      be::store16(&command[7], uint16_t(blocks));
    } else if (opcode < 0xa0) {
      be::store64(&command[2], lba);
      be::store32(&command[10], blocks);
    } else {
      be::store32(&command[2], uint32_t(lba));
      be::store32(&command[6], blocks);
    }
    return command;
  }
};

TEST_P(BlockCommands, EndAtTheLastBlock) {
  EXPECT_EQ(begin(make(GetParam(), 998, 2)).status, Status::kGood);
  expect_sense(begin(make(GetParam(), 999, 2)), kLbaOutOfRange);
  expect_sense(begin(make(GetParam(), 1001, 1)), kLbaOutOfRange);
}

TEST_P(BlockCommands, LbasThatWrapAreOutOfRange) {
  const bool sixteen = GetParam() >= 0x88 && GetParam() < 0xa0;
  expect_sense(begin(make(GetParam(), sixteen ? ~uint64_t{0} : 0xffffffff, 2)), kLbaOutOfRange);
}

INSTANTIATE_TEST_SUITE_P(All, BlockCommands,
                         testing::Values(0x28, 0x2a, 0x2e, 0x2f, 0x35, 0x41, 0x88, 0x89, 0x8a, 0x8e,
                                         0x8f, 0x91, 0x93, 0xa8, 0xaa, 0xae, 0xaf));

TEST_F(UnitTest, TransfersOfNothingAreGoodAndTheirLbaIsChecked) {
  expect_good(begin(cdb({0x28, 0, 0, 0, 0, 7, 0, 0, 0})));
  expect_good(begin(cdb({0x89, 0, 0, 0, 0, 0, 0, 0, 0, 7})));
  expect_sense(begin(cdb({0x28, 0, 0, 0, 4, 0, 0, 0, 0})), kLbaOutOfRange);
}

TEST_F(UnitTest, LongTransfersAreRefused) {
  expect_sense(begin(cdb({0x28, 0, 0, 0, 0, 0, 0, 1, 1})), kInvalidFieldInCdb);
  expect_sense(begin(cdb({0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 129})), kInvalidFieldInCdb);
  EXPECT_EQ(begin(cdb({0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 128})).status, Status::kGood);
}

TEST_F(UnitTest, ProtectionInformationIsRefused) {
  for (const int opcode : {0x28, 0x2a, 0x2e, 0x2f, 0x88, 0x8a, 0x89, 0x41, 0x93}) {
    expect_sense(begin(cdb({opcode, 0x20, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1})),
                 kInvalidFieldInCdb);
  }
}

TEST_F(UnitTest, FuaAndTheWriteCacheDecideWhenAWriteIsDurable) {
  EXPECT_FALSE(begin(cdb({0x2a, 0, 0, 0, 0, 0, 0, 0, 1})).fua);
  EXPECT_TRUE(begin(cdb({0x2a, 0x08, 0, 0, 0, 0, 0, 0, 1})).fua);
  // MODE SELECT switches the cache off; every write is durable then.
  std::vector<uint8_t> list(24);
  list[4] = 0x08;
  list[5] = 18;
  // What was written before becomes durable with it: from now on nobody sends SYNCHRONIZE CACHE.
  EXPECT_EQ(run(alice, cdb({0x15, 0x10, 0, 0, 24}), list).kind, Kind::kFlush);
  EXPECT_TRUE(begin(cdb({0x2a, 0, 0, 0, 0, 0, 0, 0, 1})).fua);
  EXPECT_TRUE(begin(cdb({0x41, 0, 0, 0, 0, 0, 0, 0, 1})).fua);
  std::vector<uint8_t> unmap(24);
  be::store16(&unmap[0], 22);
  be::store16(&unmap[2], 16);
  be::store32(&unmap[16], 8);
  EXPECT_TRUE(run(alice, cdb({0x42, 0, 0, 0, 0, 0, 0, 0, 24}), unmap).fua);
  expect_good(run(alice, cdb({0x15, 0x10, 0, 0, 24}), list));  // it is off already
}

TEST_F(UnitTest, WriteSameBounds) {
  expect_sense(begin(cdb({0x41, 0, 0, 0, 0, 0, 0, 0, 0})), kInvalidFieldInCdb);     // WSNZ
  expect_sense(begin(cdb({0x41, 0x10, 0, 0, 0, 0, 0, 0, 1})), kInvalidFieldInCdb);  // ANCHOR
  expect_sense(begin(cdb({0x41, 0x02, 0, 0, 0, 0, 0, 0, 1})), kInvalidFieldInCdb);  // LBDATA
  EXPECT_TRUE(begin(cdb({0x41, 0x08, 0, 0, 0, 0, 0, 0, 1})).deallocate);
}

// WR_UNCOR is all that WRITE LONG is for.
TEST_F(UnitTest, WriteLongMarksABlock) {
  for (const Cdb& command :
       {cdb({0x3f, 0x40, 0, 0, 3, 0xe7}), cdb({0x9f, 0x51, 0, 0, 0, 0, 0, 0, 3, 0xe7})}) {
    const Plan plan = begin(command);
    EXPECT_EQ(plan.kind, Kind::kMark);
    EXPECT_EQ(plan.lba, 999u);
    EXPECT_EQ(plan.blocks, 1u);
    EXPECT_EQ(plan.data_out, 0u);
    for (const uint8_t options : {0x00, 0x20, 0x80, 0x60, 0xc0, 0xe0}) {
      Cdb other = command;
      other[1] = uint8_t((other[1] & 0x1f) | options);
      expect_sense(begin(other), kInvalidFieldInCdb);
    }
  }
  Cdb with_length = cdb({0x3f, 0x40, 0, 0, 0, 0, 0, 2, 8});  // no data is transferred
  EXPECT_EQ(begin(with_length).data_out, 0u);
  expect_sense(begin(cdb({0x3f, 0x40, 0, 0, 3, 0xe8})), kLbaOutOfRange);
  expect_sense(begin(cdb({0x9f, 0x51, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})),
               kLbaOutOfRange);
}

// WU_SUP of the Extended INQUIRY page, and REPORT SUPPORTED OPERATION CODES.
TEST_F(UnitTest, WriteLongIsAnnouncedWhereItWorks) {
  UnitFacts other_facts = facts();
  other_facts.marks = false;
  LogicalUnit other(other_facts, nullptr);
  Nexus nexus("iqn.a,i,0x000000000003");
  other.attach(nexus);
  nexus.take_attention();
  for (const bool marks : {true, false}) {
    LogicalUnit& each = marks ? unit : other;
    Nexus& by = marks ? alice : nexus;
    expect_good(each.begin(by, cdb({0x12, 1, 0x86, 0, 255}), data));
    EXPECT_EQ(data[6] & 0x0c, marks ? 0x08 : 0);
    for (const Cdb& command : {cdb({0x3f, 0x40}), cdb({0x9f, 0x51})}) {
      const Plan plan = each.begin(by, command, data);
      EXPECT_EQ(plan.kind == Kind::kMark, marks);
      const int option = command[0] == 0x3f ? 1 : 2;
      expect_good(each.begin(by, cdb({0xa3, 0x0c, option, command[0], 0, 0x11, 0, 0, 1}), data));
      EXPECT_EQ(data[1] & 7, marks ? 3 : 1);
    }
  }
  other.detach(nexus);
}

TEST_F(UnitTest, UnmapListsItsRanges) {
  std::vector<uint8_t> list(8 + 32);
  be::store16(&list[0], 38);
  be::store16(&list[2], 32);
  be::store64(&list[8], 5);
  be::store32(&list[16], 10);
  be::store64(&list[24], 990);
  be::store32(&list[32], 10);
  const Plan plan = run(alice, cdb({0x42, 0, 0, 0, 0, 0, 0, 0, 40}), list);
  EXPECT_EQ(plan.kind, Kind::kUnmap);
  ASSERT_EQ(ranges.size(), 2u);
  EXPECT_EQ(ranges[1].lba, 990u);
  EXPECT_EQ(ranges[1].blocks, 10u);

  be::store32(&list[32], 11);
  expect_sense(run(alice, cdb({0x42, 0, 0, 0, 0, 0, 0, 0, 40}), list), kLbaOutOfRange);
  expect_sense(begin(cdb({0x42, 1, 0, 0, 0, 0, 0, 0, 40})), kInvalidFieldInCdb);
  expect_good(run(alice, cdb({0x42, 0, 0, 0, 0, 0, 0, 0, 0}), {}));
  expect_sense(run(alice, cdb({0x42, 0, 0, 0, 0, 0, 0, 0, 4}), {0, 0, 0, 0}), kParameterListLength);
}

TEST_F(UnitTest, SynchronizeCacheFlushes) {
  EXPECT_EQ(begin(cdb({0x35})).kind, Kind::kFlush);
  EXPECT_EQ(begin(cdb({0x91})).kind, Kind::kFlush);
}

TEST_F(UnitTest, StoppingTheUnitKeepsTheMediumAway) {
  EXPECT_EQ(begin(cdb({0x1b, 0, 0, 0, 0})).kind, Kind::kFlush);
  expect_sense(begin(cdb({0x00})), kStopped);
  expect_sense(begin(cdb({0x28, 0, 0, 0, 0, 0, 0, 0, 1})), kStopped);
  expect_good(begin(cdb({0x12, 0, 0, 0, 96})));
  expect_good(begin(cdb({0x1b, 0, 0, 0, 1})));
  expect_good(begin(cdb({0x00})));
  expect_sense(begin(cdb({0x1b, 0, 0, 0, 0x10})), kInvalidFieldInCdb);
  expect_sense(begin(cdb({0x1b, 0, 0, 0, 0x02})), kInvalidFieldInCdb);
}

// --- Facts ---

TEST_F(UnitTest, ReadCapacity) {
  expect_good(begin(cdb({0x25})));
  EXPECT_EQ(be::load32(&data[0]), 999u);
  EXPECT_EQ(be::load32(&data[4]), 512u);
  expect_good(begin(cdb({0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32})));
  ASSERT_EQ(data.size(), 32u);
  EXPECT_EQ(be::load64(&data[0]), 999u);
  EXPECT_EQ(data[14], 0xc0);
  expect_sense(begin(cdb({0x25, 0, 0, 0, 0, 1})), kInvalidFieldInCdb);
}

TEST_F(UnitTest, GetLbaStatus) {
  expect_good(begin(cdb({0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 24})));
  EXPECT_EQ(be::load64(&data[8]), 7u);
  EXPECT_EQ(be::load32(&data[16]), 993u);
  expect_sense(begin(cdb({0x9e, 0x12, 0, 0, 0, 0, 0, 0, 3, 232, 0, 0, 0, 24})), kLbaOutOfRange);
}

TEST_F(UnitTest, InquiryStandardData) {
  expect_good(begin(cdb({0x12, 0, 0, 0, 96})));
  ASSERT_EQ(data.size(), 96u);
  EXPECT_EQ(data[0], 0);
  EXPECT_EQ(data[2], 0x06);
  EXPECT_EQ(data[4], 91);
  EXPECT_EQ(std::string(data.begin() + 8, data.begin() + 16), "MRPOOL  ");
  expect_sense(begin(cdb({0x12, 0, 0x80, 0, 96})), kInvalidFieldInCdb);
  expect_sense(begin(cdb({0x12, 2, 0, 0, 96})), kInvalidFieldInCdb);
}

TEST_F(UnitTest, EveryListedVitalPageIsThere) {
  expect_good(begin(cdb({0x12, 1, 0, 0, 255})));
  const std::vector<uint8_t> pages(data.begin() + 4, data.end());
  EXPECT_EQ(pages, (std::vector<uint8_t>{0x00, 0x80, 0x83, 0x86, 0x8f, 0xb0, 0xb1, 0xb2}));
  for (const uint8_t page : pages) {
    expect_good(begin(cdb({0x12, 1, page, 0, 255})));
    EXPECT_EQ(data[1], page);
    EXPECT_EQ(be::load16(&data[2]), data.size() - 4);
  }
  expect_sense(begin(cdb({0x12, 1, 0x84, 0, 255})), kInvalidFieldInCdb);
}

TEST_F(UnitTest, DeviceIdentificationNamesUnitPortAndTarget) {
  expect_good(begin(cdb({0x12, 1, 0x83, 0, 255})));
  std::vector<int> kinds;
  for (size_t at = 4; at < data.size(); at += 4 + data[at + 3]) {
    kinds.push_back(data[at + 1] & 0x3f);
  }
  EXPECT_EQ(kinds, (std::vector<int>{0x01, 0x03, 0x0a, 0x14, 0x15, 0x18, 0x28}));
}

TEST_F(UnitTest, BlockLimitsAreThoseThatAreEnforced) {
  expect_good(begin(cdb({0x12, 1, 0xb0, 0, 255})));
  EXPECT_EQ(data[5], 128);
  EXPECT_EQ(be::load32(&data[8]), 256u);
  EXPECT_EQ(be::load32(&data[20]), kMaxUnmapBlocks);
  EXPECT_EQ(be::load64(&data[36]), kMaxWriteSameBlocks);
}

TEST_F(UnitTest, ModeSensePages) {
  expect_good(begin(cdb({0x1a, 0, 0x3f, 0, 255})));
  EXPECT_EQ(data[0], data.size() - 1);
  EXPECT_EQ(data[3], 8);
  EXPECT_EQ(be::load24(&data[9]), 512u);
  EXPECT_EQ(data[12], 0x01);
  expect_good(begin(cdb({0x1a, 8, 0x08, 0, 255})));
  EXPECT_EQ(data.size(), 24u);
  EXPECT_EQ(data[6] & 0x04, 0x04);
  expect_good(begin(cdb({0x5a, 0x10, 0x0a, 0, 0, 0, 0, 0, 255})));
  EXPECT_EQ(be::load16(&data[6]), 16u);
  expect_good(begin(cdb({0x1a, 8, 0x40 | 0x08, 0, 255})));  // changeable: WCE only
  EXPECT_EQ(data[6], 0x04);
  expect_sense(begin(cdb({0x1a, 0, 0xc0 | 0x3f, 0, 255})), kSavingNotSupported);
  expect_sense(begin(cdb({0x1a, 0, 0x02, 0, 255})), kInvalidFieldInCdb);
  expect_sense(begin(cdb({0x1a, 0, 0x08, 1, 255})), kInvalidFieldInCdb);
  // Every subpage of a page: the page itself is the only one (SPC-4 §6.11.1).
  expect_good(begin(cdb({0x1a, 8, 0x08, 0xff, 255})));
  EXPECT_EQ(data.size(), 24u);
  // Commands that another initiator ended are answered (TAS).
  expect_good(begin(cdb({0x1a, 8, 0x0a, 0, 255})));
  EXPECT_EQ(data[4 + 5], 0x40);
}

TEST_F(UnitTest, ModeSelectChangesWhatMayChangeAndNotifiesTheOthers) {
  std::vector<uint8_t> list(4 + 12);
  list[4] = 0x0a;
  list[5] = 10;
  list[6] = 0x06;  // GLTSD, D_SENSE
  list[7] = 0x10;
  list[8] = 0x08;  // SWP
  list[9] = 0x40;  // TAS
  be::store16(&list[12], 0xffff);
  expect_good(run(alice, cdb({0x15, 0x10, 0, 0, 16}), list));
  EXPECT_TRUE(unit.mode().descriptor_sense);
  expect_sense(begin(bob, cdb({0x00})), kModeParametersChanged);
  expect_good(begin(alice, cdb({0x00})));
  expect_sense(begin(cdb({0x2a, 0, 0, 0, 0, 0, 0, 0, 1})), kWriteProtected);
  expect_sense(begin(cdb({0x42, 0, 0, 0, 0, 0, 0, 0, 24})), kWriteProtected);
  EXPECT_EQ(begin(cdb({0x28, 0, 0, 0, 0, 0, 0, 0, 1})).kind, Kind::kRead);
}

TEST_F(UnitTest, ModeSelectRefusesTheRest) {
  std::vector<uint8_t> list(24);
  list[4] = 0x08;
  list[5] = 18;
  list[6] = 0x05;  // RCD is not changeable
  expect_sense(run(alice, cdb({0x15, 0x10, 0, 0, 24}), list), kInvalidFieldInParameters);
  list[6] = 0x04;
  list[5] = 17;
  expect_sense(run(alice, cdb({0x15, 0x10, 0, 0, 24}), list), kInvalidFieldInParameters);
  expect_sense(run(alice, cdb({0x15, 0x11, 0, 0, 24}), list), kInvalidFieldInCdb);
  expect_sense(run(alice, cdb({0x15, 0x00, 0, 0, 24}), list), kInvalidFieldInCdb);
  expect_sense(run(alice, cdb({0x15, 0x10, 0, 0, 3}), {0, 0, 0}), kParameterListLength);
  expect_sense(run(alice, cdb({0x15, 0x10, 0, 0, 10}), {0, 0, 0, 0, 8, 18, 4, 0, 0, 0}),
               kParameterListLength);
  expect_good(run(alice, cdb({0x15, 0x10, 0, 0, 0}), {}));
}

TEST_F(UnitTest, ReportSupportedOpcodesListsEveryOperation) {
  expect_good(begin(cdb({0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 16, 0})));
  EXPECT_EQ(be::load32(&data[0]), operations().size() * 8);
  expect_good(begin(cdb({0xa3, 0x0c, 0x80, 0, 0, 0, 0, 0, 16, 0})));
  EXPECT_EQ(be::load32(&data[0]), operations().size() * 20);
}

TEST_F(UnitTest, ReportsTheTaskManagementFunctionsThereAre) {
  expect_good(begin(cdb({0xa3, 0x0d, 0, 0, 0, 0, 0, 0, 0, 16})));
  // ATS, ATSS, CTSS, LURS, TRS.
  EXPECT_EQ(data, (std::vector<uint8_t>{0xda, 0, 0, 0}));
  expect_good(begin(cdb({0xa3, 0x0d, 0x80, 0, 0, 0, 0, 0, 0, 16})));
  EXPECT_EQ(data.size(), 16u);
  EXPECT_EQ(data[3], 12);
  expect_sense(begin(cdb({0xa3, 0x0d, 0, 0, 0, 0, 0, 0, 0, 3})), kInvalidFieldInCdb);
}

TEST_F(UnitTest, ReportSupportedOpcodesOfOne) {
  expect_good(begin(cdb({0xa3, 0x0c, 1, 0x28, 0, 0, 0, 0, 1, 0})));
  EXPECT_EQ(data[1], 3);
  EXPECT_EQ(be::load16(&data[2]), 10);
  EXPECT_EQ(data[4], 0x28);
  EXPECT_EQ(data.size(), 14u);
  expect_good(begin(cdb({0xa3, 0x0c, 1, 0xee, 0, 0, 0, 0, 1, 0})));
  EXPECT_EQ(data[1], 1);
  expect_good(begin(cdb({0xa3, 0x0c, 2, 0x9e, 0, 0x10, 0, 0, 1, 0})));
  EXPECT_EQ(data[1], 3);
  expect_good(begin(cdb({0xa3, 0x0c, 3, 0x9e, 0, 0x1f, 0, 0, 1, 0})));
  EXPECT_EQ(data[1], 1);
  expect_sense(begin(cdb({0xa3, 0x0c, 1, 0x9e, 0, 0, 0, 0, 1, 0})), kInvalidFieldInCdb);
  expect_sense(begin(cdb({0xa3, 0x0c, 2, 0x28, 0, 0, 0, 0, 1, 0})), kInvalidFieldInCdb);
  expect_sense(begin(cdb({0xa3, 0x0c, 4, 0x28, 0, 0, 0, 0, 1, 0})), kInvalidFieldInCdb);
}

TEST_F(UnitTest, UsageDataBeginsWithTheOperationItself) {
  for (const Operation& operation : operations()) {
    EXPECT_EQ(operation.usage[0], operation.opcode) << operation.name;
    if (operation.service_action >= 0) {
      EXPECT_EQ(operation.usage[1] & 0x1f, operation.service_action) << operation.name;
    }
    EXPECT_EQ(find_operation(operation.opcode, operation.service_action), &operation);
  }
}

// --- Unit attentions ---

TEST_F(UnitTest, ANewNexusGetsOnePowerOnAttention) {
  Nexus carol("iqn.c,i,0x000000000003");
  unit.attach(carol);
  expect_good(begin(carol, cdb({0x12, 0, 0, 0, 96})));  // INQUIRY passes and clears nothing
  expect_sense(begin(carol, cdb({0x00})), kPowerOn);
  expect_good(begin(carol, cdb({0x00})));
  unit.detach(carol);
}

TEST_F(UnitTest, RequestSenseClearsTheAttention) {
  alice.raise(kLunsChanged);
  expect_good(begin(cdb({0x03, 0, 0, 0, 252})));
  EXPECT_EQ(data[2], 0x06);
  EXPECT_EQ(data[12], 0x3f);
  expect_good(begin(cdb({0x03, 1, 0, 0, 252})));  // descriptor format, nothing left
  EXPECT_EQ(data[0], 0x72);
  EXPECT_EQ(data[1], 0x00);
}

TEST_F(UnitTest, AResetReplacesEarlierAttentionsOfAllNexuses) {
  alice.raise(kModeParametersChanged);
  unit.reset(kDeviceReset);
  expect_sense(begin(alice, cdb({0x00})), kDeviceReset);
  expect_good(begin(alice, cdb({0x00})));
  expect_sense(begin(bob, cdb({0x00})), kDeviceReset);
}

TEST_F(UnitTest, AnAttentionIsPendingOnce) {
  alice.raise(kLunsChanged);
  alice.raise(kLunsChanged);
  expect_sense(begin(cdb({0x00})), kLunsChanged);
  expect_good(begin(cdb({0x00})));
}

TEST_F(UnitTest, AReadOnlyUnitRefusesWrites) {
  UnitFacts read_only = facts();
  read_only.read_only = true;
  read_only.thin = false;
  LogicalUnit other(read_only, nullptr);
  expect_sense(other.begin(alice, cdb({0x2a, 0, 0, 0, 0, 0, 0, 0, 1}), data), kWriteProtected);
  expect_sense(other.begin(alice, cdb({0x41, 0, 0, 0, 0, 0, 0, 0, 1}), data), kWriteProtected);
  // Not thin: no UNMAP, as the block limits report.
  expect_sense(other.begin(alice, cdb({0x42, 0, 0, 0, 0, 0, 0, 0, 24}), data), kInvalidOpcode);
  expect_good(other.begin(alice, cdb({0x12, 1, 0xb0, 0, 255}), data));
  EXPECT_EQ(be::load32(&data[20]), 0u);
  EXPECT_EQ(be::load32(&data[24]), 0u);
  expect_good(other.begin(alice, cdb({0x1a, 0, 0x3f, 0, 255}), data));
  EXPECT_EQ(data[2] & 0x80, 0x80);
}

// --- The device around the units ---

TEST(Lun, StructuresOfOneLevel) {
  EXPECT_EQ(decode_lun(0), 0);
  EXPECT_EQ(decode_lun(uint64_t{5} << 48), 5);
  EXPECT_EQ(decode_lun(uint64_t{0x4123} << 48), 0x123);
  EXPECT_EQ(decode_lun(uint64_t{0x0105} << 48), std::nullopt);
  EXPECT_EQ(decode_lun(uint64_t{0x8000} << 48), std::nullopt);
  EXPECT_EQ(decode_lun(1), std::nullopt);
  for (const uint16_t lun : {0, 1, 255, 256, 1000}) EXPECT_EQ(decode_lun(encode_lun(lun)), lun);
}

TEST(TargetDevice, ReportsItsLuns) {
  const std::array<uint16_t, 2> luns{0, 3};
  std::vector<uint8_t> data;
  EXPECT_EQ(report_luns(cdb({0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64}), luns, data).status, Status::kGood);
  ASSERT_EQ(data.size(), 24u);
  EXPECT_EQ(be::load32(&data[0]), 16u);
  EXPECT_EQ(data[17], 3);
  report_luns(cdb({0xa0, 0, 1, 0, 0, 0, 0, 0, 0, 64}), luns, data);
  EXPECT_EQ(data.size(), 8u);
  EXPECT_EQ(report_luns(cdb({0xa0, 0, 3, 0, 0, 0, 0, 0, 0, 64}), luns, data).sense.asc, 0x24);
  EXPECT_EQ(report_luns(cdb({0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 15}), luns, data).sense.asc, 0x24);
}

TEST(TargetDevice, AMissingLun) {
  std::vector<uint8_t> data;
  EXPECT_EQ(without_unit(cdb({0x12, 0, 0, 0, 96}), data).status, Status::kGood);
  EXPECT_EQ(data[0], 0x7f);
  EXPECT_EQ(without_unit(cdb({0x03}), data).status, Status::kGood);
  EXPECT_EQ(data[12], 0x25);
  EXPECT_EQ(without_unit(cdb({0x00}), data).sense, kLunNotSupported);
}

}  // namespace
}  // namespace mrpool::scsi
