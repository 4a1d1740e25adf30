// A device whose peer is the test: it records the posts of an initiator, completes its receives,
// and ends connections on request of the test. The clock is the test's too.
//
// Thread safety: one thread.
#pragma once

#include <algorithm>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "examples/protocol/nvme/wire.h"
#include "tests/unit/pool/fake_device.h"

namespace mrpool::testing {

class ScriptedMr final : public Mr {
 public:
  ScriptedMr(std::span<std::byte> memory, uint32_t number, Access access) {
    memory_ = memory;
    lkey_.value = number;
    rkey_.value = number;
    granted_.effective = access;
  }
};

class ScriptedPd final : public FakePd {
 public:
  using FakePd::FakePd;
  absl::StatusOr<std::unique_ptr<Mr>> reg_mr(std::span<std::byte> memory, Access access) override {
    return std::make_unique<ScriptedMr>(memory, 0x100 + ++regions_, access);
  }

 private:
  uint32_t regions_ = 0;
};

// FakeReactor with timers under the test's clock.
class ClockReactor final : public FakeReactor {
 public:
  Nanoseconds now() const override { return now_; }
  // Lets time pass, running what falls due and what that posts.
  void advance(Nanoseconds by) {
    const Nanoseconds until = now_ + by;
    for (;;) {
      poll();
      const auto next = std::ranges::min_element(
          timers_, {}, [](Timer* timer) { return timer->slot().deadline; });
      if (next == timers_.end() || (*next)->slot().deadline > until) break;
      Timer* timer = *next;
      now_ = std::max(now_, timer->slot().deadline);
      timers_.erase(next);
      timer->expire();
    }
    now_ = until;
    poll();
  }

 protected:
  void arm_timer(Timer& timer) override {
    cancel_timer(timer);
    timers_.push_back(&timer);
  }
  void cancel_timer(Timer& timer) override { std::erase(timers_, &timer); }

 private:
  Nanoseconds now_{1'000'000'000};
  std::vector<Timer*> timers_;
};

class ScriptedCq final : public Cq {
 public:
  explicit ScriptedCq(Reactor& reactor) : reactor_(reactor) {}
  Reactor& reactor() override { return reactor_; }

 private:
  Reactor& reactor_;
};

class ScriptedDevice;

// One end of a connection; the test is the other.
class ScriptedQp final : public Qp {
 public:
  struct Command {
    nvme::Sqe sqe;
    std::vector<std::byte> in_capsule;
  };
  struct Registration {
    FastMr* mr;
    Access access;
  };

  ScriptedQp(ScriptedDevice& device, Pd& pd, Reactor& reactor, QpEvents& events,
             std::span<const std::byte> hello)
      : hello(hello.begin(), hello.end()),
        device_(device),
        pd_(pd),
        reactor_(reactor),
        events_(events) {}
  ~ScriptedQp() override;

  PostResult post_send(const WorkRequest& chain) override {
    for (const WorkRequest* wr = &chain; wr != nullptr; wr = wr->next) {
      if (!connected_) return {PostStatus::kNotConnected, wr};
      if (wr->opcode == Opcode::kRegMr) registrations.push_back({wr->mr, wr->access});
      if (wr->opcode == Opcode::kLocalInv) local_invalidations.push_back(wr->rkey);
      if (wr->opcode == Opcode::kSend) take_message(*wr);
      if (wr->signalled) sends_.push_back({wr->completion, wr->opcode});
    }
    return {};
  }
  PostStatus post_recv(const RecvRequest& chain) override {
    for (const RecvRequest* r = &chain; r != nullptr; r = r->next) {
      receives_.push_back({r->completion, r->sges[0]});
    }
    return PostStatus::kOk;
  }
  void disconnect() override { ending_ = true; }
  void abort() override {
    ending_ = true;
    aborted = true;
  }
  bool connected() const override { return connected_; }
  Pd& pd() override { return pd_; }
  Reactor& reactor() override { return reactor_; }
  const QpOptions& options() const override { return options_; }
  uint32_t send_room() const override { return UINT32_MAX; }
  uint16_t ord() const override { return 1; }
  size_t memory_bytes() const override { return 0; }

  // --- the test's side ---

