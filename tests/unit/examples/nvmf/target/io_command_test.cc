// I/O commands and SGLs as bytes: what is planned, what is refused and how.
#include "examples/nvmf/target/io_command.h"

#include "tests/unit/examples/nvmf/target/logic_fixture.h"

namespace mrpool::nvmf_target::testing {
namespace {

using nvme::IoOpcode;
using nvme::SglDescriptor;
using nvme::Sqe;
using nvme::Status;

// A capsule as it arrives.
struct Capsule {
  Sqe sqe;
  std::vector<std::byte> behind;
  std::vector<std::byte> bytes() const {
    const auto head = nvme::bytes_of(sqe);
    std::vector<std::byte> all(head.begin(), head.end());
    all.insert(all.end(), behind.begin(), behind.end());
    return all;
  }
};

SglDescriptor keyed(uint64_t length, bool invalidate = true, uint32_t key = 0x1234) {
  return SglDescriptor::keyed({RemoteAddr{0x1000}, length, Rkey{key}}, invalidate);
}

class SglTest : public ::testing::Test {
 protected:
  Status parse() {
    bytes_ = capsule_.bytes();
    return parse_sgl(bytes_, data_);
  }
  Capsule capsule_;
  std::vector<std::byte> bytes_;
  DataBuffers data_;
};

TEST_F(SglTest, OneKeyedBlock) {
  capsule_.sqe.sgl = keyed(4096);
  ASSERT_STATUS(parse());
  EXPECT_EQ(data_.length, 4096u);
  ASSERT_EQ(data_.count, 1u);
  EXPECT_EQ(data_.remote(0).rkey.value, 0x1234u);
  EXPECT_EQ(data_.invalidate, Rkey{0x1234});
  capsule_.sqe.sgl = keyed(4096, false);
  ASSERT_STATUS(parse());
  EXPECT_FALSE(data_.invalidate.has_value());
}

TEST_F(SglTest, NoData) {
  capsule_.sqe.sgl = keyed(0, false, 0);
  ASSERT_STATUS(parse());
  EXPECT_EQ(data_.length, 0u);
  EXPECT_FALSE(data_.remote());
  capsule_.sqe.sgl = {};  // as in the reserved field of Property Get
  ASSERT_STATUS(parse());
  EXPECT_FALSE(data_.remote());
}

TEST_F(SglTest, InCapsule) {
  capsule_.behind.resize(512, std::byte{9});
  capsule_.sqe.sgl = SglDescriptor::in_capsule(0, 512);
  ASSERT_STATUS(parse());
  EXPECT_EQ(data_.in_capsule.size(), 512u);
  EXPECT_EQ(data_.length, 512u);
  capsule_.sqe.sgl = SglDescriptor::in_capsule(500, 13);
  EXPECT_STATUS(parse(), dnr(Status::kSglDataLength));
  capsule_.sqe.sgl = SglDescriptor::in_capsule(513, 0);
  EXPECT_STATUS(parse(), dnr(Status::kSglOffset));
  capsule_.sqe.sgl = SglDescriptor::in_capsule(~uint64_t{0}, 512);  // would wrap
  EXPECT_STATUS(parse(), dnr(Status::kSglOffset));
}

TEST_F(SglTest, SeveralDescriptors) {
  const SglDescriptor list[] = {keyed(4096, false, 1), keyed(512, true, 2), keyed(512, true, 3)};
  const auto bytes = std::as_bytes(std::span(list));
  capsule_.behind.assign(bytes.begin(), bytes.end());
  capsule_.sqe.sgl = SglDescriptor::last_segment(0, sizeof list);
  ASSERT_STATUS(parse());
  EXPECT_EQ(data_.count, 3u);
  EXPECT_EQ(data_.length, 5120u);
  EXPECT_EQ(data_.remote(1).rkey.value, 2u);
  EXPECT_EQ(data_.invalidate, Rkey{2});
  capsule_.sqe.sgl = SglDescriptor::last_segment(16, sizeof list);
  EXPECT_STATUS(parse(), dnr(Status::kInvalidSglSegment));
  capsule_.sqe.sgl = SglDescriptor::last_segment(0, 17);
  EXPECT_STATUS(parse(), dnr(Status::kInvalidSglSegment));
  capsule_.sqe.sgl = SglDescriptor::last_segment(0, 0);
  EXPECT_STATUS(parse(), dnr(Status::kInvalidSglSegment));
  capsule_.sqe.sgl = SglDescriptor::last_segment(~uint64_t{0}, 16);
  EXPECT_STATUS(parse(), dnr(Status::kInvalidSglSegment));
  capsule_.sqe.sgl = SglDescriptor::last_segment(0, 16 * (kMaxSglDescriptors + 1));
  EXPECT_STATUS(parse(), dnr(Status::kInvalidSglCount));
}

TEST_F(SglTest, NestedAndForeignTypes) {
  const SglDescriptor nested = SglDescriptor::last_segment(0, 16);
  const auto bytes = nvme::bytes_of(nested);
  capsule_.behind.assign(bytes.begin(), bytes.end());
  capsule_.sqe.sgl = SglDescriptor::last_segment(0, 16);
  EXPECT_STATUS(parse(), dnr(Status::kSglType));
  for (const uint8_t identifier : {0x00, 0x10, 0x20, 0x21, 0x30, 0x41, 0x5a, 0xff}) {
    capsule_.sqe.sgl.identifier = identifier;
    EXPECT_STATUS(parse(), dnr(Status::kSglType)) << int(identifier);
  }
}

class IoCommandTest : public ::testing::Test {
 protected:
  IoCommandTest() {
    const auto add = [&](uint32_t nsid, const std::string& spec) {
      Namespace& ns = table_.namespaces.emplace_back();
      ns.nsid = nsid;
      ns.volume = *storage::open(spec);
      ns.protection = std::make_shared<WriteProtection>();
    };
    add(1, "ram:1MiB");
    add(3, "ram:1MiB,bs=512");
    add(4, "null:1TiB");
  }
  static Sqe command(IoOpcode opcode, uint32_t nsid, uint64_t slba, uint32_t blocks) {
    Sqe sqe;
    sqe.opcode = uint8_t(opcode);
    sqe.flags = nvme::kPsdtSgl;
    sqe.nsid = nsid;
    sqe.set_range(slba, blocks);
    return sqe;
  }
  Status plan(const Sqe& sqe, uint64_t length) {
    DataBuffers data;
    data.length = length;
    data.count = length == 0 ? 0 : 1;
    return plan_io(sqe, data, table_, plan_);
  }
  NamespaceTable table_;
  IoPlan plan_;
};

TEST_F(IoCommandTest, Transfers) {
  ASSERT_STATUS(plan(command(IoOpcode::kRead, 1, 255, 1), 4096));
  EXPECT_EQ(plan_.kind, IoKind::kRead);
  EXPECT_EQ(plan_.offset, 255 * 4096u);
  Sqe write = command(IoOpcode::kWrite, 3, 1, 8);
  write.cdw12 = uint32_t(write.cdw12) | nvme::kCdw12Fua;
  ASSERT_STATUS(plan(write, 4096));
  EXPECT_EQ(plan_.kind, IoKind::kWrite);
  EXPECT_EQ(plan_.offset, 512u);
  EXPECT_TRUE(plan_.fua);
  ASSERT_STATUS(plan(command(IoOpcode::kCompare, 3, 1, 8), 4096));
  EXPECT_EQ(plan_.kind, IoKind::kCompare);
  ASSERT_STATUS(plan(command(IoOpcode::kRead, 4, 1u << 20, 256), 1 << 20));
}

TEST_F(IoCommandTest, Ranges) {
  EXPECT_STATUS(plan(command(IoOpcode::kRead, 1, 256, 1), 4096), dnr(Status::kLbaOutOfRange));
  EXPECT_STATUS(plan(command(IoOpcode::kWrite, 1, 255, 2), 8192), dnr(Status::kLbaOutOfRange));
  EXPECT_STATUS(plan(command(IoOpcode::kWrite, 1, ~uint64_t{0}, 2), 8192),
                dnr(Status::kLbaOutOfRange));
  EXPECT_STATUS(plan(command(IoOpcode::kWriteZeroes, 1, ~uint64_t{0} - 1, 4), 0),
                dnr(Status::kLbaOutOfRange));
  EXPECT_STATUS(plan(command(IoOpcode::kRead, 4, 0, 257), 257 * 4096),
                dnr(Status::kInvalidField));                             // beyond MDTS
  ASSERT_STATUS(plan(command(IoOpcode::kWriteZeroes, 4, 0, 65536), 0));  // no data, no MDTS
}

TEST_F(IoCommandTest, LengthsMustAgree) {
  EXPECT_STATUS(plan(command(IoOpcode::kRead, 1, 0, 1), 4095), dnr(Status::kSglDataLength));
  EXPECT_STATUS(plan(command(IoOpcode::kRead, 1, 0, 1), 8192), dnr(Status::kSglDataLength));
  EXPECT_STATUS(plan(command(IoOpcode::kWrite, 1, 0, 1), 0), dnr(Status::kSglDataLength));
}

TEST_F(IoCommandTest, NamespacesAndOpcodes) {
  for (const uint32_t nsid : {0u, 2u, nvme::kBroadcastNsid}) {
    EXPECT_STATUS(plan(command(IoOpcode::kRead, nsid, 0, 1), 4096), dnr(Status::kInvalidNamespace));
  }
  EXPECT_STATUS(plan(command(IoOpcode(0x03), 1, 0, 1), 0), dnr(Status::kInvalidOpcode));
  EXPECT_STATUS(plan(command(IoOpcode(0x7d), 1, 0, 1), 0), dnr(Status::kInvalidOpcode));
  EXPECT_STATUS(plan(command(IoOpcode(0x1d), 1, 0, 1), 0), dnr(Status::kInvalidOpcode));
}

// Without data, up to VSL.
TEST_F(IoCommandTest, Verify) {
  ASSERT_STATUS(plan(command(IoOpcode::kVerify, 4, 3, 256), 0));
  EXPECT_EQ(plan_.kind, IoKind::kVerify);
  EXPECT_EQ(plan_.offset, 3 * 4096u);
  EXPECT_EQ(plan_.length, 1u << 20);
  EXPECT_EQ(plan_.data_length, 0u);
  EXPECT_EQ(plan_.access, reservation::Access::kRead);
  EXPECT_STATUS(plan(command(IoOpcode::kVerify, 4, 0, 257), 0), dnr(Status::kInvalidField));
  EXPECT_STATUS(plan(command(IoOpcode::kVerify, 1, 255, 2), 0), dnr(Status::kLbaOutOfRange));
}

TEST_F(IoCommandTest, Copy) {
  Sqe sqe = command(IoOpcode::kCopy, 4, 1000, 1);
  std::vector<nvme_copy_range> ranges;
  const auto copied = [&] {
    sqe.cdw12 = uint32_t(ranges.size() - 1);
    if (const Status s = plan(sqe, ranges.size() * sizeof(nvme_copy_range)); !ok(s)) return s;
    return plan_copied(sqe, std::as_bytes(std::span(ranges)), plan_.ns->volume->geometry(), plan_);
  };
  const auto add_range = [&](uint64_t first, uint32_t count) {
    nvme_copy_range range{};
    range.slba = nvme::le(first);
    range.nlb = nvme::le(uint16_t(count - 1));
    ranges.push_back(range);
  };
  add_range(0, 10);
  add_range(500, 1);
  ASSERT_STATUS(copied());
  EXPECT_EQ(plan_.offset, 1000 * 4096u);
  EXPECT_EQ(plan_.length, 11 * 4096u);
  EXPECT_EQ(plan_.access, reservation::Access::kWrite);
  // The destination has blocks 1000 to 1020 then.
  add_range(1011, 10);
  EXPECT_STATUS(copied(), dnr(Status::kOverlappingRange));
  ranges.back().slba = nvme::le(uint64_t{1021});
  ASSERT_STATUS(copied());
  ranges.back().slba = nvme::le(uint64_t{990});
  ASSERT_STATUS(copied());
  ranges.back().slba = nvme::le(uint64_t{991});
  EXPECT_STATUS(copied(), dnr(Status::kOverlappingRange));
  // Limits: of a range, of all, of their number.
  ranges.back() = {};
  ranges.back().nlb = nvme::le(uint16_t(most_copied_at_once(4096)));
  EXPECT_STATUS(copied(), dnr(Status::kCommandSizeLimitExceeded));
  ranges.clear();
  sqe.set_range(1 << 20, 1);
  add_range(0, most_copied(4096));
  ASSERT_STATUS(copied());
  add_range(0, 1);
  EXPECT_STATUS(copied(), dnr(Status::kCommandSizeLimitExceeded));
  ranges.resize(kMaxCopyRanges);
  for (auto& range : ranges) range = {};
  ASSERT_STATUS(copied());
  ranges.emplace_back();
  EXPECT_STATUS(copied(), dnr(Status::kCommandSizeLimitExceeded));
  // Beyond the end, also where the sum wraps; other formats; lengths.
  ranges.clear();
  add_range(~uint64_t{0}, 2);
  EXPECT_STATUS(copied(), dnr(Status::kLbaOutOfRange));
  ranges.clear();
  add_range(0, 2);
  sqe.set_range(~uint64_t{0}, 1);
  EXPECT_STATUS(copied(), dnr(Status::kLbaOutOfRange));
  sqe.cdw12 = uint32_t{1 << 8};
  EXPECT_STATUS(plan(sqe, 32), dnr(Status::kInvalidField));
  sqe.cdw12 = uint32_t{1};
  EXPECT_STATUS(plan(sqe, 32), dnr(Status::kSglDataLength));
}

TEST_F(IoCommandTest, Flush) {
  ASSERT_STATUS(plan(command(IoOpcode::kFlush, 1, 0, 1), 0));
  EXPECT_EQ(plan_.op, storage::Op::kFlush);
  ASSERT_STATUS(plan(command(IoOpcode::kFlush, nvme::kBroadcastNsid, 0, 1), 0));
  EXPECT_EQ(plan_.ns, nullptr);
  EXPECT_STATUS(plan(command(IoOpcode::kFlush, 9, 0, 1), 0), dnr(Status::kInvalidNamespace));
}

TEST_F(IoCommandTest, DatasetManagement) {
  Sqe sqe = command(IoOpcode::kDatasetManagement, 1, 0, 1);
  sqe.cdw10 = uint32_t{3};  // four ranges
  sqe.cdw11 = uint32_t{4};
  ASSERT_STATUS(plan(sqe, 64));
  EXPECT_TRUE(plan_.deallocate);
  EXPECT_EQ(plan_.data_length, 64u);
  EXPECT_STATUS(plan(sqe, 48), dnr(Status::kSglDataLength));
  // Linux sends room for 256 ranges, however few there are.
  ASSERT_STATUS(plan(sqe, 4096));
  EXPECT_EQ(plan_.ranges, 4u);
  EXPECT_EQ(plan_.data_length, 4096u);
  EXPECT_STATUS(plan(sqe, 4112), dnr(Status::kSglDataLength));
  uint64_t offset = 0;
  uint64_t length = 0;
  const auto range = [&](uint64_t slba, uint32_t blocks) {
    nvme_dsm_range r{};
    r.slba = slba;
    r.nlb = blocks;
    return plan_range(r, table_.namespaces[0].volume->geometry(), offset, length);
  };
  ASSERT_STATUS(range(2, 254));
  EXPECT_EQ(offset, 8192u);
  EXPECT_EQ(length, 254 * 4096u);
  EXPECT_STATUS(range(2, 255), dnr(Status::kLbaOutOfRange));
  EXPECT_STATUS(range(~uint64_t{0}, 2), dnr(Status::kLbaOutOfRange));
}

TEST_F(IoCommandTest, DataInTheCapsuleGoesOneWay) {
  const std::vector<std::byte> bytes(4096);
  DataBuffers data;
  data.length = 4096;
  data.in_capsule = bytes;
  EXPECT_STATUS(plan_io(command(IoOpcode::kRead, 1, 0, 1), data, table_, plan_),
                dnr(Status::kInvalidField));
  ASSERT_STATUS(plan_io(command(IoOpcode::kWrite, 1, 0, 1), data, table_, plan_));
}

TEST_F(IoCommandTest, Flags) {
  Sqe sqe = command(IoOpcode::kRead, 1, 0, 1);
  ASSERT_STATUS(check_flags(sqe, true));
  for (const uint8_t flags : {0, 0x80, nvme::kPsdtSgl | 3}) {  // PRPs; a FUSE that is reserved
    sqe.flags = flags;
    EXPECT_STATUS(check_flags(sqe, true), dnr(Status::kInvalidField));
  }
  for (const uint8_t fuse : {1, 2}) {
    sqe.flags = nvme::kPsdtSgl | fuse;
    ASSERT_STATUS(check_flags(sqe, true));
    EXPECT_STATUS(check_flags(sqe, false), dnr(Status::kInvalidField));
    sqe.opcode = nvme::kFabricsOpcode;
    EXPECT_STATUS(check_flags(sqe, true), dnr(Status::kInvalidField));
    sqe.opcode = uint8_t(IoOpcode::kRead);
  }
}

TEST(StorageErrors, MapOntoNvme) {
  using storage::Error;
  EXPECT_STATUS(to_status(Error::kNone), Status::kSuccess);
  EXPECT_STATUS(to_status(Error::kMediaRead), Status::kUnrecoveredRead);
  EXPECT_STATUS(to_status(Error::kMediaWrite), Status::kWriteFault);
  EXPECT_STATUS(to_status(Error::kNoSpace), dnr(Status::kCapacityExceeded));
  EXPECT_STATUS(to_status(Error::kReadOnly), dnr(Status::kNamespaceWriteProtected));
  EXPECT_STATUS(to_status(Error::kOutOfRange), dnr(Status::kLbaOutOfRange));
  EXPECT_STATUS(to_status(Error::kNotReady), Status::kNamespaceNotReady);
  EXPECT_STATUS(to_status(Error::kInaccessible), Status::kInternalPathError);
  EXPECT_STATUS(to_status(Error::kMarkedBad), dnr(Status::kUnrecoveredRead));
  EXPECT_STATUS(to_status(Error::kMarksFull), dnr(Status::kCapacityExceeded));
  EXPECT_STATUS(to_status(Error::kMarkNotKept), Status::kWriteFault);
  EXPECT_STATUS(to_status(Error::kInternal), Status::kInternal);
}

}  // namespace
}  // namespace mrpool::nvmf_target::testing
