// The target and the initiator over uiwarp on loopback, each on a thread of its own: what a user's
// session does, from discovery to a clean end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "examples/base/big_endian.h"
#include "examples/iser/initiator/client.h"
#include "examples/protocol/iscsi/discovery.h"
#include "tests/unit/examples/iser/initiator/daemon.h"

namespace mrpool::iser {
namespace {

using testing::HasSubstr;

struct Io : Command {
  Io() : Command(to_method<&Io::finish>) {}
  void finish() { finished(); }
  // READ(16) or WRITE(16).
  void transfer(bool write, uint64_t lba, const Sge& place) {
    cdb = transfer_cdb(write, lba, place.length / 512);
    direction = write ? DataDirection::kOut : DataDirection::kIn;
    data = place;
  }
  std::function<void()> finished;
};

struct Reset : Management {
  Reset() : Management(to_method<&Reset::finish>) {}
  void finish() { finished(); }
  std::function<void()> finished;
};

// What sessions need when a test makes them itself.
struct Rig {
  Rig(const Daemon& daemon, uint32_t mrs)
      : address(*Address::parse(daemon.address())),
        device(*Device::open(address)),
        pd(*device->alloc_pd()),
        pool(*MrPool::create(
            *pd, {.count = mrs,
                  .access = Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteWrite})) {}

  SessionOptions options(uint8_t port, uint32_t depth) const {
    SessionOptions session{.address = address, .depth = depth};
    session.login.initiator = "iqn.2026-11.org.example:host";
    session.login.target = kTarget;
    session.login.isid = {0x80, 0, 0, 0, 0, port};
    return session;
  }
  std::unique_ptr<Session> log_in(SessionOptions options) {
    auto session = std::make_unique<Session>(*reactor, *device, *pd, *pool, std::move(options));
    wait([&](auto done) {
      session->start([done](const absl::Status& status) {
        EXPECT_TRUE(status.ok()) << status;
        done();
      });
    });
    Io attention;  // power on
    run(*session, attention);
    return session;
  }
  void run(Session& session, Io& io) {
    wait([&](auto done) {
      io.finished = done;
      session.submit(io);
    });
  }
  void close(Session& session) {
    wait([&](auto done) { session.close(done); });
  }
  // Runs the loop until `start` calls what it is given.
  template <typename Start>
  void wait(Start start) {
    start([this] { reactor->stop(); });
    reactor->run();
  }

