// ANA on I/O queues: commands on a path that is not accessible, and changes while commands come.
#include "tests/unit/examples/nvmf/target/raw_host.h"

namespace mrpool::nvmf_target::testing {
namespace {

// Every command that names the namespace, and the Flush of all.
TEST(Access, EveryIoCommandIsRefusedWithoutDoNotRetry) {
  World world;
  world.serve({"ram:1MiB"});
  Host host(world);
  world.serve({"ram:1MiB"}, {{.state = AnaState::kInaccessible}});
  for (const IoCommand& each : io_commands()) {
    EXPECT_STATUS(host.io.execute(host.io.io(each.opcode, 0, 1)).status(), Status::kAnaInaccessible)
        << int(each.opcode);
  }
  nvme::Sqe flush = host.io.io(IoOpcode::kFlush, 0, 1);
  flush.nsid = nvme::kBroadcastNsid;
  EXPECT_STATUS(host.io.execute(flush).status(), Status::kAnaInaccessible);
  // A command that is wrong by itself gets its own status.
  EXPECT_STATUS(host.io.execute(host.io.io(IoOpcode(0x77), 0, 1)).status(),
                dnr(Status::kInvalidOpcode));
  EXPECT_STATUS(host.io.execute(host.io.io(IoOpcode::kRead, 0, 1, 0, 9)).status(),
                dnr(Status::kInvalidNamespace));
  EXPECT_EQ(world.service().target().find(kSubsystem)->totals().path_errors,
            io_commands().size() + 1);
  world.serve({"ram:1MiB"});
  EXPECT_STATUS(host.io.execute(host.io.io(IoOpcode::kRead, 0, 1)).status(), Status::kSuccess);
}

TEST(Access, StatesAreOfThePortOfTheController) {
  World world;
  world.serve({"ram:1MiB"}, {{.listener = "uiwarp://127.0.0.1:4420", .state = AnaState::kChange}});
  Host host(world);
  EXPECT_STATUS(host.io.execute(host.io.io(IoOpcode::kRead, 0, 1)).status(),
                Status::kAnaTransition);
}

// Commands that had begun end as if nothing had happened; later ones see the new state.
TEST(Access, AChangeWhileCommandsAreUnderWay) {
  World world;
  world.serve({"ram:8MiB"});
  Host host(world);
  nvme::Sqe park = host.admin.admin(AdminOpcode::kAsyncEventRequest);
  EXPECT_STATUS(host.admin
                    .execute(host.admin.admin(AdminOpcode::kSetFeatures, NVME_FEAT_FID_ASYNC_EVENT,
                                              kEventAccess))
                    .status(),
                Status::kSuccess);
  host.admin.submit(park);
  std::vector<uint16_t> early;
  for (int i = 0; i < 8; ++i) {
    const nvme::Sqe write = host.io.io(IoOpcode::kWrite, uint64_t(i) * 8, 8);
    host.io.submit(write);
    early.push_back(write.command_id);
  }
  for (int i = 0; i < 40; ++i) world.reactor.step();
  world.serve({"ram:8MiB"}, {{.state = AnaState::kInaccessible}});
  const nvme::Sqe late = host.io.io(IoOpcode::kRead, 0, 1);
  host.io.submit(late);
  for (const uint16_t id : early) {
    const Status status = host.io.wait(id).status();
    EXPECT_TRUE(ok(status) || code(status) == Status::kAnaInaccessible) << name(status);
  }
  EXPECT_STATUS(host.io.wait(late.command_id).status(), Status::kAnaInaccessible);
  const nvme::Cqe event = host.admin.wait(park.command_id);
  EXPECT_EQ(uint32_t(uint64_t(event.result)), 2u | 3u << 8 | 0x0cu << 16);
}

}  // namespace
}  // namespace mrpool::nvmf_target::testing
