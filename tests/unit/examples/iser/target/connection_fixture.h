// What the tests of iser_target::Connection share: a link whose wire and RDMA the test moves by
// hand, a target with one unit, and the initiator's side of the conversation.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "examples/base/big_endian.h"
#include "examples/iser/target/connection.h"
#include "examples/protocol/iscsi/initiator_login.h"
#include "examples/protocol/scsi/target_device.h"

namespace mrpool::iser_target {

inline constexpr const char* kDisk = "iqn.2026-11.org.example:disk";
inline constexpr const char* kHost = "iqn.2026-11.org.example:host";

// A connection whose wire is a list of messages and whose RDMA is a copy, both moved by the test.
class MemoryLink final : public Link {
 public:
  Task* take_task() override {
    if (free_tasks == 0) return nullptr;
    --free_tasks;
    tasks.push_back(std::make_unique<Task>(task_callbacks()));
    return tasks.back().get();
  }
  void release(Task&) override { ++free_tasks; }
  void release_receive(void*) override { ++released; }
  bool send(std::span<const std::byte> pdu) override {
    if (out.size() >= room) return false;
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
  bool admit(std::string_view) override { return true; }
  void executing(Task&) override {}
  void executed(Task&) override {}
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
  size_t room = SIZE_MAX;  // for answers outside tasks
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
    site = *Site::create(config, {reactor.get()});
  }
  ~ConnectionTest() override {
    for (const auto& connection : connections) connection->closed();
  }

  Connection& connect(const iscsi::Limits& limits = {}) {
    connections.push_back(std::make_unique<Connection>(*site, site->worker(0), link, limits));
    return *connections.back();
  }
  // Logs in and takes the power-on attention.
  Connection& log_in(const iscsi::Limits& limits = {}, bool discovery = false, uint8_t port = 1) {
    Connection& connection = only_log_in(limits, discovery, port);
    if (!discovery) {
      EXPECT_EQ(command(connection, scsi::Cdb{}).status, 2);
      settle(connection);
    }
    return connection;
  }
  Connection& only_log_in(const iscsi::Limits& limits = {}, bool discovery = false,
                          uint8_t port = 1) {
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
  // PERSISTENT RESERVE OUT with its parameter list as immediate data.
  void send_reserve_out(Connection& connection, uint8_t action, uint64_t key, uint64_t action_key,
                        uint8_t type = 0) {
    std::string list(24, '\0');
    be::store64(&list[0], key);
    be::store64(&list[8], action_key);
    auto pdu = scsi({0x5f, action, type, 0, 0, 0, 0, 0, uint8_t(list.size())},
                    uint32_t(list.size()), true);
    pdu.data_length = uint32_t(list.size());
    deliver(connection, pdu, list, kWriteKey);
  }
  void reserve_out(Connection& connection, uint8_t action, uint64_t key, uint64_t action_key,
                   uint8_t type = 0) {
    send_reserve_out(connection, action, key, action_key, type);
    EXPECT_EQ(iscsi::ScsiResponse::decode(bhs(take())).status, 0);
    settle(connection);
  }
  // The running target gets these units.
  absl::Status apply(std::vector<std::string> luns) {
    Config config;
    config.targets.push_back({.name = kDisk, .luns = {luns.begin(), luns.end()}});
    for (LunConfig& lun : config.targets[0].luns) EXPECT_TRUE(take_own_options(lun).ok());
    return site->apply(config);
  }
  // The answer of TEST UNIT READY.
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
  // INQUIRY: the initiator identifies the unit.
  void inquire(Connection& connection, uint16_t lun) {
    auto pdu = scsi({0x12, 0, 0, 0, 36}, 36);
    pdu.lun = scsi::encode_lun(lun);
    deliver(connection, pdu, {}, kReadKey);
    EXPECT_EQ(iscsi::ScsiResponse::decode(bhs(take())).status, 0);
    settle(connection);
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

}  // namespace mrpool::iser_target
