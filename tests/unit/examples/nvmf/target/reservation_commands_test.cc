// Reservations by two hosts and their queues: conflicts, events, the end of a fenced host's
// commands, and what outlives the process.
#include <filesystem>

#include "tests/unit/examples/nvmf/target/raw_host.h"

namespace mrpool::nvmf_target::testing {
namespace {

constexpr char kBobNqn[] = "nqn.2024-01.org.example:bob";
constexpr uint32_t kWriteExclusive = 1, kExclusiveAccess = 2;
constexpr uint32_t kRegistrantsOnly = 3;  // write exclusive
constexpr size_t kAt = 3 << 20;           // of what the commands bring
constexpr uint32_t kPersist = 3u << 30;   // CPTPL

class ReservationCommands : public ::testing::Test {
 protected:
  void serve() {
    world_ = std::make_unique<World>([this](Service::Options& options) {
      options.engine.state_dir = state_dir_;
      options.keep_state_at_once = true;
    });
    world_->uuids = {Uuid{1}, Uuid{2}};
    world_->limits = limits_;
    world_->serve({"ram:1MiB,name=one", "ram:1MiB,name=two"}, true);
    alice_ = std::make_unique<Host>(*world_, 32, kHostNqn, 1);
    bob_ = std::make_unique<Host>(*world_, 32, kBobNqn, 2);
  }
  void TearDown() override {
    end();
    if (!state_dir_.empty()) std::filesystem::remove_all(state_dir_);
  }
  void end() {
    alice_.reset();
    bob_.reset();
    world_.reset();
  }
  nvme::Sqe command(Host& host, IoOpcode opcode, uint32_t cdw10, uint64_t current,
                    uint64_t other = 0) {
    nvme::ReservationKeys keys;
    keys.current = current;
    keys.other = other;
    std::memcpy(&host.io.memory[kAt], &keys, sizeof keys);
    nvme::Sqe sqe = host.io.io(opcode, 0, 1);
    sqe.cdw10 = cdw10;
    sqe.cdw11 = uint32_t{0};
    sqe.cdw12 = uint32_t{0};
    const bool release = opcode == IoOpcode::kReservationRelease;
    sqe.sgl = SglDescriptor::keyed(host.io.buffer(kAt, release ? 8 : 16), false);
    return sqe;
  }
  nvme::Status run(Host& host, IoOpcode opcode, uint32_t cdw10, uint64_t current,
                   uint64_t other = 0) {
    return host.io.execute(command(host, opcode, cdw10, current, other)).status();
  }
  void register_both(uint32_t more = 0) {
    EXPECT_STATUS(run(*alice_, IoOpcode::kReservationRegister, more, 0, 0xa), Status::kSuccess);
    EXPECT_STATUS(run(*bob_, IoOpcode::kReservationRegister, more, 0, 0xb), Status::kSuccess);
  }
  void acquire(Host& host, uint64_t key, uint32_t type) {
    EXPECT_STATUS(run(host, IoOpcode::kReservationAcquire, type << 8, key), Status::kSuccess);
  }
  nvme::Status io(Host& host, IoOpcode opcode, uint32_t nsid = 1) {
    nvme::Sqe sqe = host.io.io(opcode, 0, 1, 0, nsid);
    if (nvme::data_direction(uint8_t(opcode)) == nvme::DataDirection::kNone) {
      sqe.sgl = SglDescriptor::keyed({}, false);
    } else if (opcode == IoOpcode::kCopy) {  // one range
      sqe.sgl = SglDescriptor::keyed(host.io.buffer(0, sizeof(nvme_copy_range)), false);
    }
    return host.io.execute(sqe).status();
  }
  void expect_may(Host& host, bool read, bool write) {
    const Status conflict = dnr(Status::kReservationConflict);
    EXPECT_STATUS(io(host, IoOpcode::kRead), read ? Status::kSuccess : conflict);
    for (const auto opcode : {IoOpcode::kWrite, IoOpcode::kFlush, IoOpcode::kWriteZeroes}) {
      EXPECT_STATUS(io(host, opcode), write ? Status::kSuccess : conflict);
    }
  }
  nvme::Cqe feature(Host& host, AdminOpcode opcode, uint32_t id, uint32_t nsid,
                    uint32_t value = 0) {
    nvme::Sqe sqe = host.admin.admin(opcode, id, value);
    sqe.nsid = nsid;
    return host.admin.execute(sqe);
  }
  nvme_resv_notification_log log_page(Host& host) {
    const nvme::Cqe cqe =
        host.admin.execute(host.admin.admin(AdminOpcode::kGetLogPage, 0x80 | 15u << 16, 0, 64));
    EXPECT_STATUS(cqe.status(), Status::kSuccess);
    return nvme::read_struct<nvme_resv_notification_log>(host.admin.memory);
  }

