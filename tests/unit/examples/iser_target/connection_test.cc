#include "examples/iser_target/connection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <deque>

#include "examples/iscsi/initiator_login.h"
#include "examples/scsi/big_endian.h"

namespace mrpool::iser_target {
namespace {

constexpr const char* kDisk = "iqn.2026-11.org.example:disk";
constexpr const char* kHost = "iqn.2026-11.org.example:host";

// A connection whose wire is a list of messages and whose RDMA is a copy, both moved by the test.
class MemoryLink final : public Link {
 public:
  Task* take_task() override {
    if (free_tasks == 0) return nullptr;
    --free_tasks;
    tasks.push_back(std::make_unique<Task>(execution_done()));
    return tasks.back().get();
  }
  void release(Task&) override { ++free_tasks; }
  void release_receive(void*) override { ++released; }
  bool send(std::span<const std::byte> pdu) override {
    out.emplace_back(pdu.begin(), pdu.end());
    return true;
  }
  bool respond(Task& task, std::optional<Rkey> key) override {
    out.emplace_back(task.response.begin(), task.response.begin() + task.response_size);
    invalidated = key;
    later.push_back(&task);
    return !dropped;
  }
  bool push(Task& task, const RemoteBuffer& to, std::optional<Rkey> key) override {
    pushed.clear();
    for (uint64_t at = 0; at < to.length; at += kChunk) {
      const auto part =
          chunk(task.chunks[at / kChunk]).first(std::min(to.length - at, uint64_t{kChunk}));
      pushed.insert(pushed.end(), part.begin(), part.end());
    }
    pushed_to = to;
    return respond(task, key);
  }
  bool fetch(Task& task, const RemoteBuffer& from, uint64_t offset) override {
    fetched_from = from;
    for (uint64_t i = 0; i < from.length; ++i) {
      chunk(task.chunks[(offset + i) / kChunk])[(offset + i) % kChunk] = std::byte{0xfe};
    }
    fetching.push_back(&task);
    return true;
  }
  bool take_chunks(Task& task, uint64_t bytes) override {
    task.staged = bytes;
    if (!chunks_free) {
      waiting.push_back(&task);
      return false;
    }
    grant(task);
    return true;
  }
  void grant(Task& task) {
    task.chunk_count = uint32_t((task.staged + kChunk - 1) / kChunk);
    for (uint32_t i = 0; i < task.chunk_count; ++i) task.chunks[i] = uint16_t(i);
  }
  void give_chunks(Task& task) override { task.chunk_count = 0; }
  void cancel_chunks(Task& task) override { std::erase(waiting, &task); }
  std::span<std::byte> chunk(uint16_t index) override {
    return std::span(memory).subspan(size_t{index} * kChunk, kChunk);
  }
  void disconnect() override { disconnected = true; }
  void drop(std::string_view why) override {
    dropped = true;
    reason = why;
  }
  const std::string& local() const override { return name; }
  const std::string& peer() const override { return name; }
  bool remote_invalidation() const override { return invalidates; }
  uint16_t read_depth() const override { return 8; }
  Nanoseconds now() const override { return clock; }

  std::vector<std::byte> memory = std::vector<std::byte>(kMaxTransfer);
  std::vector<std::unique_ptr<Task>> tasks;
  uint32_t free_tasks = kTasks;
  std::deque<std::vector<std::byte>> out;
  std::vector<Task*> later, fetching, waiting;
  std::vector<std::byte> pushed;
  RemoteBuffer pushed_to, fetched_from;
  std::optional<Rkey> invalidated;
  std::string name = "127.0.0.1:3260", reason;
  Nanoseconds clock{1};
  uint32_t released = 0;
  bool chunks_free = true, disconnected = false, dropped = false, invalidates = true;
};

class ConnectionTest : public testing::Test {
 protected:
  ConnectionTest() {
    Config config;
    config.targets.push_back({.name = kDisk, .luns = {"ram:1MiB"}});
    reactor = *Reactor::create();
    site = *Site::create(config, *reactor);
  }
  ~ConnectionTest() override {
    for (const auto& connection : connections) connection->closed();
  }

