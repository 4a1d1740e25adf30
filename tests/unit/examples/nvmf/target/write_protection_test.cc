// Feature 84h: which commands it stops, who is notified, and what survives a restart.
#include <filesystem>
#include <fstream>

#include "tests/unit/examples/nvmf/target/raw_host.h"

namespace mrpool::nvmf_target::testing {
namespace {

class Protection : public ::testing::Test {
 protected:
  void serve(bool keep = true) {
    world_ = std::make_unique<World>([&](Service::Options& options) {
      if (keep) options.engine.state_dir = state_dir_;
      options.keep_state_at_once = true;
    });
    world_->uuids = {Uuid{1}, Uuid{2}};
    world_->serve({"ram:1MiB,name=one", "ram:1MiB,name=two"}, true);
    host_ = std::make_unique<Host>(*world_);
  }
  void SetUp() override {
    std::filesystem::remove_all(state_dir_);
    std::filesystem::create_directory(state_dir_);
  }
  void TearDown() override {
    end();
    std::filesystem::remove_all(state_dir_);
  }
  void end() {
    host_.reset();
    world_.reset();
  }
  nvme::Cqe feature(AdminOpcode opcode, uint32_t nsid, uint32_t value = 0, uint32_t select = 0) {
    nvme::Sqe sqe = host_->admin.admin(opcode, NVME_FEAT_FID_WRITE_PROTECT | select << 8, value);
    sqe.nsid = nsid;
    return host_->admin.execute(sqe);
  }
  Status set(uint32_t nsid, uint32_t state) {
    return feature(AdminOpcode::kSetFeatures, nsid, state).status();
  }
  uint64_t get(uint32_t nsid) { return uint64_t(feature(AdminOpcode::kGetFeatures, nsid).result); }
  template <typename T>
  T identify(uint32_t cns, uint32_t nsid = 0) {
    nvme::Sqe sqe = host_->admin.admin(AdminOpcode::kIdentify, cns, 0, sizeof(T));
    sqe.nsid = nsid;
    EXPECT_STATUS(host_->admin.execute(sqe).status(), Status::kSuccess);
    return nvme::read_struct<T>(host_->admin.memory);
  }
  Status io(IoOpcode opcode, uint32_t nsid = 1) {
    nvme::Sqe sqe = host_->io.io(opcode, 0, 1, 0, nsid);
    if (nvme::data_direction(uint8_t(opcode)) == nvme::DataDirection::kNone) {
      sqe.sgl = SglDescriptor::keyed({}, false);
    }
    return host_->io.execute(sqe).status();
  }

