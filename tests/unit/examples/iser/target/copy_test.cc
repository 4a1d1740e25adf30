// EXTENDED COPY of a session: what is copied, what refuses it, and what ends it.
#include <algorithm>

#include "tests/unit/examples/iser/target/hung_store_fixture.h"
#include "tests/unit/examples/protocol/scsi/copy_list.h"

namespace mrpool::iser_target {
namespace {

using scsi::CopyListBuilder;
using scsi::Sense;
using scsi::Status;
using std::chrono::milliseconds;

constexpr const char* kFirst = "ram:2MiB,name=first";
constexpr const char* kSecond = "ram:2MiB,name=second";
constexpr const char* kLarge = "ram:2MiB,name=large,bs=4096";
constexpr const char* kKept = "ram:2MiB,name=kept";
constexpr uint16_t kPartBlocks = kCopyPart / 512;

class Copies : public HungStoreTest {
 protected:
  Copies() {
    EXPECT_TRUE(apply({kFirst, kSecond, kLarge, kKept}).ok());
    std::span<std::byte> memory = stores[kFirst]->memory();
    for (size_t i = 0; i < memory.size(); ++i) memory[i] = std::byte(i / 512 + i / 131072);
  }

  // The units of these LUNs, in this order.
  CopyListBuilder list(std::initializer_list<uint16_t> luns,
                       const scsi::CopyListOptions& options = {}) {
    CopyListBuilder builder(options);
    const auto table = site->find(kDisk)->units();
    for (const uint16_t lun : luns) builder.unit(table->units.at(lun)->logical.facts().naa);
    return builder;
  }
  // Sends it to LUN 0; the first part is copied when this returns.
  uint32_t send(Connection& connection, const CopyListBuilder& builder) {
    const std::string text = builder.text();
    scsi::Cdb cdb{0x83};
    be::store32(&cdb[10], uint32_t(text.size()));
    auto pdu = scsi(cdb, uint32_t(text.size()), true);
    pdu.data_length = uint32_t(text.size());
    deliver(connection, pdu, text, kWriteKey);
    return pdu.task_tag;
  }
  struct Answer {
    uint8_t status = 0xff;
    Sense sense{};
  };
  Answer answer(Connection& connection) {
    run_for(milliseconds(1));
    const auto message = take();
    EXPECT_EQ(op(message), iscsi::Op::kScsiResponse);
    settle(connection);
    Answer result{.status = iscsi::ScsiResponse::decode(bhs(message)).status};
    const auto bytes = data(message);
    if (bytes.size() < 2) return result;
    const auto* from = reinterpret_cast<const uint8_t*>(bytes.data()) + 2;
    result.sense = scsi::decode_sense({from, bytes.size() - 2}).value_or(scsi::kNoSense);
    return result;
  }
  Answer copy(Connection& connection, const CopyListBuilder& builder) {
    send(connection, builder);
    return answer(connection);
  }
  void expect_idle(const Connection& connection) {
    EXPECT_TRUE(connection.idle());
    for (const auto& task : link.tasks) EXPECT_EQ(task->chunk_count, 0u);
    const auto table = site->find(kDisk)->units();
    for (const auto& [lun, unit] : table->units) EXPECT_TRUE(unit->volume->gate().empty());
  }
  bool equal(const char* from, uint64_t at, const char* to, uint64_t into, uint64_t bytes) {
    return std::ranges::equal(stores[from]->memory().subspan(at, bytes),
                              stores[to]->memory().subspan(into, bytes));
  }
  bool untouched(const char* store, uint64_t from = 0) {
    return std::ranges::all_of(stores[store]->memory().subspan(from),
                               [](std::byte byte) { return byte == std::byte{}; });
  }
  // Three parts from LUN 0 to LUN 1.
  CopyListBuilder long_copy() {
    return list({0, 1}).segment({.destination = 1, .blocks = 3 * kPartBlocks});
  }
};

TEST_F(Copies, SegmentsBetweenUnits) {
  Connection& connection = log_in();
  CopyListBuilder builder = list({0, 1, 2});
  builder.segment(
      {.source = 0, .destination = 1, .blocks = 1025, .source_lba = 3, .destination_lba = 7});
  builder.segment(
      {.source = 1, .destination = 2, .blocks = 16, .source_lba = 7, .destination_lba = 2});
  EXPECT_EQ(copy(connection, builder).status, 0);
  EXPECT_TRUE(equal(kFirst, 3 * 512, kSecond, 7 * 512, 1025 * 512));
  EXPECT_TRUE(equal(kFirst, 3 * 512, kLarge, 2 * 4096, 2 * 4096));
  EXPECT_TRUE(untouched(kSecond, 1032 * 512));
  EXPECT_EQ(site->totals().copies, 1u);
  EXPECT_EQ(site->totals().bytes_written, (1025 + 16) * 512u);
  expect_idle(connection);
  // RECEIVE COPY STATUS.
  EXPECT_EQ(command(connection, {0x84, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12}, 12).status, 0);
  EXPECT_EQ(link.pushed[4], std::byte{1});
  EXPECT_EQ(link.pushed[6], std::byte{2});
}

TEST_F(Copies, OverlappingBlocksOfOneUnit) {
  Connection& connection = log_in();
  const auto before = stores[kFirst]->memory().subspan(0, 1 << 20);
  const std::vector<std::byte> source(before.begin(), before.end());
  EXPECT_EQ(copy(connection, list({0}).segment({.blocks = 2048, .destination_lba = 100})).status,
            0);
  EXPECT_TRUE(std::ranges::equal(stores[kFirst]->memory().subspan(100 * 512, 1 << 20), source));
}

TEST_F(Copies, OfNothing) {
  Connection& connection = log_in();
  EXPECT_EQ(copy(connection, list({0, 1})).status, 0);
  EXPECT_EQ(copy(connection, list({0, 1}).segment({.destination = 1})).status, 0);
  EXPECT_EQ(command(connection, {0x83}).status, 0);
  settle(connection);
  expect_idle(connection);
}

TEST_F(Copies, OtherTasksHaveTheirTurns) {
  Connection& connection = log_in();
  const uint32_t tag_of_copy = send(connection, long_copy());
  EXPECT_FALSE(untouched(kSecond));
  EXPECT_TRUE(untouched(kSecond, kCopyPart));
  EXPECT_EQ(command(connection, scsi::Cdb{}).status, 0);
  EXPECT_EQ(command(connection, {0x84, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12}, 12).status, 0);
  EXPECT_EQ(link.pushed[4], std::byte{0}) << "in progress";
  settle(connection);
  clock.step();
  EXPECT_FALSE(untouched(kSecond, kCopyPart));
  run_for(milliseconds(1));
  EXPECT_EQ(iscsi::ScsiResponse::decode(bhs(take())).task_tag, tag_of_copy);
  settle(connection);
  EXPECT_TRUE(equal(kFirst, 0, kSecond, 0, 3 * kCopyPart));
}

// --- What refuses it ---

TEST_F(Copies, UnitsThatTheInitiatorDoesNotSee) {
  constexpr const char* kOther = "iqn.2026-11.org.example:other";
  Config config;
  config.targets.push_back({.name = kDisk, .luns = {kFirst, kSecond}});
  config.targets.push_back({.name = kOther, .luns = {"ram:1MiB,name=hidden"}});
  for (TargetConfig& target : config.targets) {
    for (LunConfig& lun : target.luns) ASSERT_TRUE(take_own_options(lun).ok());
  }
  ASSERT_TRUE(site->apply(config).ok());
  Connection& connection = log_in();
  CopyListBuilder builder = list({0});
  builder.unit(site->find(kOther)->units()->units.at(0)->logical.facts().naa);
  builder.segment({.source = 0, .destination = 0, .blocks = 1, .destination_lba = 9});
  builder.segment({.source = 1, .destination = 0, .blocks = 1});
  const Answer refused = copy(connection, builder);
  EXPECT_EQ(refused.status, uint8_t(Status::kCheckCondition));
  EXPECT_TRUE(refused.sense.same_code(scsi::kCopyUnitNotReachable));
  EXPECT_EQ(refused.sense.segment, 1);
  EXPECT_EQ(refused.sense.field, 48);
  EXPECT_EQ(refused.sense.information, std::nullopt);
  // The segment before it is copied; RECEIVE COPY FAILURE DETAILS has the sense data.
  EXPECT_TRUE(equal(kFirst, 0, kFirst, 9 * 512, 512));
  EXPECT_EQ(command(connection, {0x84, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255}, 255).status, 0);
  const auto* details = reinterpret_cast<const uint8_t*>(link.pushed.data());
  EXPECT_EQ(details[56], uint8_t(Status::kCheckCondition));
  EXPECT_EQ(scsi::decode_sense({details + 60, be::load16(details + 58)}), refused.sense);
  settle(connection);
  expect_idle(connection);
}

TEST_F(Copies, WriteProtectionOfTheDestination) {
  Connection& connection = log_in();
  std::string control(16, '\0');  // MODE SELECT of the control page with SWP
  control[4] = 0x0a;
  control[5] = 10;
  control[6] = 0x02;
  control[7] = 0x10;
  control[8] = 0x08;
  control[9] = 0x40;
  control[12] = control[13] = '\xff';
  (void)attention(connection, 3);
  auto pdu = scsi({0x15, 0x10, 0, 0, 16}, 16, true);
  pdu.lun = scsi::encode_lun(3);
  pdu.data_length = 16;
  deliver(connection, pdu, control, kWriteKey);
  EXPECT_EQ(answer(connection).status, 0);
  const Answer refused = copy(connection, list({0, 3}).segment({.destination = 1, .blocks = 8}));
  EXPECT_TRUE(refused.sense.same_code(scsi::kThirdPartyFailure));
  EXPECT_EQ(refused.sense.forwarded.by, scsi::Forwarded::By::kDestination);
  EXPECT_EQ(refused.sense.forwarded.key, scsi::SenseKey::kDataProtect);
  EXPECT_EQ(copy(connection, list({3, 0}).segment({.destination = 1, .blocks = 8})).status, 0)
      << "it may be read";
}

TEST_F(Copies, AluaStatesOfTheOtherUnit) {
  Connection& connection = log_in();
  const auto table = site->find(kDisk)->units();
  for (const uint16_t lun : {0, 1}) {
    scsi::LogicalUnit& unit = table->units.at(lun)->logical;
    if (lun == 0) continue;  // the command itself goes there
    for (const auto state : {scsi::AccessState::kStandby, scsi::AccessState::kUnavailable,
                             scsi::AccessState::kTransitioning}) {
      unit.set_access(state);
      for (const bool source : {false, true}) {
        CopyListBuilder builder = list({0, 1});
        builder.segment({.source = uint16_t(source ? 1 : 0),
                         .destination = uint16_t(source ? 0 : 1),
                         .blocks = 8});
        const Answer refused = copy(connection, builder);
        EXPECT_TRUE(refused.sense.same_code(scsi::kCopyUnitNotReachable));
        EXPECT_EQ(refused.sense.field, 48);
      }
    }
    unit.set_access(scsi::AccessState::kNonOptimized);
    EXPECT_EQ(copy(connection, list({0, 1}).segment({.destination = 1, .blocks = 8})).status, 0);
  }
}

TEST_F(Copies, StorageErrors) {
  Connection& connection = log_in();
  faults->add({.op = storage::Op::kWrite,
               .offset = kCopyPart,
               .length = 1,
               .error = storage::Error::kNoSpace,
               .times = 1});
  const Answer failed = copy(connection, long_copy());
  EXPECT_TRUE(failed.sense.same_code(scsi::kThirdPartyFailure));
  EXPECT_EQ(failed.sense.information, 2u * kPartBlocks);
  EXPECT_EQ(failed.sense.forwarded.asc, 0x27);
  EXPECT_EQ(failed.sense.forwarded.ascq, 0x07);
  faults->add({.op = storage::Op::kRead, .error = storage::Error::kMediaRead, .times = 1});
  const Answer unread = copy(connection, long_copy());
  EXPECT_EQ(unread.sense.forwarded.by, scsi::Forwarded::By::kSource);
  EXPECT_EQ(unread.sense.forwarded.asc, 0x11);
  expect_idle(connection);
}

// --- What changes on the way ---

TEST_F(Copies, ALunIsRemoved) {
  Connection& connection = log_in();
  send(connection, long_copy());
  const std::shared_ptr<storage::Volume> second = stores[kSecond];
  ASSERT_TRUE(apply({kFirst}).ok());
  const Answer ended = answer(connection);
  EXPECT_TRUE(ended.sense.same_code(scsi::kCopyUnitNotReachable));
  EXPECT_EQ(ended.sense.information, 2u * kPartBlocks);
  EXPECT_TRUE(untouched(kSecond, kCopyPart));
  expect_idle(connection);
}

TEST_F(Copies, AUnitShrinks) {
  Connection& connection = log_in();
  send(connection, long_copy());
  site->find(kDisk)->units()->units.at(1)->logical.resize(2 * kPartBlocks);
  const Answer ended = answer(connection);
  EXPECT_TRUE(ended.sense.same_code(scsi::kThirdPartyFailure));
  EXPECT_EQ(ended.sense.forwarded.asc, scsi::kLbaOutOfRange.asc);
  EXPECT_EQ(ended.sense.information, 1u * kPartBlocks);
}

TEST_F(Copies, AReservationOfTheDestination) {
  Connection& connection = log_in();
  Connection& other = log_in({}, false, /*port=*/2);
  cmd_sn = 2;  // of the first
  send(connection, long_copy());
  cmd_sn = 2;
  const auto reserve = [&](uint8_t action, uint64_t key, uint64_t action_key, uint8_t type) {
    std::string parameters(24, '\0');
    be::store64(&parameters[0], key);
    be::store64(&parameters[8], action_key);
    auto pdu = scsi({0x5f, action, type, 0, 0, 0, 0, 0, 24}, 24, true);
    pdu.lun = scsi::encode_lun(1);
    pdu.data_length = 24;
    deliver(other, pdu, parameters, kWriteKey);
    const auto response = take();
    settle(other);
    return iscsi::ScsiResponse::decode(bhs(response)).status;
  };
  (void)reserve(0, 0, 7, 0);  // takes the unit attention
  EXPECT_EQ(reserve(0, 0, 7, 0), 0);
  EXPECT_EQ(reserve(1, 7, 0, /*write exclusive=*/1), 0);
  const Answer ended = answer(connection);
  EXPECT_TRUE(ended.sense.same_code(scsi::kThirdPartyFailure));
  EXPECT_EQ(ended.sense.forwarded.by, scsi::Forwarded::By::kDestination);
  EXPECT_EQ(ended.sense.forwarded.status, Status::kReservationConflict);
  EXPECT_TRUE(untouched(kSecond, kCopyPart));
}

// --- Task management ---

TEST_F(Copies, AbortTask) {
  Connection& connection = log_in();
  const uint32_t victim = send(connection, long_copy());
  deliver(connection, iscsi::TaskRequest{.function = iscsi::TaskFunction::kAbortTask,
                                         .task_tag = 900,
                                         .referenced_tag = victim});
  run_for(milliseconds(1));
  const auto done = take();
  EXPECT_EQ(op(done), iscsi::Op::kTaskResponse);
  EXPECT_EQ(iscsi::TaskResponse::decode(bhs(done)).response, iscsi::TaskResponse::kComplete);
  EXPECT_TRUE(link.out.empty());
  EXPECT_TRUE(untouched(kSecond, kCopyPart));
  expect_idle(connection);
}

// The initiator waits for the answer at LUN 0; the reset of LUN 1 does not end that silently.
TEST_F(Copies, AResetOfTheDestinationsLun) {
  Connection& connection = log_in();
  const uint32_t victim = send(connection, long_copy());
  const auto manage = [&](iscsi::TaskFunction function) {
    deliver(connection,
            iscsi::TaskRequest{.function = function, .lun = scsi::encode_lun(1), .task_tag = 900});
  };
  manage(iscsi::TaskFunction::kAbortTaskSet);
  EXPECT_EQ(op(take()), iscsi::Op::kTaskResponse) << "the copy is not in that task set";
  manage(iscsi::TaskFunction::kLogicalUnitReset);
  run_for(milliseconds(1));
  ASSERT_EQ(link.out.size(), 2u);
  for (int i = 0; i < 2; ++i) {
    const auto message = take();
    if (op(message) == iscsi::Op::kTaskResponse) continue;
    const auto response = iscsi::ScsiResponse::decode(bhs(message));
    EXPECT_EQ(response.status, uint8_t(Status::kTaskAborted));
    EXPECT_EQ(response.task_tag, victim);
  }
  settle(connection);
  EXPECT_TRUE(untouched(kSecond, kCopyPart));
  expect_idle(connection);
}

TEST_F(Copies, TheConnectionEnds) {
  Connection& connection = log_in();
  send(connection, long_copy());
  connection.closed();
  EXPECT_FALSE(connection.idle());
  run_for(milliseconds(1));
  EXPECT_TRUE(untouched(kSecond, kCopyPart));
  expect_idle(connection);
}

TEST_F(Copies, AWriteThatHangs) {
  Connection& connection = log_in();
  faults->add({.op = storage::Op::kWrite, .delay = kHangs, .times = 1});
  const uint32_t victim = send(connection, long_copy());
  deliver(connection, iscsi::TaskRequest{.function = iscsi::TaskFunction::kAbortTask,
                                         .task_tag = 900,
                                         .referenced_tag = victim});
  wait(engine::kAbortPatience + 2 * engine::kTick);
  EXPECT_EQ(op(take()), iscsi::Op::kTaskResponse);
  EXPECT_FALSE(connection.idle()) << "the store has its memory";
  EXPECT_TRUE(site->find(kDisk)->units()->units.at(1)->volume->late().any());
  wait(kHangs);
  EXPECT_TRUE(link.out.empty());
  expect_idle(connection);
}

TEST_F(Copies, WaitForStagingMemory) {
  Connection& connection = log_in();
  link.chunks_free = false;
  const uint32_t victim = send(connection, long_copy());
  // The parameter list, then the data.
  ASSERT_EQ(link.waiting.size(), 1u);
  Task* const task = link.waiting[0];
  link.waiting.clear();
  link.grant(*task);
  connection.chunks_ready(*task);
  ASSERT_EQ(link.waiting.size(), 1u);
  deliver(connection, iscsi::TaskRequest{.function = iscsi::TaskFunction::kAbortTask,
                                         .task_tag = 900,
                                         .referenced_tag = victim});
  EXPECT_EQ(op(take()), iscsi::Op::kTaskResponse);
  EXPECT_TRUE(link.waiting.empty());
  expect_idle(connection);
}

// --- Limits ---

TEST_F(Copies, SegmentsCountAtTheInitiatorAndAtBothUnits) {
  const std::string limit = ",rw_ios_per_sec=1";
  for (const int limited : {0, 1}) {
    ASSERT_TRUE(
        apply({kFirst + (limited == 0 ? limit : ""), kSecond + (limited == 1 ? limit : "")}).ok());
    Connection& connection = log_in({}, false, uint8_t(1 + limited));
    CopyListBuilder builder = list({0, 1});
    for (uint64_t i = 0; i < 3; ++i) {
      builder.segment(
          {.destination = 1, .blocks = 8, .source_lba = 8 * i, .destination_lba = 100 + 8 * i});
    }
    send(connection, builder);
    run_for(milliseconds(100));
    EXPECT_TRUE(link.out.empty()) << "the second segment waits";
    EXPECT_EQ(link.tasks.back()->chunk_count, 0u) << "without memory";
    run_for(std::chrono::seconds(3));
    EXPECT_EQ(answer(connection).status, 0);
    EXPECT_TRUE(equal(kFirst, 0, kSecond, 100 * 512, 24 * 512));
    connection.closed();
  }
  Config config;
  config.targets.push_back({.name = kDisk, .luns = {kFirst, kSecond}});
  for (LunConfig& lun : config.targets[0].luns) ASSERT_TRUE(take_own_options(lun).ok());
  config.targets[0].initiator_limits["*"].rw_ios_per_sec = 1;
  ASSERT_TRUE(site->apply(config).ok());
  Connection& connection = log_in({}, false, 3);
  CopyListBuilder builder = list({0, 1});
  for (int i = 0; i < 2; ++i) builder.segment({.destination = 1, .blocks = 8});
  const uint32_t victim = send(connection, builder);
  run_for(milliseconds(1));
  EXPECT_TRUE(link.out.empty());
  deliver(connection, iscsi::TaskRequest{.function = iscsi::TaskFunction::kAbortTask,
                                         .task_tag = 900,
                                         .referenced_tag = victim});
  EXPECT_EQ(op(take()), iscsi::Op::kTaskResponse) << "a held copy ends at once";
  expect_idle(connection);
}

}  // namespace
}  // namespace mrpool::iser_target
