// What the tests of the target's pure logic share: a ControllerHost that remembers, commands as
// hosts send them, and a Target with two subsystems.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "examples/nvmf/target/controller.h"
#include "examples/nvmf/target/target.h"

namespace mrpool::nvmf_target::testing {

inline constexpr char kNqn[] = "nqn.2024-01.org.example:disk";
inline constexpr char kPrivateNqn[] = "nqn.2024-01.org.example:private";
inline constexpr char kHost[] = "nqn.2024-01.org.example:host-a";
inline constexpr char kOtherHost[] = "nqn.2024-01.org.example:host-b";

// "invalid_field (0x002, DNR)": readable in failures.
inline std::string name(nvme::Status status) { return nvme::to_string(status); }
inline nvme::Status dnr(nvme::Status status) { return nvme::with_dnr(status); }

#define EXPECT_STATUS(actual, expected) EXPECT_EQ(name(actual), name(expected))
#define ASSERT_STATUS(actual) ASSERT_EQ(name(actual), name(nvme::Status::kSuccess))

struct RecordingHost final : ControllerHost {
  void events_ready(QueueRef queue) override { ready.push_back(queue); }
  void drop_queue(QueueRef queue) override { dropped.push_back(queue); }
  void connect_again(QueueRef queue) override { again.push_back(queue); }
  std::vector<QueueRef> again;
  std::vector<QueueRef> ready;
  std::vector<QueueRef> dropped;
};

inline nvme::Sqe admin_command(nvme::AdminOpcode opcode, uint32_t nsid = 0, uint32_t cdw10 = 0,
                               uint32_t cdw11 = 0) {
  nvme::Sqe sqe;
  sqe.opcode = uint8_t(opcode);
  sqe.flags = nvme::kPsdtSgl;
  sqe.command_id = uint16_t{1};
  sqe.nsid = nsid;
  sqe.cdw10 = cdw10;
  sqe.cdw11 = cdw11;
  return sqe;
}

inline nvme::Sqe log_command(uint32_t log, uint32_t bytes, uint64_t offset = 0,
                             bool retain = false) {
  nvme::Sqe sqe = admin_command(nvme::AdminOpcode::kGetLogPage, nvme::kBroadcastNsid);
  const uint32_t dwords = bytes / 4 - 1;
  sqe.cdw10 = log | (retain ? 1u << 15 : 0) | dwords << 16;
  sqe.cdw11 = dwords >> 16;
  sqe.cdw12 = uint32_t(offset);
  sqe.cdw13 = uint32_t(offset >> 32);
  return sqe;
}

inline nvme::PropertyCommand property(nvme::FabricsType type, nvme::Property offset,
                                      uint64_t value = 0, uint8_t size = 0) {
  nvme::PropertyCommand command;
  command.type = type;
  command.offset = uint32_t(offset);
  command.value = value;
  command.attributes = size;
  return command;
}

inline nvme::ConnectData connect_data(std::string_view subsystem, std::string_view host,
                                      uint16_t controller = nvme::kDynamicController,
                                      uint8_t host_id = 7) {
  nvme::ConnectData data{};
  std::fill(std::begin(data.hostid), std::end(data.hostid), host_id);
  data.cntlid = nvme::le(controller);
  nvme::set_field(data.subsysnqn, subsystem);
  nvme::set_field(data.hostnqn, host);
  return data;
}

inline nvme::ConnectCommand connect_command(uint16_t queue_id, uint32_t entries = 32) {
  nvme::ConnectCommand command;
  command.queue_id = queue_id;
  command.sq_size0 = uint16_t(entries - 1);
  return command;
}

template <typename T>
T page(const AdminReply& reply) {
  EXPECT_GE(reply.data.size(), sizeof(T));
  if (reply.data.size() < sizeof(T)) return T{};
  return nvme::read_struct<T>(reply.data);
}

class TargetFixture : public ::testing::Test {
 protected:
  TargetFixture() { apply(); }

  static Namespace make_namespace(uint32_t nsid, const std::string& spec) {
    auto volume = storage::open(spec);
    EXPECT_TRUE(volume.ok()) << volume.status();
    Namespace ns{.nsid = nsid, .volume = *volume, .uuid = {}};
    ns.uuid[0] = uint8_t(nsid);
    return ns;
  }
  void apply() {
    Target::Served open;
    open.options.nqn = kNqn;
    open.options.serial = "s1";
    open.options.ana = rules_;
    open.namespaces = namespaces_;
    Target::Served closed;
    closed.options.nqn = kPrivateNqn;
    closed.options.serial = "s2";
    closed.options.allow_any_host = false;
    closed.options.hosts = {kHost};
    Portal portal{.address = "0.0.0.0", .port = 4420, .id = 1};
    target_.apply({open, closed}, {portal});
  }
  QueueFacts facts(uint16_t queue_id, uint32_t entries = 32) {
    return {{0, next_queue_++}, queue_id, entries, "10.0.0.1:4420", "10.0.0.2:40000"};
  }
  std::shared_ptr<Controller> connect(std::string_view nqn = kNqn, std::string_view host = kHost,
                                      uint32_t keep_alive_ms = 0) {
    nvme::ConnectCommand command = connect_command(0);
    command.keep_alive_ms = keep_alive_ms;
    Connected c = target_.connect(command, connect_data(nqn, host), facts(0), now_);
    EXPECT_STATUS(c.status, nvme::Status::kSuccess);
    return c.controller;
  }
  std::shared_ptr<Controller> enabled(std::string_view nqn = kNqn, std::string_view host = kHost,
                                      uint32_t keep_alive_ms = 0) {
    auto controller = connect(nqn, host, keep_alive_ms);
    EXPECT_STATUS(enable(*controller).status, nvme::Status::kSuccess);
    return controller;
  }
  AdminReply enable(Controller& controller) {
    return controller.property_set(property(nvme::FabricsType::kPropertySet, nvme::Property::kCc,
                                            nvme::kCcEnable | nvme::kCcEntrySizes),
                                   now_);
  }
  uint64_t get(Controller& controller, nvme::Property offset, uint8_t size = 0) {
    const AdminReply reply =
        controller.property_get(property(nvme::FabricsType::kPropertyGet, offset, 0, size));
    EXPECT_STATUS(reply.status, nvme::Status::kSuccess);
    return reply.result;
  }

  RecordingHost host_;
  std::vector<Namespace> namespaces_{make_namespace(1, "ram:1MiB"),
                                     make_namespace(3, "ram:1MiB,bs=512")};
  std::vector<AnaRule> rules_;
  Nanoseconds now_ = std::chrono::seconds(100);
  uint64_t next_queue_ = 1;
  Target target_{{.workers = 1}, host_};
};

}  // namespace mrpool::nvmf_target::testing
