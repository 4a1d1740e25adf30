// Reservation commands against one namespace's state, without queues.
#include "examples/nvmf/target/reservations.h"

#include <filesystem>
#include <thread>

#include "tests/unit/examples/nvmf/target/logic_fixture.h"

namespace mrpool::nvmf_target {
namespace {

using nvme::AcquireAction;
using nvme::ChangePersistence;
using nvme::IoOpcode;
using nvme::RegisterAction;
using nvme::ReleaseAction;
using nvme::Status;
using reservation::Access;
using testing::dnr;
using testing::name;

constexpr HostId kAlice{1}, kBob{2}, kCarol{3};
constexpr uint32_t kWriteExclusive = 1, kExclusiveAccess = 2, kBadType = 7;

class ReservationsTest : public ::testing::Test {
 protected:
  ReservationsTest()
      : reservations([this](const std::string& state) {
          saved = state;
          return save_status;
        }) {}

  Status run(const HostId& host, IoOpcode opcode, uint32_t cdw10, uint64_t current,
             uint64_t other = 0) {
    ReservationRequest request{.opcode = opcode, .cdw10 = cdw10, .keys = {}};
    request.keys.current = current;
    request.keys.other = other;
    last = reservations.run(request, host);
    return last.status;
  }
  Status register_key(const HostId& host, RegisterAction action, uint64_t current, uint64_t key,
                      bool ignore = false, ChangePersistence change = ChangePersistence::kNone) {
    return run(host, IoOpcode::kReservationRegister,
               uint32_t(action) | (ignore ? nvme::kIgnoreExistingKey : 0) | uint32_t(change) << 30,
               current, key);
  }
  Status acquire(const HostId& host, AcquireAction action, uint64_t key, uint32_t type,
                 uint64_t victim = 0) {
    return run(host, IoOpcode::kReservationAcquire, uint32_t(action) | type << 8, key, victim);
  }
  Status release(const HostId& host, ReleaseAction action, uint64_t key, uint32_t type) {
    return run(host, IoOpcode::kReservationRelease, uint32_t(action) | type << 8, key);
  }
  void register_both() {
    EXPECT_STATUS(register_key(kAlice, RegisterAction::kRegister, 0, 0xa), Status::kSuccess);
    EXPECT_STATUS(register_key(kBob, RegisterAction::kRegister, 0, 0xb), Status::kSuccess);
  }
  nvme_resv_status report() const {
    return nvme::read_struct<nvme_resv_status>(reservations.report());
  }
  uint16_t registered() const {
    const nvme_resv_status status = report();
    return uint16_t(status.regctl[0] | status.regctl[1] << 8);
  }

