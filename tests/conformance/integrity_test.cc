// Integrity MRs: protected blocks between memory and wire, on the device under test.
#include <algorithm>
#include <cstring>
#include <deque>
#include <vector>

#include "mrpool/callback.h"
#include "mrpool/mr_pool.h"
#include "mrpool/rw.h"
#include "tests/conformance/fixture.h"
#include "tests/conformance/t10dif_reference.h"

namespace mrpool::conformance {
namespace {

using Bytes = std::vector<std::byte>;
using Verdict = IntegrityReport::Verdict;

constexpr uint32_t kBlock = 512;
constexpr uint32_t kBlocks = 300;  // more than a segment of the wire carries
constexpr uint32_t kData = kBlock * kBlocks;
constexpr uint32_t kTuples = kTupleBytes * kBlocks;
constexpr IntegrityDomain kBare{};
constexpr IntegrityDomain kInMemory{.protection = true, .app_tag = 0x1234, .ref_tag = 77};
constexpr IntegrityDomain kOnWire{
    .protection = true, .guard_seed = 0xffff, .app_tag = 0x4321, .ref_tag = 0xffffff00};

struct Transfer : RwOperation {
  Transfer() : RwOperation(to_method<&Transfer::finished>) {}
  void finished(WcStatus result) {
    ++times;
    status = result;
    error = integrity_error();
  }
  int times = 0;
  WcStatus status{};
  std::optional<IntegrityError> error;
};

// The promise of every device: it has integrity MRs, or reports that it has none.
class Integrity : public ConformanceTest {};

TEST_F(Integrity, PoolsAreMadeOrRefusedAsDocumented) {
  const auto code = [&](const MrPoolOptions& options) {
    return MrPool::create(*client.pd, options).status().code();
  };
  const bool has = caps().max_integrity_blocks > 0;
  EXPECT_EQ(code({.count = 1, .type = MrPoolType::kIntegrity, .integrity = {.blocks = 1}}),
            has ? absl::StatusCode::kOk : absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code({.count = 1, .integrity = {.blocks = 1}}), absl::StatusCode::kInvalidArgument);
  const auto mr = client.pd->alloc_fast_mr({.max_segments = 1, .integrity = {.blocks = 1}});
  EXPECT_EQ(mr.status().code(), has ? absl::StatusCode::kOk : absl::StatusCode::kUnimplemented);
  if (!has) return;
  for (const IntegrityCapacity capacity :
       {IntegrityCapacity{}, IntegrityCapacity{.blocks = caps().max_integrity_blocks + 1},
        IntegrityCapacity{.blocks = 1, .protection_segments = caps().max_fast_reg_segments + 1}}) {
    EXPECT_EQ(code({.count = 1, .type = MrPoolType::kIntegrity, .integrity = capacity}),
              absl::StatusCode::kInvalidArgument);
  }
}

TEST_F(Integrity, ContextsAreRefusedWithoutTheirPool) {
  const RwLimits limits{.max_operations = 2, .integrity = true};
  const RwQueueNeeds needs = rw_queue_needs(caps(), limits);
  connect({}, {.max_send_wr = needs.send_wr, .max_send_sge = needs.send_sge});
  std::unique_ptr<MrPool> plain;
  if (needs.pool_mrs > 0) {
    plain = *MrPool::create(*server.pd, {.count = 1, .access = needs.pool_access});
  }
  const auto code = [&](const RwLimits& asked, MrPool* integrity) {
    return RwContext::create(*server.qp, plain.get(), asked, integrity).status().code();
  };
  EXPECT_EQ(code(limits, nullptr), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code(limits, plain.get()), absl::StatusCode::kFailedPrecondition);
  if (caps().max_integrity_blocks == 0) return;
  const auto pool_of = [&](Pd& pd, Access access) {
    return *MrPool::create(
        pd,
        {.count = 1, .type = MrPoolType::kIntegrity, .access = access, .integrity = {.blocks = 8}});
  };
  EXPECT_EQ(code(limits, pool_of(*client.pd, needs.integrity_access).get()),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code(limits, pool_of(*server.pd, Access::kNone).get()),
            absl::StatusCode::kFailedPrecondition);
  const auto good = pool_of(*server.pd, needs.integrity_access);
  EXPECT_EQ(code({.max_operations = 2}, good.get()), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(limits, good.get()), absl::StatusCode::kOk);
}

// The server moves protected blocks from and to the client's memory.
class IntegrityMrs : public ConformanceTest {
 protected:
  void set_up(uint32_t mrs = 4) {
    limits = {.max_operations = 8, .integrity = true};
    const RwQueueNeeds needs = rw_queue_needs(caps(), limits);
    connect({}, {.max_send_wr = needs.send_wr + 4, .max_send_sge = needs.send_sge});
    plain = *MrPool::create(*server.pd, {.count = 4, .access = needs.pool_access});
    pool =
        *MrPool::create(*server.pd, {.count = mrs,
                                     .type = MrPoolType::kIntegrity,
                                     .max_segments = 8,
                                     .access = needs.integrity_access | Access::kRemoteRead,
                                     .integrity = {.blocks = kBlocks, .protection_segments = 4}});
    context = *RwContext::create(*server.qp, plain.get(), limits, pool.get());
    const Access local = base_access(caps(), needs.integrity_access);
    data.emplace(*server.pd, 2 * kData, local);
    tuples.emplace(*server.pd, 2 * kTuples, local);
    wire.emplace(*client.pd, kData + kTuples,
                 Access::kLocalWrite | Access::kRemoteWrite | Access::kRemoteRead);
    data->fill(9);
    tuples->fill(1);
    wire->fill(2);
  }
  void TearDown() override {
    context.reset();
    if (pool != nullptr) {
      EXPECT_EQ(pool->stats().in_use, 0u);
    }
  }

