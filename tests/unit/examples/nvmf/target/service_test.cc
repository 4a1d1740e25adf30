// The whole target against hosts that send any bytes, on a virtual clock: I/O, aborts, events,
// faults, shortages.
#include "examples/nvmf/target/service.h"

#include "tests/unit/examples/nvmf/target/raw_host.h"

namespace mrpool::nvmf_target::testing {
namespace {

TEST(ServiceIo, WritesAndReadsBack) {
  World world;
  world.serve({"ram:8MiB"});
  Host host(world);
  for (const uint32_t blocks : {1u, 3u, 32u, 33u, 256u}) {
    SCOPED_TRACE(blocks);
    const size_t bytes = blocks * 4096;
    host.io.fill(0, bytes, int(blocks));
    EXPECT_STATUS(host.io.execute(host.io.io(IoOpcode::kWrite, 7, blocks)).status(),
                  Status::kSuccess);
    EXPECT_STATUS(host.io.execute(host.io.io(IoOpcode::kRead, 7, blocks, 2 << 20)).status(),
                  Status::kSuccess);
    EXPECT_TRUE(host.io.holds(2 << 20, bytes, int(blocks)));
  }
  EXPECT_GT(world.service().engine().devices().at(0)->pool()->stats().gets, 0u)
      << "fetches go through the pool";
}

TEST(ServiceIo, DataInTheCapsule) {
  World world;
  world.serve({"ram:1MiB"});
  Host host(world);
  const std::vector<std::byte> data(4096, std::byte{0x5a});
  nvme::Sqe write = host.io.io(IoOpcode::kWrite, 3, 1);
  write.sgl = SglDescriptor::in_capsule(0, 4096);
  EXPECT_STATUS(host.io.execute(write, data).status(), Status::kSuccess);
  nvme::Sqe compare = host.io.io(IoOpcode::kCompare, 3, 1);
  compare.sgl = SglDescriptor::in_capsule(0, 4096);
  EXPECT_STATUS(host.io.execute(compare, data).status(), Status::kSuccess);
  EXPECT_STATUS(host.io.execute(host.io.io(IoOpcode::kRead, 3, 1)).status(), Status::kSuccess);
  EXPECT_TRUE(host.io.holds(0, 4096, 0x5a));
}

TEST(ServiceIo, SeveralDescriptors) {
  World world;
  world.serve({"ram:1MiB"});
  Host host(world);
  host.io.fill(0, 4096, 1);
  host.io.fill(8192, 4096, 2);
  const auto scattered = [&](IoOpcode opcode, uint64_t a, uint64_t b) {
    const SglDescriptor list[] = {SglDescriptor::keyed(host.io.buffer(a, 4096), false),
                                  SglDescriptor::keyed(host.io.buffer(0, 0), false),
                                  SglDescriptor::keyed(host.io.buffer(b, 4096), false)};
    nvme::Sqe sqe = host.io.io(opcode, 0, 2);
    sqe.sgl = SglDescriptor::last_segment(0, sizeof list);
    return host.io.execute(sqe, std::as_bytes(std::span(list))).status();
  };
  EXPECT_STATUS(scattered(IoOpcode::kWrite, 0, 8192), Status::kSuccess);
  EXPECT_STATUS(scattered(IoOpcode::kRead, 1 << 20, 2 << 20), Status::kSuccess);
  EXPECT_TRUE(host.io.holds(1 << 20, 4096, 1));
  EXPECT_TRUE(host.io.holds(2 << 20, 4096, 2));
}

TEST(ServiceIo, CompareZeroesDeallocateFlush) {
  World world;
  world.serve({"ram:1MiB", "ram:1MiB"});
  Host host(world);
  host.io.fill(0, 65536, 9);
  const auto run = [&](const nvme::Sqe& sqe) { return host.io.execute(sqe).status(); };
  EXPECT_STATUS(run(host.io.io(IoOpcode::kWrite, 0, 16)), Status::kSuccess);
  EXPECT_STATUS(run(host.io.io(IoOpcode::kCompare, 0, 16)), Status::kSuccess);
  host.io.fill(65535, 1, 8);
  EXPECT_STATUS(run(host.io.io(IoOpcode::kCompare, 0, 16)), dnr(Status::kCompareFailure));
  nvme::Sqe zeroes = host.io.io(IoOpcode::kWriteZeroes, 1, 2);
  zeroes.sgl = SglDescriptor::keyed({}, false);
  EXPECT_STATUS(run(zeroes), Status::kSuccess);
  nvme_dsm_range ranges[2] = {};
  ranges[0].slba = 5;
  ranges[0].nlb = 1;
  ranges[1].slba = 7;
  ranges[1].nlb = 2;
  std::memcpy(host.io.memory.data(), ranges, sizeof ranges);
  nvme::Sqe dsm = host.io.io(IoOpcode::kDatasetManagement, 0, 1);
  dsm.cdw10 = uint32_t{1};
  dsm.cdw11 = uint32_t{4};
  dsm.cdw12 = uint32_t{0};
  dsm.sgl = SglDescriptor::keyed(host.io.buffer(0, sizeof ranges), false);
  EXPECT_STATUS(run(dsm), Status::kSuccess);
  EXPECT_STATUS(run(host.io.io(IoOpcode::kRead, 0, 16, 1 << 20)), Status::kSuccess);
  for (uint32_t block = 0; block < 16; ++block) {
    const bool zero = (block >= 1 && block <= 2) || block == 5 || block == 7 || block == 8;
    EXPECT_TRUE(host.io.holds((1 << 20) + block * 4096, 4095, zero ? 0 : 9)) << block;
  }
  // One range of several is bad: none is touched.
  ranges[0].slba = 0;
  ranges[1].slba = 256;
  std::memcpy(host.io.memory.data(), ranges, sizeof ranges);
  dsm.command_id = host.io.next_id++;
  EXPECT_STATUS(run(dsm), dnr(Status::kLbaOutOfRange));
  EXPECT_STATUS(run(host.io.io(IoOpcode::kRead, 0, 1, 1 << 20)), Status::kSuccess);
  EXPECT_TRUE(host.io.holds(1 << 20, 4096, 9));
  nvme::Sqe flush = host.io.io(IoOpcode::kFlush, 0, 1);
  flush.sgl = SglDescriptor::keyed({}, false);
  flush.nsid = nvme::kBroadcastNsid;
  EXPECT_STATUS(run(flush), Status::kSuccess);
}

TEST(ServiceIo, VerifyReadsWhatIsStored) {
  World world;
  world.serve({"ram:2MiB"}, true);
  Host host(world);
  const auto verify = [&](uint64_t block, uint32_t blocks) {
    nvme::Sqe sqe = host.io.io(IoOpcode::kVerify, block, blocks);
    sqe.sgl = SglDescriptor::keyed({}, false);
    return host.io.execute(sqe).status();
  };
  host.io.fill(0, 1 << 20, 9);
  EXPECT_STATUS(verify(0, 256), Status::kSuccess);
  EXPECT_TRUE(host.io.holds(0, 1 << 20, 9));
  world.faults->add({.op = storage::Op::kRead,
                     .offset = 300 * 4096,
                     .length = 4096,
                     .error = storage::Error::kMediaRead});
  EXPECT_STATUS(verify(299, 1), Status::kSuccess);
  EXPECT_STATUS(verify(299, 2), Status::kUnrecoveredRead);
  // Data that it describes is not touched.
  EXPECT_STATUS(host.io.execute(host.io.io(IoOpcode::kVerify, 0, 4)).status(), Status::kSuccess);
  EXPECT_TRUE(host.io.holds(0, 1 << 20, 9));
  EXPECT_EQ(world.service().target().find(kSubsystem)->totals().reads, 3u);
}

// More commands at once than staging memory, MRs and READ credits: all are served, in order.
TEST(ServiceIo, ShortagesMakeCommandsWait) {
  World world([](Service::Options& options) {
    options.engine.mrs = 1;
    options.engine.staging = 2 << 20;  // two longest transfers, one longest Compare
  });
  world.serve({"ram:8MiB"});
  Host host(world, 64);
  host.io.fill(0, 1 << 20, 3);
  std::vector<uint16_t> ids;
  for (uint32_t i = 0; i < 40; ++i) {
    const IoOpcode opcode = i % 4 == 3 ? IoOpcode::kCompare : IoOpcode::kWrite;
    const nvme::Sqe sqe = host.io.io(opcode, 0, i % 3 == 0 ? 256 : 8);
    ids.push_back(sqe.command_id);
    host.io.submit(sqe);
  }
  for (const uint16_t id : ids) {
    EXPECT_STATUS(host.io.wait(id).status(), Status::kSuccess);
  }
}

// Pools of one to three entries, of MRs and of staging chunks (of which a host leaves some), with a
// full queue on top: work waits in order, nothing is refused, nothing stands still.
struct Shortage {
  uint32_t mrs;
  uint32_t chunks;
};

class Shortages : public ::testing::TestWithParam<Shortage> {};

TEST_P(Shortages, CommandsWaitInOrder) {
  constexpr uint32_t kCommands = 31, kBlocks = 16;
  constexpr size_t kBytes = kBlocks * 4096, kBack = 2 << 20;
  World world([](Service::Options& options) {
    options.engine.mrs = GetParam().mrs;
    options.engine.force_mr = true;  // reads take an MR too
    options.engine.staging = GetParam().chunks * engine::kChunk;
  });
  // Not RAM in place: reads go through staging memory as well.
  world.serve({"ram:8MiB"}, /*with_faults=*/true);
  ASSERT_EQ(world.service().engine().worker(0).staging().total(), GetParam().chunks);
  Host host(world);
  for (uint32_t i = 0; i < kCommands; ++i) host.io.fill(i * kBytes, kBytes, int(i + 1));
  for (const IoOpcode opcode : {IoOpcode::kWrite, IoOpcode::kRead}) {
    const bool write = opcode == IoOpcode::kWrite;
    std::vector<uint16_t> ids;
    host.io.order.clear();
    for (uint32_t i = 0; i < kCommands; ++i) {
      const nvme::Sqe sqe =
          host.io.io(opcode, i * kBlocks, kBlocks, i * kBytes + (write ? 0 : kBack));
      ids.push_back(sqe.command_id);
      host.io.submit(sqe);
    }
    for (const uint16_t id : ids) EXPECT_STATUS(host.io.wait(id).status(), Status::kSuccess);
    ASSERT_EQ(host.io.order.size(), ids.size());
    for (size_t i = 0; i < ids.size(); ++i) EXPECT_EQ(host.io.order[i].command_id, ids[i]);
  }
  for (uint32_t i = 0; i < kCommands; ++i) {
    EXPECT_TRUE(host.io.holds(kBack + i * kBytes, kBytes, int(i + 1))) << i;
  }
  if (GetParam().chunks > GetParam().mrs) {
    EXPECT_GT(world.service().engine().devices().at(0)->pool()->stats().waits, 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(PoolsOfOneAndTwo, Shortages,
                         ::testing::Values(Shortage{1, 1}, Shortage{1, 3}, Shortage{2, 1},
                                           Shortage{2, 2}, Shortage{1, 32}, Shortage{2, 32}),
                         [](const auto& each) {
                           return "Mrs" + std::to_string(each.param.mrs) + "Chunks" +
                                  std::to_string(each.param.chunks);
                         });

TEST(ServiceIo, StorageErrorsReachTheHost) {
  World world;
  world.serve({"ram:1MiB"}, true);
  Host host(world);
  const auto with = [&](storage::Op op, storage::Error error, const nvme::Sqe& sqe) {
    world.faults->clear();
    world.faults->add({.op = op, .error = error, .delay = milliseconds(1)});
    return host.io.execute(sqe).status();
  };
  using storage::Error;
  using storage::Op;
  EXPECT_STATUS(with(Op::kRead, Error::kMediaRead, host.io.io(IoOpcode::kRead, 0, 1)),
                Status::kUnrecoveredRead);
  EXPECT_STATUS(with(Op::kRead, Error::kMediaRead, host.io.io(IoOpcode::kCompare, 0, 1)),
                Status::kUnrecoveredRead);
  EXPECT_STATUS(with(Op::kWrite, Error::kMediaWrite, host.io.io(IoOpcode::kWrite, 0, 1)),
                Status::kWriteFault);
  EXPECT_STATUS(with(Op::kWrite, Error::kNoSpace, host.io.io(IoOpcode::kWrite, 0, 1)),
                dnr(Status::kCapacityExceeded));
  EXPECT_STATUS(with(Op::kFlush, Error::kMediaWrite, host.io.io(IoOpcode::kFlush, 0, 1)),
                Status::kWriteFault);
  world.faults->clear();
  EXPECT_STATUS(host.io.execute(host.io.io(IoOpcode::kRead, 0, 1)).status(), Status::kSuccess);
  // The log has them, newest first.
  host.admin.execute(host.admin.admin(AdminOpcode::kGetLogPage, 1 | 15u << 16, 0, 64));
  const auto entry = nvme::read_struct<nvme_error_log_page>(host.admin.memory);
  EXPECT_EQ(entry.error_count, 5u);
  EXPECT_EQ(entry.sqid, 1);
}

TEST(ServiceAdmin, IdentifyAndLogsThroughTheWire) {
  World world;
  world.serve({"ram:1MiB"});
  Host host(world);
  EXPECT_STATUS(host.admin.execute(host.admin.admin(AdminOpcode::kIdentify, 1, 0, 4096)).status(),
                Status::kSuccess);
  EXPECT_EQ(nvme::read_struct<nvme_id_ctrl>(host.admin.memory).cntlid, host.controller);
  // A page for which the host has no memory: a status, no data.
  nvme::Sqe none = host.admin.admin(AdminOpcode::kIdentify, 1, 0, 0);
  EXPECT_STATUS(host.admin.execute(none).status(), dnr(Status::kSglDataLength));
}

TEST(ServiceAdmin, AbortOfWhatWaits) {
  World world;
  world.serve({"ram:1MiB"});
  Host host(world);
  const nvme::Sqe park = host.admin.admin(AdminOpcode::kAsyncEventRequest);
  host.admin.submit(park);
  world.run_for(milliseconds(1));
  const auto abort = [&](uint16_t queue, uint16_t id) {
    return host.admin.execute(host.admin.admin(AdminOpcode::kAbort, queue | uint32_t(id) << 16));
  };
  const nvme::Cqe done = abort(0, park.command_id);
  EXPECT_STATUS(done.status(), Status::kSuccess);
  EXPECT_EQ(uint64_t(done.result), 0u);
  EXPECT_STATUS(host.admin.wait(park.command_id).status(), Status::kAbortRequested);
  EXPECT_EQ(uint64_t(abort(0, 999).result), 1u);
  EXPECT_EQ(uint64_t(abort(1, 999).result), 1u);
  EXPECT_EQ(uint64_t(abort(77, 1).result), 1u);
}

// The backend is slow and has all staging memory: what waits for that can be aborted, and what the
// backend does in time was not (late_aborts_test.cc has what it does not do in time).
TEST(ServiceAdmin, AbortOfIo) {
  World world([](Service::Options& options) { options.engine.staging = 1 << 20; });
  world.serve({"ram:2MiB"}, true);
  world.faults->add({.op = storage::Op::kWrite, .delay = seconds(1)});
  Host host(world);
  const nvme::Sqe first = host.io.io(IoOpcode::kWrite, 0, 256);
  const nvme::Sqe second = host.io.io(IoOpcode::kWrite, 0, 256);
  host.io.submit(first);
  host.io.submit(second);
  world.run_for(milliseconds(100));
  const auto abort = [&](const nvme::Sqe& victim) {
    return uint64_t(
        host.admin
            .execute(host.admin.admin(AdminOpcode::kAbort, 1 | uint32_t(victim.command_id) << 16))
            .result);
  };
  EXPECT_EQ(abort(first), 1u);
  EXPECT_EQ(abort(second), 0u);
  EXPECT_STATUS(host.io.wait(second.command_id).status(), Status::kAbortRequested);
  EXPECT_STATUS(host.io.wait(first.command_id).status(), Status::kSuccess);
}

void identify(Host& host, uint32_t nsid) {
  nvme::Sqe command = host.admin.admin(AdminOpcode::kIdentify, 0, 0, 4096);  // CNS 0
  command.nsid = nsid;
  EXPECT_STATUS(host.admin.execute(command).status(), Status::kSuccess);
}

bool lists(Host& host, uint32_t nsid) {
  const nvme::Sqe command = host.admin.admin(AdminOpcode::kIdentify, 2, 0, 4096);
  EXPECT_STATUS(host.admin.execute(command).status(), Status::kSuccess);
  const auto list = nvme::read_struct<nvme_ns_list>(host.admin.memory);
  return std::ranges::find(list.ns, nvme::le(nsid)) != std::end(list.ns);
}

// The host looks and sees nothing; it looks again and sees the store.
void look_again(Host& host, uint32_t nsid) {
  EXPECT_FALSE(lists(host, nsid));
  EXPECT_TRUE(lists(host, nsid));
  identify(host, nsid);
}

// What a host has under way when its store is replaced, or sends before it looked, is for the store
// that it knows: no byte of it reaches the other.
TEST(ServiceAdmin, CommandsReachNoStoreThatTheHostDoesNotMean) {
  World world;
  world.serve({"ram:1MiB,name=a"});
  Host host(world);
  const auto io = [&](IoOpcode opcode) {
    return host.io.execute(host.io.io(opcode, 0, 1)).status();
  };
  host.io.fill(0, 4096, 6);
  EXPECT_STATUS(io(IoOpcode::kWrite), Status::kSuccess);
  for (const char* other : {"ram:1MiB,name=b", "ram:1MiB,name=a,bs=512", "ram:1MiB,name=c"}) {
    world.serve({other});
    for (const IoOpcode opcode : {IoOpcode::kWrite, IoOpcode::kRead, IoOpcode::kWriteZeroes}) {
      EXPECT_STATUS(io(opcode), dnr(Status::kInvalidNamespace)) << other;
    }
    world.run_for(seconds(1));  // the one before is let go of
  }
  EXPECT_FALSE(lists(host, 1)) << "it sees that what it knows is gone";
  EXPECT_STATUS(io(IoOpcode::kWrite), dnr(Status::kInvalidNamespace));
  EXPECT_TRUE(lists(host, 1));
  EXPECT_STATUS(io(IoOpcode::kWrite), dnr(Status::kInvalidNamespace)) << "not yet identified";
  identify(host, 1);
  host.io.fill(0, 4096, 1);
  EXPECT_STATUS(io(IoOpcode::kRead), Status::kSuccess);
  EXPECT_TRUE(host.io.holds(0, 4096, 0)) << "nothing was written";
  // The same store under other options stays what it is.
  world.serve({"ram:1MiB,name=c,bs=4096"});
  EXPECT_STATUS(io(IoOpcode::kWrite), Status::kSuccess);
}

TEST(ServiceAdmin, AHostThatComesAgainMeansWhatItMeantBefore) {
  World world;
  world.serve({"ram:1MiB,name=a"});
  {
    Host host(world);  // ends without a shutdown
    host.io.fill(0, 4096, 6);
    EXPECT_STATUS(host.io.execute(host.io.io(IoOpcode::kWrite, 0, 1)).status(), Status::kSuccess);
  }
  world.run_for(seconds(1));
  world.serve({"ram:1MiB,name=b"});
  Host again(world);
  const auto write = [&] { return again.io.execute(again.io.io(IoOpcode::kWrite, 0, 1)).status(); };
  EXPECT_STATUS(write(), dnr(Status::kInvalidNamespace)) << "repeats what was meant for the other";
  look_again(again, 1);
  EXPECT_STATUS(write(), Status::kSuccess);
}

TEST(ServiceAdmin, NamespacesComeAndGoLive) {
  World world;
  world.serve({"ram:1MiB"});
  Host host(world);
  host.io.fill(0, 4096, 6);
  EXPECT_STATUS(host.io.execute(host.io.io(IoOpcode::kWrite, 0, 1)).status(), Status::kSuccess);
  host.admin.execute(host.admin.admin(AdminOpcode::kSetFeatures, 0x0b, 1u << 8));
  const nvme::Sqe event = host.admin.admin(AdminOpcode::kAsyncEventRequest);
  host.admin.submit(event);
  world.run_for(milliseconds(1));
  world.serve({"ram:1MiB", "null:1GiB"});
  EXPECT_EQ(uint64_t(host.admin.wait(event.command_id).result), 0x00040002u);
  identify(host, 2);
  EXPECT_STATUS(host.io.execute(host.io.io(IoOpcode::kRead, 0, 1, 0, 2)).status(),
                Status::kSuccess);
  EXPECT_TRUE(host.io.holds(0, 4096, 0));
  EXPECT_STATUS(host.io.execute(host.io.io(IoOpcode::kRead, 0, 1)).status(), Status::kSuccess);
  EXPECT_TRUE(host.io.holds(0, 4096, 6)) << "what stayed kept its data";
  world.serve({"ram:1MiB"});
  EXPECT_STATUS(host.io.execute(host.io.io(IoOpcode::kRead, 0, 1, 0, 2)).status(),
                dnr(Status::kInvalidNamespace));
}

// ",bs=" decides the block size; a reload that took it for a change would lose a RAM disk's data.
TEST(ServiceAdmin, AReloadKeepsAVolumeWithABlockSizeOfItsOwn) {
  World world;
  world.serve({"ram:1MiB,bs=512"});
  Host host(world);
  host.io.fill(0, 512, 6);
  const auto io = [&](IoOpcode opcode) { return host.io.io(opcode, 7, 1, 0, 1, 512); };
  EXPECT_STATUS(host.io.execute(io(IoOpcode::kWrite)).status(), Status::kSuccess);
  world.serve({"ram:1MiB,bs=512"});
  host.io.fill(0, 512, 0);
  EXPECT_STATUS(host.io.execute(io(IoOpcode::kRead)).status(), Status::kSuccess);
  EXPECT_TRUE(host.io.holds(0, 512, 6));
}

// A Flush of everything goes through the namespaces one by one; one that vanishes meanwhile must
// not make it pass over another.
TEST(ServiceIo, AFlushOfAllForgetsNoNamespace) {
  World world;
  const auto serve = [&](const std::vector<uint32_t>& nsids) {
    Config config;
    config.listen = {"uiwarp://127.0.0.1:4420"};
    SubsystemConfig subsystem;
    subsystem.nqn = kSubsystem;
    for (const uint32_t nsid : nsids) {
      subsystem.namespaces.push_back({.nsid = nsid, .storage = "ram:1MiB", .uuid = {}});
    }
    config.subsystems.push_back(subsystem);
    ASSERT_TRUE(complete(config).ok());
    ASSERT_TRUE(world.service().apply(config).ok());
  };
  world.serve({"ram:1MiB", "ram:1MiB", "ram:1MiB"}, true);
  world.faults->add({.op = storage::Op::kFlush, .delay = milliseconds(20)});
  Host host(world);
  nvme::Sqe flush = host.io.admin(AdminOpcode(0));
  flush.opcode = uint8_t(IoOpcode::kFlush);
  flush.nsid = nvme::kBroadcastNsid;
  host.io.submit(flush);
  world.run_for(milliseconds(5));
  EXPECT_EQ(world.faults->injected(), 1u);
  serve({2, 3});
  // A command lets the queue see the new table.
  EXPECT_STATUS(host.io.execute(host.io.io(IoOpcode::kRead, 0, 1, 0, 2)).status(),
                Status::kSuccess);
  EXPECT_STATUS(host.io.wait(flush.command_id).status(), Status::kSuccess);
  EXPECT_EQ(world.faults->injected(), 3u) << "namespaces 1, 2 and 3";
}

// Commands for a namespace that the host does not see end as if there were none, also those of
// queues that saw it.
TEST(ServiceIo, OnlyHostsThatSeeANamespaceReachIt) {
  World world;
  const auto serve = [&](HostSet hosts) {
    Config config;
    config.listen = {"uiwarp://127.0.0.1:4420"};
    SubsystemConfig subsystem;
    subsystem.nqn = kSubsystem;
    subsystem.namespaces.push_back({.nsid = 1, .storage = "ram:1MiB", .uuid = {}});
    subsystem.namespaces.push_back({.nsid = 2, .storage = "ram:1MiB", .uuid = {}, .hosts = hosts});
    config.subsystems.push_back(subsystem);
    ASSERT_TRUE(complete(config).ok());
    ASSERT_TRUE(world.service().apply(config).ok());
  };
  const std::string other = std::string(kHostNqn) + "-b";
  serve({other});
  Host host(world), seeing(world, 32, other);
  const auto read = [](Host& from, uint32_t nsid) {
    return from.io.execute(from.io.io(IoOpcode::kRead, 0, 1, 0, nsid)).status();
  };
  EXPECT_STATUS(read(host, 1), Status::kSuccess);
  EXPECT_STATUS(read(host, 2), dnr(Status::kInvalidNamespace));
  EXPECT_STATUS(read(host, 3), dnr(Status::kInvalidNamespace));  // and this is not there
  EXPECT_STATUS(read(seeing, 2), Status::kSuccess);
  nvme::Sqe flush = host.io.admin(AdminOpcode(0));
  flush.opcode = uint8_t(IoOpcode::kFlush);
  flush.nsid = nvme::kBroadcastNsid;
  EXPECT_STATUS(host.io.execute(flush).status(), Status::kSuccess);
  serve({});
  EXPECT_STATUS(read(seeing, 2), dnr(Status::kInvalidNamespace));
  EXPECT_STATUS(read(seeing, 1), Status::kSuccess);
}

// [base] 3.7.2: a reset ends the commands that were under way, Asynchronous Event Requests too, and
// with them their entries of the queue.
TEST(ServiceAdmin, AResetGivesTheParkedEventRequestsBack) {
  World world;
  world.serve({"ram:1MiB"});
  RawQueue admin(world, 0);
  EXPECT_STATUS(admin.connect().status(), Status::kSuccess);
  const auto set_cc = [&](uint64_t value) {
    nvme::PropertyCommand command;
    command.type = nvme::FabricsType::kPropertySet;
    command.command_id = uint16_t{0};
    command.offset = uint32_t(nvme::Property::kCc);
    command.value = value;
    EXPECT_STATUS(admin.execute(command).status(), Status::kSuccess);
  };
  nvme::Sqe event = admin.admin(AdminOpcode::kAsyncEventRequest);
  for (int round = 0; round < 20; ++round) {  // more than the queue has entries
    for (uint16_t i = 0; i < 4; ++i) {
      event.command_id = uint16_t(1000 + i);  // the same ones again
      admin.submit(event);
    }
    world.run_for(milliseconds(1));
    EXPECT_TRUE(std::ranges::none_of(std::array{1000, 1001, 1002, 1003},
                                     [&](int id) { return admin.answers.contains(uint16_t(id)); }));
    set_cc(nvme::kCcEntrySizes);
    ASSERT_TRUE(admin.connected());
    for (uint16_t i = 0; i < 4; ++i) {
      EXPECT_STATUS(admin.wait(uint16_t(1000 + i)).status(), Status::kAbortRequested);
    }
    set_cc(nvme::kCcEntrySizes | nvme::kCcEnable);
  }
}

TEST(ServiceAdmin, KeepAliveEndsTheAssociation) {
  World world;
  world.serve({"ram:1MiB"});
  RawQueue admin(world, 0);
  const nvme::Cqe cqe = admin.connect(0xffff, kHostNqn, 32, 1000);
  RawQueue io(world, 1);
  io.connect(uint16_t(uint64_t(cqe.result)));
  for (int i = 0; i < 5; ++i) {  // traffic keeps it alive
    world.run_for(milliseconds(600));
    io.execute(io.io(IoOpcode::kRead, 0, 1));
  }
  EXPECT_TRUE(admin.connected());
  world.run_for(seconds(2));
  EXPECT_TRUE(admin.down);
  EXPECT_TRUE(io.down);
  EXPECT_EQ(world.service().target().controllers(), 0u);
}

TEST(ServiceAdmin, DisconnectDeletesAnIoQueue) {
  World world;
  world.serve({"ram:1MiB"});
  Host host(world);
  nvme::FabricsCommand disconnect;
  disconnect.type = nvme::FabricsType::kDisconnect;
  disconnect.command_id = uint16_t{500};
  EXPECT_STATUS(host.io.execute(disconnect).status(), Status::kSuccess);
  EXPECT_TRUE(host.io.wait_down());
  EXPECT_STATUS(host.admin.execute(disconnect).status(), dnr(Status::kInvalidQueueType));
  RawQueue again(world, 1);
  EXPECT_STATUS(again.connect(host.controller).status(), Status::kSuccess);
}

TEST(ServiceLife, StopsWithIoInFlight) {
  World world;
  world.serve({"ram:1MiB"}, true);
  world.faults->add({.op = storage::Op::kWrite, .delay = milliseconds(50)});
  Host host(world);
  for (int i = 0; i < 16; ++i) host.io.submit(host.io.io(IoOpcode::kWrite, 0, 256));
  world.run_for(milliseconds(1));
  world.stop();
}

TEST(ServiceLife, TooManyConnectionsAreRefused) {
  World world([](Service::Options& options) { options.engine.max_connections = 2; });
  world.serve({"ram:1MiB"});
  Host host(world);
  RawQueue third(world, 0);
  EXPECT_FALSE(third.connected());
  EXPECT_EQ(third.rejected, nvme::RdmaStatus::kNoResources);
}

TEST(ServiceLife, ABrokenConfigurationChangesNothing) {
  World world;
  world.serve({"ram:1MiB"});
  Host host(world);
  Config config;
  config.listen = {"uiwarp://127.0.0.1:4420", "uiwarp://127.0.0.1:4421"};
  SubsystemConfig subsystem;
  subsystem.nqn = "nqn.2024-01.org.example:other";
  subsystem.namespaces.push_back({.nsid = 1, .storage = "file:/nonexistent/x", .uuid = {}});
  config.subsystems.push_back(subsystem);
  EXPECT_FALSE(world.service().apply(config).ok());
  EXPECT_EQ(world.service().engine().listening().size(), 1u);
  EXPECT_STATUS(host.io.execute(host.io.io(IoOpcode::kRead, 0, 1)).status(), Status::kSuccess);
}

}  // namespace
}  // namespace mrpool::nvmf_target::testing
