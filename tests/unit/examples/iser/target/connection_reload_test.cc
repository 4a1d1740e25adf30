// Sessions while the configuration changes under them.

#include <filesystem>
#include <fstream>

#include "tests/unit/examples/iser/target/connection_fixture.h"

namespace mrpool::iser_target {
namespace {

TEST_F(ConnectionTest, SessionsHearOfUnitsThatComeAndUseThem) {
  Connection& connection = log_in();
  ASSERT_TRUE(apply({"ram:1MiB", "ram:2MiB"}).ok());
  EXPECT_EQ(attention(connection, 0), scsi::kLunsChanged);
  EXPECT_EQ(attention(connection, 1), scsi::kPowerOn);
  inquire(connection, 1);
  auto read = scsi({0x28, 0, 0, 0, 0x0f, 0xff, 0, 0, 1}, 512);  // beyond the end of the first unit
  read.lun = scsi::encode_lun(1);
  deliver(connection, read, {}, kReadKey);
  EXPECT_EQ(iscsi::ScsiResponse::decode(bhs(take())).status, 0);
}

TEST_F(ConnectionTest, AUnitThatGoesFinishesItsCommandsFirst) {
  Connection& connection = log_in();
  ASSERT_TRUE(apply({"ram:1MiB", "ram:2MiB"}).ok());
  attention(connection, 0);
  attention(connection, 1);
  inquire(connection, 1);
  auto write = scsi(write10(0, 1), 512, true);
  write.lun = scsi::encode_lun(1);
  deliver(connection, write, {}, kWriteKey);
  ASSERT_EQ(link.fetching.size(), 1u);

  ASSERT_TRUE(apply({"ram:1MiB"}).ok());
  EXPECT_EQ(attention(connection, 0), scsi::kLunsChanged);
  EXPECT_EQ(attention(connection, 1), scsi::kLunNotSupported);
  // What had begun ends as if nothing had happened; then the unit may go.
  fetch_all(connection);
  EXPECT_EQ(iscsi::ScsiResponse::decode(bhs(take())).status, 0);
  settle(connection);
  EXPECT_TRUE(connection.idle());
}

TEST_F(ConnectionTest, APortThatComesAgainMeansWhatItMeantBefore) {
  ASSERT_TRUE(apply({"ram:1MiB,name=a"}).ok());
  Connection& lost = log_in();
  lost.closed();
  ASSERT_TRUE(apply({"ram:1MiB,name=b"}).ok());
  Connection& again = log_in();
  for (int i = 0; i < 2; ++i) EXPECT_EQ(attention(again, 0), scsi::kInquiryDataChanged);
  // It has not looked, and is lost once more.
  again.closed();
  Connection& third = log_in();
  for (int i = 0; i < 2; ++i) EXPECT_EQ(attention(third, 0), scsi::kInquiryDataChanged);
  inquire(third, 0);
  EXPECT_EQ(attention(third, 0), scsi::kNoSense);
}

// The store gets another unit, with other options; what is under way on the one before is under way
// on the store.
TEST_F(ConnectionTest, AResetWaitsForTasksFromBeforeAReload) {
  ASSERT_TRUE(apply({"ram:1MiB,name=a"}).ok());
  Connection& connection = log_in();
  deliver(connection, scsi(write10(0, 1), 512, true), {}, kWriteKey);
  ASSERT_EQ(link.fetching.size(), 1u);
  ASSERT_TRUE(apply({"ram:1MiB,name=a,bs=4096"}).ok());
  deliver(connection,
          iscsi::TaskRequest{.function = iscsi::TaskFunction::kLogicalUnitReset, .task_tag = 900});
  EXPECT_TRUE(link.out.empty()) << "data still moves";
  fetch_all(connection);
  EXPECT_EQ(iscsi::TaskResponse::decode(bhs(take())).response, iscsi::TaskResponse::kComplete);
}

// To an initiator a task belongs to a LUN, independent of the store: tasks that it considers ended
// have ended.
TEST_F(ConnectionTest, FunctionsForALunEndTasksOfTheStoreThatWasThere) {
  using Function = iscsi::TaskFunction;
  std::string store = "ram:1MiB,name=store";
  uint8_t port = 1;
  for (const auto function :
       {Function::kAbortTaskSet, Function::kClearTaskSet, Function::kLogicalUnitReset}) {
    ASSERT_TRUE(apply({store += 'a'}).ok());
    Connection& connection = log_in({}, false, port++);
    deliver(connection, scsi(write10(0, 1), 512, true), {}, kWriteKey);
    ASSERT_EQ(link.fetching.size(), 1u);
    ASSERT_TRUE(apply({store += 'a'}).ok());
    deliver(connection, iscsi::TaskRequest{.function = function, .task_tag = 900});
    EXPECT_TRUE(link.out.empty()) << "data still moves";
    fetch_all(connection);
    EXPECT_EQ(iscsi::TaskResponse::decode(bhs(take())).response, iscsi::TaskResponse::kComplete);
    EXPECT_TRUE(connection.idle());
    connection.closed();
  }
}

TEST_F(ConnectionTest, AUnitOfAnotherSizeReportsIt) {
  Connection& connection = log_in();
  ASSERT_TRUE(apply({"ram:4MiB,name=other"}).ok());
  EXPECT_EQ(attention(connection, 0), scsi::kPowerOn);
  EXPECT_EQ(attention(connection, 0), scsi::kCapacityChanged);
  EXPECT_EQ(attention(connection, 0), scsi::kInquiryDataChanged);
  inquire(connection, 0);
  EXPECT_EQ(attention(connection, 0), scsi::kNoSense);
}

// What an initiator has under way when its store is replaced, or sends before it looked, is for the
// store that it knows: no byte of it reaches the other.
TEST_F(ConnectionTest, WritesReachNoStoreThatTheInitiatorHasNotLookedAt) {
  ASSERT_TRUE(apply({"ram:1MiB,name=a"}).ok());
  Connection& connection = log_in();
  ASSERT_TRUE(apply({"ram:1MiB,name=b"}).ok());
  EXPECT_EQ(attention(connection, 0), scsi::kPowerOn);
  for (int i = 0; i < 3; ++i) {
    deliver(connection, scsi(write10(0, 1), 512, true), {}, kWriteKey);
    EXPECT_EQ(iscsi::ScsiResponse::decode(bhs(take())).status, 2);
    EXPECT_TRUE(link.fetching.empty());
    settle(connection);
  }
  inquire(connection, 0);
  deliver(connection, scsi(write10(0, 1), 512, true), {}, kWriteKey);
  EXPECT_EQ(link.fetching.size(), 1u);
  fetch_all(connection);
  EXPECT_EQ(iscsi::ScsiResponse::decode(bhs(take())).status, 0);
  // Another block size: READ CAPACITY reports it.
  settle(connection);
  ASSERT_TRUE(apply({"ram:1MiB,name=b,bs=4096"}).ok());
  EXPECT_EQ(attention(connection, 0), scsi::kPowerOn);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(attention(connection, 0), scsi::kCapacityChanged);
  EXPECT_EQ(command(connection, {0x25}, 8).status, 0);
  settle(connection);
  EXPECT_EQ(attention(connection, 0), scsi::kNoSense);
}

TEST_F(ConnectionTest, AConfigurationThatFailsChangesNothing) {
  Connection& connection = log_in();
  EXPECT_THAT(apply({"ram:4MiB,name=other", "file:/nowhere/disk"}).ToString(),
              testing::HasSubstr("file:/nowhere/disk"));
  EXPECT_EQ(attention(connection, 0), scsi::kNoSense);
  EXPECT_EQ(site->find(kDisk)->units()->units.size(), 1u);
}

TEST_F(ConnectionTest, ATargetThatGoesEndsItsSessions) {
  Connection& connection = log_in();
  auto write = scsi(write10(0, 1), 512, true);
  deliver(connection, write, {}, kWriteKey);
  Config config;
  config.targets.push_back({.name = "iqn.2026-11.org.example:another", .luns = {"ram:1MiB"}});
  ASSERT_TRUE(site->apply(config).ok());
  EXPECT_TRUE(link.dropped);
  EXPECT_EQ(site->find(kDisk), nullptr);
  connection.closed();
  for (Task* task : std::exchange(link.fetching, {})) connection.fetched(*task, false);
  EXPECT_TRUE(connection.idle());
}

TEST_F(ConnectionTest, ATargetThatGoesDuringALoginIsNotLoggedInTo) {
  const iscsi::Credentials secret{"alice", "alice has a secret"};
  Config config;
  config.targets.push_back(
      {.name = kDisk, .luns = {"ram:1MiB"}, .authentication = {.incoming = secret}});
  ASSERT_TRUE(site->apply(config).ok());
  Connection& connection = connect();
  iscsi::InitiatorLogin login({.initiator = kHost, .target = kDisk, .chap = secret});
  std::optional<iscsi::InitiatorLogin::Request> next = login.first();
  deliver(connection, next->header, next->text);
  config.targets[0].name = "iqn.2026-11.org.example:another";
  ASSERT_TRUE(site->apply(config).ok());
  auto status = iscsi::LoginStatus::kSuccess;
  while (true) {
    const auto answer = take();
    const auto response = iscsi::LoginResponse::decode(bhs(answer));
    status = response.status;
    if (!login.on_response(response, data(answer), next).ok() || !next) break;
    deliver(connection, next->header, next->text);
  }
  EXPECT_EQ(status, iscsi::LoginStatus::kTargetRemoved);
  EXPECT_FALSE(connection.full_feature());
}

TEST_F(ConnectionTest, SessionsOfInitiatorsThatAreNoLongerAdmittedEnd) {
  log_in();
  Config config;
  config.targets.push_back({.name = kDisk,
                            .luns = {"ram:1MiB"},
                            .initiators = {{{.name = "iqn.2026-11.org.example:somebody-else"}}}});
  ASSERT_TRUE(site->apply(config).ok());
  EXPECT_TRUE(link.dropped);
}

TEST_F(ConnectionTest, AListThatBecomesEmptyEndsEverySession) {
  log_in();
  Config config;
  config.targets.push_back({.name = kDisk, .luns = {"ram:1MiB"}});
  config.targets[0].initiators.emplace();
  ASSERT_TRUE(site->apply(config).ok());
  EXPECT_TRUE(link.dropped);
}

TEST_F(ConnectionTest, AUnitKeepsItsNamesWhereverItStands) {
  ASSERT_TRUE(apply({"ram:1MiB", "ram:2MiB"}).ok());
  const std::shared_ptr<Unit> second = site->find(kDisk)->units()->units.at(1);
  Connection& connection = log_in();
  attention(connection, 1);
  // The first goes: the second takes its number, and brings its own names with it.
  ASSERT_TRUE(apply({"ram:2MiB"}).ok());
  EXPECT_EQ(site->find(kDisk)->units()->units.at(0), second);
  EXPECT_EQ(attention(connection, 0), scsi::kPowerOn);
  EXPECT_EQ(attention(connection, 0), scsi::kCapacityChanged);
  EXPECT_EQ(attention(connection, 0), scsi::kInquiryDataChanged);
  EXPECT_EQ(attention(connection, 1), scsi::kLunNotSupported);
  // Back to where it was, with a gap below.
  ASSERT_TRUE(apply({"ram:2MiB,lun=1"}).ok());
  EXPECT_EQ(site->find(kDisk)->units()->units.at(1), second);
  EXPECT_EQ(site->find(kDisk)->units()->units.size(), 1u);
  EXPECT_EQ(attention(connection, 1), scsi::kPowerOn);
}

TEST_F(ConnectionTest, ReservationsFollowTheStore) {
  ASSERT_TRUE(apply({"ram:1MiB,name=a", "ram:1MiB,name=b"}).ok());
  Connection& connection = log_in();
  reserve_out(connection, 0, 0, 0x77);  // REGISTER on LUN 0
  const auto registered = [&](uint16_t lun) {
    std::vector<uint8_t> keys;
    const std::shared_ptr<Unit> unit = site->find(kDisk)->units()->units.at(lun);
    EXPECT_FALSE(unit->logical.reservations().in({0x5e, 0}, keys));
    return keys.size() > 8;
  };
  EXPECT_TRUE(registered(0));
  ASSERT_TRUE(apply({"ram:1MiB,name=b", "ram:1MiB,name=a"}).ok());
  EXPECT_FALSE(registered(0));
  EXPECT_TRUE(registered(1));
  ASSERT_TRUE(apply({"ram:1MiB,name=b"}).ok());
  EXPECT_FALSE(registered(0));
}

// Other options are another unit, with the reservations of the former.
TEST_F(ConnectionTest, ReservationsStayUnderOtherOptions) {
  Connection& connection = log_in();
  reserve_out(connection, 0, 0, 0x77);
  const std::shared_ptr<Unit> before = site->find(kDisk)->units()->units.at(0);
  ASSERT_TRUE(apply({"ram:1MiB,bs=4096"}).ok());
  const std::shared_ptr<Unit> unit = site->find(kDisk)->units()->units.at(0);
  EXPECT_NE(unit, before);
  EXPECT_EQ(unit->logical.facts().serial, before->logical.facts().serial);
  EXPECT_EQ(unit->logical.facts().block_size, 4096u);
  std::vector<uint8_t> keys;
  EXPECT_FALSE(unit->logical.reservations().in({0x5e, 0}, keys));
  EXPECT_EQ(keys.size(), 16u);
  // What comes too late for the former is repeated, not lost.
  const scsi::Cdb reserve{0x5f, 0, 0, 0, 0, 0, 0, 0, 24};
  EXPECT_EQ(before->logical.reserve_out(kHost, reserve, std::vector<uint8_t>(24)).plan.status,
            scsi::Status::kBusy);
}

TEST_F(ConnectionTest, AStoreThatGrowsIsReported) {
  const std::string path = testing::TempDir() + "grows";
  std::ofstream(path).close();
  std::filesystem::resize_file(path, 1 << 20);
  ASSERT_TRUE(apply({"file:" + path}).ok());
  Connection& connection = log_in();
  std::filesystem::resize_file(path, 2 << 20);
  ASSERT_EQ(*site->stores()[0]->refresh(0), storage::SizeChange::kGrown);
  site->refresh_sizes();
  EXPECT_EQ(attention(connection, 0), scsi::kCapacityChanged);
  EXPECT_EQ(attention(connection, 0), scsi::kNoSense);
  deliver(connection, scsi({0x25}, 8), {}, kReadKey);  // READ CAPACITY
  settle(connection);
  ASSERT_EQ(link.pushed.size(), 8u);
  EXPECT_EQ(be::load32(reinterpret_cast<const uint8_t*>(link.pushed.data())), (2u << 20) / 512 - 1);
  take();
  // Nothing is left of it: there is no last block.
  std::filesystem::resize_file(path, 0);
  ASSERT_EQ(*site->stores()[0]->refresh(0), storage::SizeChange::kShrunk);
  site->refresh_sizes();
  EXPECT_EQ(attention(connection, 0), scsi::kCapacityChanged);
  EXPECT_EQ(command(connection, {0x25}, 8).status, 2);
  settle(connection);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace mrpool::iser_target
