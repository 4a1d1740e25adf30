// How an initiator handles the answers of targets, including hostile ones.
#include "examples/iser/initiator/unit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "examples/base/big_endian.h"
#include "examples/iser/initiator/access.h"
#include "examples/iser/initiator/attempts.h"
#include "examples/load/backoff.h"

namespace mrpool::iser {
namespace {

using testing::HasSubstr;
using Next = Attempts::Next;

std::vector<std::byte> capacity_data(uint64_t last, uint32_t block_size) {
  std::vector<std::byte> data(32);
  be::store64(&data[0], last);
  be::store32(&data[8], block_size);
  return data;
}

TEST(Capacity, IsWhatTheUnitReports) {
  const auto capacity = parse_capacity(capacity_data(2047, 512));
  ASSERT_TRUE(capacity.ok()) << capacity.status();
  EXPECT_EQ(*capacity, (Capacity{2048, 512}));
  EXPECT_EQ(capacity->bytes(), 1u << 20);
}

TEST(Capacity, AShapeThatCannotBeIsRefused) {
  for (const uint32_t block_size : {0u, 1u, 256u, 513u, 1u << 17, 1u << 31, UINT32_MAX}) {
    EXPECT_FALSE(parse_capacity(capacity_data(2047, block_size)).ok()) << block_size;
  }
  // A number of blocks, and a number of bytes, that wrap.
  for (const uint64_t last : {UINT64_MAX, UINT64_MAX - 1, uint64_t{1} << 55}) {
    EXPECT_FALSE(parse_capacity(capacity_data(last, 512)).ok()) << last;
  }
  EXPECT_TRUE(parse_capacity(capacity_data((uint64_t{1} << 54) - 2, 512)).ok());
  const auto data = capacity_data(2047, 512);
  EXPECT_FALSE(parse_capacity(std::span(data).first(11)).ok()) << "too short";
}

TEST(Pages, EndWhereTheDataOrThePageEnds) {
  std::vector<std::byte> page(10);
  for (const uint16_t size : {0, 4, 6, 7, 0xffff}) {
    be::store16(&page[2], size);
    EXPECT_EQ(page_data(page).size(), std::min<size_t>(size, 6)) << size;
  }
  for (size_t size = 0; size < 4; ++size)
    EXPECT_TRUE(page_data(std::span(page).first(size)).empty());
}

TEST(Pages, DesignatorsOfPortsAreNotTheUnits) {
  std::vector<uint8_t> list{1, 0x03, 0, 2, 'n', 'a',  // NAA of the unit
                            1, 0x14, 0, 1, 'p',       // relative port
                            2, 0x01, 0, 1, 't'};      // T10 of the unit
  const auto bytes = std::as_bytes(std::span(list));
  const std::string units{1, 0x03, 0, 2, 'n', 'a', 2, 0x01, 0, 1, 't'};
  EXPECT_EQ(unit_designators(bytes), units);
  // However it is cut short, it ends.
  for (size_t size = 0; size < list.size(); ++size) {
    EXPECT_LE(unit_designators(bytes.first(size)).size(), size);
  }
}

TEST(Units, AnyDifferenceIsNamed) {
  const Unit was{.serial = "A", .identifiers = "x", .capacity = {2048, 512}};
  EXPECT_TRUE(check_same(was, was).ok());
  const auto difference = [&](const Unit& is) {
    const absl::Status status = check_same(was, is);
    EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
    return std::string(status.message());
  };
  EXPECT_THAT(difference({"B\x1b", "x", {2048, 512}}), HasSubstr("'B\\x1b', it was 'A'"));
  EXPECT_THAT(difference({"A", "y", {2048, 512}}), HasSubstr("identifiers"));
  EXPECT_THAT(difference({"A", "x", {4096, 512}}), HasSubstr("4096 blocks"));
  EXPECT_THAT(difference({"A", "x", {2048, 4096}}), HasSubstr("blocks of 4096"));
}

struct Answered : Command {
  explicit Answered(scsi::Status what, std::optional<scsi::Sense> why = {})
      : Command([](Command&) {}) {
    status = what;
    sense = why;
  }
};

TEST(AttemptsTest, BusyAndTaskSetFullAreTriedAgainLaterAndLater) {
  for (const auto status : {scsi::Status::kBusy, scsi::Status::kTaskSetFull}) {
    Attempts attempts;
    for (uint8_t i = 0; i < load::kMostRetries; ++i) {
      ASSERT_EQ(attempts.judge(Answered(status)), Next::kLater);
      EXPECT_EQ(attempts.delay(), load::retry_delay(i));
    }
    EXPECT_EQ(attempts.judge(Answered(status)), Next::kFailed);
    EXPECT_EQ(attempts.judge(Answered(scsi::Status::kGood)), Next::kDone);
  }
}

TEST(AttemptsTest, SenseDecides) {
  const auto judge = [](const scsi::Sense& sense) {
    return Attempts().judge(Answered(scsi::Status::kCheckCondition, sense));
  };
  EXPECT_EQ(judge(scsi::kPowerOn), Next::kAttention);
  EXPECT_EQ(judge(scsi::kDataTransferError), Next::kLater);
  EXPECT_EQ(judge({scsi::SenseKey::kNotReady, 0x04, 0x01}), Next::kLater);
  EXPECT_EQ(judge(scsi::kStopped), Next::kFailed);
  EXPECT_EQ(judge(scsi::kReadError), Next::kFailed);
  EXPECT_EQ(judge(scsi::kMiscompare), Next::kFailed);
  EXPECT_EQ(Attempts().judge(Answered(scsi::Status::kReservationConflict)), Next::kFailed);
}

TEST(AttemptsTest, UnitAttentionsDoNotGoOnForEver) {
  Attempts attempts;
  const Answered attention(scsi::Status::kCheckCondition, scsi::kPowerOn);
  for (int i = 0; i < Attempts::kMostAttentions; ++i) {
    EXPECT_EQ(attempts.judge(attention), Next::kAttention);
  }
  EXPECT_EQ(attempts.judge(attention), Next::kFailed);
}

TEST(Moved, LessOrMoreThanWasAskedIsAnError) {
  EXPECT_TRUE(check_moved(4096, 4096, 0).ok());
  EXPECT_THAT(std::string(check_moved(4096, 2048, 0).message()), HasSubstr("2048 bytes of 4096"));
  EXPECT_FALSE(check_moved(4096, 0, 0).ok());
  EXPECT_THAT(std::string(check_moved(4096, 4096, 512).message()), HasSubstr("4608 bytes of"));
}

std::span<const std::byte> bytes_of(const std::vector<uint8_t>& list) {
  return std::as_bytes(std::span(list));
}

TEST(Access, TheGroupOfThePort) {
  const std::vector<uint8_t> unit{1, 0x03, 0, 2, 'n', 'a'};
  const std::vector<uint8_t> port{1, 0x94, 0, 4, 0, 0, 0, 7, 0x51, 0x95, 0, 4, 0, 0, 1, 2};
  EXPECT_EQ(port_group(bytes_of(port)), 0x102);
  EXPECT_FALSE(port_group(bytes_of(unit)));
  for (size_t size = 0; size < port.size(); ++size) {
    EXPECT_FALSE(port_group(bytes_of(port).first(size))) << size;
  }
}

TEST(Access, TheStateOfTheGroup) {
  // Group 1 with two ports, group 2 with one.
  const std::vector<uint8_t> data{0, 0, 0, 28, 0x02, 0x8f, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1,
                                  0, 0, 0, 2,  0x81, 0x8f, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3};
  const auto first = group_state(bytes_of(data), 1);
  ASSERT_TRUE(first);
  EXPECT_EQ(to_string(*first), "standby, port group 1");
  const auto second = group_state(bytes_of(data), 2);
  ASSERT_TRUE(second);
  EXPECT_EQ(to_string(*second), "non_optimized, port group 2, preferred");
  EXPECT_FALSE(group_state(bytes_of(data), 3));
  for (size_t size = 0; size < 28; ++size) {
    EXPECT_FALSE(group_state(bytes_of(data).first(size), 2)) << size;
  }
  std::vector<uint8_t> other = data;
  other[4] = 0x0e;  // offline
  EXPECT_EQ(to_string(*group_state(bytes_of(other), 1)), "unknown, port group 1");
}

TEST(Access, WhetherAUnitReportsIt) {
  std::vector<std::byte> inquiry(36);
  EXPECT_FALSE(reports_port_groups(inquiry));
  for (const uint8_t tpgs : {0x10, 0x20, 0x30}) {
    inquiry[5] = std::byte(tpgs);
    EXPECT_TRUE(reports_port_groups(inquiry));
  }
  EXPECT_FALSE(reports_port_groups(std::span(inquiry).first(5)));
}

}  // namespace
}  // namespace mrpool::iser