  Connection& connect(const iscsi::Limits& limits = {}) {
    connections.push_back(std::make_unique<Connection>(*site, link, limits, iscsi::system_random));
    return *connections.back();
  }
  // Logs in and takes the power-on attention.
  Connection& log_in(const iscsi::Limits& limits = {}, bool discovery = false, uint8_t port = 1) {
    Connection& connection = connect(limits);
    iscsi::InitiatorLoginOptions options;
    options.initiator = kHost;
    if (!discovery) options.target = kDisk;
    options.isid = {0x80, 0, 0, 0, 0, port};
    options.limits = limits;
    iscsi::InitiatorLogin login(options);
    std::optional<iscsi::InitiatorLogin::Request> next = login.first();
    while (next) {
      deliver(connection, next->header, next->text);
      std::optional<iscsi::InitiatorLogin::Request> following;
      const auto answer = take();
      const auto response = iscsi::LoginResponse::decode(bhs(answer));
      EXPECT_TRUE(login.on_response(response, data(answer), following).ok());
      next = std::move(following);
    }
    EXPECT_TRUE(connection.full_feature());
    cmd_sn = 1;
    if (!discovery) {
      EXPECT_EQ(command(connection, scsi::Cdb{}).status, 2);
      settle(connection);
    }
    return connection;
  }

  template <typename Pdu>
  bool deliver(Connection& connection, const Pdu& pdu, std::string_view text = {},
               const iscsi::IserControl& iser = {}) {
    std::vector<std::byte>& message = messages.emplace_back(kHeaders + text.size());
    const std::span<std::byte> bytes(message);
    iser.encode(bytes.template first<iscsi::kIserHeaderSize>());
    pdu.encode(bytes.template subspan<iscsi::kIserHeaderSize, iscsi::kBhsSize>());
    std::ranges::copy(std::as_bytes(std::span(text)), message.begin() + kHeaders);
    return connection.received(bytes, &message);
  }
  std::vector<std::byte> take() {
    EXPECT_FALSE(link.out.empty());
    if (link.out.empty()) return std::vector<std::byte>(kHeaders);
    std::vector<std::byte> message = std::move(link.out.front());
    link.out.pop_front();
    return message;
  }
  static std::span<const std::byte, iscsi::kBhsSize> bhs(std::span<const std::byte> message) {
    return message.subspan<iscsi::kIserHeaderSize, iscsi::kBhsSize>();
  }
  static std::string_view data(std::span<const std::byte> message) {
    const uint32_t length = iscsi::decode_common(bhs(message)).data_length;
    return {reinterpret_cast<const char*>(message.data()) + kHeaders, length};
  }
  static iscsi::Op op(std::span<const std::byte> message) {
    return iscsi::decode_common(bhs(message)).op;
  }
  iscsi::ScsiCommand scsi(const scsi::Cdb& cdb, uint32_t length = 0, bool write = false) {
    return {.read = length != 0 && !write,
            .write = write,
            .task_tag = ++tag,
            .expected_length = length,
            .cmd_sn = cmd_sn++,
            .cdb = cdb};
  }
  iscsi::ScsiResponse command(Connection& connection, const scsi::Cdb& cdb, uint32_t length = 0) {
    deliver(connection, scsi(cdb, length), {}, kReadKey);
    return iscsi::ScsiResponse::decode(bhs(take()));
  }
  // The running target gets these units.
  absl::Status apply(std::vector<std::string> luns) {
    Config config;
    config.targets.push_back({.name = kDisk, .luns = std::move(luns)});
    return site->apply(config, *reactor);
  }
  // What TEST UNIT READY says.
  scsi::Sense attention(Connection& connection, uint16_t lun) {
    auto pdu = scsi(scsi::Cdb{});
    pdu.lun = scsi::encode_lun(lun);
    deliver(connection, pdu);
    const auto answer = take();
    settle(connection);
    const auto sense = data(answer);
    if (sense.size() < 2) return scsi::kNoSense;
    return scsi::decode_sense(
               {reinterpret_cast<const uint8_t*>(sense.data()) + 2, sense.size() - 2})
        .value_or(scsi::kNoSense);
  }
  // Everything that was sent has left.
  void settle(Connection& connection) {
    for (Task* task : std::exchange(link.later, {})) connection.sent(*task);
  }
  void fetch_all(Connection& connection) {
    for (Task* task : std::exchange(link.fetching, {})) connection.fetched(*task, true);
  }

  static scsi::Cdb write10(uint8_t lba, uint8_t blocks) {
    return {0x2a, 0, 0, 0, 0, lba, 0, 0, blocks};
  }
  static constexpr iscsi::IserControl kReadKey{
      .read_valid = true, .read_stag = 0x77, .read_va = 0x1000};
  static constexpr iscsi::IserControl kWriteKey{
      .write_valid = true, .write_stag = 0x88, .write_va = 0x2000};

