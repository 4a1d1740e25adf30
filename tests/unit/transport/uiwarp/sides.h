// One side of a Qp's protocol alone: no peer, no stream, no device; the test plays the other side
// through the QpState that both share.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

#include "tests/sim/reactor.h"
#include "tests/unit/transport/uiwarp/pair.h"
#include "transport/uiwarp/atomics.h"
#include "transport/uiwarp/context.h"
#include "transport/uiwarp/cq.h"
#include "transport/uiwarp/mr.h"
#include "transport/uiwarp/qp_state.h"

namespace mrpool::uiwarp::testing {

// What completions name; nobody calls it.
class NamedQp final : public Qp {
 public:
  explicit NamedQp(Reactor& reactor) : reactor_(reactor) {}
  PostResult post_send(const WorkRequest& chain) override {
    return {PostStatus::kNotConnected, &chain};
  }
  PostStatus post_recv(const RecvRequest&) override { return PostStatus::kNotConnected; }
  void disconnect() override {}
  void abort() override {}
  bool connected() const override { return true; }
  Pd& pd() override { std::abort(); }
  Reactor& reactor() override { return reactor_; }
  const QpOptions& options() const override { return options_; }
  uint32_t send_room() const override { return UINT32_MAX; }
  uint16_t ord() const override { return 0; }
  size_t memory_bytes() const override { return 0; }

 private:
  Reactor& reactor_;
  QpOptions options_;
};

class OneSide : public ::testing::Test {
 protected:
  static constexpr uint16_t kDepth = 2;  // of READs, each way
  static constexpr size_t kMemory = 8192;

  OneSide() {
    state_.agreement = {.crc = true, .ord = kDepth, .ird = kDepth, .extensions = true};
    state_.own_reads.start(kDepth);
    state_.peer_reads.start(kDepth);
    state_.started = true;
    state_.gate_open = true;
    for (size_t i = 0; i < kMemory; ++i) memory_[i] = std::byte(i * 7);
  }

  static DeviceCaps caps() {
    DeviceCaps caps;
    caps.max_read_sge = 1;
    caps.immediate_data = true;
    caps.atomics = AtomicScope::kMachine;
    caps.max_message = 1 << 20;
    return caps;
  }
  std::unique_ptr<UiwarpMr> registered() {
    uint32_t stag = 0;
    KeySlot* slot = keys_->allocate(stag);
    const Access access =
        Access::kLocalWrite | Access::kRemoteWrite | Access::kRemoteRead | Access::kRemoteAtomic;
    return std::make_unique<UiwarpMr>(*keys_, counters_, slot, stag, /*pd=*/1, memory_,
                                      Granted{.requested = access, .effective = access});
  }
  uint32_t stag() const { return mr_->rkey().value; }
  uint64_t at(size_t offset) const { return mr_->remote_addr().value + offset; }

  sim::SimReactor reactor_;
  std::shared_ptr<KeyTable> keys_ = std::make_shared<KeyTable>(/*seed=*/1);
  std::shared_ptr<Context> context_ = std::make_shared<Context>(keys_, reactor_);
  UiwarpCq cq_{context_, {.depth = 16}};
  NamedQp qp_{reactor_};
  DeviceCaps caps_ = caps();
  QpState state_{qp_, *keys_, {.pd = 1, .qp = 2}, caps_, nullptr};
  // Aligned, as an atomic's memory must be.
  std::vector<std::byte> memory_ = std::vector<std::byte>(kMemory);
  PdCounters counters_;
  std::unique_ptr<UiwarpMr> mr_ = registered();
};

}  // namespace mrpool::uiwarp::testing
