// Hosts that lie. Each is refused or cut off; a good host continues.
#include <cstring>
#include <random>

#include "tests/unit/examples/nvmf/target/raw_host.h"

namespace mrpool::nvmf_target::testing {
namespace {

class Hostile : public ::testing::Test {
 protected:
  Hostile() {
    world_.serve({"ram:1MiB"});
    good_ = std::make_unique<Host>(world_);
  }
  ~Hostile() override {
    EXPECT_STATUS(good_->io.execute(good_->io.io(IoOpcode::kRead, 0, 256)).status(),
                  Status::kSuccess);
    world_.expect_nothing_held();
  }
  World world_;
  std::unique_ptr<Host> good_;
};

TEST_F(Hostile, BadPrivateData) {
  const auto reason = [&](std::span<const std::byte> data) {
    RawQueue queue(world_, data);
    EXPECT_FALSE(queue.connected());
    return queue.rejected;
  };
  EXPECT_EQ(reason({}), nvme::RdmaStatus::kInvalidLength);
  nvme::RdmaRequest request;
  request.queue_id = uint16_t{5000};
  EXPECT_EQ(reason(nvme::bytes_of(request)), nvme::RdmaStatus::kInvalidQueueId);
  const std::vector<std::byte> giant(500, std::byte{0xff});
  EXPECT_EQ(reason(giant), nvme::RdmaStatus::kInvalidRecordFormat);
}

TEST_F(Hostile, CommandsBeforeConnect) {
  RawQueue queue(world_, 0);
  EXPECT_STATUS(queue.execute(queue.admin(AdminOpcode::kIdentify, 1, 0, 4096)).status(),
                dnr(Status::kCommandSequence));
  RawQueue io(world_, 1);
  EXPECT_STATUS(io.execute(io.io(IoOpcode::kRead, 0, 1)).status(), dnr(Status::kCommandSequence));
  world_.run_for(seconds(6));
  EXPECT_TRUE(queue.down) << "no Connect command in time";
  EXPECT_TRUE(io.down);
  EXPECT_TRUE(good_->io.connected());
}

// The second Connect comes in while the data of the first is fetched: one controller, not two.
TEST_F(Hostile, TwoConnectCommandsAtOnce) {
  const size_t before = world_.service().target().controllers();
  RawQueue queue(world_, 0);
  nvme::ConnectData data{};
  data.cntlid = nvme::kDynamicController;
  nvme::set_field(data.subsysnqn, kSubsystem);
  nvme::set_field(data.hostnqn, kHostNqn);
  std::memcpy(queue.memory.data(), &data, sizeof data);
  nvme::ConnectCommand fetched, inside;
  fetched.command_id = uint16_t{1};
  fetched.sq_size0 = inside.sq_size0 = uint16_t{31};
  fetched.sgl = SglDescriptor::keyed(queue.buffer(0, sizeof data), false);
  inside.command_id = uint16_t{2};
  inside.sgl = SglDescriptor::in_capsule(0, sizeof data);
  queue.submit(fetched);
  queue.submit(inside, nvme::bytes_of(data));
  EXPECT_STATUS(queue.wait(2).status(), dnr(Status::kCommandSequence));
  EXPECT_STATUS(queue.wait(1).status(), Status::kSuccess);
  EXPECT_EQ(world_.service().target().controllers(), before + 1);
}

// What is fetched for a Connect command lands in memory of its own connection, by an MR of its own.
TEST_F(Hostile, StrangersTakeNothingThatOthersNeed) {
  engine::Service& engine = world_.service().engine();
  const uint64_t gets = engine.devices().at(0)->pool()->stats().gets;
  const size_t chunks = engine.worker(0).staging().high_water();
  const uint64_t reads = 16;
  for (uint64_t i = 0; i < reads; ++i) {
    RawQueue queue(world_, 0);
    nvme::ConnectData data{};
    data.cntlid = nvme::kDynamicController;
    nvme::set_field(data.subsysnqn, "nqn.2024-01.org.example:none");
    nvme::set_field(data.hostnqn, kHostNqn);
    std::memcpy(queue.memory.data(), &data, sizeof data);
    nvme::ConnectCommand fetched;
    fetched.command_id = uint16_t{1};
    fetched.sq_size0 = uint16_t{31};
    fetched.sgl = SglDescriptor::keyed(queue.buffer(0, sizeof data), false);
    queue.submit(fetched);
    EXPECT_STATUS(queue.wait(1).status(), dnr(Status::kConnectInvalidParameters));
  }
  EXPECT_EQ(engine.devices().at(0)->pool()->stats().gets, gets);
  EXPECT_EQ(engine.worker(0).staging().high_water(), chunks);
}

TEST_F(Hostile, TooManyCommandsBeforeConnect) {
  RawQueue queue(world_, 0);
  for (uint32_t i = 0; i < kMaxEarlyCommands; ++i) {
    EXPECT_STATUS(queue.execute(queue.admin(AdminOpcode::kIdentify, 1, 0, 4096)).status(),
                  dnr(Status::kCommandSequence));
  }
  EXPECT_FALSE(queue.down);
  queue.submit(queue.admin(AdminOpcode::kIdentify, 1, 0, 4096));
  world_.run_for(milliseconds(100));
  EXPECT_TRUE(queue.down);
}

// Reads of RAM gather in place, and who writes the same blocks waits for them: not for long.
TEST_F(Hostile, SlowReadersDelayNoWriter) {
  world_.network->set_options(
      {.window = 4 << 10, .min_delay = milliseconds(100), .max_delay = milliseconds(100)});
  RawQueue reader(world_, 2);
  EXPECT_STATUS(reader.connect(good_->controller).status(), Status::kSuccess);
  // 1 MiB, at 40 KiB a second.
  reader.submit(reader.io(IoOpcode::kRead, 0, 256));
  world_.run_for(seconds(1));
  const Nanoseconds before = world_.reactor.now();
  EXPECT_STATUS(good_->io.execute(good_->io.io(IoOpcode::kWrite, 0, 1)).status(), Status::kSuccess);
  EXPECT_LT(world_.reactor.now() - before, seconds(1));
  EXPECT_TRUE(reader.wait_down());
}

TEST_F(Hostile, QueueIdGames) {
  RawQueue wrong(world_, 3);
  wrong.id = 4;
  EXPECT_STATUS(wrong.connect(good_->controller).status(), dnr(Status::kConnectInvalidParameters));
  RawQueue taken(world_, 1);
  EXPECT_STATUS(taken.connect(good_->controller).status(), dnr(Status::kCommandSequence));
  RawQueue foreign(world_, 2);
  EXPECT_STATUS(foreign.connect(good_->controller, "nqn.2024-01.org.example:thief").status(),
                dnr(Status::kConnectInvalidParameters));
  RawQueue none(world_, 2);
  EXPECT_STATUS(none.connect(uint16_t(good_->controller + 1)).status(),
                dnr(Status::kConnectInvalidParameters));
  EXPECT_STATUS(good_->admin.connect().status(), dnr(Status::kCommandSequence));
}

TEST_F(Hostile, CommandIdReuse) {
  Host bad(world_);
  const nvme::Sqe park = bad.admin.admin(AdminOpcode::kAsyncEventRequest);
  bad.admin.submit(park);
  world_.run_for(milliseconds(1));
  nvme::Sqe same = bad.admin.admin(AdminOpcode::kKeepAlive);
  same.command_id = park.command_id;
  EXPECT_STATUS(bad.admin.execute(same).status(), dnr(Status::kCommandIdConflict));
}

TEST_F(Hostile, AbortStorm) {
  Host bad(world_);
  std::vector<uint16_t> ids;
  for (uint32_t i = 0; i < 31; ++i) {
    const nvme::Sqe sqe = bad.admin.admin(AdminOpcode::kAbort, 1 | i << 16);
    ids.push_back(sqe.command_id);
    bad.admin.submit(sqe);
  }
  for (const uint16_t id : ids) {
    const Status status = code(bad.admin.wait(id).status());
    EXPECT_TRUE(status == Status::kSuccess || status == Status::kAbortLimitExceeded)
        << name(status);
  }
  EXPECT_TRUE(bad.admin.connected());
}

TEST_F(Hostile, OversizeAndShortCapsules) {
  for (const size_t bytes : {size_t{1}, size_t{63}, size_t{64 + 4096 + 1}, size_t{1} << 20}) {
    SCOPED_TRACE(bytes);
    Host bad(world_);
    bad.io.send(std::vector<std::byte>(bytes, std::byte{1}));
    EXPECT_TRUE(bad.io.wait_down());
    EXPECT_TRUE(good_->io.connected());
  }
}

TEST_F(Hostile, MoreCommandsThanEntries) {
  Host bad(world_);
  for (int i = 0; i < 200; ++i) {
    nvme::Sqe sqe = bad.admin.admin(AdminOpcode::kAsyncEventRequest);
    bad.admin.submit(sqe);
  }
  // Event requests beyond the limit are answered, so this one survives or is cut off, never more.
  world_.run_for(milliseconds(100));
  EXPECT_LE(bad.admin.order.size(), 210u);
}

TEST_F(Hostile, ForeignAndStaleKeys) {
  Host bad(world_);
  nvme::Sqe read = bad.io.io(IoOpcode::kRead, 0, 1);
  RemoteBuffer wrong = bad.io.buffer(0, 4096);
  wrong.rkey.value ^= 0x5555;
  read.sgl = SglDescriptor::keyed(wrong, false);
  bad.io.submit(read);
  EXPECT_TRUE(bad.io.wait_down()) << "its own device ends it";
  Host worse(world_);
  nvme::Sqe write = worse.io.io(IoOpcode::kWrite, 0, 256);
  RemoteBuffer beyond = worse.io.buffer(RawQueue::kMemory - 4096, 1 << 20);
  write.sgl = SglDescriptor::keyed(beyond, false);
  worse.io.submit(write);
  EXPECT_TRUE(worse.io.wait_down());
  // Half a megabyte that never came must not have been written.
  EXPECT_STATUS(good_->io.execute(good_->io.io(IoOpcode::kRead, 0, 256)).status(),
                Status::kSuccess);
  EXPECT_TRUE(good_->io.holds(0, 1 << 20, 0));
}

// A host dies while its data is on the way: no block is half written, nothing stays held.
TEST_F(Hostile, DeathInTheMiddleOfTransfers) {
  for (int round = 0; round < 20; ++round) {
    Host bad(world_);
    bad.io.fill(0, 1 << 20, 1 + round);
    for (int i = 0; i < 8; ++i) {
      // Reads land elsewhere than the writes come from.
      bad.io.submit(i % 2 == 0 ? bad.io.io(IoOpcode::kWrite, 0, 256)
                               : bad.io.io(IoOpcode::kRead, 0, 256, 2 << 20));
    }
    for (int i = 0; i < round * 40; ++i) world_.reactor.step();
    bad.io.qp->abort();
    bad.admin.qp->abort();
    EXPECT_TRUE(bad.io.wait_down());
    world_.run_for(milliseconds(10));
    EXPECT_STATUS(good_->io.execute(good_->io.io(IoOpcode::kRead, 0, 256)).status(),
                  Status::kSuccess);
    const auto table = world_.service().target().find(kSubsystem)->namespaces();
    const std::span<std::byte> stored = table->namespaces[0].volume->memory();
    for (size_t block = 0; block < 256; ++block) {
      const std::byte* at = &good_->io.memory[block * 4096];
      const auto first_other = std::find_if(at, at + 4096, [&](std::byte b) { return b != *at; });
      ASSERT_EQ(first_other, at + 4096)
          << "round " << round << ", torn block " << block << ": " << int(*at) << ", then "
          << int(*first_other) << " from byte " << first_other - at << "; stored "
          << int(stored[block * 4096]) << ", " << int(stored[block * 4096 + 4095]);
    }
  }
  EXPECT_EQ(world_.service().target().controllers(), 1u);
}

TEST_F(Hostile, GarbageCapsules) {
  std::mt19937_64 rng(20240101);
  for (int round = 0; round < 30; ++round) {
    Host bad(world_);
    for (int i = 0; i < 20 && bad.io.connected() && bad.admin.connected(); ++i) {
      std::vector<std::byte> bytes(64 + rng() % 512);
      for (std::byte& b : bytes) b = std::byte(rng());
      bytes[0] = std::byte(rng() % 16);
      bytes[1] = std::byte{0x40};
      (rng() % 2 == 0 ? bad.io : bad.admin).send(bytes);
      world_.run_for(milliseconds(1));
    }
  }
}

}  // namespace
}  // namespace mrpool::nvmf_target::testing