  std::string saved;
  absl::Status save_status;
  Reservations reservations;
  Reservations::Answer last;
};

TEST_F(ReservationsTest, RegisterReplaceUnregister) {
  const Status conflict = dnr(Status::kReservationConflict);
  EXPECT_STATUS(register_key(kAlice, RegisterAction::kRegister, 0, 0), dnr(Status::kInvalidField));
  EXPECT_STATUS(register_key(kAlice, RegisterAction::kRegister, 99, 0xa), Status::kSuccess);
  EXPECT_STATUS(register_key(kAlice, RegisterAction::kRegister, 0, 0xa), Status::kSuccess);
  EXPECT_STATUS(register_key(kAlice, RegisterAction::kRegister, 0xa, 0xaa), conflict);
  EXPECT_STATUS(register_key(kAlice, RegisterAction::kReplace, 0xb, 0xaa), conflict);
  EXPECT_STATUS(register_key(kAlice, RegisterAction::kReplace, 0xa, 0), dnr(Status::kInvalidField));
  EXPECT_STATUS(register_key(kAlice, RegisterAction::kReplace, 0xa, 0xaa), Status::kSuccess);
  EXPECT_STATUS(register_key(kBob, RegisterAction::kReplace, 0, 0xb), conflict);
  // Who ignores keys need not be registered.
  EXPECT_STATUS(register_key(kBob, RegisterAction::kReplace, 0, 0xb, true), Status::kSuccess);
  EXPECT_EQ(registered(), 2);
  EXPECT_EQ(nvme::le(uint32_t(report().gen)), 4u);
  EXPECT_STATUS(register_key(kBob, RegisterAction::kUnregister, 0xc, 0), conflict);
  EXPECT_STATUS(register_key(kBob, RegisterAction::kUnregister, 0xc, 0, true), Status::kSuccess);
  EXPECT_STATUS(register_key(kBob, RegisterAction::kUnregister, 0, 0, true), conflict);
  EXPECT_STATUS(register_key(kAlice, RegisterAction(3), 0xaa, 1), dnr(Status::kInvalidField));
  EXPECT_EQ(registered(), 1);
}

TEST_F(ReservationsTest, AHostWithoutIdentifierHasNone) {
  EXPECT_STATUS(register_key(HostId{}, RegisterAction::kRegister, 0, 1),
                dnr(Status::kHostIdInconsistent));
}

TEST_F(ReservationsTest, AcquireAndRelease) {
  register_both();
  const Status conflict = dnr(Status::kReservationConflict);
  const Status invalid = dnr(Status::kInvalidField);
  EXPECT_EQ(reservations.held(), 0u);
  EXPECT_STATUS(acquire(kCarol, AcquireAction::kAcquire, 1, kWriteExclusive), conflict);
  EXPECT_STATUS(acquire(kAlice, AcquireAction::kAcquire, 0xb, kWriteExclusive), conflict);
  EXPECT_STATUS(acquire(kAlice, AcquireAction::kAcquire, 0xa, 0), invalid);
  EXPECT_STATUS(acquire(kAlice, AcquireAction::kAcquire, 0xa, kBadType), invalid);
  EXPECT_STATUS(acquire(kAlice, AcquireAction(3), 0xa, kWriteExclusive), invalid);
  EXPECT_STATUS(run(kAlice, IoOpcode::kReservationAcquire, 1 << 8 | 1 << 3, 0xa), invalid);
  EXPECT_STATUS(acquire(kAlice, AcquireAction::kAcquire, 0xa, kWriteExclusive), Status::kSuccess);
  EXPECT_STATUS(acquire(kAlice, AcquireAction::kAcquire, 0xa, kWriteExclusive), Status::kSuccess);
  EXPECT_STATUS(acquire(kAlice, AcquireAction::kAcquire, 0xa, kExclusiveAccess), conflict);
  EXPECT_STATUS(acquire(kBob, AcquireAction::kAcquire, 0xb, kWriteExclusive), conflict);
  EXPECT_NE(reservations.held(), 0u);
  EXPECT_TRUE(reservations.rights(kAlice).allow(Access::kWrite));
  EXPECT_TRUE(reservations.rights(kBob).allow(Access::kRead));
  EXPECT_FALSE(reservations.rights(kBob).allow(Access::kWrite));
  EXPECT_EQ(report().rtype, kWriteExclusive);
  EXPECT_STATUS(release(kBob, ReleaseAction::kRelease, 0xb, kWriteExclusive), Status::kSuccess);
  EXPECT_NE(reservations.held(), 0u);  // not the holder's: nothing happens
  EXPECT_STATUS(release(kAlice, ReleaseAction::kRelease, 0xa, kExclusiveAccess), invalid);
  EXPECT_STATUS(release(kAlice, ReleaseAction(2), 0xa, kWriteExclusive), invalid);
  EXPECT_STATUS(release(kAlice, ReleaseAction::kRelease, 0xa, kWriteExclusive), Status::kSuccess);
  EXPECT_EQ(reservations.held(), 0u);
}

TEST_F(ReservationsTest, EveryTypeIsReportedByItsNumber) {
  register_both();
  for (uint32_t type = 1; type <= 6; ++type) {
    EXPECT_STATUS(acquire(kAlice, AcquireAction::kAcquire, 0xa, type), Status::kSuccess);
    EXPECT_EQ(report().rtype, type);
    EXPECT_STATUS(release(kAlice, ReleaseAction::kRelease, 0xa, type), Status::kSuccess);
  }
}

TEST_F(ReservationsTest, PreemptAndAbortNamesTheFencedHosts) {
  register_both();
  EXPECT_STATUS(acquire(kBob, AcquireAction::kAcquire, 0xb, kExclusiveAccess), Status::kSuccess);
  EXPECT_STATUS(acquire(kAlice, AcquireAction::kPreempt, 0xa, kExclusiveAccess, 0xc),
                dnr(Status::kReservationConflict));
  EXPECT_STATUS(acquire(kAlice, AcquireAction::kPreemptAndAbort, 0xa, kWriteExclusive, 0xb),
                Status::kSuccess);
  ASSERT_EQ(last.fenced.size(), 1u);
  EXPECT_EQ(last.fenced[0], registrant(kBob));
  ASSERT_EQ(last.notices.size(), 1u);
  EXPECT_EQ(last.notices[0].event, reservation::Event::kRegistrationPreempted);
  EXPECT_TRUE(reservations.rights(kAlice).allow(Access::kWrite));
  EXPECT_FALSE(reservations.rights(kBob).allow(Access::kWrite));
}

TEST_F(ReservationsTest, TheReportNamesHosts) {
  register_both();
  EXPECT_STATUS(acquire(kBob, AcquireAction::kAcquire, 0xb, kExclusiveAccess), Status::kSuccess);
  const std::vector<std::byte> data = reservations.report();
  ASSERT_EQ(data.size(), 64u * 3);
  const auto bob = nvme::read_struct<nvme_registered_ctrl_ext>(std::span(data).subspan(128));
  EXPECT_EQ(bob.cntlid, 0xffff);
  EXPECT_EQ(bob.rcsts, 1);
  EXPECT_EQ(nvme::le(uint64_t(bob.rkey)), 0xbu);
  EXPECT_TRUE(std::equal(kBob.begin(), kBob.end(), bob.hostid));
}

TEST_F(ReservationsTest, PersistentStateIsSavedFirst) {
  EXPECT_STATUS(register_key(kAlice, RegisterAction::kRegister, 0, 0xa), Status::kSuccess);
  EXPECT_EQ(saved, "");
  EXPECT_STATUS(
      register_key(kBob, RegisterAction::kRegister, 0, 0xb, false, ChangePersistence::kReserved),
      dnr(Status::kInvalidField));
  EXPECT_STATUS(
      register_key(kBob, RegisterAction::kRegister, 0, 0xb, false, ChangePersistence::kSet),
      Status::kSuccess);
  EXPECT_EQ(report().ptpls, 1);
  EXPECT_NE(saved.find(registrant(kAlice)), std::string::npos);
  save_status = absl::InternalError("disk full");
  EXPECT_STATUS(acquire(kAlice, AcquireAction::kAcquire, 0xa, kExclusiveAccess), Status::kInternal);
  EXPECT_EQ(reservations.held(), 0u);  // what could not be kept did not happen
  save_status = absl::OkStatus();
  EXPECT_STATUS(reservations.set_persistent(false), Status::kSuccess);
  EXPECT_EQ(saved, "");
  EXPECT_EQ(report().ptpls, 0);
}

TEST(Reservations, WithoutAPlaceNothingPersists) {
  Reservations reservations;
  ReservationRequest request{.opcode = IoOpcode::kReservationRegister,
                             .cdw10 = uint32_t(ChangePersistence::kSet) << 30,
                             .keys = {}};
  request.keys.other = 1;
  EXPECT_STATUS(reservations.run(request, kAlice).status, dnr(Status::kInvalidField));
  EXPECT_STATUS(reservations.set_persistent(true), dnr(Status::kInvalidField));
  EXPECT_STATUS(reservations.set_persistent(false), Status::kSuccess);
}

TEST(Reservations, AFileOfThem) {
  const std::string path = ::testing::TempDir() + "/reservations_test_pr";
  std::filesystem::remove(path);
  ReservationRequest request{.opcode = IoOpcode::kReservationRegister,
                             .cdw10 = uint32_t(ChangePersistence::kSet) << 30,
                             .keys = {}};
  request.keys.other = 5;
  {
    auto first = Reservations::open(path);
    ASSERT_TRUE(first.ok()) << first.status();
    EXPECT_STATUS((*first)->run(request, kAlice).status, Status::kSuccess);
    request.opcode = IoOpcode::kReservationAcquire;
    request.cdw10 = kExclusiveAccess << 8;
    request.keys.current = 5;
    EXPECT_STATUS((*first)->run(request, kAlice).status, Status::kSuccess);
  }
  auto second = Reservations::open(path);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_NE((*second)->held(), 0u);
  EXPECT_TRUE((*second)->rights(kAlice).write);
  EXPECT_FALSE((*second)->rights(kBob).read);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 3);
  const auto torn = Reservations::open(path);
  EXPECT_EQ(torn.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(torn.status().message().find(path), std::string::npos);
  std::filesystem::remove(path);
}

// Checks by many threads while others change what they check: what a thread concludes from one
// number belongs to that number.
TEST(Reservations, ChecksAndChangesAtOnce) {
  Reservations reservations;
  const auto change = [&](const HostId& host) {
    for (int i = 0; i < 500; ++i) {
      const auto run = [&](IoOpcode opcode, uint32_t cdw10, uint64_t current, uint64_t other) {
        ReservationRequest request{.opcode = opcode, .cdw10 = cdw10, .keys = {}};
        request.keys.current = current;
        request.keys.other = other;
        (void)reservations.run(request, host);
      };
      run(IoOpcode::kReservationRegister, 0, 0, host[0]);
      run(IoOpcode::kReservationAcquire, kExclusiveAccess << 8, host[0], 0);
      run(IoOpcode::kReservationRegister, 1, host[0], 0);
    }
  };
  std::atomic<bool> stop{false};
  const auto look = [&] {
    Reservations::Rights alice, bob;
    while (!stop.load()) {
      const uint64_t held = reservations.held();
      if (held == 0) continue;
      alice = reservations.rights(kAlice);
      bob = reservations.rights(kBob);
      // Of one moment: an exclusive reservation is one host's.
      if (alice.held == bob.held && alice.held != 0) {
        EXPECT_NE(alice.write, bob.write);
      }
    }
  };
  std::thread looks[] = {std::thread(look), std::thread(look)};
  std::thread changes[] = {std::thread(change, kAlice), std::thread(change, kBob)};
  for (std::thread& each : changes) each.join();
  stop.store(true);
  for (std::thread& each : looks) each.join();
  EXPECT_EQ(reservations.held(), 0u);
}

// One gateway decides, another goes on from what it has kept.
TEST_F(ReservationsTest, AnotherGatewayTakesOver) {
  std::string kept;
  absl::Status keeps;
  const auto save = [&](const std::string& state) {
    if (keeps.ok()) kept = state;
    return keeps;
  };
  Reservations first(save, {}, Reservations::Keeps::kAll);
  const auto run_at = [](Reservations& at, IoOpcode opcode, uint32_t cdw10, uint64_t current,
                         uint64_t other) {
    ReservationRequest request{.opcode = opcode, .cdw10 = cdw10, .keys = {}};
    request.keys.current = current;
    request.keys.other = other;
    return at.run(request, kAlice).status;
  };
  EXPECT_STATUS(run_at(first, IoOpcode::kReservationRegister, 0, 0, 0xa), Status::kSuccess);
  EXPECT_STATUS(run_at(first, IoOpcode::kReservationAcquire, kWriteExclusive << 8, 0xa, 0),
                Status::kSuccess);
  EXPECT_FALSE(first.persistent()) << "nothing asks for a file";
  Reservations second(save, {}, Reservations::Keeps::kAll);
  EXPECT_EQ(second.held(), 0u);
  EXPECT_TRUE(second.take_over(kept).ok());
  EXPECT_NE(second.held(), 0u);
  EXPECT_TRUE(second.rights(kAlice).write);
  EXPECT_FALSE(second.rights(kBob).write);
  // The first one is not the owner any more: nothing changes there, and the host asks elsewhere.
  keeps = absl::AbortedError("another owner");
  EXPECT_STATUS(run_at(first, IoOpcode::kReservationRelease, kWriteExclusive << 8, 0xa, 0),
                Status::kAnaInaccessible);
  EXPECT_NE(first.held(), 0u);
  EXPECT_TRUE(absl::IsDataLoss(second.take_over("nonsense")));
  EXPECT_FALSE(second.rights(kBob).write) << "unchanged";
  EXPECT_TRUE(second.take_over("").ok());
  EXPECT_EQ(second.held(), 0u);
}

}  // namespace
}  // namespace mrpool::nvmf_target
