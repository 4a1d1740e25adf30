#include "examples/protocol/scsi/sense.h"

#include <gtest/gtest.h>

namespace mrpool::scsi {
namespace {

TEST(Sense, FixedFormatHasTheCodeAtItsOffset) {
  std::array<uint8_t, kMaxSenseSize> bytes;
  EXPECT_EQ(encode(kInvalidFieldInCdb.at_cdb(2), false, bytes), 18u);
  EXPECT_EQ(bytes[0], 0x70);
  EXPECT_EQ(bytes[2], 0x05);
  EXPECT_EQ(bytes[7], 10);
  EXPECT_EQ(bytes[12], 0x24);
  EXPECT_EQ(bytes[13], 0x00);
  EXPECT_EQ(bytes[15], 0xc0);
  EXPECT_EQ(bytes[17], 2);
}

TEST(Sense, BothFormatsSurviveARoundTrip) {
  Sense miscompare = kMiscompare;
  miscompare.information = 513;
  for (const Sense& sense :
       {kNoSense, kPowerOn, miscompare, kInvalidFieldInParameters.at_parameter(20),
        kInvalidFieldInCdb.at_cdb(7)}) {
    for (const bool descriptor : {false, true}) {
      std::array<uint8_t, kMaxSenseSize> bytes;
      const size_t size = encode(sense, descriptor, bytes);
      EXPECT_EQ(decode_sense(std::span(bytes).first(size)), sense);
    }
  }
}

TEST(Sense, StatesOfAluaAreNamed) {
  EXPECT_EQ(to_string(kPortStandby), "not ready, the LUN is in ALUA state standby (2/04/0b)");
  EXPECT_EQ(to_string(kPortUnavailable),
            "not ready, the LUN is in ALUA state unavailable (2/04/0c)");
  EXPECT_EQ(to_string(kAccessTransition),
            "not ready, the LUN is in ALUA state transitioning (2/04/0a)");
}

TEST(Sense, OfACopyInBothFormats) {
  Sense conflict = kThirdPartyFailure.at_parameter(48);
  conflict.segment = 3;
  conflict.forwarded = {.by = Forwarded::By::kSource, .status = Status::kReservationConflict};
  Sense failed = kThirdPartyFailure.at_parameter(16);
  failed.segment = 0x102;
  failed.information = 77;
  failed.forwarded = {.by = Forwarded::By::kDestination,
                      .status = Status::kCheckCondition,
                      .key = SenseKey::kDataProtect,
                      .asc = 0x27,
                      .ascq = 0x07};
  Sense wrong = kWrongSegment.at_segment(12);
  wrong.segment = 0;
  for (const Sense& sense : {conflict, failed, wrong}) {
    for (const bool descriptor : {false, true}) {
      std::array<uint8_t, kMaxSenseSize> bytes;
      const size_t size = encode(sense, descriptor, bytes);
      ASSERT_LE(size, bytes.size());
      EXPECT_EQ(bytes[7], size - 8);
      EXPECT_EQ(decode_sense(std::span(bytes).first(size)), sense);
    }
  }
  std::array<uint8_t, kMaxSenseSize> bytes;
  EXPECT_EQ(encode(failed, false, bytes), 37u);
  EXPECT_EQ(bytes[9], 18) << "where the answer of the destination is";
  EXPECT_EQ(bytes[10], 1);
  EXPECT_EQ(bytes[11], 2);
  EXPECT_EQ(bytes[15], 0x80);
  EXPECT_EQ(bytes[18], 0x02);
  EXPECT_EQ(bytes[18 + 1 + 12], 0x27);
  EXPECT_EQ(encode(wrong, false, bytes), 18u);
  EXPECT_EQ(bytes[15], 0xa0) << "SD";
}

TEST(Sense, GarbageIsNotSense) {
  EXPECT_EQ(decode_sense({}), std::nullopt);
  EXPECT_EQ(decode_sense(std::array<uint8_t, 18>{0x12}), std::nullopt);
}

}  // namespace
}  // namespace mrpool::scsi
