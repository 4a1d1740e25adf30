// The zoo of programs that trust more than their completions. Each is run with the ordering
// sanitizer and must be caught; each is right when it waits, and when its region opts out of
// relaxed ordering.
//
// The programs look at their memory after every round of the simulated world, which is how a
// polling thread of a real one would see it.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>

#include "mrpool/ordering_report.h"
#include "tests/sim/network.h"
#include "tests/sim/reactor.h"
#include "tests/unit/transport/uiwarp/transfer.h"
#include "transport/uiwarp/sanitizer.h"

namespace mrpool::uiwarp::testing {
namespace {

constexpr Access kStrict = Access::kDisableRelaxedOrdering;
constexpr uint64_t kSeeds = 10;

struct World {
  World(uint64_t seed, bool poison = false)
      : network(std::make_shared<sim::SimNetwork>(reactor, sim::NetworkOptions{.seed = seed})),
        pair(reactor, network, {.adversarial_placement = true, .poison = poison, .seed = seed}) {
    pair.step = [this] { reactor.step(); };
    pair.connect();
  }
  OrderingReport report() const { return *ordering_report(*pair.server_device); }

  sim::SimReactor reactor;
  std::shared_ptr<sim::SimNetwork> network;
  Pair pair;
};

bool all(const Buffer& buffer, size_t from, size_t size, int value) {
  for (size_t i = 0; i < size; ++i) {
    if (buffer.memory[from + i] != std::byte(value)) return false;
  }
  return true;
}

WorkRequest write_of(const Sge& sge, const Buffer& to, uint64_t offset) {
  return {.opcode = Opcode::kRdmaWrite,
          .signalled = false,
          .sges = {&sge, 1},
          .remote_addr = to.at(offset),
          .rkey = to.mr->rkey()};
}

// How many of kSeeds runs of `program(seed)` went wrong.
template <typename Program>
int wrong_runs(Program&& program) {
  int wrong = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) wrong += program(seed) ? 0 : 1;
  return wrong;
}

// --- 1. Polls the last byte of a WRITE ---

bool poll_last_byte(uint64_t seed, Access extra) {
  World world(seed);
  Buffer target(*world.pair.server.pd, 4096, kSink | extra);
  Buffer data(*world.pair.client.pd, 4096, Access::kNone, 0x5a);
  const Sge sge = data.sge();
  EXPECT_EQ(world.pair.client.send(write_of(sge, target, 0)), PostStatus::kOk);
  EXPECT_TRUE(world.pair.until([&] { return target.memory.back() == std::byte(0x5a); }));
  return all(target, 0, 4096, 0x5a);
}

TEST(OrderingZoo, PollsTheLastByteOfAWrite) {
  EXPECT_EQ(wrong_runs([](uint64_t seed) { return poll_last_byte(seed, Access::kNone); }),
            int(kSeeds));
  EXPECT_EQ(wrong_runs([](uint64_t seed) { return poll_last_byte(seed, kStrict); }), 0);
}

// --- 2. Polls a flag that is written after the data on the same Qp ---

bool poll_flag(uint64_t seed, Access extra) {
  World world(seed);
  Buffer target(*world.pair.server.pd, 4096 + 8, kSink | extra);
  Buffer data(*world.pair.client.pd, 4096, Access::kNone, 0x5a);
  const Sge sge = data.sge(), flag = data.mr->sge(0, 8);
  EXPECT_EQ(world.pair.client.send(write_of(sge, target, 0)), PostStatus::kOk);
  EXPECT_EQ(world.pair.client.send(write_of(flag, target, 4096)), PostStatus::kOk);
  EXPECT_TRUE(world.pair.until([&] { return all(target, 4096, 8, 0x5a); }));
  return all(target, 0, 4096, 0x5a);
}

TEST(OrderingZoo, PollsAFlagWrittenAfterTheData) {
  EXPECT_GE(wrong_runs([](uint64_t seed) { return poll_flag(seed, Access::kNone); }),
            int(kSeeds) - 1);
  EXPECT_EQ(wrong_runs([](uint64_t seed) { return poll_flag(seed, kStrict); }), 0);
}

// The correct way for both: a SEND after the data, and its completion.
TEST(OrderingZoo, WaitingForTheSendIsRight) {
  EXPECT_EQ(wrong_runs([](uint64_t seed) {
              World world(seed);
              Buffer target(*world.pair.server.pd, 4096, kSink);
              Buffer data(*world.pair.client.pd, 4096, Access::kNone, 0x5a);
              const Sge sge = data.sge();
              Recorded received;
              EXPECT_EQ(world.pair.server.qp->post_recv({.completion = &received}),
                        PostStatus::kOk);
              bool intact = false;
              received.then = [&] { intact = all(target, 0, 4096, 0x5a); };
              EXPECT_EQ(world.pair.client.send(write_of(sge, target, 0)), PostStatus::kOk);
              EXPECT_EQ(world.pair.client.send({.signalled = false}), PostStatus::kOk);
              EXPECT_TRUE(world.pair.until([&] { return received.done(); }));
              return intact;
            }),
            0);
}

// --- 3. Reads the buffer of a READ before its completion ---

bool poll_read(uint64_t seed, Access extra, bool wait) {
  World world(seed);
  Buffer remote(*world.pair.server.pd, 4096, Access::kRemoteRead, 0x5a);
  Buffer sink(*world.pair.client.pd, 4096, kSink | extra);
  const Sge sge = sink.sge();
  Recorded read;
  bool intact_at_done = false;
  read.then = [&] { intact_at_done = all(sink, 0, 4096, 0x5a); };
  EXPECT_EQ(world.pair.client.send({.completion = &read,
                                    .opcode = Opcode::kRdmaRead,
                                    .sges = {&sge, 1},
                                    .remote_addr = remote.at(0),
                                    .rkey = remote.mr->rkey()}),
            PostStatus::kOk);
  if (wait) {
    EXPECT_TRUE(world.pair.until([&] { return read.done(); }));
    return intact_at_done;
  }
  EXPECT_TRUE(world.pair.until([&] { return sink.memory.back() == std::byte(0x5a); }));
  const bool intact = all(sink, 0, 4096, 0x5a);
  EXPECT_TRUE(world.pair.until([&] { return read.done(); }));  // it must not outlive its buffer
  return intact;
}

TEST(OrderingZoo, ReadsTheBufferOfAReadBeforeItsCompletion) {
  EXPECT_GE(wrong_runs([](uint64_t seed) { return poll_read(seed, Access::kNone, false); }),
            int(kSeeds) / 2);
  EXPECT_EQ(wrong_runs([](uint64_t seed) { return poll_read(seed, Access::kNone, true); }), 0);
  EXPECT_EQ(wrong_runs([](uint64_t seed) { return poll_read(seed, kStrict, false); }), 0);
}

// --- The sink of an atomic holds the original value when it completes ---

bool original_at_completion(uint64_t seed, Access extra) {
  World world(seed, /*poison=*/true);
  Buffer target(*world.pair.server.pd, 64, kSink | Access::kRemoteAtomic, 0x11);
  Buffer sink(*world.pair.client.pd, 64, Access::kLocalWrite | extra, 0x22);
  const Sge sge = sink.mr->sge(0, 8);
  Recorded added;
  bool intact = false;
  added.then = [&] { intact = all(sink, 0, 8, 0x11); };
  EXPECT_EQ(world.pair.client.send({.completion = &added,
                                    .opcode = Opcode::kFetchAdd,
                                    .sges = {&sge, 1},
                                    .remote_addr = target.at(0),
                                    .rkey = target.mr->rkey(),
                                    .compare_add = 1}),
            PostStatus::kOk);
  EXPECT_TRUE(world.pair.until([&] { return added.done(); }));
  return intact;
}

TEST(OrderingZoo, TheSinkOfAnAtomicIsOrderedByItsCompletion) {
  EXPECT_EQ(wrong_runs([](uint64_t seed) { return original_at_completion(seed, Access::kNone); }),
            0);
  EXPECT_EQ(wrong_runs([](uint64_t seed) { return original_at_completion(seed, kStrict); }), 0);
}

// Looks at the sink of an atomic that nobody hears the end of.
bool peek_at_original(uint64_t seed, Access extra) {
  World world(seed, /*poison=*/true);
  Buffer target(*world.pair.server.pd, 64, kSink | Access::kRemoteAtomic, 0x11);
  Buffer sink(*world.pair.client.pd, 64, Access::kLocalWrite | extra, 0x22);
  const Sge sge = sink.mr->sge(0, 8);
  EXPECT_EQ(world.pair.client.send({.opcode = Opcode::kFetchAdd,
                                    .signalled = false,
                                    .sges = {&sge, 1},
                                    .remote_addr = target.at(0),
                                    .rkey = target.mr->rkey(),
                                    .compare_add = 1}),
            PostStatus::kOk);
  EXPECT_TRUE(world.pair.until([&] { return sink.memory[0] != std::byte(0x22); }));
  return all(sink, 0, 8, 0x11);
}

TEST(OrderingZoo, ReadsTheSinkOfAnAtomicBeforeItsCompletion) {
  EXPECT_EQ(wrong_runs([](uint64_t seed) { return peek_at_original(seed, Access::kNone); }),
            int(kSeeds));
  EXPECT_EQ(wrong_runs([](uint64_t seed) { return peek_at_original(seed, kStrict); }), 0);
}

// --- An atomic sees what its Qp wrote before it, however late that is otherwise ---

TEST(OrderingZoo, AnAtomicOrdersTheWritesBeforeIt) {
  EXPECT_EQ(wrong_runs([](uint64_t seed) {
              World world(seed);
              Buffer target(*world.pair.server.pd, 64, kSink | Access::kRemoteAtomic);
              Buffer data(*world.pair.client.pd, 64, Access::kNone, 0x5a);
              Buffer sink(*world.pair.client.pd, 64, Access::kLocalWrite);
              const Sge sge = data.sge(), result = sink.mr->sge(0, 8);
              Recorded added;
              EXPECT_EQ(world.pair.client.send(write_of(sge, target, 0)), PostStatus::kOk);
              EXPECT_EQ(world.pair.client.send({.completion = &added,
                                                .opcode = Opcode::kFetchAdd,
                                                .sges = {&result, 1},
                                                .remote_addr = target.at(0),
                                                .rkey = target.mr->rkey()}),
                        PostStatus::kOk);
              EXPECT_TRUE(world.pair.until([&] { return added.done(); }));
              return all(sink, 0, 8, 0x5a);
            }),
            0);
}

// --- Immediate data orders the WRITE that it comes with, as a SEND would ---

TEST(OrderingZoo, ImmediateDataOrdersItsWrite) {
  EXPECT_EQ(wrong_runs([](uint64_t seed) {
              World world(seed);
              Buffer target(*world.pair.server.pd, 4096, kSink);
              Buffer data(*world.pair.client.pd, 4096, Access::kNone, 0x5a);
              const Sge sge = data.sge();
              Recorded received;
              EXPECT_EQ(world.pair.server.qp->post_recv({.completion = &received}),
                        PostStatus::kOk);
              bool intact = false;
              received.then = [&] { intact = all(target, 0, 4096, 0x5a); };
              WorkRequest write = write_of(sge, target, 0);
              write.opcode = Opcode::kRdmaWriteWithImm;
              EXPECT_EQ(world.pair.client.send(write), PostStatus::kOk);
              EXPECT_TRUE(world.pair.until([&] { return received.done(); }));
              return intact;
            }),
            0);
}

// --- 4. Trusts the order of two WRITEs ---

bool overwrite(uint64_t seed, Access extra, bool wait) {
  World world(seed);
  Buffer target(*world.pair.server.pd, 1024, kSink | extra);
  Buffer old_data(*world.pair.client.pd, 1024, Access::kNone, 0x01);
  Buffer new_data(*world.pair.client.pd, 1024, Access::kNone, 0x02);
  const Sge first = old_data.sge(), second = new_data.sge();
  Recorded received[2];
  bool intact = false;
  received[1].then = [&] { intact = all(target, 0, 1024, 0x02); };
  for (Recorded& each : received) {
    EXPECT_EQ(world.pair.server.qp->post_recv({.completion = &each}), PostStatus::kOk);
  }
  EXPECT_EQ(world.pair.client.send(write_of(first, target, 0)), PostStatus::kOk);
  EXPECT_EQ(world.pair.client.send({.signalled = false}), PostStatus::kOk);
  // The right program lets the receiver see the first before it sends the second.
  if (wait) {
    EXPECT_TRUE(world.pair.until([&] { return received[0].done(); }));
  }
  EXPECT_EQ(world.pair.client.send(write_of(second, target, 0)), PostStatus::kOk);
  EXPECT_EQ(world.pair.client.send({.signalled = false}), PostStatus::kOk);
  EXPECT_TRUE(world.pair.until([&] { return received[1].done(); }));
  return intact;
}

// Two WRITEs before one completion: each byte may be from either.
bool overwrite_at_once(uint64_t seed, Access extra) {
  World world(seed);
  Buffer target(*world.pair.server.pd, 1024, kSink | extra);
  Buffer old_data(*world.pair.client.pd, 1024, Access::kNone, 0x01);
  Buffer new_data(*world.pair.client.pd, 1024, Access::kNone, 0x02);
  const Sge first = old_data.sge(), second = new_data.sge();
  Recorded received;
  bool intact = false;
  received.then = [&] { intact = all(target, 0, 1024, 0x02); };
  EXPECT_EQ(world.pair.server.qp->post_recv({.completion = &received}), PostStatus::kOk);
  EXPECT_EQ(world.pair.client.send(write_of(first, target, 0)), PostStatus::kOk);
  EXPECT_EQ(world.pair.client.send(write_of(second, target, 0)), PostStatus::kOk);
  EXPECT_EQ(world.pair.client.send({.signalled = false}), PostStatus::kOk);
  EXPECT_TRUE(world.pair.until([&] { return received.done(); }));
  return intact;
}

TEST(OrderingZoo, TrustsTheOrderOfTwoWrites) {
  EXPECT_EQ(wrong_runs([](uint64_t seed) { return overwrite_at_once(seed, Access::kNone); }),
            int(kSeeds));
  EXPECT_EQ(wrong_runs([](uint64_t seed) { return overwrite(seed, Access::kNone, true); }), 0);
  EXPECT_EQ(wrong_runs([](uint64_t seed) { return overwrite_at_once(seed, kStrict); }), 0);
}

// --- 5. Reuses a buffer before the invalidation completed ---

bool reuse(uint64_t seed, Access extra, bool wait) {
  World world(seed);
  Buffer memory(*world.pair.server.pd, 1024, Access::kLocalWrite);
  Buffer data(*world.pair.client.pd, 1024, Access::kNone, 0x5a);
  auto key = *world.pair.server.pd->alloc_fast_mr({.ceiling = kSink});
  const Sge sge = memory.sge(), from = data.sge();
  EXPECT_EQ(key->map({&sge, 1}), 1u);
  Recorded reg, inv, written;
  EXPECT_EQ(
      world.pair.server.send(
          {.completion = &reg, .opcode = Opcode::kRegMr, .mr = key.get(), .access = kSink | extra}),
      PostStatus::kOk);
  EXPECT_TRUE(world.pair.until([&] { return reg.done(); }));
  // The peer writes and then sends nothing: the command is aborted.
  EXPECT_EQ(world.pair.client.send({.completion = &written,
                                    .opcode = Opcode::kRdmaWrite,
                                    .sges = {&from, 1},
                                    .remote_addr = key->remote_addr(),
                                    .rkey = key->rkey()}),
            PostStatus::kOk);
  // The data arrives: withheld, or, in a region that opted out, seen.
  EXPECT_TRUE(world.pair.until([&] {
    return world.report().bytes_withheld > 0 || memory.memory.back() == std::byte(0x5a);
  }));
  const auto refill = [&] {
    std::fill(memory.memory.begin(), memory.memory.end(), std::byte(0xee));
  };
  EXPECT_EQ(world.pair.server.send(
                {.completion = &inv, .opcode = Opcode::kLocalInv, .rkey = key->rkey()}),
            PostStatus::kOk);
  if (!wait) refill();
  EXPECT_TRUE(world.pair.until([&] { return inv.done(); }));
  if (wait) refill();
  world.pair.settle();
  return all(memory, 0, 1024, 0xee);
}

TEST(OrderingZoo, ReusesABufferBeforeTheInvalidationCompleted) {
  EXPECT_EQ(wrong_runs([](uint64_t seed) { return reuse(seed, Access::kNone, false); }),
            int(kSeeds));
  EXPECT_EQ(wrong_runs([](uint64_t seed) { return reuse(seed, Access::kNone, true); }), 0);
  EXPECT_EQ(wrong_runs([](uint64_t seed) { return reuse(seed, kStrict, false); }), 0);
}

// --- The sanitizer itself ---

// Whatever it withholds, ordinary traffic is right: everything the other tests send.
TEST(OrderingSanitizer, OrdinaryTrafficIsRightUnderManySeeds) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    World world(seed, /*poison=*/seed % 2 == 0);
    run_sends(world.pair, 5000, 20);
    run_write_and_read(world.pair, 100'000);
    run_fast_registration(world.pair, 20'000);
    const OrderingReport report = world.report();
    EXPECT_GT(report.bytes_withheld, 100'000u);
    EXPECT_GT(report.chunks_reordered, 100u);
    EXPECT_GT(report.longest_delay.count(), 0);
  }
}

TEST(OrderingSanitizer, PoisonIsWhatAnEarlyReaderSees) {
  World world(3, /*poison=*/true);
  Buffer target(*world.pair.server.pd, 4096, kSink);
  Buffer data(*world.pair.client.pd, 4096, Access::kNone, 0x5a);
  const Sge sge = data.sge();
  ASSERT_EQ(world.pair.client.send(write_of(sge, target, 0)), PostStatus::kOk);
  ASSERT_TRUE(world.pair.until([&] { return target.memory[2000] != std::byte(0); }));
  EXPECT_EQ(target.memory[2000], std::byte(0xbd));
}

TEST(OrderingSanitizer, WithoutItThereIsNoReport) {
  sim::SimReactor reactor;
  Pair pair(reactor, std::make_shared<sim::SimNetwork>(reactor, sim::NetworkOptions{}));
  EXPECT_FALSE(ordering_report(*pair.server_device).has_value());
}

TEST(OrderingSanitizer, CountsRegionsThatOptedOut) {
  World world(1);
  Buffer strict(*world.pair.server.pd, 64, kSink | kStrict);
  Buffer relaxed(*world.pair.server.pd, 64, kSink);
  EXPECT_EQ(world.report().regions_opted_out, 1u);
  EXPECT_EQ(world.report().seed, 1u);
  EXPECT_NE(world.report().to_string().find("seed=1"), std::string::npos);
}

// Data that nothing ordered is not placed after its registration has ended.
TEST(OrderingSanitizer, NothingAppearsAfterARegistrationEnded) {
  World world(5);
  Buffer target(*world.pair.server.pd, 4096, kSink);
  Buffer data(*world.pair.client.pd, 4096, Access::kNone, 0x5a);
  const Sge sge = data.sge();
  ASSERT_EQ(world.pair.client.send(write_of(sge, target, 0)), PostStatus::kOk);
  ASSERT_TRUE(world.pair.until([&] { return world.report().bytes_withheld >= 4096; }));
  target.mr.reset();
  std::fill(target.memory.begin(), target.memory.end(), std::byte(0x11));
  world.pair.settle();
  EXPECT_TRUE(all(target, 0, 4096, 0x11));
}

// A guard is notified of bytes before they appear, and of their ordering before done().
struct Heard final : HoldObserver {
  Heard() { observe(this); }
  ~Heard() { observe(nullptr); }
  void held(const Qp*, const Held& held) override {
    bytes += held.bytes;
    stamp = held.stamp;
  }
  bool place(std::byte* to, const std::byte* from, size_t length) override {
    placed += length;
    std::memcpy(to, from, length);
    return true;
  }
  void invalidated(const Qp*, uint32_t) override {}
  void reached(const Qp*, const OrderPoint& point) override { ordered = point.stamp; }
  void ended(const Qp* qp) override { ended_qp = qp; }
  size_t bytes = 0;
  size_t placed = 0;
  uint64_t stamp = 0;
  uint64_t ordered = 0;
  const Qp* ended_qp = nullptr;
};

TEST(OrderingSanitizer, ObserverIsNotifiedOfWithheldBytesAndTheirOrder) {
  Heard heard;
  World world(3);
  Buffer target(*world.pair.server.pd, 4096, kSink);
  Buffer data(*world.pair.client.pd, 4096, Access::kNone, 0x5a);
  const Sge sge = data.sge();
  Recorded received;
  ASSERT_EQ(world.pair.server.qp->post_recv({.completion = &received}), PostStatus::kOk);
  uint64_t ordered = 0;
  received.then = [&] { ordered = heard.ordered; };
  ASSERT_EQ(world.pair.client.send(write_of(sge, target, 0)), PostStatus::kOk);
  ASSERT_EQ(world.pair.client.send({.signalled = false}), PostStatus::kOk);
  ASSERT_TRUE(world.pair.until([&] { return received.done(); }));
  EXPECT_EQ(heard.bytes, 4096u);
  EXPECT_EQ(heard.placed, 4096u);
  EXPECT_TRUE(all(target, 0, 4096, 0x5a));
  EXPECT_GT(heard.stamp, 0u);
  EXPECT_GE(ordered, heard.stamp);
  EXPECT_EQ(heard.ended_qp, nullptr);
  world.pair.server.qp->abort();
  EXPECT_EQ(heard.ended_qp, world.pair.server.qp.get());
}

// A program that polls for the last of many values must find it in the end.
TEST(OrderingSanitizer, TheLaterWriteWinsWithAnObserver) {
  const Heard heard;
  EXPECT_EQ(wrong_runs([](uint64_t seed) { return overwrite_at_once(seed, Access::kNone); }), 0);
}

// Chunks that overlap newer data, at its start and at its end.
TEST(OrderingSanitizer, TheLaterWriteWinsWhereTheyOverlap) {
  const Heard heard;
  World world(4);
  Buffer target(*world.pair.server.pd, 8192, kSink);
  std::vector<std::unique_ptr<Buffer>> data;
  for (int i = 1; i <= 9; ++i) {
    data.push_back(std::make_unique<Buffer>(*world.pair.client.pd, 3000, Access::kNone, i));
    const Sge sge = data.back()->sge();
    const uint64_t offset = 1000 * static_cast<uint64_t>((i * 4) % 6);
    ASSERT_EQ(world.pair.client.send(write_of(sge, target, offset)), PostStatus::kOk);
  }
  Recorded received;
  ASSERT_EQ(world.pair.server.qp->post_recv({.completion = &received}), PostStatus::kOk);
  ASSERT_EQ(world.pair.client.send({.signalled = false}), PostStatus::kOk);
  ASSERT_TRUE(world.pair.until([&] { return received.done(); }));
  // The last at 0, 4000 and 2000 are 9, 7 and 8.
  EXPECT_TRUE(all(target, 0, 3000, 9));
  EXPECT_TRUE(all(target, 3000, 2000, 8));
  EXPECT_TRUE(all(target, 5000, 2000, 7));
}

// What a message costs does not grow with its size.
TEST(OrderingSanitizer, LargeMessagesAreCutIntoLargerChunks) {
  World world(6);
  run_write_and_read(world.pair, 1'000'000);
  const OrderingReport report = world.report();
  EXPECT_GE(report.bytes_withheld, 1'000'000u);
  EXPECT_LT(report.chunks, report.bytes_withheld / 1000);
  EXPECT_GT(report.chunks, report.bytes_withheld / 6000);
}

TEST(OrderingSanitizer, OptionsInTheAddress) {
  const auto options = parse_options("placement=adversarial&seed=7&poison=on&crc=off");
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_TRUE(options->adversarial_placement);
  EXPECT_TRUE(options->poison);
  EXPECT_FALSE(options->crc);
  EXPECT_EQ(*options->seed, 7u);
  EXPECT_FALSE(parse_options("placement=late").ok());
  EXPECT_FALSE(parse_options("poison=on").ok());
  EXPECT_FALSE(parse_options("seed=x").ok());
  EXPECT_FALSE(parse_options("speed=9").ok());
}

}  // namespace
}  // namespace mrpool::uiwarp::testing
