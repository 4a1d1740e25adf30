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

TEST_F(Loopback, DataOfEverySizeComesBackAndEveryKeyDies) {
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

class Shortages : public Loopback, public testing::WithParamInterface<Shortage> {};

TEST_P(Shortages, WorkWaitsInOrder) {
  constexpr size_t kSize = 64 << 10, kCount = 48, kSessions = 2, kDepth = 32;
  constexpr size_t kBlocks = kSize / 512;
  Daemon daemon({.engine = GetParam().engine()});
  auto reactor = *Reactor::create();
  const Address address = *Address::parse(daemon.address());
  auto device = *Device::open(address);
  auto pd = *device->alloc_pd();
  auto pool = *MrPool::create(
      *pd, {.count = GetParam().initiator_mrs,
            .access = Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteWrite});
  std::vector<std::byte> out = noise(kSessions * kCount * kSize, 5);
  std::vector<std::byte> in(out.size());
  auto out_mr = *pd->reg_mr(out, Access::kLocalWrite);
  auto in_mr = *pd->reg_mr(in, Access::kLocalWrite);

  struct Io : Command {
    Io() : Command([](Command& self) { static_cast<Io&>(self).finished(); }) {}
    std::function<void()> finished;
  };
  std::vector<std::unique_ptr<Session>> sessions;
  for (uint8_t i = 0; i < kSessions; ++i) {
    SessionOptions session{.address = address, .depth = kDepth};
    session.login.initiator = "iqn.2026-11.org.example:host";
    session.login.target = kTarget;
    session.login.isid = {0x80, 0, 0, 0, 0, i};
    sessions.push_back(
        std::make_unique<Session>(*reactor, *device, *pd, *pool, std::move(session)));
    absl::Status result;
    sessions.back()->start([&](absl::Status status) {
      result = std::move(status);
      reactor->stop();
    });
    reactor->run();
    ASSERT_TRUE(result.ok()) << result;
    Io attention;  // power on
    attention.finished = [&] { reactor->stop(); };
    sessions.back()->submit(attention);
    reactor->run();
  }
  for (const bool write : {true, false}) {
    std::vector<std::unique_ptr<Io>> ios;
    std::array<std::vector<size_t>, kSessions> order;
    size_t left = kSessions * kCount;
    for (size_t i = 0; i < kSessions * kCount; ++i) {
      Io& io = *ios.emplace_back(std::make_unique<Io>());
      io.cdb = transfer_cdb(write, i * kBlocks, kBlocks);
      io.direction = write ? DataDirection::kOut : DataDirection::kIn;
      io.data = (write ? out_mr : in_mr)->sge(i * kSize, kSize);
      io.finished = [&, i] {
        order[i % kSessions].push_back(i);
        if (--left == 0) reactor->stop();
      };
      sessions[i % kSessions]->submit(io);
    }
    reactor->run();
    for (const auto& io : ios) EXPECT_TRUE(io->good()) << describe(*io);
    for (const auto& one : order) EXPECT_TRUE(std::ranges::is_sorted(one));
  }
  EXPECT_EQ(in, out);
  const MrPoolStats stats = pool->stats();
  EXPECT_GT(stats.waits, 0u);
  EXPECT_EQ(stats.in_use, 0u);
  for (const auto& session : sessions) {
    session->close([&] { reactor->stop(); });
    reactor->run();
  }
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

// Writes of every kind: with the command, in Data-Outs behind it, fetched, and all three at once.
TEST_F(Loopback, UnsolicitedDataGoesOutAsAgreed) {
  Daemon daemon({.initial_r2t = false});
  auto reactor = *Reactor::create();
  const Address address = *Address::parse(daemon.address());
  auto device = *Device::open(address);
  auto pd = *device->alloc_pd();
  auto pool = *MrPool::create(
      *pd,
      {.count = 4, .access = Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteWrite});
  constexpr size_t kMost = 256 << 10;
  std::vector<std::byte> memory(2 * kMost);
  auto mr = *pd->reg_mr(memory, Access::kLocalWrite);
  SessionOptions options{.address = address, .depth = 4, .send_first_burst = true};
  options.login.initiator = "iqn.2026-11.org.example:host";
  options.login.target = kTarget;
  options.login.isid = {0x80, 0, 0, 0, 0, 1};
  options.login.limits = {.initial_r2t = false, .first_burst = 24576};
  Session session(*reactor, *device, *pd, *pool, std::move(options));
  const auto wait = [&](auto start) {
    start([&] { reactor->stop(); });
    reactor->run();
  };
  wait([&](auto done) {
    session.start([done](absl::Status status) {
      EXPECT_TRUE(status.ok()) << status;
      done();
    });
  });
  ASSERT_TRUE(session.connected());
  EXPECT_FALSE(session.parameters().initial_r2t);
  struct Io : Command {
    Io() : Command([](Command& self) { static_cast<Io&>(self).finished(); }) {}
    std::function<void()> finished;
  } io;
  const auto run = [&](bool write, size_t size) {
    io.cdb = transfer_cdb(write, 3, uint32_t(size / 512));
    io.direction = write ? DataDirection::kOut : DataDirection::kIn;
    io.data = mr->sge(write ? 0 : kMost, uint32_t(size));
    wait([&](auto done) {
      io.finished = done;
      session.submit(io);
    });
  };
  run(false, 512);  // the attention of power on
  for (const size_t size : {512, 8192, 8704, 24576, 25088, 65536, 262144}) {
    SCOPED_TRACE(size);
    std::ranges::copy(noise(size, uint32_t(size)), memory.begin());
    run(true, size);
    ASSERT_TRUE(io.good()) << describe(io);
    run(false, size);
    ASSERT_TRUE(io.good()) << describe(io);
    EXPECT_TRUE(std::equal(memory.begin(), memory.begin() + ptrdiff_t(size),
                           memory.begin() + ptrdiff_t(kMost)));
  }
  // 8704 is one Data-Out beyond its immediate data, the longer ones two.
  EXPECT_EQ(session.counters().data_outs, 1u + 4 * 2);
  std::string echo;
  wait([&](auto done) {
    session.ping("are you there?", [&echo, done](absl::StatusOr<std::string> answer) {
      echo = answer.value_or("");
      done();
    });
  });
  EXPECT_EQ(echo, "are you there?");
  struct Reset : Management {
    Reset() : Management([](Management& self) { static_cast<Reset&>(self).finished(); }) {}
    std::function<void()> finished;
  } reset;
  wait([&](auto done) {
    reset.finished = done;
    ASSERT_TRUE(session.manage(reset));
  });
  EXPECT_EQ(reset.response, iscsi::TaskResponse::kComplete);
  run(false, 512);
  ASSERT_TRUE(io.sense);
  EXPECT_EQ(io.sense->key, scsi::SenseKey::kUnitAttention);
  wait([&](auto done) { session.close(done); });
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
  // A comparison that fails says so, and one that holds writes.
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
  config.targets.push_back(
      {.name = kTarget, .luns = {"ram:1MiB"}, .initiators = {"iqn.2026-11.org.example:friend"}});
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

TEST_F(Loopback, ClientsThatVanishLeaveNothingBehind) {
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