  // The blocks in three pieces that no block border knows of, in another order than in memory.
  std::vector<Sge> data_list() {
    return {data->sge(kData + 8, 1000), data->sge(0, 3333), data->sge(4000, kData - 4333)};
  }
  std::vector<Sge> tuple_list() { return {tuples->sge(kTuples, 13), tuples->sge(5, kTuples - 13)}; }

  static Bytes gather(const std::vector<Sge>& list) {
    Bytes all;
    for (const Sge& sge : list) all.insert(all.end(), sge.addr, sge.addr + sge.length);
    return all;
  }
  static void scatter(std::span<const std::byte> from, const std::vector<Sge>& list) {
    for (const Sge& sge : list) {
      std::memcpy(sge.addr, from.data(), sge.length);
      from = from.subspan(sge.length);
    }
  }

  static Bytes pattern(uint32_t size, unsigned seed) {
    Bytes bytes(size);
    for (uint32_t i = 0; i < size; ++i) bytes[i] = std::byte(i * 7 + i / 251 * seed + seed);
    return bytes;
  }
  static Bytes tuples_in(const IntegrityDomain& domain, const Bytes& blocks) {
    return domain.protection ? reference::tuples(domain, kBlock, blocks) : Bytes{};
  }

  // Starts it, and waits for its end.
  void move(Transfer& transfer, RwDirection direction, const IntegrityAttributes& attributes) {
    const std::vector<Sge> blocks = data_list();
    const std::vector<Sge> its = attributes.memory.protection ? tuple_list() : std::vector<Sge>{};
    const ProtectedBuffer local{blocks, its, attributes};
    ASSERT_EQ(context->start(transfer, direction, local,
                             {wire->remote(), attributes.wire_bytes(kBlocks), wire->rkey()}),
              PostStatus::kOk);
    ASSERT_TRUE(until([&] { return transfer.times > 0; }));
    EXPECT_EQ(transfer.times, 1);
  }

  // What the client has to have when the server has written, or has for the server to read.
  static Bytes wire_image(const IntegrityDomain& domain, const Bytes& blocks) {
    return reference::interleave(kBlock, blocks, tuples_in(domain, blocks));
  }

