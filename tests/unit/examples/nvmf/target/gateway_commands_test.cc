// What happens to commands under way when an ANA group goes to another gateway.
#include "tests/unit/examples/nvmf/target/raw_host.h"

namespace mrpool::nvmf_target::testing {
namespace {

constexpr Nanoseconds kHangs = seconds(600);
constexpr Nanoseconds kBound = engine::kAbortPatience + 2 * engine::kTick;

class GatewayCommands : public ::testing::Test {
 protected:
  GatewayCommands() {
    world_.serve({"ram:1MiB"}, true);
    host_ = std::make_unique<Host>(world_);
  }
  nvme::Sqe slow_write(Nanoseconds delay) {
    world_.faults->add({.op = storage::Op::kWrite, .delay = delay, .times = 1});
    const nvme::Sqe sqe = host_->io.io(IoOpcode::kWrite, 0, 1);
    host_->io.submit(sqe);
    world_.run_for(milliseconds(1));
    return sqe;
  }
  void lose() {
    AnaStates states;
    states.fill(AnaState::kInaccessible);
    world_.service().target().set_ownership(std::make_shared<const AnaStates>(states));
  }
  Status read() { return host_->io.execute(host_->io.io(IoOpcode::kRead, 8, 1)).status(); }

  World world_;
  std::unique_ptr<Host> host_;
};

TEST_F(GatewayCommands, ADrainWaitsForWhatHasBegun) {
  const nvme::Sqe write = slow_write(seconds(1));
  bool drained = false;
  lose();
  world_.service().drain(1, [&] { drained = true; });
  EXPECT_STATUS(read(), Status::kAnaInaccessible);
  EXPECT_FALSE(drained);
  EXPECT_STATUS(host_->io.wait(write.command_id).status(), Status::kSuccess);
  world_.run_for(milliseconds(10));
  EXPECT_TRUE(drained);
  bool other = false;
  world_.service().drain(2, [&] { other = true; });
  world_.run_for(milliseconds(10));
  EXPECT_TRUE(other) << "it has no namespaces";
}

TEST_F(GatewayCommands, ADrainWaitsForWhatWasAborted) {
  const nvme::Sqe write = slow_write(kHangs);
  (void)host_->admin.execute(
      host_->admin.admin(AdminOpcode::kAbort, 1 | uint32_t(write.command_id) << 16));
  EXPECT_STATUS(host_->io.wait(write.command_id).status(), Status::kAbortRequested);
  bool drained = false;
  lose();
  world_.service().drain(1, [&] { drained = true; });
  world_.run_for(seconds(60));
  EXPECT_FALSE(drained);
  world_.run_for(kHangs);
  EXPECT_TRUE(drained);
}

TEST_F(GatewayCommands, ALostGroupEndsThemWithAPathError) {
  const nvme::Sqe write = slow_write(kHangs);
  const Nanoseconds began = world_.reactor.now();
  lose();
  world_.service().take_away(1, Status::kAnaInaccessible);
  EXPECT_STATUS(host_->io.wait(write.command_id).status(), Status::kAnaInaccessible);
  EXPECT_LE(world_.reactor.now() - began, kBound);
  EXPECT_STATUS(read(), Status::kAnaInaccessible);
}

}  // namespace
}  // namespace mrpool::nvmf_target::testing
