// Shared by the fuzz targets of both initiators: a target that may do anything over a queue pair.
// The input decides whether it accepts or rejects, answers correctly or not at all, sends bytes of
// the input, ends connections, or lets time pass.
//
// Thread safety: one thread.
#pragma once

#include <memory>
#include <optional>
#include <span>

#include "tests/fuzz/fuzz.h"
#include "tests/unit/examples/load/scripted_wire.h"

namespace mrpool::fuzz {

// The environment of an initiator, except its target.
class InitiatorGround {
 protected:
  // MRs, and memory for the data of commands.
  void equip(uint32_t mrs, size_t bytes) {
    pool_ = *MrPool::create(
        pd_, {.count = mrs,
              .max_segments = 1,
              .access = Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteWrite});
    data_ = *load::Buffer::create(pd_, bytes);
  }
  void check_all_returned() {
    reactor_.poll();
    pool_->repair();
    FUZZ_CHECK(pool_->stats().in_use == 0);
  }

  testing::ScriptedDevice device_;
  testing::ScriptedPd pd_;
  testing::ClockReactor reactor_;
  std::unique_ptr<MrPool> pool_;
  std::optional<load::Buffer> data_;
};

class HostileTarget {
 public:
  HostileTarget(testing::ScriptedDevice& device, testing::ClockReactor& reactor, Input& input)
      : device_(device), reactor_(reactor), input_(input) {}

  // One thing that a target may do.
  void act() {
    const auto choice = input_.take<uint8_t>();
    testing::ScriptedQp* const qp = pick(choice >> 4);
    if (qp == nullptr) return pass(std::chrono::milliseconds(10));
    if (!qp->connected()) return meet(*qp, choice & 0xf);
    switch (choice & 0xf) {
      case 0:
        return qp->end(DisconnectReason::kReset);
      case 1:
        return pass(std::chrono::milliseconds(input_.take<uint8_t>()) * 16);
      case 2:
        if (qp->can_receive()) send_anything(*qp);
        break;
      case 3:
        return;  // sends complete late
      default:
        if (qp->can_receive()) answer(*qp, choice & 0xf);
        break;
    }
    settle();
  }

  // Sends nothing any more. False if `over` does not become true within `most`.
  template <typename Over>
  bool fall_silent(Over over, Nanoseconds most) {
    const Nanoseconds until = reactor_.now() + most;
    while (!over() && reactor_.now() < until) {
      for (size_t i = device_.qps.size(); i-- > 0;) {
        testing::ScriptedQp& qp = *device_.qps[i];
        if (qp.ending() || !qp.connected()) qp.end(DisconnectReason::kLocal);
        i = std::min(i, device_.qps.size());
      }
      pass(std::chrono::milliseconds(50));
    }
    return over();
  }

 protected:
  ~HostileTarget() = default;

  // The oldest message that has no answer yet; null: there is none.
  const std::vector<std::byte>* next_message(testing::ScriptedQp& qp) {
    return qp.answered < qp.messages.size() ? &qp.messages[qp.answered++] : nullptr;
  }
  // Answers the oldest message: well for 8 and above, each other way is wrong in its own.
  virtual void answer(testing::ScriptedQp& qp, int how) = 0;
  virtual void send_anything(testing::ScriptedQp& qp) = 0;

  // Moves `data` to what a command lent, as an RDMA WRITE would.
  void place(RemoteBuffer to, std::span<const std::byte> data) {
    const size_t size = std::min<size_t>(to.length, data.size());
    if (size != 0)
      std::memcpy(reinterpret_cast<void*>(uintptr_t(to.addr.value)), data.data(), size);
  }

  testing::ScriptedDevice& device_;
  testing::ClockReactor& reactor_;
  Input& input_;

 private:
  testing::ScriptedQp* pick(size_t which) {
    return device_.qps.empty() ? nullptr : device_.qps[which % device_.qps.size()];
  }
  void meet(testing::ScriptedQp& qp, int how) {
    if (qp.ending() || how == 0) return qp.end(DisconnectReason::kReset);
    if (how == 1) return qp.reject(nvme::RdmaStatus(input_.take<uint8_t>()));
    qp.accept();
    settle();
  }
  void pass(Nanoseconds time) {
    settle();
    reactor_.advance(time);
  }
  void settle() {
    for (size_t i = 0; i < device_.qps.size(); ++i) device_.qps[i]->complete_sends();
    reactor_.poll();
  }
};

}  // namespace mrpool::fuzz