  void accept() {
    connected_ = true;
    events_.on_connected(*this, {});
  }
  void reject(nvme::RdmaStatus status) {
    nvme::RdmaReject reject;
    reject.status = uint16_t(status);
    events_.on_rejected(*this, nvme::bytes_of(reject));
    end(DisconnectReason::kRejected);
  }
  // Completes everything posted so far on the send side.
  void complete_sends() {
    while (!sends_.empty()) {
      const auto [completion, opcode] = sends_.front();
      sends_.pop_front();
      WorkCompletion wc;
      wc.opcode = opcode;
      completion->done(wc);
    }
  }
  void respond(const nvme::Cqe& cqe, std::optional<Rkey> invalidated = {}, uint32_t length = 16) {
    deliver(nvme::bytes_of(cqe), invalidated, length);
  }
  bool can_receive() const { return connected_ && !receives_.empty(); }
  // Requires can_receive(). What does not fit is cut off.
  void deliver(std::span<const std::byte> message, std::optional<Rkey> invalidated = {}) {
    deliver(message, invalidated, uint32_t(message.size()));
  }
  void deliver(std::span<const std::byte> message, std::optional<Rkey> invalidated,
               uint32_t length) {
    const auto [completion, sge] = receives_.front();
    receives_.pop_front();
    std::memcpy(sge.addr, message.data(), std::min<size_t>(message.size(), sge.length));
    WorkCompletion wc;
    wc.opcode = Opcode::kRecv;
    wc.byte_len = std::min(length, sge.length);
    wc.invalidated = invalidated.has_value();
    wc.invalidated_rkey = invalidated.value_or(Rkey{});
    completion->done(wc);
  }
  // Answers `command` well, ending its key when it asked for that.
  void answer(const Command& command, uint64_t result = 0,
              nvme::Status status = nvme::Status::kSuccess) {
    nvme::Cqe cqe;
    cqe.command_id = uint16_t(command.sqe.command_id);
    cqe.result = result;
    cqe.set_status(status);
    const bool asked = command.sqe.sgl.subtype() == nvme::SglSubtype::kInvalidate;
    respond(cqe, asked ? std::optional(command.sqe.sgl.key()) : std::nullopt);
  }
  // Flushes and ends; deletes this, as the queue lets go of it.
  void end(DisconnectReason reason = DisconnectReason::kReset) {
    flush();
    Disconnect why;
    why.reason = reason;
    events_.on_disconnected(*this, why);
  }
  bool ending() const { return ending_; }
  size_t receives() const { return receives_.size(); }

  const std::vector<std::byte> hello;
  std::vector<Command> commands;                 // of messages that are capsules
  std::vector<std::vector<std::byte>> messages;  // all of them
  size_t answered = 0;                           // a bookmark for the test
  std::vector<Registration> registrations;
  std::vector<Rkey> local_invalidations;
  bool aborted = false;

 private:
  void flush() {
    connected_ = false;
    WorkCompletion flushed;
    flushed.status = WcStatus::kFlushed;
    for (const auto& [completion, opcode] : std::exchange(sends_, {})) completion->done(flushed);
    for (const auto& [completion, sge] : std::exchange(receives_, {})) completion->done(flushed);
  }

  void take_message(const WorkRequest& wr) {
    auto& message = messages.emplace_back();
    for (const Sge& sge : wr.sges) message.insert(message.end(), sge.addr, sge.addr + sge.length);
    if (wr.sges[0].length < sizeof(nvme::Sqe)) return;
    Command command;
    std::memcpy(static_cast<void*>(&command.sqe), wr.sges[0].addr, sizeof command.sqe);
    if (wr.sges.size() > 1) {
      command.in_capsule.assign(wr.sges[1].addr, wr.sges[1].addr + wr.sges[1].length);
    }
    commands.push_back(std::move(command));
  }

  struct PostedSend {
    Completion* completion;
    Opcode opcode;
  };
  struct PostedReceive {
    Completion* completion;
    Sge sge;
  };
  QpOptions options_;
  ScriptedDevice& device_;
  Pd& pd_;
  Reactor& reactor_;
  QpEvents& events_;
  std::deque<PostedSend> sends_;
  std::deque<PostedReceive> receives_;
  bool connected_ = false;
  bool ending_ = false;
};

class ScriptedDevice final : public Device {
 public:
  const DeviceCaps& caps() const override { return caps_; }
  absl::StatusOr<std::unique_ptr<Pd>> alloc_pd() override {
    return std::make_unique<ScriptedPd>(caps_);
  }
  absl::StatusOr<std::unique_ptr<Cq>> create_cq(Reactor& reactor, const CqOptions&) override {
    return std::make_unique<ScriptedCq>(reactor);
  }
  absl::StatusOr<std::unique_ptr<Listener>> listen(Reactor&, const Address&,
                                                   ListenHandler&) override {
    return absl::UnimplementedError("the script has no listener");
  }
  absl::StatusOr<std::unique_ptr<Qp>> connect(const Address&, Pd& pd, const QpOptions& options,
                                              const ConnectParams& params,
                                              QpEvents& events) override {
    auto made = std::make_unique<ScriptedQp>(*this, pd, options.send_cq->reactor(), events,
                                             params.private_data);
    qp = made.get();
    qps.push_back(qp);
    ++connects;
    return made;
  }

  ScriptedQp* qp = nullptr;      // the latest, while it lives
  std::vector<ScriptedQp*> qps;  // all that live, in the order of their making
  int connects = 0;

 private:
  DeviceCaps caps_ = fake_caps();
};

inline ScriptedQp::~ScriptedQp() {
  flush();
  if (device_.qp == this) device_.qp = nullptr;
  std::erase(device_.qps, this);
}

}  // namespace mrpool::testing