  std::unique_ptr<Reactor> reactor;
  std::unique_ptr<Site> site;
  MemoryLink link;
  std::deque<std::vector<std::byte>> messages;
  std::vector<std::unique_ptr<Connection>> connections;
  uint32_t cmd_sn = 1;
  uint32_t tag = 100;
};

TEST_F(ConnectionTest, ReadsGoOutByRdmaWithTheirKeyInvalidated) {
  Connection& connection = log_in();
  const auto response = command(connection, {0x28, 0, 0, 0, 0, 0, 0, 0, 2}, 1024);
  EXPECT_EQ(response.status, 0);
  EXPECT_EQ(link.pushed.size(), 1024u);
  EXPECT_EQ(link.pushed_to.rkey.value, 0x77u);
  EXPECT_EQ(link.pushed_to.addr.value, 0x1000u);
  EXPECT_EQ(link.invalidated, Rkey{0x77});
  settle(connection);
  EXPECT_TRUE(connection.idle());
}

TEST_F(ConnectionTest, WithoutTheAgreementNoKeyIsInvalidated) {
  link.invalidates = false;
  Connection& connection = log_in();
  command(connection, {0x28, 0, 0, 0, 0, 0, 0, 0, 2}, 1024);
  EXPECT_EQ(link.invalidated, std::nullopt);
}

TEST_F(ConnectionTest, SolicitedDataIsFetchedBehindTheImmediateData) {
  Connection& connection = log_in();
  auto pdu = scsi(write10(0, 16), 8192, true);
  pdu.data_length = 4096;
  EXPECT_TRUE(deliver(connection, pdu, std::string(4096, 'i'), kWriteKey));
  ASSERT_EQ(link.fetching.size(), 1u);
  EXPECT_EQ(link.fetched_from.length, 4096u);
  EXPECT_EQ(link.fetched_from.addr.value, 0x2000u);  // where the solicited part begins
  EXPECT_EQ(link.released, 0u);
  fetch_all(connection);
  EXPECT_EQ(iscsi::ScsiResponse::decode(bhs(take())).status, 0);
  settle(connection);
  EXPECT_EQ(link.released, 1u);
  command(connection, {0x28, 0, 0, 0, 0, 0, 0, 0, 16}, 8192);
  EXPECT_EQ(link.pushed[0], std::byte{'i'});
  EXPECT_EQ(link.pushed[4095], std::byte{'i'});
  EXPECT_EQ(link.pushed[4096], std::byte{0xfe});
}

TEST_F(ConnectionTest, ImmediateDataThatIsNotWholePagesMovesToStaging) {
  Connection& connection = log_in();
  auto pdu = scsi(write10(0, 4), 2048, true);
  pdu.data_length = 700;
  deliver(connection, pdu, std::string(700, 'x'), kWriteKey);
  EXPECT_EQ(link.fetched_from.length, 2048u - 700);
  fetch_all(connection);
  take();
  settle(connection);
  command(connection, {0x28, 0, 0, 0, 0, 0, 0, 0, 4}, 2048);
  EXPECT_EQ(link.pushed[699], std::byte{'x'});
  EXPECT_EQ(link.pushed[700], std::byte{0xfe});
}

TEST_F(ConnectionTest, UnsolicitedDataOutsFollowTheirCommand) {
  const iscsi::Limits limits{.initial_r2t = false, .first_burst = kFirstBurstUnsolicited};
  Connection& connection = log_in(limits);
  auto pdu = scsi(write10(0, 24), 12288, true);
  pdu.final = false;
  pdu.data_length = 4096;
  EXPECT_TRUE(deliver(connection, pdu, std::string(4096, 'a')));
  EXPECT_TRUE(link.out.empty());
  const uint32_t command_tag = pdu.task_tag;
  EXPECT_TRUE(deliver(
      connection,
      iscsi::DataOut{
          .final = false, .data_length = 4096, .task_tag = command_tag, .buffer_offset = 4096},
      std::string(4096, 'b')));
  EXPECT_TRUE(deliver(
      connection,
      iscsi::DataOut{
          .data_length = 4096, .task_tag = command_tag, .data_sn = 1, .buffer_offset = 8192},
      std::string(4096, 'c')));
  EXPECT_EQ(iscsi::ScsiResponse::decode(bhs(take())).status, 0);
  settle(connection);
  EXPECT_EQ(link.released, 3u);
  command(connection, {0x28, 0, 0, 0, 0, 0, 0, 0, 24}, 12288);
  EXPECT_EQ(link.pushed[4096], std::byte{'b'});
  EXPECT_EQ(link.pushed[8192], std::byte{'c'});
}

TEST_F(ConnectionTest, DataOutsOutOfOrderEndTheConnection) {
  const iscsi::Limits limits{.initial_r2t = false, .first_burst = kFirstBurstUnsolicited};
  Connection& connection = log_in(limits);
  auto pdu = scsi(write10(0, 24), 12288, true);
  pdu.final = false;
  deliver(connection, pdu);
  deliver(connection,
          iscsi::DataOut{.data_length = 512, .task_tag = pdu.task_tag, .buffer_offset = 512},
          std::string(512, 'b'));
  EXPECT_EQ(op(take()), iscsi::Op::kReject);
  EXPECT_TRUE(link.disconnected);
}

struct Violation {
  const char* name;
  void (*change)(iscsi::ScsiCommand& pdu);
};
class Violations : public ConnectionTest, public testing::WithParamInterface<Violation> {};

TEST_P(Violations, AreRejectedAndEndTheConnection) {
  Connection& connection = log_in({.immediate_data = false});
  auto pdu = scsi(write10(0, 1), 512, true);
  GetParam().change(pdu);
  deliver(connection, pdu, std::string(512, 'x'), kWriteKey);
  const auto answer = take();
  EXPECT_EQ(op(answer), iscsi::Op::kReject);
  EXPECT_EQ(data(answer).size(), iscsi::kBhsSize);
  EXPECT_TRUE(link.disconnected);
  EXPECT_EQ(site->counters.protocol_errors, 1u);
}

INSTANTIATE_TEST_SUITE_P(
    All, Violations,
    testing::Values(Violation{"immediate data against the negotiation",
                              [](iscsi::ScsiCommand& pdu) { pdu.data_length = 512; }},
                    Violation{"Data-Out against InitialR2T",
                              [](iscsi::ScsiCommand& pdu) { pdu.final = false; }},
                    Violation{"data with a read",
                              [](iscsi::ScsiCommand& pdu) {
                                pdu.write = false;
                                pdu.read = true;
                                pdu.data_length = 512;
                              }},
                    Violation{"shorter than it says",
                              [](iscsi::ScsiCommand& pdu) { pdu.data_length = 4096; }}));

TEST_F(ConnectionTest, AWriteWithoutAKeyEndsTheConnection) {
  Connection& connection = log_in();
  deliver(connection, scsi(write10(0, 1), 512, true));
  EXPECT_TRUE(link.dropped);
  EXPECT_TRUE(connection.idle());
}

TEST_F(ConnectionTest, CommandsOutsideTheWindowAreIgnoredAndGapsAreFatal) {
  Connection& connection = log_in();
  auto pdu = scsi(scsi::Cdb{});
  pdu.cmd_sn -= 1;
  deliver(connection, pdu);
  pdu.cmd_sn += kQueueDepth + 2;
  deliver(connection, pdu);
  EXPECT_TRUE(link.out.empty());
  EXPECT_FALSE(link.dropped);
  pdu.cmd_sn = cmd_sn + 3;
  deliver(connection, pdu);
  EXPECT_TRUE(link.dropped);
}

TEST_F(ConnectionTest, TheWindowClosesAndOpensAgain) {
  Connection& connection = log_in();
  link.chunks_free = false;
  for (uint32_t i = 0; i < kQueueDepth; ++i) {
    deliver(connection, scsi({0x28, 0, 0, 0, 0, 0, 0, 0, 1}, 512), {}, kReadKey);
  }
  EXPECT_EQ(link.waiting.size(), kQueueDepth);
  deliver(connection, scsi(scsi::Cdb{}));  // beyond the window
  EXPECT_EQ(connection.active(), kQueueDepth);
  Task* first = link.waiting.front();
  link.waiting.erase(link.waiting.begin());
  link.grant(*first);
  connection.chunks_ready(*first);
  const auto response = iscsi::ScsiResponse::decode(bhs(take()));
  EXPECT_EQ(response.window.max_cmd_sn, response.window.exp_cmd_sn);
}

TEST_F(ConnectionTest, NopOutIsEchoed) {
  Connection& connection = log_in();
  deliver(connection, iscsi::NopOut{.immediate = true, .data_length = 4, .task_tag = 5}, "ping");
  const auto answer = take();
  EXPECT_EQ(op(answer), iscsi::Op::kNopIn);
  EXPECT_EQ(iscsi::NopIn::decode(bhs(answer)).task_tag, 5u);
  EXPECT_EQ(data(answer), "ping");
}

TEST_F(ConnectionTest, ASilentInitiatorIsAskedAndThenGivenUp) {
  Connection& connection = log_in();
  link.clock += std::chrono::seconds(25);
  connection.tick();
  const auto ping = iscsi::NopIn::decode(bhs(take()));
  EXPECT_EQ(ping.task_tag, iscsi::kReservedTag);
  EXPECT_NE(ping.transfer_tag, iscsi::kReservedTag);
  connection.tick();
  EXPECT_TRUE(link.out.empty());
  link.clock += std::chrono::seconds(25);
  connection.tick();
  EXPECT_TRUE(link.dropped);
}

TEST_F(ConnectionTest, AnInitiatorThatKeepsATransferWaitingIsGivenUp) {
  Connection& connection = log_in();
  connection.tick();
  deliver(connection, scsi(write10(0, 1), 512, true), {}, kWriteKey);
  link.clock += std::chrono::seconds(9);
  deliver(connection, scsi(write10(0, 1), 512, true), {}, kWriteKey);
  connection.tick();
  connection.fetched(*link.fetching.front(), true);  // something moves
  link.fetching.erase(link.fetching.begin());
  settle(connection);
  link.clock += std::chrono::seconds(9);
  connection.tick();
  EXPECT_FALSE(link.dropped);
  link.clock += std::chrono::seconds(2);
  deliver(connection, iscsi::NopOut{.task_tag = 99, .transfer_tag = 1});  // talking is not enough
  connection.tick();
  EXPECT_TRUE(link.dropped);
}

TEST_F(ConnectionTest, ALoginThatTakesTooLongIsCutOff) {
  Connection& connection = connect();
  link.clock += std::chrono::seconds(60);
  connection.tick();
  EXPECT_TRUE(link.dropped);
}

TEST_F(ConnectionTest, HelloIsAnswered) {
  Connection& connection = log_in();
  std::vector<std::byte> hello(iscsi::kIserHeaderSize);
  iscsi::IserHello{.ird = 4}.encode(std::span(hello).first<iscsi::kIserHeaderSize>());
  EXPECT_FALSE(connection.received(hello, nullptr));
  const auto answer = take();
  ASSERT_EQ(answer.size(), iscsi::kIserHeaderSize);
  EXPECT_EQ(iscsi::IserHelloReply::decode(
                std::span<const std::byte>(answer).first<iscsi::kIserHeaderSize>())
                .ord,
            4);
}

TEST_F(ConnectionTest, UnknownPdusAreRejectedAndTheSessionGoesOn) {
  Connection& connection = log_in();
  std::vector<std::byte> message(kHeaders);
  iscsi::IserControl{}.encode(std::span(message).first<iscsi::kIserHeaderSize>());
  message[iscsi::kIserHeaderSize] = std::byte{0x1c};
  EXPECT_FALSE(connection.received(message, nullptr));
  EXPECT_EQ(iscsi::Reject::decode(bhs(take())).reason, iscsi::RejectReason::kNotSupported);
  message[iscsi::kIserHeaderSize] = std::byte{0x10};
  EXPECT_FALSE(connection.received(message, nullptr));
  EXPECT_EQ(iscsi::Reject::decode(bhs(take())).reason, iscsi::RejectReason::kSnack);
  EXPECT_EQ(command(connection, scsi::Cdb{}).status, 0);
}

TEST_F(ConnectionTest, MessagesTooShortForTheirHeadersEndTheConnection) {
  std::vector<std::byte> shortest(10);
  EXPECT_FALSE(log_in().received(shortest, nullptr));
  EXPECT_TRUE(link.dropped);
}

TEST_F(ConnectionTest, DiscoverySessionsKnowTextAndLogoutOnly) {
  Connection& connection = log_in({}, /*discovery=*/true);
  std::string request = "SendTargets=All";
  request.push_back('\0');
  deliver(
      connection,
      iscsi::TextRequest{.immediate = true, .data_length = uint32_t(request.size()), .task_tag = 9},
      request);
  const auto answer = take();
  EXPECT_EQ(op(answer), iscsi::Op::kTextResponse);
  EXPECT_THAT(std::string(data(answer)), testing::HasSubstr(kDisk));
  deliver(connection, scsi(scsi::Cdb{}));
  EXPECT_EQ(op(take()), iscsi::Op::kReject);
}

TEST_F(ConnectionTest, AbortTaskAnswersWhenTheTaskHasEnded) {
  Connection& connection = log_in();
  auto pdu = scsi(write10(0, 1), 512, true);
  deliver(connection, pdu, {}, kWriteKey);
  ASSERT_EQ(link.fetching.size(), 1u);
  deliver(connection, iscsi::TaskRequest{.function = iscsi::TaskFunction::kAbortTask,
                                         .task_tag = 900,
                                         .referenced_tag = pdu.task_tag});
  EXPECT_TRUE(link.out.empty());  // data still moves
  fetch_all(connection);
  const auto answer = take();
  EXPECT_EQ(op(answer), iscsi::Op::kTaskResponse);
  EXPECT_EQ(iscsi::TaskResponse::decode(bhs(answer)).response, iscsi::TaskResponse::kComplete);
  EXPECT_TRUE(link.out.empty());  // and the aborted task has no answer
  EXPECT_TRUE(connection.idle());
}

TEST_F(ConnectionTest, AbortOfWhatIsNotThere) {
  Connection& connection = log_in();
  deliver(connection, iscsi::TaskRequest{.function = iscsi::TaskFunction::kAbortTask,
                                         .task_tag = 900,
                                         .referenced_tag = 12345});
  EXPECT_EQ(iscsi::TaskResponse::decode(bhs(take())).response, iscsi::TaskResponse::kNoTask);
  deliver(connection, iscsi::TaskRequest{.function = iscsi::TaskFunction::kLogicalUnitReset,
                                         .lun = uint64_t{9} << 48,
                                         .task_tag = 901});
  EXPECT_EQ(iscsi::TaskResponse::decode(bhs(take())).response, iscsi::TaskResponse::kNoLun);
  deliver(connection,
          iscsi::TaskRequest{.function = iscsi::TaskFunction::kTaskReassign, .task_tag = 902});
  EXPECT_EQ(iscsi::TaskResponse::decode(bhs(take())).response, iscsi::TaskResponse::kNoReassign);
}

TEST_F(ConnectionTest, AResetEndsTasksAndRaisesAnAttention) {
  Connection& connection = log_in();
  link.chunks_free = false;
  deliver(connection, scsi({0x28, 0, 0, 0, 0, 0, 0, 0, 1}, 512), {}, kReadKey);
  link.chunks_free = true;
  deliver(connection,
          iscsi::TaskRequest{.function = iscsi::TaskFunction::kLogicalUnitReset, .task_tag = 900});
  EXPECT_EQ(iscsi::TaskResponse::decode(bhs(take())).response, iscsi::TaskResponse::kComplete);
  EXPECT_TRUE(connection.idle());
  deliver(connection, scsi(scsi::Cdb{}));
  const auto answer = take();
  const auto response = iscsi::ScsiResponse::decode(bhs(answer));
  EXPECT_EQ(response.status, 2);
  const auto sense = scsi::decode_sense(std::span(
      reinterpret_cast<const uint8_t*>(answer.data()) + kHeaders + 2, response.data_length - 2));
  EXPECT_EQ(sense, scsi::kDeviceReset);
}

TEST_F(ConnectionTest, LogoutWaitsForTasksAndDisconnects) {
  Connection& connection = log_in();
  deliver(connection, scsi(write10(0, 1), 512, true), {}, kWriteKey);
  deliver(connection, iscsi::LogoutRequest{.immediate = true, .task_tag = 77});
  EXPECT_TRUE(link.out.empty());
  fetch_all(connection);
  const auto answer = take();
  EXPECT_EQ(op(answer), iscsi::Op::kLogoutResponse);
  EXPECT_EQ(iscsi::LogoutResponse::decode(bhs(answer)).response, iscsi::LogoutResponse::kClosed);
  EXPECT_TRUE(link.disconnected);
}

TEST_F(ConnectionTest, LogoutForRecoveryIsRefused) {
  Connection& connection = log_in();
  deliver(connection, iscsi::LogoutRequest{.immediate = true,
                                           .reason = iscsi::LogoutRequest::kRemoveForRecovery,
                                           .task_tag = 77});
  EXPECT_EQ(iscsi::LogoutResponse::decode(bhs(take())).response,
            iscsi::LogoutResponse::kRecoveryNotSupported);
  EXPECT_FALSE(link.disconnected);
}

TEST_F(ConnectionTest, ASecondLoginOfTheSamePortEndsTheFirst) {
  log_in();
  EXPECT_FALSE(link.dropped);
  log_in({}, false, /*port=*/2);
  EXPECT_FALSE(link.dropped);
  connect();
  iscsi::InitiatorLoginOptions options;
  options.initiator = kHost;
  options.target = kDisk;
  options.isid = {0x80, 0, 0, 0, 0, 1};
  const auto request = iscsi::InitiatorLogin(options).first();
  deliver(*connections.back(), request.header, request.text);
  EXPECT_TRUE(link.dropped);
  EXPECT_THAT(link.reason, testing::HasSubstr("logged in again"));
}

// A task of the session that is replaced may still write: the new login is answered after it.
TEST_F(ConnectionTest, ALoginWaitsForTheTasksOfTheSessionItReplaces) {
  for (const bool lost_before : {false, true}) {
    SCOPED_TRACE(lost_before);
    Connection& first = log_in();
    deliver(first, scsi(write10(0, 16), 8192, true), {}, kWriteKey);
    ASSERT_EQ(link.fetching.size(), 1u);
    if (lost_before) first.closed();
    link.dropped = false;
    Connection& second = connect();
    iscsi::InitiatorLoginOptions options;
    options.initiator = kHost;
    options.target = kDisk;
    options.isid = {0x80, 0, 0, 0, 0, 1};
    iscsi::InitiatorLogin login(options);
    std::optional<iscsi::InitiatorLogin::Request> next = login.first();
    deliver(second, next->header, next->text);
    while (!link.out.empty()) {
      const auto answer = take();
      std::optional<iscsi::InitiatorLogin::Request> following;
      const auto response = iscsi::LoginResponse::decode(bhs(answer));
      ASSERT_TRUE(login.on_response(response, data(answer), following).ok());
      ASSERT_TRUE(following) << "the login was answered";
      deliver(second, following->header, following->text);
    }
    EXPECT_EQ(link.dropped, !lost_before);
    if (!lost_before) first.closed();
    EXPECT_FALSE(second.full_feature());
    EXPECT_TRUE(link.out.empty());
    for (Task* task : std::exchange(link.fetching, {})) first.fetched(*task, false);
    EXPECT_TRUE(first.idle());
    EXPECT_TRUE(second.full_feature());
    EXPECT_EQ(op(take()), iscsi::Op::kLoginResponse);
    second.closed();
  }
}

// Who sends on without its answer is cut off; who goes away is not answered.
TEST_F(ConnectionTest, AHeldLoginEndsWithItsConnection) {
  Connection& first = log_in();
  deliver(first, scsi(write10(0, 16), 8192, true), {}, kWriteKey);
  first.closed();
  Connection& second = connect();
  iscsi::InitiatorLoginOptions options;
  options.initiator = kHost;
  options.target = kDisk;
  options.isid = {0x80, 0, 0, 0, 0, 1};
  iscsi::InitiatorLogin login(options);
  std::optional<iscsi::InitiatorLogin::Request> next = login.first();
  deliver(second, next->header, next->text);
  while (!link.out.empty()) {
    const auto answer = take();
    const auto response = iscsi::LoginResponse::decode(bhs(answer));
    ASSERT_TRUE(login.on_response(response, data(answer), next).ok());
    deliver(second, next->header, next->text);
  }
  link.dropped = false;
  deliver(second, next->header, next->text);
  EXPECT_TRUE(link.dropped);
  second.closed();
  for (Task* task : std::exchange(link.fetching, {})) first.fetched(*task, false);
  EXPECT_FALSE(second.full_feature());
  EXPECT_TRUE(link.out.empty());
}

TEST_F(ConnectionTest, ALunThatIsNotThereAnswersByTheBook) {
  Connection& connection = log_in();
  auto pdu = scsi({0x12, 0, 0, 0, 96}, 96);
  pdu.lun = uint64_t{7} << 48;
  deliver(connection, pdu, {}, kReadKey);
  EXPECT_EQ(iscsi::ScsiResponse::decode(bhs(take())).status, 0);
  EXPECT_EQ(link.pushed[0], std::byte{0x7f});
  pdu = scsi(scsi::Cdb{});
  pdu.lun = uint64_t{7} << 48;
  deliver(connection, pdu);
  EXPECT_EQ(iscsi::ScsiResponse::decode(bhs(take())).status, 2);
}

TEST_F(ConnectionTest, ResidualsOfWritesAndFailures) {
  Connection& connection = log_in();
  // More offered than the command takes.
  deliver(connection, scsi(write10(0, 1), 1024, true), {}, kWriteKey);
  EXPECT_EQ(link.fetched_from.length, 512u);
  fetch_all(connection);
  auto response = iscsi::ScsiResponse::decode(bhs(take()));
  EXPECT_EQ(response.residual, iscsi::Residual::kUnderflow);
  EXPECT_EQ(response.residual_count, 512u);
  // Less offered: the whole blocks are written.
  deliver(connection, scsi(write10(0, 4), 700, true), {}, kWriteKey);
  EXPECT_EQ(link.fetched_from.length, 512u);
  fetch_all(connection);
  response = iscsi::ScsiResponse::decode(bhs(take()));
  EXPECT_EQ(response.status, 0);
  EXPECT_EQ(response.residual, iscsi::Residual::kOverflow);
  EXPECT_EQ(response.residual_count, 2048u - 700);
  // A failed read moves nothing.
  response = command(connection, {0x28, 0, 0xff, 0, 0, 0, 0, 0, 1}, 512);
  EXPECT_EQ(response.status, 2);
  EXPECT_EQ(response.residual, iscsi::Residual::kUnderflow);
  EXPECT_EQ(response.residual_count, 512u);
}

// --- another configuration while sessions are open ---

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
  site->sweep();
  EXPECT_EQ(attention(connection, 0), scsi::kLunsChanged);
  EXPECT_EQ(attention(connection, 1), scsi::kLunNotSupported);
  // What had begun ends as if nothing had happened; then the unit may go.
  fetch_all(connection);
  EXPECT_EQ(iscsi::ScsiResponse::decode(bhs(take())).status, 0);
  settle(connection);
  site->sweep();
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
  EXPECT_EQ(site->find(kDisk)->device().units().size(), 1u);
}

TEST_F(ConnectionTest, ATargetThatGoesEndsItsSessions) {
  Connection& connection = log_in();
  auto write = scsi(write10(0, 1), 512, true);
  deliver(connection, write, {}, kWriteKey);
  Config config;
  config.targets.push_back({.name = "iqn.2026-11.org.example:another", .luns = {"ram:1MiB"}});
  ASSERT_TRUE(site->apply(config, *reactor).ok());
  EXPECT_TRUE(link.dropped);
  EXPECT_EQ(site->find(kDisk), nullptr);
  site->sweep();
  connection.closed();
  for (Task* task : std::exchange(link.fetching, {})) connection.fetched(*task, false);
  EXPECT_TRUE(connection.idle());
  site->sweep();
}

TEST_F(ConnectionTest, ATargetThatGoesDuringALoginIsNotLoggedInTo) {
  const iscsi::Credentials secret{"alice", "alice has a secret"};
  Config config;
  config.targets.push_back(
      {.name = kDisk, .luns = {"ram:1MiB"}, .authentication = {.incoming = secret}});
  ASSERT_TRUE(site->apply(config, *reactor).ok());
  Connection& connection = connect();
  iscsi::InitiatorLogin login({.initiator = kHost, .target = kDisk, .chap = secret});
  std::optional<iscsi::InitiatorLogin::Request> next = login.first();
  deliver(connection, next->header, next->text);
  config.targets[0].name = "iqn.2026-11.org.example:another";
  ASSERT_TRUE(site->apply(config, *reactor).ok());
  site->sweep();
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
  ASSERT_TRUE(site->apply(config, *reactor).ok());
  EXPECT_TRUE(link.dropped);
}

TEST_F(ConnectionTest, AConnectionThatEndsTakesItsTasksAlong) {
  Connection& connection = log_in();
  link.chunks_free = false;
  deliver(connection, scsi({0x28, 0, 0, 0, 0, 0, 0, 0, 1}, 512), {}, kReadKey);
  EXPECT_FALSE(connection.idle());
  connection.closed();
  EXPECT_TRUE(connection.idle());
  EXPECT_TRUE(link.waiting.empty());
}

}  // namespace
}  // namespace mrpool::iser_target
