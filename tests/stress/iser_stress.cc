// A target with three threads, and initiators on separate threads that interfere with each other:
// reads and writes, COMPARE AND WRITE on the same blocks, reservations, resets, logouts and logins
// under the same name. Units are added and removed meanwhile.
//
// The checks: every successful COMPARE AND WRITE counted once (those that were aborted, at most
// once); nothing hangs; nothing is held when all is over.
//
// Environment: ISER_STRESS_SECONDS (default 2), ISER_STRESS_SEED (default random, printed).
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "examples/base/big_endian.h"
#include "examples/iser/initiator/client.h"
#include "tests/unit/examples/iser/initiator/daemon.h"

namespace mrpool::iser {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint32_t kBlock = 512;
constexpr uint32_t kCounters = 4;    // blocks that are only ever compared and written
constexpr uint64_t kScratch = 1000;  // blocks that anybody writes

struct Shared {
  const std::string address;
  const Clock::time_point end;
  std::atomic<uint64_t> sure[kCounters]{};   // increments that were answered GOOD
  std::atomic<uint64_t> maybe[kCounters]{};  // that had no answer, or were aborted
  std::atomic<uint64_t> commands{0};
};

class Initiator {
 public:
  Initiator(Shared& shared, uint32_t number, uint64_t seed) : shared_(shared), random_(seed) {
    options_.address = shared.address;
    options_.target = kTarget;
    // Two of them share a name and an ISID: each login ends the other's session.
    options_.initiator = "iqn.2026-11.org.example:host-" + std::to_string(number / 2);
    key_ = number / 2 + 1;
  }

  void run() {
    while (Clock::now() < shared_.end) {
      auto client = Client::create(options_);
      ASSERT_TRUE(client.ok()) << client.status();
      auto session = (*client)->log_in();
      if (!session.ok()) continue;  // replaced while it logged in
      client_ = client->get();
      session_ = *session;
      const uint64_t steps = 1 + random_() % 200;
      for (uint64_t i = 0; i < steps && session_->connected() && Clock::now() < shared_.end; ++i) {
        step();
      }
      if (session_->connected() && random_() % 2 == 0) client_->log_out();
    }
  }

 private:
  void step() {
    shared_.commands.fetch_add(1, std::memory_order_relaxed);
    switch (random_() % 32) {
      case 0:
        return reserve(0x06, 0, key_);  // register and ignore
      case 1:
        return reserve(0x01, key_, 0, 5);  // reserve: write exclusive, registrants only
      case 2:
        return reserve(0x02, key_, 0, 5);  // release
      case 3:
        return reserve(0x05, key_, 1 + random_() % 3, 5);  // preempt and abort
      case 4:
        return reserve(0x03, key_, 0);  // clear
      case 5:
      case 6:
        return manage();
      case 7: {
        std::vector<std::byte> luns(256);
        (void)client_->run({0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0}, DataDirection::kIn, luns);
        return;
      }
      case 8:
      case 9:
      case 10:
      case 11:
      case 12:
      case 13:
        return increment();
      default: {
        std::vector<std::byte> data(kBlock * (1 + random_() % 32));
        const bool write = random_() % 2 == 0;
        const auto blocks = uint32_t(data.size() / kBlock);
        (void)client_->run(transfer_cdb(write, kScratch + random_() % 64, blocks),
                           write ? DataDirection::kOut : DataDirection::kIn, data);
        return;
      }
    }
  }

  // Reads a counter and writes it one higher, if nobody else did meanwhile.
  void increment() {
    const uint32_t which = random_() % kCounters;
    std::vector<std::byte> data(2 * kBlock);
    const auto now = std::span(data).first(kBlock);
    if (!client_->run(transfer_cdb(false, which, 1), DataDirection::kIn, now).ok()) return;
    std::ranges::copy(now, data.begin() + kBlock);
    uint64_t value = 0;
    std::memcpy(&value, data.data(), sizeof value);
    ++value;
    std::memcpy(&data[kBlock], &value, sizeof value);
    scsi::Cdb compare{0x89};
    compare[9] = uint8_t(which);
    compare[13] = 1;
    const absl::Status status = client_->run(compare, DataDirection::kOut, data);
    if (status.ok()) {
      shared_.sure[which].fetch_add(1);
    } else if (status.message().find("miscompare") == absl::string_view::npos &&
               status.message().find("reservation conflict") == absl::string_view::npos) {
      shared_.maybe[which].fetch_add(1);
    }
  }

