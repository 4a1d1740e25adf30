#include "examples/protocol/nvme/wire.h"

#include <gtest/gtest.h>

namespace mrpool::nvme {
namespace {

TEST(Le, StoresLittleEndianAtAnyAlignment) {
  struct {
    uint8_t pad = 0;
    Le32 value;
  } s;
  s.value = 0x11223344u;
  const auto bytes = bytes_of(s);
  EXPECT_EQ(bytes[1], std::byte{0x44});
  EXPECT_EQ(bytes[4], std::byte{0x11});
  EXPECT_EQ(s.value, 0x11223344u);
}

// The bytes of a Linux host's Connect: keyed data block with invalidate, 0x4f.
TEST(SglDescriptor, KeyedBlockRoundTrips) {
  const RemoteBuffer buffer{RemoteAddr{0x1122334455667788}, 0xabcdef, Rkey{0xdeadbeef}};
  const SglDescriptor d = SglDescriptor::keyed(buffer, true);
  EXPECT_EQ(d.identifier, 0x4f);
  EXPECT_EQ(d.remote().addr, buffer.addr);
  EXPECT_EQ(d.remote().length, buffer.length);
  EXPECT_EQ(d.remote().rkey, buffer.rkey);
  const auto bytes = bytes_of(d);
  EXPECT_EQ(bytes[0], std::byte{0x88});
  EXPECT_EQ(bytes[8], std::byte{0xef});  // length, 3 bytes
  EXPECT_EQ(bytes[10], std::byte{0xab});
  EXPECT_EQ(bytes[11], std::byte{0xef});  // key, 4 bytes
  EXPECT_EQ(bytes[14], std::byte{0xde});
}

TEST(SglDescriptor, InCapsule) {
  const SglDescriptor d = SglDescriptor::in_capsule(16, 4096);
  EXPECT_EQ(d.identifier, 0x01);
  EXPECT_EQ(d.length(), 4096u);
  EXPECT_EQ(uint64_t(d.address), 16u);
  EXPECT_EQ(SglDescriptor::last_segment(0, 32).identifier, 0x31);
}

TEST(Sqe, Range) {
  Sqe sqe;
  sqe.cdw12 = kCdw12Fua;
  sqe.set_range(0x123456789a, 65536);
  EXPECT_EQ(sqe.slba(), 0x123456789au);
  EXPECT_EQ(sqe.blocks(), 65536u);
  EXPECT_EQ(uint32_t(sqe.cdw12) & kCdw12Fua, kCdw12Fua);
}

TEST(Cqe, StatusLeavesThePhaseBitAlone) {
  Cqe cqe;
  cqe.set_status(with_dnr(Status::kLbaOutOfRange));
  EXPECT_EQ(uint16_t(cqe.status_field), 0x8100);
  EXPECT_EQ(code(cqe.status()), Status::kLbaOutOfRange);
  EXPECT_TRUE(do_not_retry(cqe.status()));
  EXPECT_EQ(to_string(cqe.status()), "lba_out_of_range (0x080, DNR)");
  EXPECT_EQ(to_string(Status::kConnectInvalidParameters, true),
            "connect_invalid_parameters (0x182)");
}

TEST(Nqn, Shape) {
  EXPECT_TRUE(valid_nqn("nqn.2014-08.org.nvmexpress:uuid:1b4e28ba-2fa1-11d2-883f-0016d3cca427"));
  EXPECT_TRUE(valid_nqn(kDiscoveryNqn));
  EXPECT_FALSE(valid_nqn(""));
  EXPECT_FALSE(valid_nqn("nqn.2014-08."));
  EXPECT_FALSE(valid_nqn("nqn.201a-08.org"));
  EXPECT_FALSE(valid_nqn("iqn.2014-08.org.x"));
  EXPECT_FALSE(valid_nqn("nqn.2014-08.org.x y"));
  EXPECT_TRUE(valid_nqn("nqn.2014-08.org.größe"));
  EXPECT_FALSE(valid_nqn("nqn.2014-08.org.x\x1b[2J"));
  EXPECT_FALSE(
      valid_nqn("nqn.2014-08.org.x\x9b"
                "31m"))
      << "no UTF-8, and CSI where there is none";
  const std::string longest = "nqn.2014-08.org." + std::string(kMaxNqnBytes - 16, 'x');
  EXPECT_TRUE(valid_nqn(longest));
  EXPECT_FALSE(valid_nqn(longest + "x"));
}

TEST(Sqe, HasTheNameOfItsCommand) {
  Sqe command;
  command.opcode = uint8_t(IoOpcode::kRead);
  EXPECT_EQ(name_of(command, false), "Read");
  EXPECT_EQ(name_of(command, true), "Get Log Page");
  command.opcode = 0x99;
  EXPECT_EQ(name_of(command, false), "I/O command 0x99");
  EXPECT_EQ(name_of(command, true), "admin command 0x99");
  PropertyCommand property;
  property.type = FabricsType::kPropertyGet;
  EXPECT_EQ(name_of(read_struct<Sqe>(bytes_of(property)), true), "Property Get");
}

TEST(Field, StringNeedsItsTerminator) {
  char field[8];
  set_field(field, "abc");
  EXPECT_EQ(field_string(field), "abc");
  set_field(field, "12345678");
  EXPECT_EQ(field_string(field), "");
  set_blank_padded(field, "ab");
  EXPECT_EQ(std::string_view(field, 8), "ab      ");
}

}  // namespace
}  // namespace mrpool::nvme
