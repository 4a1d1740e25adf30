#include "examples/nvmf/host/controller.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <optional>

#include "tests/unit/examples/load/scripted_wire.h"

namespace mrpool::nvme::host {
namespace {

using mrpool::testing::ClockReactor;
using mrpool::testing::ScriptedDevice;
using mrpool::testing::ScriptedPd;
using mrpool::testing::ScriptedQp;
using ::testing::HasSubstr;

constexpr uint32_t kDescriptors = 3, kNamespace = 0;  // CNS

// A Namespace Identification Descriptor with a UUID of this byte alone.
std::vector<std::byte> uuid_descriptor(uint8_t byte) {
  std::vector<std::byte> list(4096);
  list[0] = std::byte{3};
  list[1] = std::byte{16};
  std::fill_n(list.begin() + 4, 16, std::byte{byte});
  return list;
}

class ControllerTest : public ::testing::Test, public Controller::Owner {
 protected:
  ControllerTest() {
    pool_ = *MrPool::create(
        pd_, {.count = 16,
              .max_segments = 1,
              .access = Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteWrite});
    ControllerOptions options;
    options.admin.device = &device_;
    options.admin.pd = &pd_;
    options.admin.pool = pool_.get();
    options.admin.reactor = &reactor_;
    options.admin.address = *Address::parse("uiwarp://127.0.0.1:4420");
    options.admin.host = *identity_of("nqn.2026-11.org.example:host");
    options.admin.subnqn = "nqn.2026-11.org.example:disk";
    options.admin.depth = 8;
    controller_ = *Controller::create(options, *this);
    spawn([](ControllerTest& test) -> Async<> {
      (void)co_await test.controller_->admin().open(kDynamicController);
    }(*this));
    qp().accept();
    answer({}, Status::kSuccess);
  }
  ~ControllerTest() override {
    if (device_.qp != nullptr) qp().end();
    reactor_.poll();
  }
  void on_controller_lost(Controller&, const std::string&) override {}
  void on_async_event(Controller&, const AsyncEvent&) override {}

  ScriptedQp& qp() { return *device_.qp; }
  // The CNS of the last Identify.
  uint32_t cns() { return le(uint32_t(qp().commands.back().sqe.cdw10)) & 0xff; }
  void answer(std::span<const std::byte> data, Status status) {
    qp().complete_sends();
    const ScriptedQp::Command command = qp().commands.back();
    if (!data.empty()) {
      std::memcpy(reinterpret_cast<void*>(uintptr_t(uint64_t(command.sqe.sgl.address))),
                  data.data(), data.size());
    }
    qp().answer(command, 0, status);
    reactor_.poll();
  }
  void check(const NamespaceInfo& was) {
    checked_.reset();
    spawn([](ControllerTest& test, NamespaceInfo info) -> Async<> {
      test.checked_ = co_await test.controller_->check_identifiers(info);
    }(*this, was));
  }

  ScriptedDevice device_;
  ScriptedPd pd_;
  ClockReactor reactor_;
  std::unique_ptr<MrPool> pool_;
  std::unique_ptr<Controller> controller_;
  std::optional<absl::Status> checked_;
  const NamespaceInfo was_{.nsid = 1,
                           .blocks = 8,
                           .block_size = 512,
                           .identifiers = namespace_identifiers({}, uuid_descriptor(0x11))};
};

// Identify Namespace (CNS 0) would make the controller assume that this host accepts the current
// store.
TEST_F(ControllerTest, AnotherNamespaceIsFoundByItsDescriptorsAlone) {
  check(was_);
  EXPECT_EQ(cns(), kDescriptors);
  answer(uuid_descriptor(0x22), Status::kSuccess);
  ASSERT_TRUE(checked_.has_value());
  EXPECT_TRUE(absl::IsAborted(*checked_));
  EXPECT_THAT(std::string(checked_->message()), HasSubstr("namespace 1 was replaced"));
  for (const ScriptedQp::Command& command : qp().commands) {
    EXPECT_FALSE(command.sqe.opcode == uint8_t(AdminOpcode::kIdentify) &&
                 (command.sqe.cdw10 & 0xff) == kNamespace);
  }
}

TEST_F(ControllerTest, TheSameOneIsTheSame) {
  check(was_);
  answer(uuid_descriptor(0x11), Status::kSuccess);
  EXPECT_TRUE(checked_->ok()) << *checked_;
}

// Descriptors are optional in old controllers: nothing is known then.
TEST_F(ControllerTest, WithoutDescriptorsNothingIsReported) {
  check(was_);
  answer({}, with_dnr(Status::kInvalidField));
  EXPECT_TRUE(checked_->ok()) << *checked_;
}

TEST_F(ControllerTest, ALostConnectionIsNotAReplacedNamespace) {
  check(was_);
  qp().end();
  reactor_.poll();
  EXPECT_TRUE(absl::IsUnavailable(*checked_)) << *checked_;
}

// Commands end one by one from the loop; the controller may be destroyed before.
TEST_F(ControllerTest, TheEndOfTheControllerEndsCommandsThatWait) {
  check(was_);
  qp().end();
  EXPECT_FALSE(checked_.has_value());
  controller_.reset();
  ASSERT_TRUE(checked_.has_value());
  EXPECT_TRUE(absl::IsUnavailable(*checked_)) << *checked_;
}

}  // namespace
}  // namespace mrpool::nvme::host