  RwLimits limits;
  std::unique_ptr<MrPool> plain, pool;
  std::unique_ptr<RwContext> context;
  std::optional<Region> data, tuples, wire;
};

constexpr IntegrityAttributes kModes[] = {
    {.block_size = kBlock, .wire = kOnWire},
    {.block_size = kBlock, .memory = kInMemory},
    {.block_size = kBlock, .memory = kInMemory, .wire = kInMemory},
    {.block_size = kBlock, .memory = kInMemory, .wire = kOnWire}};

TEST_F(IntegrityMrs, WritesInsertStripAndPass) {
  MRPOOL_NEEDS(caps().max_integrity_blocks > 0);
  set_up();
  unsigned seed = 0;
  for (const IntegrityAttributes& attributes : kModes) {
    const Bytes blocks = pattern(kData, ++seed);
    scatter(blocks, data_list());
    if (attributes.memory.protection) scatter(tuples_in(attributes.memory, blocks), tuple_list());
    Transfer transfer;
    move(transfer, RwDirection::kWrite, attributes);
    EXPECT_EQ(transfer.status, WcStatus::kSuccess) << seed;
    EXPECT_FALSE(transfer.error);
    const Bytes expected = wire_image(attributes.wire, blocks);
    // A READ completes after what was written before it has arrived.
    Region probe(*server.pd, 64, sink_access());
    ASSERT_TRUE(finish(server.read(probe.sge(), wire->remote(), wire->rkey())));
    EXPECT_TRUE(same_bytes(wire->bytes(0, expected.size()), expected)) << seed;
  }
}

TEST_F(IntegrityMrs, ReadsInsertStripAndPass) {
  MRPOOL_NEEDS(caps().max_integrity_blocks > 0);
  set_up();
  unsigned seed = 10;
  for (const IntegrityAttributes& attributes : kModes) {
    const Bytes blocks = pattern(kData, ++seed);
    std::ranges::copy(wire_image(attributes.wire, blocks), wire->bytes().begin());
    tuples->fill(uint8_t(seed));
    Transfer transfer;
    move(transfer, RwDirection::kRead, attributes);
    EXPECT_EQ(transfer.status, WcStatus::kSuccess) << seed;
    EXPECT_TRUE(same_bytes(gather(data_list()), blocks)) << seed;
    if (attributes.memory.protection) {
      EXPECT_TRUE(same_bytes(gather(tuple_list()), tuples_in(attributes.memory, blocks))) << seed;
    } else {
      EXPECT_FALSE(tuples->differs(uint8_t(seed))) << "tuples that are stripped went somewhere";
    }
  }
}

// One fault of each kind in a block of its own; the data arrives, and the connection stays.
TEST_F(IntegrityMrs, AFaultIsReportedWithItsBlock) {
  MRPOOL_NEEDS(caps().max_integrity_blocks > 0);
  set_up();
  const Bytes blocks = pattern(kData, 5);
  for (const RwDirection direction : {RwDirection::kRead, RwDirection::kWrite}) {
    const bool read = direction == RwDirection::kRead;
    for (const bool pass : {true, false}) {
      const IntegrityDomain& source = read ? kOnWire : kInMemory;
      const IntegrityDomain other = pass ? (read ? kInMemory : kOnWire) : kBare;
      const IntegrityAttributes attributes{
          .block_size = kBlock, .memory = read ? other : source, .wire = read ? source : other};
      for (const IntegrityField field :
           {IntegrityField::kGuard, IntegrityField::kAppTag, IntegrityField::kRefTag}) {
        const uint32_t block = 3 + 100 * uint32_t(field);
        const uint32_t at = block * kTupleBytes + (field == IntegrityField::kGuard    ? 1
                                                   : field == IntegrityField::kAppTag ? 3
                                                                                      : 7);
        Bytes its = reference::tuples(source, kBlock, blocks);
        its[at] ^= std::byte(0x10);
        its[kTuples - 1] ^= std::byte(1);  // a later one, which is not reported
        if (read) {
          std::ranges::copy(reference::interleave(kBlock, blocks, its), wire->bytes().begin());
        } else {
          scatter(blocks, data_list());
          scatter(its, tuple_list());
        }
        Transfer transfer;
        move(transfer, direction, attributes);
        EXPECT_EQ(transfer.status, WcStatus::kIntegrity);
        ASSERT_TRUE(transfer.error);
        EXPECT_EQ(transfer.error->field, field);
        EXPECT_EQ(transfer.error->block, block);
        EXPECT_EQ(transfer.error->expected ^ transfer.error->actual, 0x10u);
        const uint32_t ref_tag = source.ref_tag + block;
        const uint16_t guard =
            reference::crc(std::span(blocks).subspan(block * kBlock, kBlock), source.guard_seed);
        EXPECT_EQ(transfer.error->expected, field == IntegrityField::kGuard    ? guard
                                            : field == IntegrityField::kAppTag ? source.app_tag
                                                                               : ref_tag);
        if (read) {
          EXPECT_TRUE(same_bytes(gather(data_list()), blocks));
        }
      }
    }
  }
  EXPECT_TRUE(server.qp->connected());
  EXPECT_FALSE(client.disconnected);
}

// A broken block is seen, not only a broken tuple.
TEST_F(IntegrityMrs, ABitOfDataThatFlippedIsFound) {
  MRPOOL_NEEDS(caps().max_integrity_blocks > 0);
  set_up();
  const Bytes blocks = pattern(kData, 6);
  const IntegrityAttributes attributes{.block_size = kBlock, .wire = kOnWire};
  for (const uint32_t block : {0u, 1u, 126u, 127u, kBlocks - 1}) {
    Bytes image = wire_image(kOnWire, blocks);
    image[size_t{block} * (kBlock + kTupleBytes) + 511] ^= std::byte(1);
    std::ranges::copy(image, wire->bytes().begin());
    Transfer transfer;
    move(transfer, RwDirection::kRead, attributes);
    EXPECT_EQ(transfer.status, WcStatus::kIntegrity);
    ASSERT_TRUE(transfer.error);
    EXPECT_EQ(transfer.error->field, IntegrityField::kGuard);
    EXPECT_EQ(transfer.error->block, block);
  }
}

TEST_F(IntegrityMrs, WhatCannotBeMovedIsRefusedAtStart) {
  MRPOOL_NEEDS(caps().max_integrity_blocks > 0);
  set_up();
  const std::vector<Sge> blocks = data_list();
  const IntegrityAttributes insert{.block_size = kBlock, .wire = kOnWire};
  const RemoteBuffer remote{wire->remote(), insert.wire_bytes(kBlocks), wire->rkey()};
  Transfer transfer;
  const auto start = [&](const ProtectedBuffer& local, const RemoteBuffer& peer) {
    return context->start(transfer, RwDirection::kWrite, local, peer);
  };
  EXPECT_EQ(start({blocks, {}, {.block_size = kBlock}}, remote), PostStatus::kBadIntegrity);
  EXPECT_EQ(start({blocks, {}, {.block_size = 500, .wire = kOnWire}}, remote),
            PostStatus::kBadIntegrity);
  EXPECT_EQ(start({blocks, {}, {.block_size = kBlock, .memory = kInMemory}},
                  {wire->remote(), kData, wire->rkey()}),
            PostStatus::kBadIntegrity);
  EXPECT_EQ(start({blocks, {}, insert}, {wire->remote(), kData, wire->rkey()}),
            PostStatus::kBadIntegrity);
  const std::vector<Sge> twice{data->sge(0, kData), data->sge(0, kBlock)};
  EXPECT_EQ(start({twice, {}, insert}, remote), PostStatus::kTooLong);
  const std::vector<Sge> many(9, data->sge(0, kBlock));
  EXPECT_EQ(start({many, {}, insert}, remote), PostStatus::kTooManySges);
  const std::vector<Sge> empty{data->sge(0, kData), data->sge(0, 0)};
  EXPECT_EQ(start({empty, {}, insert}, remote), PostStatus::kBadSge);
  const std::vector<Sge> foreign{{data->bytes().data(), kData, wire->mr().lkey()}};
  EXPECT_EQ(start({foreign, {}, insert}, remote), PostStatus::kBadSge);
  EXPECT_EQ(start({blocks, {}, insert}, {wire->remote(), (1 << 20) + 1, wire->rkey()}),
            PostStatus::kTooLong);
  EXPECT_EQ(transfer.times, 0);
  EXPECT_EQ(context->in_flight() + context->waiting(), 0u);

  context = *RwContext::create(*server.qp, plain.get(), {.max_operations = 8});
  EXPECT_EQ(start({blocks, {}, insert}, remote), PostStatus::kUnsupported);
}

// More transfers than MRs, and plain ones between them: they wait in order, and none fails.
TEST_F(IntegrityMrs, TransfersWaitForMrs) {
  MRPOOL_NEEDS(caps().max_integrity_blocks > 0);
  set_up(1);
  constexpr uint32_t kTransfers = 24;
  const IntegrityAttributes attributes{.block_size = kBlock, .wire = kOnWire};
  const Bytes blocks = pattern(kData, 7);
  std::ranges::copy(wire_image(kOnWire, blocks), wire->bytes().begin());
  std::deque<Transfer> transfers(kTransfers);
  const std::vector<Sge> list = data_list();
  const ProtectedBuffer local{list, {}, attributes};
  const Sge other = data->sge(kData + 4096, 512);
  for (uint32_t i = 0; i < kTransfers; ++i) {
    const PostStatus started =
        i % 3 == 2 ? context->start(transfers[i], RwDirection::kRead, {&other, 1},
                                    {wire->remote(), 512, wire->rkey()})
                   : context->start(transfers[i], RwDirection::kRead, local,
                                    {wire->remote(), attributes.wire_bytes(kBlocks), wire->rkey()});
    ASSERT_EQ(started, PostStatus::kOk);
  }
  ASSERT_TRUE(until([&] { return context->in_flight() + context->waiting() == 0; }));
  for (const Transfer& transfer : transfers) {
    EXPECT_EQ(transfer.times, 1);
    EXPECT_EQ(transfer.status, WcStatus::kSuccess);
  }
  EXPECT_GT(pool->stats().waits, 0u);
  EXPECT_TRUE(same_bytes(gather(list), blocks));
}

TEST_F(IntegrityMrs, ALostConnectionEndsTransfersAndThePoolHeals) {
  MRPOOL_NEEDS(caps().max_integrity_blocks > 0);
  set_up();
  const IntegrityAttributes attributes{.block_size = kBlock, .wire = kOnWire};
  const std::vector<Sge> list = data_list();
  const ProtectedBuffer local{list, {}, attributes};
  std::deque<Transfer> transfers(8);
  for (Transfer& transfer : transfers) {
    ASSERT_EQ(context->start(transfer, RwDirection::kRead, local,
                             {wire->remote(), attributes.wire_bytes(kBlocks), wire->rkey()}),
              PostStatus::kOk);
  }
  server.qp->abort();
  ASSERT_TRUE(until([&] { return server.disconnected.has_value(); }));
  context->stop();
  for (const Transfer& transfer : transfers) {
    EXPECT_EQ(transfer.times, 1);
    EXPECT_NE(transfer.status, WcStatus::kSuccess);
    EXPECT_FALSE(transfer.error);
  }
  pool->repair();
  EXPECT_EQ(pool->stats().in_use + pool->stats().in_repair, 0u);
}

// Without an RwContext: a key that the peer works with, as an initiator lends it.
class LentIntegrity : public IntegrityMrs {
 protected:
  MrPool::Lease lend(IntegrityFlow flow, const IntegrityAttributes& attributes, Access rights) {
    MrPool::Lease lease = pool->get();
    const std::vector<Sge> blocks = data_list();
    const std::vector<Sge> its = attributes.memory.protection ? tuple_list() : std::vector<Sge>{};
    EXPECT_EQ(lease.map(flow, blocks, its, attributes), PostStatus::kOk);
    EXPECT_EQ(lease.mr().length(), attributes.wire_bytes(kBlocks));
    WorkRequest registration;
    EXPECT_EQ(lease.prepare_register(rights, registration), PostStatus::kOk);
    registration.signalled = true;
    Op& registered = server.post(registration);
    EXPECT_TRUE(finish(registered));
    EXPECT_TRUE(registered.ok());
    return lease;
  }
  IntegrityReport take_back(MrPool::Lease& lease) {
    WorkRequest invalidation;
    lease.prepare_invalidate(invalidation);
    EXPECT_TRUE(finish(server.post(invalidation)));
    lease.invalidated();
    return lease.check_integrity();
  }
};

TEST_F(LentIntegrity, ThePeerWritesProtectedBlocks) {
  MRPOOL_NEEDS(caps().max_integrity_blocks > 0);
  set_up();
  const IntegrityAttributes attributes{.block_size = kBlock, .memory = kInMemory, .wire = kOnWire};
  const Bytes blocks = pattern(kData, 11);
  for (const bool broken : {false, true}) {
    Bytes image = wire_image(kOnWire, blocks);
    if (broken) image[40 * (kBlock + kTupleBytes) + 1] ^= std::byte(0x80);
    std::ranges::copy(image, wire->bytes().begin());
    MrPool::Lease lease =
        lend(IntegrityFlow::kFromWire, attributes, Access::kLocalWrite | Access::kRemoteWrite);
    Op& write = client.write(wire->sge(), lease.mr().remote_addr(), lease.mr().rkey());
    Region note(*server.pd, 8, Access::kLocalWrite);
    Op& told = server.receive(note.sge());
    ASSERT_TRUE(finish(client.send(wire->sge(0, 8))));
    ASSERT_TRUE(finish(told));
    EXPECT_TRUE(write.ok());
    const IntegrityReport report = take_back(lease);
    EXPECT_EQ(report.verdict, broken ? Verdict::kBad : Verdict::kGood);
    EXPECT_EQ(report.error.block, broken ? 40u : 0u);
    if (!broken) {
      EXPECT_TRUE(same_bytes(gather(data_list()), blocks));
      EXPECT_TRUE(same_bytes(gather(tuple_list()), tuples_in(kInMemory, blocks)));
    }
    // One answer for one transfer.
    EXPECT_EQ(lease.check_integrity().verdict, Verdict::kUnchecked);
  }
}

TEST_F(LentIntegrity, ThePeerReadsProtectedBlocks) {
  MRPOOL_NEEDS(caps().max_integrity_blocks > 0);
  set_up();
  const IntegrityAttributes attributes{.block_size = kBlock, .memory = kInMemory, .wire = kOnWire};
  const Bytes blocks = pattern(kData, 12);
  scatter(blocks, data_list());
  scatter(tuples_in(kInMemory, blocks), tuple_list());
  Region sink(*client.pd, kData + kTuples, sink_access());
  MrPool::Lease lease = lend(IntegrityFlow::kToWire, attributes, Access::kRemoteRead);
  ASSERT_TRUE(finish(client.read(sink.sge(), lease.mr().remote_addr(), lease.mr().rkey())));
  EXPECT_EQ(take_back(lease).verdict, Verdict::kGood);
  EXPECT_TRUE(same_bytes(sink.bytes(), wire_image(kOnWire, blocks)));
}

TEST_F(LentIntegrity, RightsThatWorkTheOtherWayAreRefused) {
  MRPOOL_NEEDS(caps().max_integrity_blocks > 0);
  set_up();
  const IntegrityAttributes attributes{.block_size = kBlock, .wire = kOnWire};
  const auto refusal = [&](IntegrityFlow flow, Access rights) {
    MrPool::Lease lease = pool->get();
    EXPECT_EQ(lease.map(flow, data_list(), {}, attributes), PostStatus::kOk);
    WorkRequest registration;
    EXPECT_EQ(lease.prepare_register(rights, registration), PostStatus::kOk);
    const PostStatus status = server.try_post(registration);
    if (status != PostStatus::kOk) lease.not_posted();
    return status;
  };
  using enum IntegrityFlow;
  EXPECT_EQ(refusal(kToWire, Access::kLocalWrite | Access::kRemoteWrite),
            PostStatus::kBadIntegrity);
  EXPECT_EQ(refusal(kFromWire, Access::kNone), PostStatus::kBadIntegrity);
  EXPECT_EQ(refusal(kFromWire, Access::kRemoteRead), PostStatus::kBadIntegrity);
  EXPECT_EQ(refusal(kFromWire, Access::kLocalWrite | Access::kRemoteRead),
            PostStatus::kBadIntegrity);
  // Tuples in memory that the device may not write.
  Region read_only(*server.pd, kTuples, Access::kNone);
  MrPool::Lease lease = pool->get();
  const Sge its = read_only.sge();
  ASSERT_EQ(
      lease.map(kFromWire, data_list(), {&its, 1}, {.block_size = kBlock, .memory = kInMemory}),
      PostStatus::kOk);
  WorkRequest registration;
  EXPECT_EQ(lease.prepare_register(Access::kLocalWrite, registration), PostStatus::kOk);
  EXPECT_EQ(server.try_post(registration), PostStatus::kAccessDenied);
  lease.not_posted();
}

}  // namespace
}  // namespace mrpool::conformance