  std::unique_ptr<Reactor> reactor = *Reactor::create();
  Address address;
  std::shared_ptr<Device> device;
  std::unique_ptr<Pd> pd;
  std::unique_ptr<MrPool> pool;
};

class Loopback : public testing::Test {
 protected:
  ClientOptions options(const Daemon& daemon) {
    ClientOptions result;
    result.address = daemon.address();
    result.target = kTarget;
    return result;
  }
  static std::vector<std::byte> noise(size_t size, uint32_t seed) {
    std::mt19937 engine(seed);
    std::vector<std::byte> bytes(size);
    for (std::byte& byte : bytes) byte = std::byte(engine());
    return bytes;
  }
  // Writes and reads back `size` bytes at `lba`.
  static void copy_there_and_back(Client& client, uint64_t lba, size_t size) {
    SCOPED_TRACE(size);
    std::vector<std::byte> out = noise(size, uint32_t(size)), in(size);
    const auto blocks = uint32_t(size / 512);
    ASSERT_TRUE(client.run(transfer_cdb(true, lba, blocks), DataDirection::kOut, out).ok());
    ASSERT_TRUE(client.run(transfer_cdb(false, lba, blocks), DataDirection::kIn, in).ok());
    EXPECT_EQ(in, out);
  }
};

TEST_F(Loopback, DiscoveryListsTheTargets) {
  Daemon daemon({});
  ClientOptions discovery = options(daemon);
  discovery.target.clear();
  auto client = Client::create(discovery);
  ASSERT_TRUE(client.ok()) << client.status();
  auto session = (*client)->log_in();
  ASSERT_TRUE(session.ok()) << session.status();
  std::string text;
  (*client)->wait([&](const std::function<void()>& done) {
    using std::string_literals::operator""s;
    (*session)->text("SendTargets=All\0"s, [&text, done](absl::StatusOr<std::string> answer) {
      text = answer.value_or("");
      done();
    });
  });
  const auto targets = iscsi::parse_targets(text);
  ASSERT_TRUE(targets);
  ASSERT_EQ(targets->size(), 1u);
  EXPECT_EQ((*targets)[0].name, kTarget);
  EXPECT_EQ("uiwarp://" + (*targets)[0].addresses[0], daemon.address());
  (*client)->log_out();
}

TEST_F(Loopback, DataOfEverySizeIsReadBackAndEveryKeyEnds) {
  Daemon daemon({});
  {
    auto client = Client::create(options(daemon));
    ASSERT_TRUE(client.ok()) << client.status();
    auto session = (*client)->log_in();
    ASSERT_TRUE(session.ok()) << session.status();
    for (const size_t size : {512, 1024, 4096, 8192, 8704, 65536, 66048, 262144, 1048576}) {
      copy_there_and_back(**client, 7, size);
    }
    const SessionCounters& counters = (*session)->counters();
    EXPECT_GT(counters.immediate, 0u);
    EXPECT_GT(counters.keys, 0u);
    EXPECT_EQ(counters.remote_invalidations, counters.keys);
    (*client)->log_out();
    EXPECT_EQ((*client)->pool().stats().in_use, 0u);
  }
  daemon.stop();
  EXPECT_EQ(daemon.mrs_in_use, 0u);
  EXPECT_GT(daemon.mr_gets, 0u);
  EXPECT_EQ(daemon.staging, 0u);
  EXPECT_EQ(daemon.counters.protocol_errors, 0u);
}

TEST_F(Loopback, WithoutImmediateDataAndRemoteInvalidation) {
  Daemon daemon({});
  ClientOptions plain = options(daemon);
  plain.no_immediate_data = true;
  plain.no_remote_invalidation = true;
  auto client = Client::create(plain);
  ASSERT_TRUE(client.ok()) << client.status();
  auto session = (*client)->log_in();
  ASSERT_TRUE(session.ok()) << session.status();
  for (const size_t size : {512, 8192, 131072}) copy_there_and_back(**client, 0, size);
  EXPECT_EQ((*session)->counters().immediate, 0u);
  EXPECT_EQ((*session)->counters().remote_invalidations, 0u);
  EXPECT_EQ((*session)->counters().local_invalidations, (*session)->counters().keys);
  (*client)->log_out();
}

// Pools of one and two entries under a load that wants dozens: work waits in order, nothing is
// refused, nothing stands still. Two sessions take their MRs from one pool.
struct Shortage {
  uint32_t target_mrs;
  uint64_t staging;  // bytes; a largest transfer needs 1 MiB
  uint32_t initiator_mrs;
  engine::Options engine() const {
    return {.staging = staging, .mrs = target_mrs, .force_mr = true};
  }
};

class Shortages : public Loopback, public testing::WithParamInterface<Shortage> {
 protected:
  static constexpr size_t kSize = 64 << 10, kCount = 48, kSessions = 2, kDepth = 32;

