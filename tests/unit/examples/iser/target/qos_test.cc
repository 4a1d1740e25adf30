// Limits of units and initiators: which tasks they hold back, and what ends the wait.
#include <chrono>

#include "tests/unit/examples/iser/target/connection_fixture.h"

namespace mrpool::iser_target {
namespace {

constexpr scsi::Cdb kRead{0x28, 0, 0, 0, 0, 0, 0, 0, 8};
constexpr uint32_t kBytes = 8 * 512;

class Qos : public ConnectionTest {
 protected:
  // One command at once; the next in a second, which no test waits for.
  void limit_unit() { ASSERT_TRUE(apply({"ram:1MiB,rw_ios_per_sec=1"}).ok()); }
  absl::Status limit_initiator(uint64_t ios) {
    Config config;
    config.targets.push_back({.name = kDisk, .luns = {"ram:1MiB"}});
    if (ios != 0) config.targets[0].initiator_limits["*"].rw_ios_per_sec = ios;
    return site->apply(config);
  }
  // Sends a READ; true if it was answered at once.
  bool read(Connection& connection) {
    deliver(connection, scsi(kRead, kBytes), {}, kReadKey);
    if (link.out.empty()) return false;
    EXPECT_EQ(iscsi::ScsiResponse::decode(bhs(take())).status, 0);
    settle(connection);
    return true;
  }
  bool answered() {
    const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (link.out.empty() && std::chrono::steady_clock::now() < patience) reactor->poll();
    return !link.out.empty();
  }
};

TEST_F(Qos, AUnitsLimitHoldsReadsBackAndNothingElse) {
  limit_unit();
  Connection& connection = log_in();
  EXPECT_TRUE(read(connection));
  EXPECT_FALSE(read(connection));
  EXPECT_TRUE(link.waiting.empty());
  EXPECT_EQ(link.tasks.back()->chunk_count, 0u) << "it has no staging memory";
  EXPECT_EQ(attention(connection, 0), scsi::kNoSense) << "TEST UNIT READY";
  EXPECT_EQ(command(connection, {0x35}).status, 0) << "SYNCHRONIZE CACHE";
  settle(connection);
  inquire(connection, 0);
  EXPECT_TRUE(link.out.empty()) << "the read still waits";
}

TEST_F(Qos, AnAbortEndsAHeldTask) {
  limit_unit();
  Connection& connection = log_in();
  EXPECT_TRUE(read(connection));
  EXPECT_FALSE(read(connection));
  const iscsi::TaskRequest abort{.function = iscsi::TaskFunction::kAbortTask,
                                 .task_tag = 9,
                                 .referenced_tag = tag,
                                 .cmd_sn = cmd_sn,
                                 .ref_cmd_sn = cmd_sn - 1};
  deliver(connection, abort);
  EXPECT_TRUE(answered());
  EXPECT_EQ(op(take()), iscsi::Op::kTaskResponse);
  EXPECT_EQ(connection.active(), 0u);
}

TEST_F(Qos, RemovingTheLimitReleasesHeldTasks) {
  limit_unit();
  Connection& connection = log_in();
  EXPECT_TRUE(read(connection));
  EXPECT_FALSE(read(connection));
  EXPECT_FALSE(read(connection));
  ASSERT_TRUE(apply({"ram:1MiB"}).ok());
  EXPECT_TRUE(answered());
  for (int i = 0; i < 2; ++i) EXPECT_EQ(iscsi::ScsiResponse::decode(bhs(take())).status, 0);
  settle(connection);
  EXPECT_TRUE(read(connection));
  EXPECT_TRUE(link.out.empty()) << "the initiator is told nothing";
}

TEST_F(Qos, RemovingTheUnitReleasesHeldTasks) {
  limit_unit();
  Connection& connection = log_in();
  EXPECT_TRUE(read(connection));
  EXPECT_FALSE(read(connection));
  ASSERT_TRUE(apply({"ram:1MiB,lun=3,name=other"}).ok());
  EXPECT_TRUE(answered());
}

TEST_F(Qos, AnInitiatorHasALimitOfItsOwn) {
  Connection& connection = log_in();
  EXPECT_TRUE(read(connection));
  ASSERT_TRUE(limit_initiator(1).ok());
  EXPECT_TRUE(read(connection)) << "the first";
  EXPECT_FALSE(read(connection)) << "in spite of a unit without limits";
  ASSERT_TRUE(limit_initiator(0).ok());
  EXPECT_TRUE(answered());
}

// What was allowed when the task came may no longer be when it is released.
TEST_F(Qos, AHeldTaskConflictsWithALaterReservation) {
  limit_unit();
  Connection& connection = log_in();
  Connection& other = log_in({}, false, /*port=*/2);
  cmd_sn = 2;  // of the first
  EXPECT_TRUE(read(connection));
  EXPECT_FALSE(read(connection));
  cmd_sn = 2;
  reserve_out(other, 0, 0, 0x77);
  reserve_out(other, 1, 0x77, 0, /*exclusive access=*/3);
  ASSERT_TRUE(apply({"ram:1MiB"}).ok());
  ASSERT_TRUE(answered());
  EXPECT_EQ(iscsi::ScsiResponse::decode(bhs(take())).status,
            uint8_t(scsi::Status::kReservationConflict));
  settle(connection);
  EXPECT_EQ(connection.active(), 0u);
}

// The store has another block size now.
TEST_F(Qos, AHeldTaskReportsThatItsUnitWasReplaced) {
  limit_unit();
  Connection& connection = log_in();
  EXPECT_TRUE(read(connection));
  EXPECT_FALSE(read(connection));
  ASSERT_TRUE(apply({"ram:1MiB,bs=4096"}).ok());
  ASSERT_TRUE(answered());
  const auto answer = take();
  EXPECT_EQ(iscsi::ScsiResponse::decode(bhs(answer)).status,
            uint8_t(scsi::Status::kCheckCondition));
  const auto sense = data(answer);
  ASSERT_GE(sense.size(), 2u);
  const auto got =
      scsi::decode_sense({reinterpret_cast<const uint8_t*>(sense.data()) + 2, sense.size() - 2});
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->key, scsi::SenseKey::kUnitAttention);
  settle(connection);
  EXPECT_EQ(connection.active(), 0u);
}

TEST_F(Qos, ResetAndLogoutEndHeldTasks) {
  limit_unit();
  Connection& connection = log_in();
  EXPECT_TRUE(read(connection));
  EXPECT_FALSE(read(connection));
  EXPECT_FALSE(read(connection));
  deliver(connection,
          iscsi::TaskRequest{.function = iscsi::TaskFunction::kLogicalUnitReset, .task_tag = 900});
  ASSERT_TRUE(answered());
  EXPECT_EQ(iscsi::TaskResponse::decode(bhs(take())).response, iscsi::TaskResponse::kComplete);
  EXPECT_TRUE(connection.idle());
  EXPECT_EQ(attention(connection, 0), scsi::kDeviceReset);
  EXPECT_FALSE(read(connection));
  deliver(connection, iscsi::LogoutRequest{.immediate = true, .task_tag = 77});
  ASSERT_TRUE(answered());
  EXPECT_EQ(op(take()), iscsi::Op::kLogoutResponse);
  EXPECT_TRUE(connection.idle());
}

// Reads and writes have limits of their own. VERIFY counts the blocks that it reads.
TEST_F(Qos, BytesCountByTheirDirection) {
  ASSERT_TRUE(apply({"ram:1MiB,r_mbytes_per_sec=1,qos_burst_ms=1"}).ok());
  Connection& connection = log_in();
  deliver(connection, scsi({0x2f, 0, 0, 0, 0, 0, 0, 4, 0}));  // 512 KiB of the medium: 0.5 s
  EXPECT_TRUE(link.out.empty());
  deliver(connection, scsi(write10(0, 8), kBytes, true), {}, kWriteKey);
  fetch_all(connection);
  ASSERT_FALSE(link.out.empty()) << "a write does not wait for reads";
  EXPECT_EQ(iscsi::ScsiResponse::decode(bhs(take())).status, 0);
  ASSERT_TRUE(answered());
  EXPECT_EQ(iscsi::ScsiResponse::decode(bhs(take())).status, 0);
  settle(connection);
}

TEST_F(Qos, ClosingTheConnectionEndsHeldTasks) {
  limit_unit();
  Connection& connection = log_in();
  EXPECT_TRUE(read(connection));
  EXPECT_FALSE(read(connection));
  connection.closed();
  EXPECT_TRUE(connection.idle());
}

}  // namespace
}  // namespace mrpool::iser_target
