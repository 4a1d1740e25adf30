// An RwContext on a Qp that records its calls.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "mrpool/callback.h"
#include "mrpool/rw.h"
#include "tests/unit/pool/fake_device.h"

namespace mrpool {
using testing::fake_caps;
using testing::FakePd;
using testing::FakeQp;
using testing::FakeReactor;

struct Op : RwOperation {
  Op() : RwOperation(to_method<&Op::finished>) {}
  void finished(WcStatus result) {
    ++times;
    status = result;
    if (then) then();
  }
  int times = 0;
  WcStatus status{};
  std::function<void()> then;
};

struct Sink : Completion {
  Sink() : Completion(to_method<&Sink::completed>) {}
  void completed(const WorkCompletion& wc) {
    ++times;
    status = wc.status;
  }
  int times = 0;
  WcStatus status{};
};

inline DeviceCaps iwarp_caps() {
  DeviceCaps caps = fake_caps();
  caps.iwarp = true;
  caps.read_sink_needs_remote_write = true;
  return caps;
}

class RwTest : public ::testing::Test {
 protected:
  void set_up(const DeviceCaps& caps, const RwLimits& limits, uint32_t mrs, uint16_t ord = 16,
              uint32_t extra_slots = 0) {
    pd.emplace(caps);
    const RwQueueNeeds needs = rw_queue_needs(caps, limits);
    if (needs.pool_mrs > 0) {
      auto made = MrPool::create(*pd, {.count = mrs,
                                       .type = MrPoolType::kSgGaps,
                                       .max_segments = needs.pool_segments,
                                       .access = needs.pool_access});
      ASSERT_TRUE(made.ok()) << made.status();
      pool = *std::move(made);
    }
    if (limits.integrity) {
      auto made = MrPool::create(*pd, {.count = mrs,
                                       .type = MrPoolType::kIntegrity,
                                       .max_segments = 4,
                                       .access = needs.integrity_access,
                                       .integrity = {.blocks = 8, .protection_segments = 2}});
      ASSERT_TRUE(made.ok()) << made.status();
      integrity_pool = *std::move(made);
    }
    qp.emplace(*pd, reactor, needs.send_wr + extra_slots, ord);
    auto made = RwContext::create(*qp, pool.get(), limits, integrity_pool.get());
    ASSERT_TRUE(made.ok()) << made.status();
    context = *std::move(made);
  }
  void TearDown() override {
    if (context == nullptr) return;
    EXPECT_EQ(context->in_flight(), 0u);
    EXPECT_EQ(context->waiting(), 0u);
    context.reset();
    reactor.poll();
    for (MrPool* each : {pool.get(), integrity_pool.get()}) {
      if (each == nullptr) continue;
      EXPECT_EQ(each->stats().in_use, 0u);
      // Whatever happened, the pool heals.
      each->repair();
      EXPECT_EQ(each->stats().in_repair, 0u);
    }
  }
  PostStatus read(Op& op, uint64_t length, std::span<const Sge> local = {}) {
    return context->start(op, RwDirection::kRead, local.empty() ? whole : local,
                          {RemoteAddr{0x1000}, length, Rkey{77}});
  }
  PostStatus write(Op& op, uint64_t length, const WorkRequest* last = nullptr,
                   std::span<const Sge> local = {}) {
    return context->start(op, RwDirection::kWrite, local.empty() ? whole : local,
                          {RemoteAddr{0x1000}, length, Rkey{77}}, last);
  }
  std::vector<Opcode> posted() const {
    std::vector<Opcode> opcodes;
    for (const auto& p : qp->history) opcodes.push_back(p.wr.opcode);
    return opcodes;
  }
  // Lets everything go through, waiters included.
  void drain() {
    do {
      qp->complete_all();
    } while (reactor.poll() > 0 || !qp->outstanding.empty());
  }

  std::byte memory[8192];
  const Sge whole_[1] = {{memory, sizeof memory, Lkey{9}}};
  const std::span<const Sge> whole{whole_};
  FakeReactor reactor;
  std::optional<FakePd> pd;
  std::unique_ptr<MrPool> pool;
  std::unique_ptr<MrPool> integrity_pool;
  std::optional<FakeQp> qp;
  std::unique_ptr<RwContext> context;
};

}  // namespace mrpool
