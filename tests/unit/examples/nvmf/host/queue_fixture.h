// A Queue over a scripted wire, and what its owner hears.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <optional>

#include "examples/load/backoff.h"
#include "examples/nvmf/host/queue.h"
#include "examples/protocol/nvme/auth/host_side.h"
#include "tests/unit/examples/load/scripted_wire.h"

namespace mrpool::nvme::host {

using mrpool::testing::ClockReactor;
using mrpool::testing::ScriptedDevice;
using mrpool::testing::ScriptedPd;
using mrpool::testing::ScriptedQp;

struct TestRequest final : Request {
  explicit TestRequest(IoOpcode opcode = IoOpcode::kRead, Sge sge = {})
      : Request(to_method<&TestRequest::finished>) {
    command.opcode = uint8_t(opcode);
    command.nsid = 1;
    data = sge;
  }
  void finished(const Outcome& reported) {
    ++times;
    outcome = reported;
    if (then) then();
  }
  int times = 0;
  std::function<void()> then;
  std::optional<Outcome> outcome;
};

class QueueTest : public ::testing::Test, public Queue::Owner {
 protected:
  void make(bool retain = false, uint16_t depth = 4, uint32_t mrs = 16) {
    pool_ = *MrPool::create(
        pd_, {.count = mrs,
              .max_segments = 1,
              .access = Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteWrite});
    QueueOptions options;
    options.device = &device_;
    options.pd = &pd_;
    options.pool = pool_.get();
    options.reactor = &reactor_;
    options.address = *Address::parse("uiwarp://127.0.0.1:4420");
    options.host = *identity_of("nqn.2026-11.org.example:host");
    options.subnqn = "nqn.2026-11.org.example:disk";
    options.queue_id = 1;
    options.depth = depth;
    options.retain = retain;
    options.secrets = secrets_;
    queue_ = *Queue::create(options, *this);
    data_ = *load::Buffer::create(pd_, 1 << 16);
  }

  void begin_open() {
    opened_.reset();
    spawn([](QueueTest& test) -> Async<> { test.opened_ = co_await test.queue_->open(7); }(*this));
  }
  void open() {
    begin_open();
    qp().accept();
    ASSERT_EQ(qp().commands.size(), 1u);
    qp().complete_sends();
    qp().answer(qp().commands[0], 7);
    ASSERT_TRUE(opened_.has_value());
    ASSERT_TRUE(opened_->ok()) << *opened_;
  }
  void TearDown() override {
    queue_.reset();
    if (pool_ == nullptr) return;
    pool_->repair();
    EXPECT_EQ(pool_->stats().in_use, 0u);
  }
  void on_lost(Queue&, const std::string& why) override { lost_.push_back(why); }
  ScriptedQp& qp() { return *device_.qp; }
  const ScriptedQp::Command& last() { return qp().commands.back(); }
  Sge bytes(uint32_t length) { return data_->sge(0, length); }

  ScriptedDevice device_;
  ScriptedPd pd_;
  ClockReactor reactor_;
  std::shared_ptr<const auth::HostSecrets> secrets_;
  std::unique_ptr<MrPool> pool_;
  std::optional<load::Buffer> data_;
  std::unique_ptr<Queue> queue_;
  std::optional<absl::Status> opened_;
  std::vector<std::string> lost_;
};

}  // namespace mrpool::nvme::host
