// What Identify announces apart from commands: limits, each with the last that works and the first
// that does not; features, events and SGLs by their bits. The last tests find fields that no test
// covers.
#include <algorithm>
#include <bit>
#include <cstring>

#include "tests/unit/examples/nvmf/target/announcement.h"

namespace mrpool::nvmf_target::testing {
namespace {

class AnnouncedLimits : public Announcement {
 protected:
  nvme_id_ctrl controller() { return identify<nvme_id_ctrl>(NVME_IDENTIFY_CNS_CTRL); }
  Status admin(AdminOpcode opcode, uint32_t cdw10 = 0, uint32_t cdw11 = 0, uint32_t bytes = 0) {
    return host_.admin.execute(host_.admin.admin(opcode, cdw10, cdw11, bytes)).status();
  }
  Status set(uint32_t feature, uint32_t value) {
    return admin(AdminOpcode::kSetFeatures, feature, value);
  }
  uint32_t get(uint32_t feature) {
    const auto get = host_.admin.admin(AdminOpcode::kGetFeatures, feature);
    return uint32_t(uint64_t(host_.admin.execute(get).result));
  }
};

// MDTS.
TEST_F(AnnouncedLimits, Transfers) {
  const uint32_t most = (4096u << controller().mdts) / 4096;
  const auto move = [&](IoOpcode opcode, uint32_t blocks) {
    return host_.io.execute(host_.io.io(opcode, 0, blocks)).status();
  };
  for (const IoOpcode opcode : {IoOpcode::kRead, IoOpcode::kWrite, IoOpcode::kCompare}) {
    EXPECT_STATUS(move(opcode, most), Status::kSuccess);
    EXPECT_STATUS(move(opcode, most + 1), dnr(Status::kInvalidField));
  }
}

// IOCCSZ with ICDOFF, and IORCSZ. What a capsule has no room for ends the connection.
TEST_F(AnnouncedLimits, Capsules) {
  const nvme_id_ctrl id = controller();
  EXPECT_EQ(nvme::le(uint16_t(id.icdoff)), 0);
  EXPECT_EQ(nvme::le(uint32_t(id.iorcsz)) * 16, sizeof(nvme::Cqe));
  const uint32_t room = nvme::le(uint32_t(id.ioccsz)) * 16 - uint32_t(sizeof(nvme::Sqe));
  ASSERT_EQ(room % 4096, 0u);
  const auto write = [&](uint32_t bytes) {
    nvme::Sqe sqe = host_.io.io(IoOpcode::kWrite, 0, bytes / 4096);
    sqe.sgl = SglDescriptor::in_capsule(0, bytes);
    return sqe;
  };
  const std::vector<std::byte> data(room + 4096, std::byte{7});
  EXPECT_STATUS(host_.io.execute(write(room), std::span(data).first(room)).status(),
                Status::kSuccess);
  host_.io.submit(write(room + 4096), data);
  EXPECT_TRUE(host_.io.wait_down());
}

// MSDBD.
TEST_F(AnnouncedLimits, DataDescriptors) {
  const uint32_t most = controller().msdbd;
  ASSERT_NE(most, 0u);
  const auto read = [&](uint32_t count) {
    std::vector<SglDescriptor> list(count, SglDescriptor::keyed(host_.io.buffer(0, 4096), false));
    nvme::Sqe sqe = host_.io.io(IoOpcode::kRead, 0, count);
    sqe.sgl = SglDescriptor::last_segment(0, uint32_t(count * sizeof list[0]));
    return ok(host_.io.execute(sqe, std::as_bytes(std::span(list))).status());
  };
  EXPECT_TRUE(read(most));
  EXPECT_FALSE(read(most + 1));
}

// Bits of SGLS: any alignment, keyed data blocks, an offset into the capsule. Bits that are not set
// stand for what is refused: bit buckets, and an SGL that is longer than the data.
TEST_F(AnnouncedLimits, Sgls) {
  const uint32_t sgls = nvme::le(uint32_t(controller().sgls));
  const auto read = [&](const SglDescriptor& sgl) {
    nvme::Sqe sqe = host_.io.io(IoOpcode::kRead, 0, 1);
    sqe.sgl = sgl;
    return ok(host_.io.execute(sqe).status());
  };
  EXPECT_EQ(sgls & 3, 1u);
  EXPECT_TRUE(read(SglDescriptor::keyed(host_.io.buffer(3, 4096), false)));
  EXPECT_EQ((sgls >> 2 & 1) != 0, read(SglDescriptor::keyed(host_.io.buffer(0, 4096), false)));
  nvme::Sqe write = host_.io.io(IoOpcode::kWrite, 0, 1);
  write.sgl = SglDescriptor::in_capsule(0, 4096);
  const std::vector<std::byte> data(4096);
  EXPECT_EQ((sgls >> 20 & 1) != 0, ok(host_.io.execute(write, data).status()));
  SglDescriptor bucket = SglDescriptor::in_capsule(0, 4096);
  bucket.identifier = 1 << 4;
  EXPECT_EQ((sgls >> 16 & 1) != 0, read(bucket));
  EXPECT_EQ((sgls >> 18 & 1) != 0, read(SglDescriptor::keyed(host_.io.buffer(0, 8192), false)));
  EXPECT_EQ(sgls & ~(3u | 1u << 2 | 1u << 20), 0u);
}

// AERL.
TEST_F(AnnouncedLimits, EventRequests) {
  const uint32_t most = controller().aerl + 1u;
  for (uint32_t i = 0; i < most; ++i) {
    host_.admin.submit(host_.admin.admin(AdminOpcode::kAsyncEventRequest));
  }
  EXPECT_STATUS(admin(AdminOpcode::kAsyncEventRequest), dnr(Status::kAsyncEventLimitExceeded));
}

// ACL: Aborts that wait for a store that hangs.
TEST_F(AnnouncedLimits, Aborts) {
  const uint32_t most = controller().acl + 1u;
  world_.serve({"ram:4MiB,name=slow"}, true);
  (void)identify<nvme_ns_list>(NVME_IDENTIFY_CNS_NS_ACTIVE_LIST);
  (void)identify<nvme_ns_list>(NVME_IDENTIFY_CNS_NS_ACTIVE_LIST);
  (void)identify<nvme_id_ns>(NVME_IDENTIFY_CNS_NS, 1);
  world_.faults->add({.op = storage::Op::kWrite, .delay = seconds(10)});
  std::vector<uint16_t> aborts;
  for (uint32_t i = 0; i <= most; ++i) {
    const nvme::Sqe write = host_.io.io(IoOpcode::kWrite, i, 1);
    host_.io.submit(write);
    world_.run_for(milliseconds(1));
    const auto abort = host_.admin.admin(AdminOpcode::kAbort, 1 | uint32_t(write.command_id) << 16);
    host_.admin.submit(abort);
    aborts.push_back(abort.command_id);
    world_.run_for(milliseconds(1));
  }
  EXPECT_STATUS(host_.admin.wait(aborts.back()).status(), Status::kAbortLimitExceeded);
  aborts.pop_back();
  for (const uint16_t id : aborts) EXPECT_STATUS(host_.admin.wait(id).status(), Status::kSuccess);
}

// ELPE.
TEST_F(AnnouncedLimits, ErrorLog) {
  const uint32_t most = controller().elpe + 1u;
  for (uint32_t i = 0; i < most + 2; ++i) {
    EXPECT_STATUS(host_.io.execute(host_.io.io(IoOpcode::kRead, 1 << 20, 1)).status(),
                  dnr(Status::kLbaOutOfRange));
  }
  constexpr uint32_t kEntry = sizeof(nvme_error_log_page);
  EXPECT_STATUS(log(NVME_LOG_LID_ERROR, (most + 1) * kEntry), Status::kSuccess);
  const auto count_at = [&](uint32_t i) {
    nvme_error_log_page entry;
    std::memcpy(&entry, &host_.admin.memory[i * kEntry], sizeof entry);
    return nvme::le(uint64_t(entry.error_count));
  };
  EXPECT_NE(count_at(most - 1), 0u);
  EXPECT_EQ(count_at(most), 0u);
}

// Bits of LPA: 1, the log of commands and effects; 2, lengths of 32 bits and offsets.
TEST_F(AnnouncedLimits, LogPageAttributes) {
  const uint8_t lpa = controller().lpa;
  EXPECT_EQ((lpa >> 1 & 1) != 0, ok(log(NVME_LOG_LID_CMD_EFFECTS, 4096)));
  const std::vector<std::byte> all(host_.admin.memory.begin(), host_.admin.memory.begin() + 4096);
  nvme::Sqe second = host_.admin.admin(AdminOpcode::kGetLogPage,
                                       NVME_LOG_LID_CMD_EFFECTS | (1024u / 4 - 1) << 16, 0, 1024);
  second.cdw12 = uint32_t{1024};
  EXPECT_STATUS(host_.admin.execute(second).status(), Status::kSuccess);
  EXPECT_EQ((lpa >> 2 & 1) != 0,
            std::equal(all.begin() + 1024, all.begin() + 2048, host_.admin.memory.begin()));
  EXPECT_EQ(lpa & ~(1 << 1 | 1 << 2), 0);
}

// Bits of OAES: a host can enable an event if its bit is set, and gets it.
TEST_F(AnnouncedLimits, Events) {
  const uint32_t oaes = nvme::le(uint32_t(controller().oaes));
  for (uint32_t bit = 8; bit < 32; ++bit) {
    EXPECT_EQ((oaes >> bit & 1) != 0, ok(set(NVME_FEAT_FID_ASYNC_EVENT, 1u << bit))) << bit;
  }
  EXPECT_EQ(oaes & 0xff, 0u);
  const auto next_event = [&](const std::function<void()>& change) {
    const auto request = host_.admin.admin(AdminOpcode::kAsyncEventRequest);
    host_.admin.submit(request);
    world_.run_for(milliseconds(1));
    change();
    return uint32_t(uint64_t(host_.admin.wait(request.command_id).result)) >> 16 & 0xff;
  };
  EXPECT_STATUS(set(NVME_FEAT_FID_ASYNC_EVENT, oaes), Status::kSuccess);
  EXPECT_EQ(next_event([&] { world_.serve({"ram:4MiB", "ram:1MiB"}); }), NVME_LOG_LID_CHANGED_NS);
  EXPECT_EQ(next_event([&] {
              world_.serve({"ram:4MiB", "ram:1MiB"}, {{.state = AnaState::kNonOptimized}});
            }),
            NVME_LOG_LID_ANA);
}

// What Get Features calls changeable can be set.
TEST_F(AnnouncedLimits, Features) {
  constexpr uint32_t kCapabilities = 3 << 8;
  for (uint32_t feature = 0; feature < 256; ++feature) {
    nvme::Sqe ask = host_.admin.admin(AdminOpcode::kGetFeatures, feature | kCapabilities);
    if (feature >= NVME_FEAT_FID_RESV_MASK) ask.nsid = uint32_t{1};
    const nvme::Cqe capabilities = host_.admin.execute(ask);
    if (!ok(capabilities.status())) {
      EXPECT_FALSE(ok(set(feature, 0))) << feature;
      continue;
    }
    const auto bits = uint32_t(uint64_t(capabilities.result));
    EXPECT_EQ(bits & 1, 0u) << feature;  // saveable
    nvme::Sqe save = host_.admin.admin(AdminOpcode::kSetFeatures, feature | 1u << 31);
    EXPECT_STATUS(host_.admin.execute(save).status(), dnr(Status::kFeatureNotSaveable)) << feature;
    if (feature == NVME_FEAT_FID_NUM_QUEUES) continue;  // before the first I/O queue only
    nvme::Sqe change = host_.admin.admin(AdminOpcode::kSetFeatures, feature);
    if ((bits & 2) != 0) change.nsid = uint32_t{1};
    EXPECT_EQ((bits & 4) != 0, ok(host_.admin.execute(change).status())) << feature;
  }
}

// NPSS, KAS, CTRATT's 128 bit host identifier, VWC, WCTEMP.
TEST_F(AnnouncedLimits, ValuesOfFeatures) {
  const nvme_id_ctrl id = controller();
  EXPECT_STATUS(set(NVME_FEAT_FID_POWER_MGMT, id.npss), Status::kSuccess);
  EXPECT_STATUS(set(NVME_FEAT_FID_POWER_MGMT, id.npss + 1u), dnr(Status::kInvalidField));
  const uint32_t unit = nvme::le(uint16_t(id.kas)) * 100;
  EXPECT_STATUS(set(NVME_FEAT_FID_KATO, 60 * unit + 1), Status::kSuccess);
  EXPECT_EQ(get(NVME_FEAT_FID_KATO), 61 * unit);
  EXPECT_EQ((nvme::le(uint32_t(id.ctratt)) & NVME_CTRL_CTRATT_128_ID) != 0,
            ok(admin(AdminOpcode::kGetFeatures, NVME_FEAT_FID_HOST_ID, 1, 16)));
  EXPECT_EQ((id.vwc & 1) != 0, ok(admin(AdminOpcode::kGetFeatures, NVME_FEAT_FID_VOLATILE_WC)));
  EXPECT_EQ(id.vwc >> 1, 3);  // Flush may name all namespaces
  nvme::Sqe flush = host_.io.io(IoOpcode::kFlush, 0, 1, 0, nvme::kBroadcastNsid);
  EXPECT_STATUS(host_.io.execute(flush).status(), Status::kSuccess);
  EXPECT_EQ(get(NVME_FEAT_FID_TEMP_THRESH), nvme::le(uint16_t(id.wctemp)));
}

// NN, and OFCS's Disconnect of a queue.
TEST_F(AnnouncedLimits, NamespacesAndQueues) {
  const nvme_id_ctrl id = controller();
  const auto look = [&](uint32_t nsid) {
    nvme::Sqe sqe = host_.admin.admin(AdminOpcode::kIdentify, NVME_IDENTIFY_CNS_NS, 0, 4096);
    sqe.nsid = nsid;
    return host_.admin.execute(sqe).status();
  };
  const uint32_t most = nvme::le(uint32_t(id.nn));
  EXPECT_STATUS(look(most), Status::kSuccess);
  EXPECT_STATUS(look(most + 1), dnr(Status::kInvalidNamespace));
  EXPECT_EQ(nvme::le(uint32_t(id.mnan)), most);
  nvme::PropertyCommand end;
  end.type = nvme::FabricsType::kDisconnect;
  end.command_id = host_.io.next_id++;
  EXPECT_EQ((nvme::le(uint16_t(id.ofcs)) & 1) != 0, ok(host_.io.execute(end).status()));
  EXPECT_TRUE(host_.io.wait_down());
}

// FRMW: one slot, which cannot be written.
TEST_F(AnnouncedLimits, FirmwareSlots) {
  const nvme_id_ctrl id = controller();
  EXPECT_EQ(id.frmw, 1 | 1 << 1);
  EXPECT_STATUS(log(NVME_LOG_LID_FW_SLOT, sizeof(nvme_firmware_slot)), Status::kSuccess);
  const auto slots = nvme::read_struct<nvme_firmware_slot>(host_.admin.memory);
  EXPECT_EQ(slots.afi, 1);
  EXPECT_EQ(std::memcmp(slots.frs[0], id.fr, sizeof id.fr), 0);
  EXPECT_EQ(slots.frs[1][0], 0);
}

// DLFEAT: what is deallocated reads as zeroes, by both commands. DMRL: the ranges of one.
TEST_F(AnnouncedLimits, DeallocatedBlocks) {
  const auto id = identify<nvme_id_ns>(NVME_IDENTIFY_CNS_NS, 1);
  const auto limits = identify<nvme_id_ctrl_nvm>(NVME_IDENTIFY_CNS_CSI_CTRL);
  EXPECT_EQ(id.dlfeat, 1 | 1 << 3);
  const auto reads_zeroes = [&] {
    host_.io.fill(0, 4096, 1);
    EXPECT_STATUS(host_.io.execute(host_.io.io(IoOpcode::kRead, 0, 1)).status(), Status::kSuccess);
    return host_.io.holds(0, 4096, 0);
  };
  const auto write = [&] {
    host_.io.fill(0, 4096, 1);
    EXPECT_STATUS(host_.io.execute(host_.io.io(IoOpcode::kWrite, 0, 1)).status(), Status::kSuccess);
    EXPECT_FALSE(reads_zeroes());
  };
  write();
  nvme::Sqe zeroes = host_.io.io(IoOpcode::kWriteZeroes, 0, 1);
  zeroes.cdw12 = uint32_t{zeroes.cdw12} | nvme::kCdw12Deallocate;
  zeroes.sgl = SglDescriptor::keyed({}, false);
  EXPECT_STATUS(host_.io.execute(zeroes).status(), Status::kSuccess);
  EXPECT_TRUE(reads_zeroes());
  write();
  const uint32_t count = limits.dmrl;
  std::vector<nvme_dsm_range> ranges(count);
  ranges.back().nlb = nvme::le(uint32_t{1});
  std::memcpy(host_.io.memory.data(), ranges.data(), count * sizeof ranges[0]);
  nvme::Sqe dsm = host_.io.io(IoOpcode::kDatasetManagement, 0, 1);
  dsm.cdw10 = count - 1;
  dsm.cdw11 = uint32_t{4};
  dsm.cdw12 = uint32_t{0};
  dsm.sgl = SglDescriptor::keyed(host_.io.buffer(0, count * sizeof ranges[0]), false);
  EXPECT_STATUS(host_.io.execute(dsm).status(), Status::kSuccess);
  EXPECT_TRUE(reads_zeroes());
}

#define CLEAR(field) std::memset(&(field), 0, sizeof(field))

// Every other field of Identify Controller is zero: a new one needs a test.
TEST_F(AnnouncedLimits, NoOtherFieldOfTheController) {
  nvme_id_ctrl id = controller();
  EXPECT_EQ(id.sqes, 6 | 6 << 4);  // ControllerTest.BadConfigurationIsFatal
  EXPECT_EQ(id.cqes, 4 | 4 << 4);
  EXPECT_EQ(id.cntrltype, NVME_CTRL_CNTRLTYPE_IO);
  EXPECT_EQ(id.cmic & ~(NVME_CTRL_CMIC_MULTI_PORT | NVME_CTRL_CMIC_MULTI_CTRL |
                        NVME_CTRL_CMIC_MULTI_ANA_REPORTING),
            0);
  EXPECT_EQ(
      nvme::le(uint32_t(id.ctratt)) & ~uint32_t{NVME_CTRL_CTRATT_128_ID | NVME_CTRL_CTRATT_TBKAS},
      0u);
  // Texts and numbers.
  CLEAR(id.sn), CLEAR(id.mn), CLEAR(id.fr), CLEAR(id.cntlid), CLEAR(id.ver), CLEAR(id.subnqn);
  CLEAR(id.cctemp), CLEAR(id.psd[0]), CLEAR(id.anatt), CLEAR(id.anagrpmax), CLEAR(id.nanagrpid);
  CLEAR(id.maxcmd);
  // Here, and in announcement_test.cc.
  CLEAR(id.cmic), CLEAR(id.mdts), CLEAR(id.oaes), CLEAR(id.ctratt), CLEAR(id.cntrltype);
  CLEAR(id.oacs), CLEAR(id.acl), CLEAR(id.aerl), CLEAR(id.frmw), CLEAR(id.lpa), CLEAR(id.elpe);
  CLEAR(id.wctemp), CLEAR(id.kas), CLEAR(id.anacap), CLEAR(id.sqes), CLEAR(id.cqes), CLEAR(id.nn);
  CLEAR(id.oncs), CLEAR(id.fuses), CLEAR(id.vwc), CLEAR(id.ocfs), CLEAR(id.sgls), CLEAR(id.mnan);
  CLEAR(id.ioccsz), CLEAR(id.iorcsz), CLEAR(id.msdbd), CLEAR(id.ofcs);
  const auto bytes = nvme::bytes_of(id);
  for (size_t i = 0; i < bytes.size(); ++i) EXPECT_EQ(bytes[i], std::byte{0}) << "byte " << i;
}

TEST_F(AnnouncedLimits, NoOtherFieldOfTheNamespace) {
  auto id = identify<nvme_id_ns>(NVME_IDENTIFY_CNS_NS, 1);
  EXPECT_EQ(id.nmic, NVME_NS_NMIC_SHARED);
  EXPECT_EQ(id.lbaf[0].ds, 12);
  EXPECT_EQ(nvme::le(uint64_t(id.nsze)), 1024u);
  EXPECT_EQ(id.ncap, id.nsze);
  EXPECT_EQ(id.nuse, id.nsze);
  CLEAR(id.nsze), CLEAR(id.ncap), CLEAR(id.nuse), CLEAR(id.nmic), CLEAR(id.anagrpid);
  CLEAR(id.rescap), CLEAR(id.dlfeat), CLEAR(id.mssrl), CLEAR(id.mcl), CLEAR(id.msrc);
  CLEAR(id.nvmcap), CLEAR(id.nguid), CLEAR(id.lbaf[0]);
  const auto bytes = nvme::bytes_of(id);
  for (size_t i = 0; i < bytes.size(); ++i) EXPECT_EQ(bytes[i], std::byte{0}) << "byte " << i;
  auto limits = identify<nvme_id_ctrl_nvm>(NVME_IDENTIFY_CNS_CSI_CTRL);
  CLEAR(limits.vsl), CLEAR(limits.dmrl);
  const auto more = nvme::bytes_of(limits);
  for (size_t i = 0; i < more.size(); ++i) EXPECT_EQ(more[i], std::byte{0}) << "byte " << i;
}

}  // namespace
}  // namespace mrpool::nvmf_target::testing