  // Reads or writes all of `memory`, piece by piece, the sessions in turn.
  static void move(Rig& rig, std::span<const std::unique_ptr<Session>> sessions, bool write,
                   const Mr& memory) {
    std::vector<std::unique_ptr<Io>> ios;
    std::array<std::vector<size_t>, kSessions> order;
    size_t left = kSessions * kCount;
    rig.wait([&](auto done) {
      for (size_t i = 0; i < kSessions * kCount; ++i) {
        Io& io = *ios.emplace_back(std::make_unique<Io>());
        io.transfer(write, i * (kSize / 512), memory.sge(i * kSize, kSize));
        io.finished = [&, i, done] {
          order[i % kSessions].push_back(i);
          if (--left == 0) done();
        };
        sessions[i % kSessions]->submit(io);
      }
    });
    for (const auto& io : ios) EXPECT_TRUE(io->good()) << describe(*io);
    for (const auto& one : order) EXPECT_TRUE(std::ranges::is_sorted(one));
  }
};

TEST_P(Shortages, WorkWaitsInOrder) {
  Daemon daemon({.engine = GetParam().engine()});
  Rig rig(daemon, GetParam().initiator_mrs);
  std::vector<std::byte> out = noise(kSessions * kCount * kSize, 5);
  std::vector<std::byte> in(out.size());
  const auto out_mr = *rig.pd->reg_mr(out, Access::kLocalWrite);
  const auto in_mr = *rig.pd->reg_mr(in, Access::kLocalWrite);
  std::vector<std::unique_ptr<Session>> sessions;
  for (uint8_t i = 0; i < kSessions; ++i) sessions.push_back(rig.log_in(rig.options(i, kDepth)));
  move(rig, sessions, true, *out_mr);
  move(rig, sessions, false, *in_mr);
  EXPECT_EQ(in, out);
  const MrPoolStats stats = rig.pool->stats();
  EXPECT_GT(stats.waits, 0u);
  EXPECT_EQ(stats.in_use, 0u);
  for (const auto& session : sessions) rig.close(*session);
  sessions.clear();
  daemon.stop();
  EXPECT_EQ(daemon.mrs_in_use, 0u);
  // Where the initiator has no more MRs than the target nobody waits there.
  EXPECT_EQ(daemon.mr_waits > 0, GetParam().initiator_mrs > GetParam().target_mrs);
  EXPECT_EQ(daemon.staging, 0u);
}

INSTANTIATE_TEST_SUITE_P(PoolsOfOneAndTwo, Shortages,
                         testing::Values(Shortage{1, 1 << 20, 1}, Shortage{2, 2 << 20, 2},
                                         Shortage{1, 1 << 20, 2}, Shortage{2, 1 << 20, 1},
                                         Shortage{1, 1 << 20, 24}, Shortage{2, 2 << 20, 24}),
                         [](const auto& each) {
                           return "Target" + std::to_string(each.param.target_mrs) + "Staging" +
                                  std::to_string(each.param.staging >> 20) + "Initiator" +
                                  std::to_string(each.param.initiator_mrs);
                         });

// Writes of every kind: with the command, in Data-Outs after it, fetched, and all three at once.
TEST_F(Loopback, UnsolicitedDataGoesOutAsAgreed) {
  Daemon daemon({.initial_r2t = false});
  Rig rig(daemon, 4);
  constexpr size_t kMost = 256 << 10;
  std::vector<std::byte> memory(2 * kMost);
  const auto mr = *rig.pd->reg_mr(memory, Access::kLocalWrite);
  SessionOptions options = rig.options(1, 4);
  options.send_first_burst = true;
  options.login.limits = {.initial_r2t = false, .first_burst = 24576};
  const auto session = rig.log_in(std::move(options));
  EXPECT_FALSE(session->parameters().initial_r2t);
  Io io;
  for (const uint32_t size : {512, 8192, 8704, 24576, 25088, 65536, 262144}) {
    SCOPED_TRACE(size);
    std::ranges::copy(noise(size, size), memory.begin());
    for (const bool write : {true, false}) {
      io.transfer(write, 3, mr->sge(write ? 0 : kMost, size));
      rig.run(*session, io);
      ASSERT_TRUE(io.good()) << describe(io);
    }
    EXPECT_TRUE(std::equal(memory.begin(), memory.begin() + ptrdiff_t(size),
                           memory.begin() + ptrdiff_t(kMost)));
  }
  // 8704 is one Data-Out beyond its immediate data, the longer ones two.
  EXPECT_EQ(session->counters().data_outs, 1u + 4 * 2);
  rig.close(*session);
}

TEST_F(Loopback, PingsComeBackAndAResetIsReported) {
  Daemon daemon({});
  Rig rig(daemon, 4);
  const auto session = rig.log_in(rig.options(1, 4));
  std::string echo;
  rig.wait([&](auto done) {
    session->ping("are you there?", [&echo, done](absl::StatusOr<std::string> answer) {
      echo = answer.value_or("");
      done();
    });
  });
  EXPECT_EQ(echo, "are you there?");
  Reset reset;
  rig.wait([&](auto done) {
    reset.finished = done;
    ASSERT_TRUE(session->manage(reset));
  });
  EXPECT_EQ(reset.response, iscsi::TaskResponse::kComplete);
  Io io;
  rig.run(*session, io);
  ASSERT_TRUE(io.sense);
  EXPECT_EQ(io.sense->key, scsi::SenseKey::kUnitAttention);
  rig.close(*session);
}

TEST_F(Loopback, ErrorsCarryTheirSense) {
  Daemon daemon({});
  auto client = Client::create(options(daemon));
  ASSERT_TRUE(client.ok()) << client.status();
  ASSERT_TRUE((*client)->log_in().ok());
  std::vector<std::byte> data(4096);
  const auto run = [&](const scsi::Cdb& cdb, DataDirection direction, size_t size) {
    return std::string((*client)->run(cdb, direction, std::span(data).first(size)).message());
  };
  EXPECT_EQ(run(transfer_cdb(false, 1 << 20, 1), DataDirection::kIn, 512),
            "check condition: illegal request, logical block address out of range (5/21/00)");
  EXPECT_EQ(run(scsi::Cdb{0xff}, DataDirection::kNone, 0),
            "check condition: illegal request, invalid command operation code (5/20/00)");
  // A failed comparison is reported, and a successful one writes.
  scsi::Cdb compare{0x89};
  compare[13] = 1;
  std::ranges::fill(data, std::byte{1});
  EXPECT_EQ(run(compare, DataDirection::kOut, 1024),
            "check condition: miscompare, miscompare during verify operation (e/1d/00)");
  std::fill_n(data.begin(), 512, std::byte{0});
  EXPECT_EQ(run(compare, DataDirection::kOut, 1024), "");
  (*client)->log_out();
}

TEST_F(Loopback, ResidualsSayHowMuchCame) {
  Daemon daemon({});
  auto client = Client::create(options(daemon));
  ASSERT_TRUE(client.ok()) << client.status();
  ASSERT_TRUE((*client)->log_in().ok());
  std::vector<std::byte> data(4096);
  uint32_t transferred = 0;
  const scsi::Cdb inquiry{0x12, 0, 0, 1, 0};
  ASSERT_TRUE((*client)->run(inquiry, DataDirection::kIn, data, &transferred).ok());
  EXPECT_EQ(transferred, 96u);
  // Less room than the command reads.
  ASSERT_TRUE((*client)
                  ->run(transfer_cdb(false, 0, 4), DataDirection::kIn, std::span(data).first(700),
                        &transferred)
                  .ok());
  EXPECT_EQ(transferred, 700u);
  (*client)->log_out();
}

TEST_F(Loopback, ChapBothWays) {
  iser_target::Config config;
  config.targets.push_back(
      {.name = kTarget,
       .luns = {"ram:1MiB"},
       .authentication = {.incoming = iscsi::Credentials{"alice", "alice has a secret"},
                          .outgoing = iscsi::Credentials{"disk", "the disk has another"}}});
  Daemon daemon(std::move(config));
  ClientOptions asked = options(daemon);
  asked.chap = "alice:alice has a secret";
  asked.mutual_chap = "disk:the disk has another";
  {
    auto client = Client::create(asked);
    ASSERT_TRUE((*client)->log_in().ok());
    copy_there_and_back(**client, 0, 4096);
    (*client)->log_out();
  }
  asked.chap = "alice:a wrong secret here";
  auto client = Client::create(asked);
  EXPECT_EQ((*client)->log_in().status().code(), absl::StatusCode::kUnauthenticated);
}

TEST_F(Loopback, TheAccessListAndUnknownTargets) {
  iser_target::Config config;
  config.targets.push_back({.name = kTarget,
                            .luns = {"ram:1MiB"},
                            .initiators = {{{.name = "iqn.2026-11.org.example:friend"}}}});
  Daemon daemon(std::move(config));
  ClientOptions asked = options(daemon);
  EXPECT_EQ((*Client::create(asked))->log_in().status().code(),
            absl::StatusCode::kPermissionDenied);
  asked.initiator = "iqn.2026-11.org.example:friend";
  EXPECT_TRUE((*Client::create(asked))->log_in().ok());
  asked.target = "iqn.2026-11.org.example:nowhere";
  EXPECT_EQ((*Client::create(asked))->log_in().status().code(), absl::StatusCode::kNotFound);
}

TEST_F(Loopback, ReservationsKeepAnotherInitiatorOut) {
  Daemon daemon({});
  auto alice = Client::create(options(daemon));
  ClientOptions other = options(daemon);
  other.initiator = "iqn.2026-11.org.example:bob";
  auto bob = Client::create(other);
  ASSERT_TRUE((*alice)->log_in().ok());
  ASSERT_TRUE((*bob)->log_in().ok());
  std::vector<std::byte> list(24);
  be::store64(&list[8], 0xa);
  scsi::Cdb out{0x5f, 0, 0, 0, 0, 0, 0, 0, 24};
  ASSERT_TRUE((*alice)->run(out, DataDirection::kOut, list).ok());
  be::store64(&list[0], 0xa);
  out[1] = 1;
  out[2] = 1;  // write exclusive
  ASSERT_TRUE((*alice)->run(out, DataDirection::kOut, list).ok());
  std::vector<std::byte> data(512);
  EXPECT_TRUE((*alice)->run(transfer_cdb(true, 0, 1), DataDirection::kOut, data).ok());
  EXPECT_TRUE((*bob)->run(transfer_cdb(false, 0, 1), DataDirection::kIn, data).ok());
  EXPECT_EQ((*bob)->run(transfer_cdb(true, 0, 1), DataDirection::kOut, data).message(),
            "reservation conflict");
  (*alice)->log_out();
  (*bob)->log_out();
}

TEST_F(Loopback, ClientsThatVanishLeaveNoResources) {
  Daemon daemon({});
  for (int round = 0; round < 20; ++round) {
    auto client = Client::create(options(daemon));
    ASSERT_TRUE((*client)->log_in().ok());
    std::vector<std::byte> data(65536);
    ASSERT_TRUE((*client)->run(transfer_cdb(true, 0, 128), DataDirection::kOut, data).ok());
    // The client is destroyed with its session open.
  }
  daemon.stop();
  EXPECT_EQ(daemon.mrs_in_use, 0u);
  EXPECT_EQ(daemon.staging, 0u);
  EXPECT_EQ(daemon.counters.logins, 20u);
}

TEST_F(Loopback, AStopWithSessionsOpenIsClean) {
  Daemon daemon({});
  auto client = Client::create(options(daemon));
  ASSERT_TRUE((*client)->log_in().ok());
  daemon.stop();
  EXPECT_EQ(daemon.mrs_in_use, 0u);
}

}  // namespace
}  // namespace mrpool::iser
