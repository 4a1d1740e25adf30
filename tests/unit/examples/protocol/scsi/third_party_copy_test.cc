// EXTENDED COPY: parameter lists, announcements, the order of the parts, and reports of what ended.
#include "examples/protocol/scsi/third_party_copy.h"

#include <functional>

#include "examples/protocol/scsi/vpd_pages.h"
#include "tests/unit/examples/protocol/scsi/copy_list.h"
#include "tests/unit/examples/protocol/scsi/unit_fixture.h"

namespace mrpool::scsi {
namespace {

using Kind = Plan::Kind;

const std::vector<uint8_t> kNaa = {0x31, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};

CopyListBuilder usual(const CopyListOptions& options = {}) {
  CopyListBuilder builder(options);
  builder.unit(kNaa).segment({.blocks = 8, .source_lba = 1, .destination_lba = 100});
  return builder;
}

std::optional<Sense> parse(CopyListBuilder builder) {
  CopyList list;
  return parse_copy_list(builder.bytes(), list);
}

TEST(CopyList, NamesUnitsAndSegments) {
  CopyListBuilder builder({.id = 7, .usage = 2});
  builder.unit(kNaa).unit(2, 1, kNaa);
  builder.segment({.source = 1, .destination = 0, .blocks = 3, .source_lba = 5});
  builder.segment({.destination_blocks = true, .destination_lba = uint64_t{1} << 40});
  builder.bytes()[16 + 1] = 0xc0 | 0x20 | 0x05;  // an LU ID TYPE that is ignored, NUL, a CD
  be::store24(&builder.bytes()[16 + 29], 4096);
  CopyList list;
  ASSERT_EQ(parse_copy_list(builder.bytes(), list), std::nullopt);
  EXPECT_EQ(list.id, 7);
  EXPECT_TRUE(list.identified);
  ASSERT_EQ(list.units.size(), 2u);
  EXPECT_EQ(list.units[0].at, 16);
  EXPECT_TRUE(list.units[0].null);
  EXPECT_EQ(list.units[0].device_type, 5);
  EXPECT_EQ(list.units[0].block_size, 4096u);
  EXPECT_EQ(list.units[0].designator, kNaa);
  EXPECT_EQ(list.units[1].code_set, 2);
  EXPECT_EQ(list.units[1].designator_type, 1);
  ASSERT_EQ(list.segments.size(), 2u);
  EXPECT_EQ(list.segments[0].source, 1);
  EXPECT_EQ(list.segments[0].blocks, 3);
  EXPECT_EQ(list.segments[0].source_lba, 5u);
  EXPECT_TRUE(list.segments[1].destination_blocks);
  EXPECT_EQ(list.segments[1].destination_lba, uint64_t{1} << 40);
}

TEST(CopyList, MayBeEmpty) { EXPECT_EQ(parse(CopyListBuilder()), std::nullopt); }

struct WrongList {
  const char* what;
  std::function<void(std::vector<uint8_t>&)> spoil;
  Sense expected;
};

TEST(CopyList, WhatIsWrongIsNamed) {
  constexpr size_t kUnit = 16, kSegment = 48;
  const WrongList cases[] = {
      {"shorter than a header", [](auto& list) { list.resize(15); }, kParameterListLength},
      {"a unit cut off", [](auto& list) { list.resize(kSegment - 1); }, kParameterListLength},
      {"a segment cut off", [](auto& list) { list.pop_back(); }, kParameterListLength},
      {"half a segment", [](auto& list) { be::store32(&list[8], kCopySegmentSize - 1); },
       kParameterListLength},
      {"more than all limits together", [](auto& list) { be::store32(&list[8], 0xffffffff); },
       kParameterListLength},
      {"a reserved usage", [](auto& list) { list[1] = 1 << 3; },
       kInvalidFieldInParameters.at_parameter(1)},
      {"an identifier without use", [](auto& list) { list[1] = 3 << 3; },
       kInvalidFieldInParameters.at_parameter(0)},
      {"inline data", [](auto& list) { list[15] = 1; }, kInlineDataLength.at_parameter(12)},
      {"half a unit", [](auto& list) { list[3] = 31; }, kInvalidFieldInParameters.at_parameter(2)},
      {"a port name", [](auto& list) { list[kUnit] = 0xe0; }, kUnknownCopyUnit.at_parameter(kUnit)},
      {"an extension", [](auto& list) { list[kUnit] = 0xff; },
       kUnknownCopyUnit.at_parameter(kUnit)},
      {"a long designator", [](auto& list) { list[kUnit + 7] = 21; },
       kInvalidFieldInParameters.at_parameter(kUnit + 7)},
      {"a stream", [](auto& list) { list[kSegment] = 0x03; },
       kUnknownSegment.at_parameter(kSegment)},
      {"held data", [](auto& list) { list[kSegment] = 0x0d; },
       kUnknownSegment.at_parameter(kSegment)},
      {"a segment of another length", [](auto& list) { list[kSegment + 3] = 0x1c; },
       kInvalidFieldInParameters.at_parameter(kSegment + 2)},
  };
  for (const WrongList& wrong : cases) {
    CopyListBuilder builder = usual();
    wrong.spoil(builder.bytes());
    EXPECT_EQ(parse(std::move(builder)), wrong.expected) << wrong.what;
  }
}

TEST(CopyList, HasLimits) {
  const auto make = [](uint32_t units, uint32_t segments) {
    CopyListBuilder builder;
    for (uint32_t i = 0; i < units; ++i) builder.unit(kNaa);
    for (uint32_t i = 0; i < segments; ++i) builder.segment({.blocks = 1});
    return parse(std::move(builder));
  };
  EXPECT_EQ(make(kMaxCopyUnits, kMaxCopySegments), std::nullopt);
  EXPECT_EQ(make(kMaxCopyUnits + 1, 1), kTooManyCopyUnits.at_parameter(2));
  EXPECT_TRUE(make(1, kMaxCopySegments + 1)->same_code(kTooManySegments));
  EXPECT_EQ(make(kMaxCopyUnits + 1, kMaxCopySegments + 1), kParameterListLength);
}

// Each designator of VPD page 83h that fits names the unit, and no other does.
TEST_F(UnitTest, CopiesTakeTheNamesThatTheUnitAnnounces) {
  UnitFacts short_serial = facts();
  short_serial.serial = "0123456789ab";
  uint32_t names = 0;
  ASSERT_EQ(vital_product_data(0x83, short_serial, data), std::nullopt);
  for (size_t at = 4; at < data.size(); at += size_t{4} + data[at + 3]) {
    const std::span<const uint8_t> value = std::span(data).subspan(at + 4, data[at + 3]);
    if (value.size() > CopyUnit::kMaxDesignator) continue;
    const CopyUnit name{.code_set = uint8_t(data[at] & 0x0f),
                        .association = uint8_t(data[at + 1] >> 4 & 3),
                        .designator_type = uint8_t(data[at + 1] & 0x0f),
                        .designator = {value.begin(), value.end()}};
    EXPECT_EQ(is_named(short_serial, name), name.association == 0);
    names += name.association == 0 ? 1 : 0;
    if (name.association != 0) continue;
    CopyUnit other = name;
    other.designator.back() ^= 1;
    EXPECT_FALSE(is_named(short_serial, other));
    other = name;
    other.designator.pop_back();
    EXPECT_FALSE(is_named(short_serial, other));
    other = name;
    other.code_set ^= 3;
    EXPECT_FALSE(is_named(short_serial, other));
  }
  EXPECT_EQ(names, 3u);
  EXPECT_FALSE(is_named(short_serial, {}));
}

// --- Announcements ---

std::vector<uint8_t> descriptor_of(const std::vector<uint8_t>& page, uint16_t type) {
  for (size_t at = 4; at < page.size(); at += size_t{4} + be::load16(&page[at + 2])) {
    EXPECT_EQ(be::load16(&page[at + 2]) % 4, 0);
    if (be::load16(&page[at]) == type) {
      return {page.begin() + ptrdiff_t(at + 4),
              page.begin() + ptrdiff_t(at + 4 + be::load16(&page[at + 2]))};
    }
  }
  ADD_FAILURE() << "no descriptor " << type;
  return {};
}

TEST_F(UnitTest, WhatIsAnnouncedOfCopiesIsWhatWorks) {
  expect_good(begin(cdb({0x12, 0, 0, 0, 96})));
  EXPECT_EQ(data[5] & 0x08, 0x08) << "3PC";
  expect_good(begin(cdb({0x12, 1, 0x8f, 0, 255})));
  const std::vector<uint8_t> page = data;
  expect_good(begin(cdb({0x84, 0x03, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0})));
  const std::vector<uint8_t> parameters = data;
  EXPECT_EQ(be::load32(&parameters[0]), parameters.size() - 4);

  // The same limits in both, which CopyList.HasLimits measures.
  const std::vector<uint8_t> limits = descriptor_of(page, 0x0004);
  ASSERT_EQ(limits.size(), 28u);
  EXPECT_TRUE(std::equal(&limits[8], &limits[16], &parameters[8]));
  EXPECT_EQ(be::load16(&parameters[8]), kMaxCopyUnits);
  EXPECT_EQ(be::load16(&parameters[10]), kMaxCopySegments);
  EXPECT_EQ(be::load32(&parameters[12]), kMaxCopyDescriptors);
  const std::vector<uint8_t> general = descriptor_of(page, 0x8001);
  ASSERT_EQ(general.size(), 32u);
  EXPECT_EQ(be::load32(&general[0]), be::load16(&parameters[34]));
  EXPECT_EQ(be::load32(&general[4]), parameters[36]);
  EXPECT_EQ(be::load32(&general[8]), be::load32(&parameters[16]));
  EXPECT_EQ(general[12], parameters[37]);
  EXPECT_EQ(be::load16(&descriptor_of(page, 0x000c)[0]), 0);

  // Each type code that is listed is taken, every other one refused.
  const std::vector<uint8_t> types = descriptor_of(page, 0x0008);
  ASSERT_EQ(types[0], parameters[43]);
  EXPECT_EQ(parameters.size(), 44u + parameters[43]);
  EXPECT_TRUE(std::equal(&types[1], &types[1] + types[0], &parameters[44]));
  for (int type = 0; type < 256; ++type) {
    const bool listed = std::find(&types[1], &types[1] + types[0], type) != &types[1] + types[0];
    const bool names_unit = type >= 0xe0;
    CopyListBuilder builder = usual();
    builder.bytes()[names_unit ? 16 : 48] = uint8_t(type);
    EXPECT_EQ(parse(std::move(builder)) == std::nullopt, listed) << type;
  }
  // LIST ID USAGE 11b, which SNLID announces.
  EXPECT_EQ(parameters[4], 1);
  EXPECT_EQ(parse(usual({.id = 0, .usage = 3})), std::nullopt);
}

TEST_F(UnitTest, TheCommandsOfThePageAreThoseThatAreCarriedOut) {
  expect_good(begin(cdb({0x12, 1, 0x8f, 0, 255})));
  const std::vector<uint8_t> commands = descriptor_of(data, 0x0001);
  std::vector<std::pair<int, int>> listed;
  for (size_t at = 1; at < size_t{1} + commands[0]; at += size_t{2} + commands[at + 1]) {
    for (size_t i = 0; i < commands[at + 1]; ++i) {
      listed.emplace_back(commands[at], commands[at + 2 + i]);
    }
  }
  std::vector<std::pair<int, int>> work;
  for (const int opcode : {0x83, 0x84}) {
    for (int action = 0; action < 32; ++action) {
      const Plan plan = begin(cdb({opcode, action, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8}));
      if (plan.sense == kInvalidFieldInCdb.at_cdb(1)) continue;
      work.emplace_back(opcode, action);
      expect_good(begin(cdb({0xa3, 0x0c, 2, opcode, 0, action, 0, 0, 1, 0})));
      EXPECT_EQ(data[1], 3) << "REPORT SUPPORTED OPERATION CODES";
    }
  }
  EXPECT_EQ(listed, work);
}

// --- The order of the parts ---

CopyRun run_of(CopyListBuilder builder) {
  CopyList list;
  EXPECT_EQ(parse_copy_list(builder.bytes(), list), std::nullopt);
  return CopyRun(std::move(list));
}

constexpr CopyRun::Place kSmall{.block_size = 512, .blocks = 1000};
constexpr CopyRun::Place kLarge{.block_size = 4096, .blocks = 1000};

CopyRun run_of(const CopySegment& segment) {
  CopyListBuilder builder;
  builder.unit(kNaa).unit(kNaa).segment(segment);
  return run_of(std::move(builder));
}

TEST(CopyRun, ConvertsBlockSizes) {
  for (const bool destination_blocks : {false, true}) {
    CopyRun run = run_of({.destination = 1,
                          .blocks = uint16_t(destination_blocks ? 3 : 24),
                          .destination_blocks = destination_blocks,
                          .source_lba = 80,
                          .destination_lba = 7});
    ASSERT_EQ(run.open(kSmall, kLarge, false), std::nullopt);
    EXPECT_EQ(run.segment_bytes(), 3u * 4096);
    run.part(8192);
    EXPECT_EQ(run.part_bytes(), 8192u);
    EXPECT_EQ(run.blocks(CopySide::kSource).lba, 80u);
    EXPECT_EQ(run.blocks(CopySide::kSource).blocks, 16u);
    EXPECT_EQ(run.blocks(CopySide::kDestination).lba, 7u);
    EXPECT_EQ(run.blocks(CopySide::kDestination).blocks, 2u);
    run.moved();
    EXPECT_FALSE(run.done());
    EXPECT_EQ(run.copied(), 8192u);
    run.part(8192);
    EXPECT_EQ(run.part_bytes(), 4096u);
    EXPECT_EQ(run.blocks(CopySide::kSource).lba, 96u);
    EXPECT_EQ(run.blocks(CopySide::kDestination).lba, 9u);
    run.moved();
    EXPECT_TRUE(run.done());
    EXPECT_EQ(run.segments_processed(), 1);
    EXPECT_EQ(run.copied(), 3u * 4096);
  }
}

TEST(CopyRun, OverlapsKeepWhatWasThereBefore) {
  constexpr uint64_t kPart = 4096;
  for (const uint64_t to : {0, 8, 16, 24, 100}) {
    for (const bool same_store : {true, false}) {
      std::vector<int> source(200), destination(200);
      for (int i = 0; i < 200; ++i) source[size_t(i)] = i;
      std::vector<int>& written = same_store ? source : destination;
      std::vector<int> expected = written;
      std::copy_n(source.begin() + 16, 40, expected.begin() + ptrdiff_t(to));
      CopyRun run = run_of({.blocks = 40, .source_lba = 16, .destination_lba = to});
      ASSERT_EQ(run.open(kSmall, kSmall, same_store), std::nullopt);
      while (!run.done()) {
        run.part(kPart);
        const Range from = run.blocks(CopySide::kSource), into = run.blocks(CopySide::kDestination);
        const std::vector<int> buffer(source.begin() + ptrdiff_t(from.lba),
                                      source.begin() + ptrdiff_t(from.lba + from.blocks));
        std::ranges::copy(buffer, written.begin() + ptrdiff_t(into.lba));
        run.moved();
      }
      EXPECT_EQ(written, expected) << to;
    }
  }
}

TEST(CopyRun, WrongSegments) {
  const auto wrong = [](const CopySegment& segment, const CopyRun::Place& source,
                        const CopyRun::Place& destination) {
    return run_of(segment).open(source, destination, false).value_or(kNoSense);
  };
  const Sense inexact = wrong({.blocks = 9}, kSmall, kLarge);
  EXPECT_TRUE(inexact.same_code(kInexactSegment));
  EXPECT_EQ(inexact.field, 10);
  EXPECT_TRUE(inexact.field_in_segment);
  EXPECT_EQ(inexact.segment, 0);
  EXPECT_TRUE(
      wrong({.blocks = 9, .destination_blocks = true}, kLarge, kSmall).same_code(kInexactSegment));
  Sense range = wrong({.blocks = 8, .source_lba = 993}, kSmall, kSmall);
  EXPECT_TRUE(range.same_code(kWrongSegment));
  EXPECT_EQ(range.field, 12);
  range = wrong({.blocks = 8, .destination_lba = ~uint64_t{0}}, kSmall, kSmall);
  EXPECT_TRUE(range.same_code(kWrongSegment));
  EXPECT_EQ(range.field, 20);
  EXPECT_EQ(range.information, std::nullopt) << "nothing was written";
  EXPECT_EQ(wrong({.blocks = 8, .source_lba = 992, .destination_lba = 992}, kSmall, kSmall),
            kNoSense);
  // Zero blocks are good at every LBA.
  CopyRun run = run_of({.source_lba = 5000});
  EXPECT_EQ(run.open(kSmall, kSmall, false), std::nullopt);
  EXPECT_TRUE(run.done());
}

TEST(CopyRun, WrongUnits) {
  CopyListBuilder builder = usual();
  be::store16(&builder.bytes()[48 + 6], 1);
  const CopyUnit* name = nullptr;
  CopyRun run = run_of(builder);
  EXPECT_EQ(run.name(CopySide::kSource, name), std::nullopt);
  EXPECT_EQ(name, &run.list().units[0]);
  const Sense missing = run.name(CopySide::kDestination, name).value_or(kNoSense);
  EXPECT_TRUE(missing.same_code(kUnreachableCopyTarget));
  EXPECT_EQ(missing.field, 6);
  EXPECT_TRUE(missing.field_in_segment);

  builder = usual();
  builder.bytes()[16 + 1] = 0x20;
  Sense sense = run_of(builder).name(CopySide::kSource, name).value_or(kNoSense);
  EXPECT_TRUE(sense.same_code(kCopyUnitNotReachable));
  EXPECT_EQ(sense.field, 16);
  EXPECT_FALSE(sense.field_in_segment);
  builder.bytes()[16 + 1] = 0x01;  // a tape
  sense = run_of(builder).name(CopySide::kSource, name).value_or(kNoSense);
  EXPECT_TRUE(sense.same_code(kWrongCopyUnitType));

  builder = usual();
  be::store24(&builder.bytes()[16 + 29], 4096);
  sense = run_of(builder).open(kSmall, kSmall, false).value_or(kNoSense);
  EXPECT_TRUE(sense.same_code(kWrongCopyUnit));
  EXPECT_EQ(sense.field, 16 + 29);
  EXPECT_EQ(run_of(builder).open(kLarge, kLarge, false), std::nullopt);
}

TEST(CopyRun, FailuresNameTheSegmentTheUnitAndWhatIsLeft) {
  CopyListBuilder builder;
  builder.unit(kNaa).unit(kNaa).segment({.blocks = 1});
  builder.segment({.source = 0, .destination = 1, .blocks = 24, .source_lba = 0});
  CopyRun run = run_of(std::move(builder));
  ASSERT_EQ(run.open(kSmall, kSmall, false), std::nullopt);
  run.part(4096);
  run.moved();
  ASSERT_EQ(run.open(kSmall, kLarge, false), std::nullopt);
  run.part(4096);
  run.moved();
  run.part(4096);
  const Sense sense = run.refused(CopySide::kDestination,
                                  {.status = Status::kCheckCondition, .sense = kWriteProtected});
  EXPECT_TRUE(sense.same_code(kThirdPartyFailure));
  EXPECT_EQ(sense.segment, 1);
  EXPECT_EQ(sense.information, 2u) << "blocks of the destination";
  EXPECT_EQ(sense.field, 48) << "its descriptor";
  EXPECT_EQ(sense.forwarded.by, Forwarded::By::kDestination);
  EXPECT_EQ(sense.forwarded.key, SenseKey::kDataProtect);
  EXPECT_EQ(sense.forwarded.asc, 0x27);
  const Sense conflict = run.refused(CopySide::kSource, {.status = Status::kReservationConflict});
  EXPECT_EQ(conflict.forwarded.by, Forwarded::By::kSource);
  EXPECT_EQ(conflict.forwarded.status, Status::kReservationConflict);
  for (const Sense& away : {kPortStandby, kPortUnavailable, kAccessTransition}) {
    const Sense gone =
        run.refused(CopySide::kSource, {.status = Status::kCheckCondition, .sense = away});
    EXPECT_TRUE(gone.same_code(kCopyUnitNotReachable));
    EXPECT_EQ(gone.forwarded, Forwarded());
  }
  EXPECT_EQ(run.segments_processed(), 2);
  EXPECT_EQ(run.copied(), 512u + 4096u);
}

// --- At a unit ---

class UnitCopies : public UnitTest {
 protected:
  static Cdb extended_copy(size_t length) {
    Cdb command = cdb({0x83});
    be::store32(&command[10], uint32_t(length));
    return command;
  }
  Plan begin_copy(CopyRun& run, const CopyListOptions& options = {}) {
    CopyListBuilder builder = usual(options);
    const Cdb command = extended_copy(builder.bytes().size());
    EXPECT_EQ(begin(command).data_out, builder.bytes().size());
    EXPECT_EQ(unit.finish(alice, command, builder.bytes(), ranges).kind, Kind::kCopy);
    return unit.begin_copy(alice, command, builder.bytes(), run);
  }
  Plan receive(int action, uint8_t id, uint8_t room = 255) {
    return begin(cdb({0x84, action, id, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, room}));
  }
  // Carries a copy out in the mind.
  static void finish(CopyRun& run) {
    while (!run.done()) {
      if (!run.is_open()) (void)run.open(kSmall, kSmall, false);
      run.part(4096);
      run.moved();
    }
  }
};

TEST_F(UnitCopies, WithoutAListNothingIsCopied) {
  CopyRun run;
  EXPECT_EQ(begin(extended_copy(0)).data_out, 0u);
  expect_good(unit.begin_copy(alice, extended_copy(0), {}, run));
  expect_sense(begin(extended_copy(kCopyHeaderSize + kMaxCopyDescriptors + 1)),
               kParameterListLength);
  // Less arrived than the CDB announced.
  expect_sense(unit.begin_copy(alice, extended_copy(77), usual().bytes(), run),
               kParameterListLength);
}

TEST_F(UnitCopies, StatusWhileACopyRunsAndOnceAfterwards) {
  expect_sense(receive(0, 1), kInvalidFieldInCdb);
  CopyRun run;
  ASSERT_EQ(begin_copy(run).kind, Kind::kCopy);
  expect_good(receive(0, 1));
  ASSERT_EQ(data.size(), 12u);
  EXPECT_EQ(be::load32(&data[0]), 8u);
  EXPECT_EQ(data[4], 0x00) << "in progress";
  EXPECT_EQ(be::load16(&data[5]), 0);
  expect_sense(receive(4, 1), kInvalidFieldInCdb);
  ASSERT_EQ(run.open(kSmall, kSmall, false), std::nullopt);
  expect_good(receive(0, 1));
  EXPECT_EQ(be::load16(&data[5]), 1);
  finish(run);
  unit.end_copy(alice, run, good());
  expect_good(receive(4, 1));
  EXPECT_EQ(data, std::vector<uint8_t>(4)) << "nothing failed";
  expect_good(receive(0, 1));
  EXPECT_EQ(data[4], 0x01);
  EXPECT_EQ(be::load16(&data[5]), 1);
  EXPECT_EQ(be::load32(&data[8]), 8u * 512);
  expect_sense(receive(0, 1), kInvalidFieldInCdb);
}

TEST_F(UnitCopies, DetailsOfAFailure) {
  CopyRun run;
  ASSERT_EQ(begin_copy(run).kind, Kind::kCopy);
  const Sense sense = run.refused(CopySide::kSource, check(kReadError));
  unit.end_copy(alice, run, check(sense));
  expect_good(receive(4, 1, 20));  // too little room: they are kept
  expect_good(receive(0, 1));
  EXPECT_EQ(data[4], 0x02);
  expect_good(receive(4, 1));
  EXPECT_EQ(be::load32(&data[0]), data.size() - 4);
  EXPECT_EQ(data[56], uint8_t(Status::kCheckCondition));
  EXPECT_EQ(be::load16(&data[58]), data.size() - 60);
  EXPECT_EQ(decode_sense(std::span(data).subspan(60)), sense);
  expect_sense(receive(4, 1), kInvalidFieldInCdb);
}

TEST_F(UnitCopies, IdentifiersAreOfOneCopyAtATime) {
  CopyRun first, second, third;
  ASSERT_EQ(begin_copy(first).kind, Kind::kCopy);
  expect_sense(begin_copy(second), kOperationInProgress);
  ASSERT_EQ(begin_copy(second, {.id = 2}).kind, Kind::kCopy);
  // Without an identifier nobody asks for it.
  ASSERT_EQ(begin_copy(third, {.id = 0, .usage = 3}).kind, Kind::kCopy);
  expect_sense(receive(0, 0), kInvalidFieldInCdb);
  unit.end_copy(alice, third, good());
  unit.end_copy(alice, first, good());
  ASSERT_EQ(begin_copy(first).kind, Kind::kCopy) << "the report of the last one is given up";
  expect_good(receive(0, 1));
  EXPECT_EQ(data[4], 0x00);
  expect_sense(begin(bob, cdb({0x84, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255})),
               kInvalidFieldInCdb);
  unit.end_copy(alice, first, good());
  unit.end_copy(alice, second, good());
}

TEST_F(UnitCopies, AResetForgetsReports) {
  CopyRun first, second;
  ASSERT_EQ(begin_copy(first).kind, Kind::kCopy);
  ASSERT_EQ(begin_copy(second, {.id = 2}).kind, Kind::kCopy);
  unit.end_copy(alice, first, good());
  unit.reset(kDeviceReset);
  expect_sense(begin(cdb({0x00})), kDeviceReset);
  expect_sense(receive(0, 1), kInvalidFieldInCdb);
  expect_good(receive(0, 2));
  unit.end_copy(alice, second, good());
}

TEST_F(UnitCopies, OldReportsAreForgotten) {
  for (uint8_t id = 0; id <= CopyRecords::kMaxEnded; ++id) {
    CopyRun run;
    ASSERT_EQ(begin_copy(run, {.id = id}).kind, Kind::kCopy);
    unit.end_copy(alice, run, good());
  }
  expect_sense(receive(0, 0), kInvalidFieldInCdb);
  expect_good(receive(0, 1));
}

TEST_F(UnitCopies, AUnitCarriesOutSoManyAtATime) {
  std::vector<CopyRun> runs(kMaxCopies + 1);
  for (uint8_t id = 0; id < kMaxCopies; ++id) {
    ASSERT_EQ(begin_copy(runs[id], {.id = id}).kind, Kind::kCopy);
  }
  EXPECT_EQ(begin_copy(runs.back(), {.id = kMaxCopies}).status, Status::kTaskSetFull);
  unit.end_copy(alice, runs[0], good());
  EXPECT_EQ(begin_copy(runs.back(), {.id = kMaxCopies}).kind, Kind::kCopy);
}

TEST_F(UnitCopies, PartsAreCarriedOutAsReadsAndWritesWouldBe) {
  const Range blocks{.lba = 10, .blocks = 8};
  const auto part = [&](CopySide side) { return unit.copy_part(alice, side, blocks); };
  alice.raise(kLunsChanged);
  EXPECT_EQ(part(CopySide::kSource).kind, Kind::kRead);
  EXPECT_EQ(part(CopySide::kDestination).kind, Kind::kWrite);
  EXPECT_FALSE(part(CopySide::kDestination).fua);
  expect_sense(begin(cdb({0x00})), kLunsChanged);
  expect_sense(unit.copy_part(alice, CopySide::kSource, {.lba = 993, .blocks = 8}), kLbaOutOfRange);

  std::vector<uint8_t> reserve(24);
  be::store64(&reserve[8], 7);
  expect_good(run(bob, cdb({0x5f, 0, 0, 0, 0, 0, 0, 0, 24}), reserve));
  be::store64(&reserve[0], 7);
  expect_good(run(bob, cdb({0x5f, 1, 0x01, 0, 0, 0, 0, 0, 24}), reserve));  // write exclusive
  EXPECT_EQ(part(CopySide::kSource).kind, Kind::kRead);
  EXPECT_EQ(part(CopySide::kDestination).status, Status::kReservationConflict);
  EXPECT_EQ(begin(extended_copy(0)).status, Status::kReservationConflict);
  EXPECT_EQ(receive(3, 0).status, Status::kReservationConflict);
  expect_good(run(bob, cdb({0x5f, 3, 0, 0, 0, 0, 0, 0, 24}), reserve));

  unit.set_access(AccessState::kStandby);
  expect_sense(part(CopySide::kSource), kPortStandby);
  unit.set_access(AccessState::kNonOptimized);
  EXPECT_EQ(part(CopySide::kDestination).kind, Kind::kWrite);
  unit.resize(12);
  expect_sense(part(CopySide::kDestination), kLbaOutOfRange);
  unit.resize(1000);
  for (int i = 0; i < 3; ++i) (void)begin(cdb({0x00}));
  EXPECT_EQ(begin(cdb({0x1b, 0, 0, 0, 0})).kind, Kind::kFlush);
  expect_sense(part(CopySide::kSource), kStopped);
}

}  // namespace
}  // namespace mrpool::scsi
