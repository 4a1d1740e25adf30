// What a host can find out is exactly what works: the bits of Identify, the Commands Supported and
// Effects log and the list of log pages, each against the commands themselves.
#include "tests/unit/examples/nvmf/target/announcement.h"

namespace mrpool::nvmf_target::testing {
namespace {

TEST_F(Announcement, EveryIoCommand) {
  const nvme_cmd_effects_log log = effects();
  for (uint32_t opcode = 0; opcode < 256; ++opcode) {
    if (opcode == nvme::kFabricsOpcode) continue;
    EXPECT_EQ(log.iocs[opcode] != 0, known(host_.io, uint8_t(opcode))) << opcode;
  }
}

// Bits of ONCS, each with the commands that it stands for.
TEST_F(Announcement, OptionalCommands) {
  const auto id = identify<nvme_id_ctrl>(NVME_IDENTIFY_CNS_CTRL);
  const nvme_cmd_effects_log log = effects();
  struct Bit {
    uint16_t bit;
    std::vector<int> opcodes;
  };
  const Bit bits[] = {{NVME_CTRL_ONCS_COMPARE, {nvme_cmd_compare}},
                      {NVME_CTRL_ONCS_WRITE_UNCORRECTABLE, {nvme_cmd_write_uncor}},
                      {NVME_CTRL_ONCS_DSM, {nvme_cmd_dsm}},
                      {NVME_CTRL_ONCS_WRITE_ZEROES, {nvme_cmd_write_zeroes}},
                      {NVME_CTRL_ONCS_RESERVATIONS,
                       {nvme_cmd_resv_register, nvme_cmd_resv_report, nvme_cmd_resv_acquire,
                        nvme_cmd_resv_release}},
                      {NVME_CTRL_ONCS_VERIFY, {nvme_cmd_verify}},
                      {NVME_CTRL_ONCS_COPY, {nvme_cmd_copy}}};
  uint16_t checked = NVME_CTRL_ONCS_SAVE_FEATURES;
  for (const Bit& each : bits) {
    checked |= each.bit;
    for (const int opcode : each.opcodes) {
      EXPECT_EQ((id.oncs & each.bit) != 0, log.iocs[opcode] != 0) << opcode;
    }
  }
  EXPECT_EQ(id.oncs & ~checked, 0);
  // SAVE_FEATURES stands for Select of Get Features.
  const auto select = host_.admin.admin(AdminOpcode::kGetFeatures, NVME_FEAT_FID_KATO | 1 << 8);
  EXPECT_STATUS(host_.admin.execute(select).status(), Status::kSuccess);
}

// Bits of FUSES, each with its pair of commands; a pair that has no bit is none.
TEST_F(Announcement, FusedOperations) {
  const auto id = identify<nvme_id_ctrl>(NVME_IDENTIFY_CNS_CTRL);
  const auto run = [&](IoOpcode first, IoOpcode second) {
    nvme::Sqe sqes[2] = {host_.io.io(first, 0, 1), host_.io.io(second, 0, 1)};
    host_.io.fill(0, 4096, 0);
    for (int i = 0; i < 2; ++i) {
      sqes[i].flags = uint8_t(sqes[i].flags | (i + 1));
      host_.io.submit(sqes[i]);
    }
    bool good = true;
    for (const nvme::Sqe& sqe : sqes) good = ok(host_.io.wait(sqe.command_id).status()) && good;
    return good;
  };
  EXPECT_EQ((id.fuses & 1) != 0, run(IoOpcode::kCompare, IoOpcode::kWrite));
  EXPECT_EQ(id.fuses & ~1, 0);
  EXPECT_FALSE(run(IoOpcode::kWrite, IoOpcode::kWrite));
  EXPECT_FALSE(run(IoOpcode::kRead, IoOpcode::kWrite));
}

// Of the limits of the NVM command set.
TEST_F(Announcement, VerifySizeLimit) {
  const auto id = identify<nvme_id_ctrl_nvm>(NVME_IDENTIFY_CNS_CSI_CTRL);
  ASSERT_NE(id.vsl, 0);
  const uint32_t most = (4096u << id.vsl) / 4096;
  const auto verify = [&](uint32_t blocks) {
    return ok(host_.io.execute(host_.io.io(IoOpcode::kVerify, 0, blocks)).status());
  };
  EXPECT_TRUE(verify(most));
  EXPECT_FALSE(verify(most + 1));
}

// WUSL 0: there is no limit but that of the command.
TEST_F(Announcement, WriteUncorrectableSizeLimit) {
  EXPECT_EQ(identify<nvme_id_ctrl_nvm>(NVME_IDENTIFY_CNS_CSI_CTRL).wusl, 0);
  nvme::Sqe sqe = host_.io.io(IoOpcode::kWriteUncorrectable, 0, 1024);
  sqe.sgl = SglDescriptor::keyed({}, false);
  EXPECT_STATUS(host_.io.execute(sqe).status(), Status::kSuccess);
}

// OCFS, and MSSRL, MCL and MSRC of the namespace.
TEST_F(Announcement, CopyFormatsAndLimits) {
  const auto controller = identify<nvme_id_ctrl>(NVME_IDENTIFY_CNS_CTRL);
  const auto id = identify<nvme_id_ns>(NVME_IDENTIFY_CNS_NS, 1);
  const auto copy = [&](uint32_t format, uint32_t count, uint16_t nlb0) {
    for (uint32_t i = 0; i < count; ++i) {
      nvme_copy_range range{};
      range.nlb = nvme::le(nlb0);
      std::memcpy(&host_.io.memory[i * sizeof range], &range, sizeof range);
    }
    nvme::Sqe sqe = host_.io.io(IoOpcode::kCopy, 512, 1);
    sqe.cdw12 = (count - 1) | format << 8;
    sqe.sgl = SglDescriptor::keyed(host_.io.buffer(0, count * sizeof(nvme_copy_range)), false);
    return host_.io.execute(sqe).status();
  };
  for (uint32_t format = 0; format < 16; ++format) {
    EXPECT_EQ((nvme::le(uint16_t(controller.ocfs)) >> format & 1) != 0, ok(copy(format, 1, 0)));
  }
  EXPECT_TRUE(ok(copy(0, id.msrc + 1u, 0)));
  EXPECT_STATUS(copy(0, id.msrc + 2u, 0), dnr(Status::kCommandSizeLimitExceeded));
  // The longest range is longer than this disk.
  const auto mssrl = nvme::le(uint16_t(id.mssrl));
  EXPECT_STATUS(copy(0, 1, uint16_t(mssrl - 1)), dnr(Status::kLbaOutOfRange));
  EXPECT_STATUS(copy(0, 1, mssrl), dnr(Status::kCommandSizeLimitExceeded));
  EXPECT_EQ(nvme::le(uint32_t(id.mcl)), most_copied(4096));
}

// Bits of OACS, each with the commands that it stands for, and of FNA.
TEST_F(Announcement, OptionalAdminCommands) {
  const auto id = identify<nvme_id_ctrl>(NVME_IDENTIFY_CNS_CTRL);
  const nvme_cmd_effects_log log = effects();
  struct Bit {
    uint16_t bit;
    std::vector<int> opcodes;
  };
  const Bit bits[] = {
      {NVME_CTRL_OACS_SECURITY, {0x81, 0x82}}, {NVME_CTRL_OACS_FORMAT, {0x80}},
      {NVME_CTRL_OACS_FW, {0x10, 0x11}},       {NVME_CTRL_OACS_NS_MGMT, {0x0d, 0x15}},
      {NVME_CTRL_OACS_SELF_TEST, {0x14}},      {NVME_CTRL_OACS_DIRECTIVES, {0x19, 0x1a}},
      {NVME_CTRL_OACS_NVME_MI, {0x1d, 0x1e}},  {NVME_CTRL_OACS_VIRT_MGMT, {0x1c}},
      {NVME_CTRL_OACS_DBBUF_CFG, {0x7c}},      {NVME_CTRL_OACS_LBA_STATUS, {0x86}}};
  uint16_t checked = 0;
  for (const Bit& each : bits) {
    checked |= each.bit;
    for (const int opcode : each.opcodes) {
      EXPECT_EQ((id.oacs & each.bit) != 0, log.acs[opcode] != 0) << opcode;
    }
  }
  EXPECT_EQ(id.oacs & ~checked, 0);
  const auto format = [&](uint32_t nsid, uint32_t cdw10) {
    nvme::Sqe sqe = host_.admin.admin(AdminOpcode::kFormat, cdw10);
    sqe.nsid = nsid;
    return ok(host_.admin.execute(sqe).status());
  };
  // FNA: formats of one namespace; without cryptographic erase; of all, too.
  EXPECT_EQ(id.fna, 0);
  EXPECT_TRUE(format(1, 0) && format(1, 1 << 9) && format(nvme::kBroadcastNsid, 0));
  EXPECT_FALSE(format(1, 2 << 9));
}

TEST_F(Announcement, EveryLogPage) {
  EXPECT_STATUS(log(NVME_LOG_LID_SUPPORTED_LOG_PAGES, sizeof(nvme_supported_log_pages)),
                Status::kSuccess);
  const auto pages = nvme::read_struct<nvme_supported_log_pages>(host_.admin.memory);
  for (uint32_t id = 0; id < 256; ++id) {
    EXPECT_EQ(pages.lid_support[id] != 0, ok(log(id, 64))) << id;
  }
}

// CMIC's bit for ANA stands for the log page, the event, and states that are obeyed.
TEST_F(Announcement, AsymmetricAccess) {
  const auto id = identify<nvme_id_ctrl>(NVME_IDENTIFY_CNS_CTRL);
  ASSERT_NE(id.cmic & NVME_CTRL_CMIC_MULTI_ANA_REPORTING, 0);
  EXPECT_TRUE(ok(log(NVME_LOG_LID_ANA, 64)));
  EXPECT_STATUS(
      host_.admin
          .execute(host_.admin.admin(AdminOpcode::kSetFeatures, NVME_FEAT_FID_ASYNC_EVENT, id.oaes))
          .status(),
      Status::kSuccess);
  EXPECT_NE(id.oaes & NVME_CTRL_OAES_ANA, 0u);
  const std::pair<uint8_t, AnaState> bits[] = {
      {NVME_CTRL_ANACAP_OPT, AnaState::kOptimized},
      {NVME_CTRL_ANACAP_NON_OPT, AnaState::kNonOptimized},
      {NVME_CTRL_ANACAP_INACCESSIBLE, AnaState::kInaccessible},
      {NVME_CTRL_ANACAP_PERSISTENT_LOSS, AnaState::kPersistentLoss},
      {NVME_CTRL_ANACAP_CHANGE, AnaState::kChange}};
  uint8_t checked = 0;
  for (const auto& [bit, state] : bits) {
    world_.serve({"ram:4MiB"}, {{.state = state}});
    checked |= bit;
    EXPECT_TRUE((id.anacap & bit) != 0) << to_string(state);
    EXPECT_TRUE(ok(log(NVME_LOG_LID_ANA, 64)));
    EXPECT_EQ(uint8_t(host_.admin.memory[32]), uint8_t(state));
    EXPECT_STATUS(host_.io.execute(host_.io.io(IoOpcode::kRead, 0, 1)).status(),
                  path_status(state));
  }
  EXPECT_EQ(id.anacap & ~checked, 0);
  world_.serve({"ram:4MiB"});
}

// Bits of RESCAP, each with the type of reservation that it stands for.
TEST_F(Announcement, ReservationTypes) {
  const auto id = identify<nvme_id_ns>(NVME_IDENTIFY_CNS_NS, 1);
  const auto run = [&](IoOpcode opcode, uint32_t cdw10, uint32_t bytes) {
    nvme::ReservationKeys keys;
    keys.current = 5;
    keys.other = 5;
    std::memcpy(host_.io.memory.data(), &keys, sizeof keys);
    nvme::Sqe sqe = host_.io.io(opcode, 0, 1);
    sqe.cdw10 = cdw10;
    sqe.cdw11 = sqe.cdw12 = uint32_t{0};
    sqe.sgl = SglDescriptor::keyed(host_.io.buffer(0, bytes), false);
    return ok(host_.io.execute(sqe).status());
  };
  constexpr uint32_t kPersist = 3u << 30;
  EXPECT_EQ((id.rescap & NVME_NS_RESCAP_PTPL) != 0,
            run(IoOpcode::kReservationRegister, kPersist, 16));
  ASSERT_TRUE(run(IoOpcode::kReservationRegister, 0, 16));
  for (uint32_t type = 1; type <= 6; ++type) {
    EXPECT_EQ((id.rescap & 1 << type) != 0, run(IoOpcode::kReservationAcquire, type << 8, 16));
    EXPECT_TRUE(run(IoOpcode::kReservationRelease, type << 8, 8));
  }
  // As of 1.3: a Replace that ignores keys needs no registration.
  ASSERT_TRUE(run(IoOpcode::kReservationRegister, 1, 16));
  EXPECT_EQ((id.rescap & NVME_NS_RESCAP_IEK_13) != 0,
            run(IoOpcode::kReservationRegister, 2 | 1 << 3, 16));
}

}  // namespace
}  // namespace mrpool::nvmf_target::testing