  const std::string state_dir_ = ::testing::TempDir() + "/write_protection_test";
  std::unique_ptr<World> world_;
  std::unique_ptr<Host> host_;
};

TEST_F(Protection, StopsWhatChangesTheContent) {
  serve();
  EXPECT_EQ(identify<nvme_id_ctrl>(NVME_IDENTIFY_CNS_CTRL).nwpc, NVME_CTRL_NWPC_WRITE_PROTECT);
  EXPECT_EQ(get(1), NVME_FEAT_NS_NO_WRITE_PROTECT);
  EXPECT_STATUS(set(1, NVME_FEAT_NS_WRITE_PROTECT), Status::kSuccess);
  EXPECT_EQ(get(1), NVME_FEAT_NS_WRITE_PROTECT);
  EXPECT_EQ(identify<nvme_id_ns>(NVME_IDENTIFY_CNS_NS, 1).nsattr, NVME_NS_NSATTR_WRITE_PROTECTED);
  EXPECT_EQ(identify<nvme_id_ns>(NVME_IDENTIFY_CNS_NS, 2).nsattr, 0);
  for (const auto opcode : {IoOpcode::kWrite, IoOpcode::kWriteZeroes, IoOpcode::kDatasetManagement,
                            IoOpcode::kCopy, IoOpcode::kWriteUncorrectable}) {
    EXPECT_STATUS(io(opcode), dnr(Status::kNamespaceWriteProtected));
  }
  for (const auto opcode :
       {IoOpcode::kRead, IoOpcode::kCompare, IoOpcode::kFlush, IoOpcode::kVerify}) {
    EXPECT_STATUS(io(opcode), Status::kSuccess);
  }
  nvme::Sqe fused[2] = {host_->io.io(IoOpcode::kCompare, 0, 1),
                        host_->io.io(IoOpcode::kWrite, 0, 1)};
  for (int i = 0; i < 2; ++i) {
    fused[i].flags = uint8_t(fused[i].flags | (i + 1));
    host_->io.submit(fused[i]);
  }
  EXPECT_STATUS(host_->io.wait(fused[0].command_id).status(), Status::kFailedFused);
  EXPECT_STATUS(host_->io.wait(fused[1].command_id).status(),
                dnr(Status::kNamespaceWriteProtected));
  nvme::Sqe format = host_->admin.admin(AdminOpcode::kFormat);
  format.nsid = nvme::kBroadcastNsid;
  EXPECT_STATUS(host_->admin.execute(format).status(), dnr(Status::kNamespaceWriteProtected));
  EXPECT_STATUS(io(IoOpcode::kWrite, 2), Status::kSuccess);
  EXPECT_STATUS(set(1, NVME_FEAT_NS_NO_WRITE_PROTECT), Status::kSuccess);
  EXPECT_STATUS(io(IoOpcode::kWrite), Status::kSuccess);
}

TEST_F(Protection, RefusesStatesThatAreNotAnnounced) {
  serve();
  for (const uint32_t state :
       {NVME_FEAT_NS_WRITE_PROTECT_PWR_CYCLE, NVME_FEAT_NS_WRITE_PROTECT_PERMANENT}) {
    EXPECT_STATUS(set(1, state), dnr(Status::kInvalidField));
  }
  EXPECT_STATUS(set(9, 1), dnr(Status::kInvalidNamespace));
  EXPECT_STATUS(set(nvme::kBroadcastNsid, 1), dnr(Status::kInvalidNamespace));
  EXPECT_EQ(uint64_t(feature(AdminOpcode::kGetFeatures, 1, 0, 3).result), 6u);
  end();
  serve(false);  // nowhere to keep it
  EXPECT_EQ(identify<nvme_id_ctrl>(NVME_IDENTIFY_CNS_CTRL).nwpc, 0);
  EXPECT_STATUS(set(1, 1), dnr(Status::kInvalidField));
  EXPECT_STATUS(feature(AdminOpcode::kGetFeatures, 1).status(), dnr(Status::kInvalidField));
}

TEST_F(Protection, OtherHostsAreNotified) {
  serve();
  Host other(*world_, 32, "nqn.2024-01.org.example:other", 9);
  EXPECT_STATUS(other.admin
                    .execute(other.admin.admin(AdminOpcode::kSetFeatures, NVME_FEAT_FID_ASYNC_EVENT,
                                               kEventNamespace))
                    .status(),
                Status::kSuccess);
  const nvme::Sqe wait = other.admin.admin(AdminOpcode::kAsyncEventRequest);
  other.admin.submit(wait);
  EXPECT_STATUS(set(2, 1), Status::kSuccess);
  EXPECT_EQ(uint64_t(other.admin.wait(wait.command_id).result) >> 16, 4u);
}

TEST_F(Protection, WhatTheWriteCacheHasIsDurableFirst) {
  serve();
  world_->faults->add(
      {.op = storage::Op::kFlush, .error = storage::Error::kMediaWrite, .times = 1});
  EXPECT_STATUS(set(1, 1), Status::kWriteFault);
  EXPECT_STATUS(set(1, 1), Status::kSuccess);
}

TEST_F(Protection, ItSurvivesARestartAndAReload) {
  serve();
  EXPECT_STATUS(set(1, 1), Status::kSuccess);
  world_->serve({"ram:1MiB,name=one"}, true);
  EXPECT_STATUS(io(IoOpcode::kWrite), dnr(Status::kNamespaceWriteProtected));
  end();
  serve();
  EXPECT_STATUS(io(IoOpcode::kWrite), dnr(Status::kNamespaceWriteProtected));
  EXPECT_STATUS(set(1, 0), Status::kSuccess);
  end();
  serve();
  EXPECT_STATUS(io(IoOpcode::kWrite), Status::kSuccess);
}

TEST_F(Protection, AStateThatIsUnreadableIsAnError) {
  const std::string path = state_dir_ + "/wp-file";
  std::ofstream(path) << "write-prot";
  const auto protection = WriteProtection::open(path);
  EXPECT_EQ(protection.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(protection.status().message().find(path), std::string::npos);
}

}  // namespace
}  // namespace mrpool::nvmf_target::testing
