// Writes of an earlier connection that its storage finishes late. Whichever way the host comes
// back, what it writes afterwards stays.
#include "tests/unit/examples/nvmf/target/raw_host.h"

namespace mrpool::nvmf_target::testing {
namespace {

class LateWrites : public ::testing::Test {
 protected:
  LateWrites() {
    world_.serve({"ram:1MiB"}, true);
    host_ = std::make_unique<Host>(world_);
    // One write hangs; nothing after it does. Far longer than the virtual clock jumps in run_for().
    world_.faults->add({.op = storage::Op::kWrite, .delay = seconds(3), .times = 1});
    host_->io.fill(0, 4096, 1);
    host_->io.submit(host_->io.io(IoOpcode::kWrite, 0, 1));
    world_.run_for(milliseconds(1));
  }
  // The first write is over and done with; a newer one stays.
  void expect_order(RawQueue& io) {
    io.fill(0, 4096, 2);
    EXPECT_STATUS(io.execute(io.io(IoOpcode::kWrite, 0, 1)).status(), Status::kSuccess);
    world_.run_for(seconds(4));
    EXPECT_STATUS(io.execute(io.io(IoOpcode::kRead, 0, 1, 1 << 20)).status(), Status::kSuccess);
    EXPECT_TRUE(io.holds(1 << 20, 4096, 2)) << "an acknowledged write was overwritten";
  }
  uint32_t csts(RawQueue& admin) {
    nvme::PropertyCommand get;
    get.type = nvme::FabricsType::kPropertyGet;
    get.command_id = uint16_t{0};
    get.offset = uint32_t(nvme::Property::kCsts);
    return uint32_t(uint64_t(admin.execute(get).result));
  }
  void set_cc(RawQueue& admin, uint32_t value) {
    nvme::PropertyCommand set;
    set.type = nvme::FabricsType::kPropertySet;
    set.command_id = uint16_t{0};
    set.offset = uint32_t(nvme::Property::kCc);
    set.value = uint64_t(value);
    EXPECT_STATUS(admin.execute(set).status(), Status::kSuccess);
  }
  World world_;
  std::unique_ptr<Host> host_;
};

TEST_F(LateWrites, NewAssociation) {
  host_->io.qp->abort();
  host_->admin.qp->abort();
  world_.run_for(milliseconds(1));
  Host again(world_);
  expect_order(again.io);
}

TEST_F(LateWrites, NewAssociationNextToTheOldAdminQueue) {
  host_->io.qp->abort();
  world_.run_for(milliseconds(1));
  Host again(world_);
  expect_order(again.io);
}

TEST_F(LateWrites, ControllerReset) {
  set_cc(host_->admin, 0);
  EXPECT_EQ(csts(host_->admin), nvme::kCstsReady) << "a write is under way";
  EXPECT_TRUE(world_.until([&] { return csts(host_->admin) == 0; }));
  set_cc(host_->admin, nvme::kCcEnable | nvme::kCcEntrySizes);
  RawQueue io(world_, 1);
  EXPECT_STATUS(io.connect(host_->controller).status(), Status::kSuccess);
  expect_order(io);
}

TEST_F(LateWrites, QueueMadeAgain) {
  host_->io.qp->abort();
  world_.run_for(milliseconds(1));
  RawQueue io(world_, 1);
  EXPECT_STATUS(io.connect(host_->controller).status(), Status::kSuccess);
  expect_order(io);
}

TEST_F(LateWrites, Shutdown) {
  set_cc(host_->admin, nvme::kCcEnable | nvme::kCcEntrySizes | nvme::kCcShutdownNormal);
  EXPECT_EQ(csts(host_->admin), nvme::kCstsReady | nvme::kCstsShutdownOccurring);
  EXPECT_TRUE(world_.until(
      [&] { return csts(host_->admin) == (nvme::kCstsReady | nvme::kCstsShutdownComplete); }));
  EXPECT_TRUE(host_->io.down);
  host_->admin.qp->abort();
  Host again(world_);
  expect_order(again.io);
}

// A host that gives up while it waits, and a target that stops, leak nothing.
TEST_F(LateWrites, TheWaitEndsEarly) {
  host_->io.qp->abort();
  host_->admin.qp->abort();
  world_.run_for(milliseconds(1));
  const auto ask = [](RawQueue& admin) {
    nvme::ConnectCommand command;
    command.sq_size0 = uint16_t{31};
    command.sgl = SglDescriptor::keyed(admin.buffer(0, sizeof(nvme::ConnectData)), false);
    nvme::ConnectData data{};
    std::fill(std::begin(data.hostid), std::end(data.hostid), 7);
    data.cntlid = nvme::kDynamicController;
    nvme::set_field(data.subsysnqn, kSubsystem);
    nvme::set_field(data.hostnqn, kHostNqn);
    std::memcpy(admin.memory.data(), &data, sizeof data);
    admin.submit(command);
  };
  RawQueue given_up(world_, 0);
  ask(given_up);
  world_.run_for(milliseconds(1));
  EXPECT_TRUE(given_up.answers.empty());
  given_up.qp->abort();
  RawQueue stopped(world_, 0);
  ask(stopped);
  world_.run_for(milliseconds(1));
  EXPECT_TRUE(stopped.answers.empty());
  world_.stop();
}

}  // namespace
}  // namespace mrpool::nvmf_target::testing