  void reserve(uint8_t action, uint64_t key, uint64_t action_key, uint8_t type = 0) {
    std::vector<std::byte> list(24);
    be::store64(&list[0], key);
    be::store64(&list[8], action_key);
    (void)client_->run({0x5f, action, type, 0, 0, 0, 0, 0, uint8_t(list.size())},
                       DataDirection::kOut, list);
  }

  void manage() {
    struct Function : Management {
      explicit Function(const std::function<void()>& ended)
          : Management([](Management& self) { static_cast<Function&>(self).finish(); }),
            finish(ended) {}
      std::function<void()> finish;
    };
    constexpr iscsi::TaskFunction kFunctions[] = {
        iscsi::TaskFunction::kLogicalUnitReset, iscsi::TaskFunction::kClearTaskSet,
        iscsi::TaskFunction::kAbortTaskSet, iscsi::TaskFunction::kTargetWarmReset};
    std::unique_ptr<Function> function;
    client_->wait([&](const std::function<void()>& done) {
      function = std::make_unique<Function>(done);
      function->function = kFunctions[random_() % std::size(kFunctions)];
      if (!session_->manage(*function)) done();
    });
  }

  Shared& shared_;
  ClientOptions options_;
  uint64_t key_ = 0;
  std::mt19937_64 random_;
  Client* client_ = nullptr;
  Session* session_ = nullptr;
};

TEST(IserStress, SessionsInterfereWithEachOther) {
  const char* seconds = std::getenv("ISER_STRESS_SECONDS");
  const char* chosen = std::getenv("ISER_STRESS_SEED");
  const uint64_t seed =
      chosen != nullptr ? std::strtoull(chosen, nullptr, 0) : std::random_device{}();
  std::fprintf(stderr, "ISER_STRESS_SEED=%llu\n", static_cast<unsigned long long>(seed));
  iser_target::Config config;
  config.engine.threads = 3;
  config.targets.push_back({.name = kTarget, .luns = {"ram:1MiB"}});
  Daemon daemon(config);
  Shared shared{.address = daemon.address(),
                .end = Clock::now() + std::chrono::milliseconds(int(
                                          1000 * (seconds != nullptr ? std::atof(seconds) : 2)))};
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < 6; ++i) {
    threads.emplace_back([&shared, i, seed] { Initiator(shared, i, seed + i).run(); });
  }
  config.listen = {"uiwarp://127.0.0.1:0"};
  for (bool more = true; Clock::now() < shared.end; more = !more) {
    config.targets[0].luns = {"ram:1MiB"};
    if (more) config.targets[0].luns.emplace_back("ram:2MiB");
    ASSERT_TRUE(daemon.apply(config).ok());
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(shared.commands.load(), 0u);
  {
    // Clear whatever reservation is left, then look at the counters.
    ClientOptions options;
    options.address = daemon.address();
    options.target = kTarget;
    auto client = Client::create(options);
    ASSERT_TRUE((*client)->log_in().ok());
    for (uint32_t i = 0; i < kCounters; ++i) {
      std::vector<std::byte> data(kBlock);
      const absl::Status status =
          (*client)->run(transfer_cdb(false, i, 1), DataDirection::kIn, data);
      ASSERT_TRUE(status.ok()) << status;
      uint64_t value = 0;
      std::memcpy(&value, data.data(), sizeof value);
      EXPECT_GE(value, shared.sure[i].load());
      EXPECT_LE(value, shared.sure[i].load() + shared.maybe[i].load());
    }
    (*client)->log_out();
  }
  daemon.stop();
  EXPECT_EQ(daemon.mrs_in_use, 0u);
  EXPECT_EQ(daemon.staging, 0u);
  EXPECT_EQ(daemon.counters.rejects, 0u);
}

}  // namespace
}  // namespace mrpool::iser