  std::string state_dir_;
  std::vector<engine::RateLimits> limits_;
  std::unique_ptr<World> world_;
  std::unique_ptr<Host> alice_, bob_;
};

TEST_F(ReservationCommands, OthersConflictUntilItIsReleased) {
  serve();
  register_both();
  expect_may(*bob_, true, true);
  acquire(*alice_, 0xa, kWriteExclusive);
  expect_may(*alice_, true, true);
  expect_may(*bob_, true, false);
  // Every namespace has its own; a flush of all is for those too that refuse it.
  EXPECT_STATUS(io(*bob_, IoOpcode::kWrite, 2), Status::kSuccess);
  nvme::Sqe flush = bob_->io.io(IoOpcode::kFlush, 0, 1, 0, nvme::kBroadcastNsid);
  flush.sgl = SglDescriptor::keyed({}, false);
  EXPECT_STATUS(bob_->io.execute(flush).status(), dnr(Status::kReservationConflict));
  EXPECT_STATUS(run(*alice_, IoOpcode::kReservationRelease, kWriteExclusive << 8, 0xa),
                Status::kSuccess);
  expect_may(*bob_, true, true);
  acquire(*bob_, 0xb, kExclusiveAccess);
  expect_may(*alice_, false, false);
  EXPECT_STATUS(io(*alice_, IoOpcode::kCompare), dnr(Status::kReservationConflict));
  // Any controller of the same host is the same registrant.
  const Host again(*world_, 32, kBobNqn, 2);
  EXPECT_STATUS(io(*bob_, IoOpcode::kWrite), Status::kSuccess);
}

// Verify reads, Copy writes, and Compare and Write does both.
TEST_F(ReservationCommands, OtherCommandsOfOtherHosts) {
  serve();
  register_both();
  const auto conflicts = [&](IoOpcode opcode) {
    return code(io(*bob_, opcode)) == Status::kReservationConflict;
  };
  const auto fused = [&] {
    nvme::Sqe sqes[2] = {bob_->io.io(IoOpcode::kCompare, 0, 1),
                         bob_->io.io(IoOpcode::kWrite, 0, 1)};
    for (int i = 0; i < 2; ++i) {
      sqes[i].flags = uint8_t(sqes[i].flags | (i + 1));
      bob_->io.submit(sqes[i]);
    }
    const Status compare = bob_->io.wait(sqes[0].command_id).status();
    const Status write = bob_->io.wait(sqes[1].command_id).status();
    EXPECT_FALSE(ok(compare) || ok(write));
    return ok(compare) ? write : compare == Status::kFailedFused ? write : compare;
  };
  acquire(*alice_, 0xa, kWriteExclusive);
  EXPECT_FALSE(conflicts(IoOpcode::kVerify));
  EXPECT_TRUE(conflicts(IoOpcode::kCopy));
  EXPECT_TRUE(conflicts(IoOpcode::kWriteUncorrectable));
  EXPECT_STATUS(fused(), dnr(Status::kReservationConflict));
  EXPECT_STATUS(run(*alice_, IoOpcode::kReservationRelease, kWriteExclusive << 8, 0xa),
                Status::kSuccess);
  EXPECT_FALSE(conflicts(IoOpcode::kCopy));
  acquire(*alice_, 0xa, kExclusiveAccess);
  EXPECT_TRUE(conflicts(IoOpcode::kVerify));
  EXPECT_STATUS(fused(), dnr(Status::kReservationConflict));
}

// A format of all is refused if one namespace refuses it, and formats none.
TEST_F(ReservationCommands, FormatOfAnotherHost) {
  serve();
  register_both();
  alice_->io.fill(0, 4096, 5);
  EXPECT_STATUS(io(*alice_, IoOpcode::kWrite, 2), Status::kSuccess);
  acquire(*alice_, 0xa, kWriteExclusive);
  const auto format = [&](Host& host, uint32_t nsid) {
    nvme::Sqe sqe = host.admin.admin(AdminOpcode::kFormat);
    sqe.nsid = nsid;
    return host.admin.execute(sqe).status();
  };
  EXPECT_STATUS(format(*bob_, 1), dnr(Status::kReservationConflict));
  EXPECT_STATUS(format(*bob_, nvme::kBroadcastNsid), dnr(Status::kReservationConflict));
  EXPECT_STATUS(io(*bob_, IoOpcode::kRead, 2), Status::kSuccess);
  EXPECT_TRUE(bob_->io.holds(0, 4096, 5));
  EXPECT_STATUS(format(*bob_, 2), Status::kSuccess);
  EXPECT_STATUS(format(*alice_, nvme::kBroadcastNsid), Status::kSuccess);
}

TEST_F(ReservationCommands, KeysInTheCapsuleAndWrongLengths) {
  serve();
  nvme::ReservationKeys keys;
  keys.other = 0xa;
  nvme::Sqe sqe = command(*alice_, IoOpcode::kReservationRegister, 0, 0);
  sqe.sgl = SglDescriptor::in_capsule(0, 16);
  EXPECT_STATUS(alice_->io.execute(sqe, nvme::bytes_of(keys)).status(), Status::kSuccess);
  sqe = command(*alice_, IoOpcode::kReservationAcquire, 1 << 8, 0xa);
  sqe.sgl = SglDescriptor::keyed(alice_->io.buffer(kAt, 8), false);
  EXPECT_STATUS(alice_->io.execute(sqe).status(), dnr(Status::kSglDataLength));
  sqe = command(*alice_, IoOpcode::kReservationReport, 31, 0);
  sqe.sgl = SglDescriptor::keyed(alice_->io.buffer(kAt, 128), false);
  EXPECT_STATUS(alice_->io.execute(sqe).status(), dnr(Status::kHostIdInconsistent));
  sqe.command_id = alice_->io.next_id++;
  sqe.cdw11 = nvme::kExtendedReport;
  EXPECT_STATUS(alice_->io.execute(sqe).status(), Status::kSuccess);
  const auto report =
      nvme::read_struct<nvme_resv_status>(std::span(alice_->io.memory).subspan(kAt));
  EXPECT_EQ(report.gen, 1u);
  EXPECT_EQ(report.regctl[0], 1);
  EXPECT_EQ(alice_->io.memory[kAt + 64 + 8], std::byte{0xa});
}

TEST_F(ReservationCommands, RegistrantsHearOfIt) {
  serve();
  register_both();
  acquire(*alice_, 0xa, kRegistrantsOnly);
  nvme::Sqe wait = bob_->admin.admin(AdminOpcode::kAsyncEventRequest);
  bob_->admin.submit(wait);
  EXPECT_STATUS(run(*alice_, IoOpcode::kReservationRelease, kRegistrantsOnly << 8, 0xa),
                Status::kSuccess);
  const nvme::Cqe event = bob_->admin.wait(wait.command_id);
  EXPECT_EQ(uint64_t(event.result), 0x800006u);
  // The second notice waits in the log; its event is masked until the log was read.
  EXPECT_STATUS(run(*alice_, IoOpcode::kReservationRelease, 1, 0xa), Status::kSuccess);  // clear
  nvme_resv_notification_log page = log_page(*bob_);
  EXPECT_EQ(page.rnlpt, NVME_RESV_NOTIFY_RNLPT_RESERVATION_RELEASED);
  EXPECT_EQ(page.nalp, 1);
  EXPECT_EQ(page.nsid, 1u);
  EXPECT_EQ(page.lpc, 1u);
  page = log_page(*bob_);
  EXPECT_EQ(page.rnlpt, NVME_RESV_NOTIFY_RNLPT_RESERVATION_PREEMPTED);
  EXPECT_EQ(page.lpc, 2u);
  EXPECT_EQ(page.nalp, 0);
  EXPECT_EQ(log_page(*bob_).rnlpt, NVME_RESV_NOTIFY_RNLPT_EMPTY);
  EXPECT_EQ(log_page(*alice_).rnlpt, NVME_RESV_NOTIFY_RNLPT_EMPTY) << "it did that itself";
}

TEST_F(ReservationCommands, NoticesCanBeMasked) {
  serve();
  register_both();
  const uint32_t kMask = NVME_FEAT_FID_RESV_MASK;
  EXPECT_STATUS(feature(*bob_, AdminOpcode::kSetFeatures, kMask, 1, 1).status(),
                dnr(Status::kInvalidField));
  EXPECT_STATUS(feature(*bob_, AdminOpcode::kSetFeatures, kMask, 9, 2).status(),
                dnr(Status::kInvalidNamespace));
  EXPECT_STATUS(feature(*bob_, AdminOpcode::kSetFeatures, kMask, nvme::kBroadcastNsid, 2).status(),
                Status::kSuccess);
  EXPECT_EQ(uint64_t(feature(*bob_, AdminOpcode::kGetFeatures, kMask, 2).result), 2u);
  EXPECT_STATUS(feature(*bob_, AdminOpcode::kGetFeatures, kMask, nvme::kBroadcastNsid).status(),
                dnr(Status::kInvalidNamespace));
  EXPECT_STATUS(run(*alice_, IoOpcode::kReservationAcquire, 1, 0xa, 0xb), Status::kSuccess);
  EXPECT_EQ(log_page(*bob_).rnlpt, NVME_RESV_NOTIFY_RNLPT_EMPTY);
}

// A write that the store still has when its host is fenced ends first.
TEST_F(ReservationCommands, PreemptAndAbortWaitsForOutstandingCommands) {
  serve();
  register_both();
  acquire(*bob_, 0xb, kWriteExclusive);
  world_->faults->add({.op = storage::Op::kWrite, .delay = seconds(2), .times = 1});
  const nvme::Sqe write = bob_->io.io(IoOpcode::kWrite, 0, 1);
  bob_->io.submit(write);
  world_->run_for(milliseconds(1));
  const nvme::Sqe preempt =
      command(*alice_, IoOpcode::kReservationAcquire, 2 | kWriteExclusive << 8, 0xa, 0xb);
  alice_->io.submit(preempt);
  world_->run_for(milliseconds(50));
  EXPECT_FALSE(alice_->io.answers.contains(preempt.command_id));
  EXPECT_STATUS(io(*bob_, IoOpcode::kWrite), dnr(Status::kReservationConflict));
  EXPECT_STATUS(alice_->io.wait(preempt.command_id).status(), Status::kSuccess);
  EXPECT_TRUE(world_->until([&] { return bob_->io.answers.contains(write.command_id); }, 1000));
  EXPECT_EQ(log_page(*bob_).rnlpt, NVME_RESV_NOTIFY_RNLPT_REGISTRATION_PREEMPTED);
}

// A store that hangs holds the fence no longer than an Abort; nobody passes the late write.
TEST_F(ReservationCommands, PreemptAndAbortOfAHungWrite) {
  serve();
  register_both();
  const Nanoseconds began = world_->reactor.now();
  world_->faults->add({.op = storage::Op::kWrite, .delay = seconds(100), .times = 1});
  bob_->io.fill(0, 4096, 1);
  const nvme::Sqe write = bob_->io.io(IoOpcode::kWrite, 0, 1);
  bob_->io.submit(write);
  world_->run_for(milliseconds(1));
  EXPECT_STATUS(run(*alice_, IoOpcode::kReservationAcquire, 2, 0xa, 0xb), Status::kSuccess);
  EXPECT_LE(world_->reactor.now() - began, engine::kAbortPatience + 3 * engine::kTick);
  EXPECT_STATUS(bob_->io.wait(write.command_id).status(), Status::kPreempted);
  alice_->io.fill(0, 4096, 2);
  const nvme::Sqe newer = alice_->io.io(IoOpcode::kWrite, 0, 1);
  alice_->io.submit(newer);
  world_->run_for(seconds(1));
  EXPECT_FALSE(alice_->io.answers.contains(newer.command_id));
  world_->run_for(seconds(100));
  EXPECT_STATUS(alice_->io.wait(newer.command_id).status(), Status::kSuccess);
  EXPECT_STATUS(alice_->io.execute(alice_->io.io(IoOpcode::kRead, 0, 1, 8192)).status(),
                Status::kSuccess);
  EXPECT_TRUE(alice_->io.holds(8192, 4096, 2));
}

// What a limit holds back has not begun: it ends at once, or meets the reservation when its turn
// comes.
TEST_F(ReservationCommands, HeldCommandsArePreemptedOrConflict) {
  limits_ = {{.rw_ios_per_sec = 1}};
  serve();
  register_both();
  EXPECT_STATUS(io(*bob_, IoOpcode::kWrite), Status::kSuccess);
  const nvme::Sqe first = bob_->io.io(IoOpcode::kWrite, 0, 1);
  bob_->io.submit(first);
  world_->run_for(milliseconds(1));
  const Nanoseconds began = world_->reactor.now();
  EXPECT_STATUS(run(*alice_, IoOpcode::kReservationAcquire, 2 | kWriteExclusive << 8, 0xa, 0xb),
                Status::kSuccess)
      << "it is not held back itself";
  EXPECT_STATUS(bob_->io.wait(first.command_id).status(), Status::kPreempted);
  const nvme::Sqe second = bob_->io.io(IoOpcode::kWrite, 0, 1);
  bob_->io.submit(second);
  world_->run_for(milliseconds(1));
  acquire(*alice_, 0xa, kWriteExclusive);
  EXPECT_LT(world_->reactor.now() - began, milliseconds(500));
  EXPECT_STATUS(bob_->io.wait(second.command_id).status(), dnr(Status::kReservationConflict));
}

TEST_F(ReservationCommands, AHostThatLeavesWhileItWaitsIsForgotten) {
  serve();
  register_both();
  world_->faults->add({.op = storage::Op::kWrite, .delay = milliseconds(200), .times = 1});
  bob_->io.submit(bob_->io.io(IoOpcode::kWrite, 0, 1));
  world_->run_for(milliseconds(1));
  alice_->io.submit(command(*alice_, IoOpcode::kReservationAcquire, 2, 0xa, 0xb));
  world_->run_for(milliseconds(1));
  alice_.reset();
  world_->run_for(seconds(1));
  EXPECT_STATUS(run(*bob_, IoOpcode::kReservationAcquire, 1 << 8, 0xb),
                dnr(Status::kReservationConflict));
}

TEST_F(ReservationCommands, WhatPersistsOutlivesTheProcess) {
  state_dir_ = ::testing::TempDir() + "/reservation_commands_test";
  std::filesystem::remove_all(state_dir_);
  std::filesystem::create_directory(state_dir_);
  serve();
  const uint32_t kPtpl = NVME_FEAT_FID_RESV_PERSIST;
  EXPECT_STATUS(run(*alice_, IoOpcode::kReservationRegister, kPersist, 0, 0xa), Status::kSuccess);
  EXPECT_EQ(uint64_t(feature(*bob_, AdminOpcode::kGetFeatures, kPtpl, 1).result), 1u);
  EXPECT_EQ(uint64_t(feature(*bob_, AdminOpcode::kGetFeatures, kPtpl, 2).result), 0u);
  acquire(*alice_, 0xa, kWriteExclusive);
  end();
  serve();
  expect_may(*alice_, true, true);
  expect_may(*bob_, true, false);
  // A host may end that for all.
  EXPECT_STATUS(feature(*bob_, AdminOpcode::kSetFeatures, kPtpl, nvme::kBroadcastNsid).status(),
                Status::kSuccess);
  end();
  serve();
  expect_may(*bob_, true, true);
  EXPECT_STATUS(feature(*bob_, AdminOpcode::kSetFeatures, kPtpl, 2, 1).status(), Status::kSuccess);
  EXPECT_STATUS(feature(*bob_, AdminOpcode::kSetFeatures, kPtpl, 2, 2).status(),
                dnr(Status::kInvalidField));
}

TEST_F(ReservationCommands, WithoutAStateDirectoryNothingPersists) {
  serve();
  EXPECT_STATUS(run(*alice_, IoOpcode::kReservationRegister, kPersist, 0, 0xa),
                dnr(Status::kInvalidField));
  EXPECT_STATUS(
      feature(*alice_, AdminOpcode::kSetFeatures, NVME_FEAT_FID_RESV_PERSIST, 1, 1).status(),
      dnr(Status::kInvalidField));
}

// A reload that leaves the store where it is leaves its reservations.
TEST_F(ReservationCommands, AReloadKeepsThem) {
  serve();
  register_both();
  acquire(*alice_, 0xa, kExclusiveAccess);
  world_->serve({"ram:1MiB,name=one"}, true);
  EXPECT_STATUS(io(*bob_, IoOpcode::kRead), dnr(Status::kReservationConflict));
  EXPECT_STATUS(io(*alice_, IoOpcode::kRead), Status::kSuccess);
}

// At whatever moment of the command: on its way, with its keys on their way, aside.
TEST_F(ReservationCommands, ANamespaceThatGoesWhileKeysComeIsInvalid) {
  bool early = false, late = false;
  for (int steps = 0; steps < 400 && !(early && late); steps += 3) {
    serve();
    const nvme::Sqe sqe = command(*alice_, IoOpcode::kReservationRegister, 0, 0, 0xa);
    alice_->io.submit(sqe);
    for (int i = 0; i < steps; ++i) world_->reactor.step();
    world_->uuids = {Uuid{2}};
    world_->serve({"ram:1MiB,name=two"}, true);
    nvme::Sqe flush = alice_->io.io(IoOpcode::kFlush, 0, 1, 0, 1);
    flush.sgl = SglDescriptor::keyed({}, false);
    alice_->io.execute(flush);
    const nvme::Status status = alice_->io.wait(sqe.command_id).status();
    early |= status == dnr(Status::kInvalidNamespace);
    late |= status == Status::kSuccess;
    end();
  }
  EXPECT_TRUE(early);
  EXPECT_TRUE(late);
}

}  // namespace
}  // namespace mrpool::nvmf_target::testing
