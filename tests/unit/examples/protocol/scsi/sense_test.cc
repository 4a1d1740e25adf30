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

TEST(Sense, GarbageIsNotSense) {
  EXPECT_EQ(decode_sense({}), std::nullopt);
  EXPECT_EQ(decode_sense(std::array<uint8_t, 18>{0x12}), std::nullopt);
}

}  // namespace
}  // namespace mrpool::scsi
