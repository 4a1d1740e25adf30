// Sessions while the configuration changes under them.

#include "tests/unit/examples/iser/target/connection_fixture.h"

namespace mrpool::iser_target {
namespace {

TEST_F(ConnectionTest, SessionsHearOfUnitsThatComeAndUseThem) {
  Connection& connection = log_in();
  ASSERT_TRUE(apply({"ram:1MiB", "ram:2MiB"}).ok());
  EXPECT_EQ(attention(connection, 0), scsi::kLunsChanged);
  EXPECT_EQ(attention(connection, 1), scsi::kPowerOn);
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

TEST_F(ConnectionTest, AUnitOfAnotherSizeSaysSo) {
  Connection& connection = log_in();
  ASSERT_TRUE(apply({"ram:4MiB"}).ok());
  EXPECT_EQ(attention(connection, 0), scsi::kPowerOn);
  EXPECT_EQ(attention(connection, 0), scsi::kCapacityChanged);
  EXPECT_EQ(attention(connection, 0), scsi::kNoSense);
}

TEST_F(ConnectionTest, AConfigurationThatFailsChangesNothing) {
  Connection& connection = log_in();
  EXPECT_THAT(apply({"ram:4MiB", "file:/nowhere/disk"}).ToString(),
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
                            .initiators = {"iqn.2026-11.org.example:somebody-else"}});
  ASSERT_TRUE(site->apply(config).ok());
  EXPECT_TRUE(link.dropped);
}

}  // namespace
}  // namespace mrpool::iser_target
