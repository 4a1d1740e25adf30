// A device without a wire, for tests of the pool and of RwContext: registration is bookkeeping;
// work requests are recorded and complete on request of the test.
//
// Thread safety: FakePd and FakeFastMr as the contract wants; FakeReactor::post any thread; FakeQp
// one thread.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "mrpool/device.h"
#include "mrpool/mr_pool.h"

namespace mrpool::testing {

inline DeviceCaps fake_caps() {
  DeviceCaps caps;
  caps.name = "fake";
  caps.registration = Registration::kFastReg;
  caps.access = {.known = Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteWrite,
                 .honoured = Access::kDisableRelaxedOrdering};
  caps.sg_gaps = true;
  caps.send_with_inv = true;
  caps.read_with_inv = true;
  caps.max_qp_wr = 1024;
  caps.max_sge = 4;
  caps.max_read_sge = 4;
  caps.max_mr = 1024;
  caps.max_fast_reg_segments = 256;
  caps.max_message = 1 << 30;
  caps.max_ord = 16;
  caps.max_ird = 16;
  return caps;
}

class FakeFastMr : public FastMr {
 public:
  FakeFastMr(uint32_t number, const FastMrOptions& options, bool registers,
             std::atomic<int>* live_count, std::atomic<int>* renewals_to_fail)
      : options_(options),
        registers_(registers),
        live_count_(live_count),
        renewals_to_fail_(renewals_to_fail) {
    rkey_.value = number << 8;
    lkey_.value = rkey_.value;
    live_count_->fetch_add(1);
  }
  ~FakeFastMr() override { live_count_->fetch_sub(1); }

  size_t map(std::span<const Sge> segments) override {
    const size_t taken = std::min<size_t>(segments.size(), options_.max_segments);
    segments_.assign(segments.begin(), segments.begin() + ptrdiff_t(taken));
    length_ = 0;
    for (const Sge& sge : segments_) length_ += sge.length;
    remote_addr_.value = taken > 0 ? reinterpret_cast<uint64_t>(segments_[0].addr) : 0;
    return taken;
  }
  PostStatus map_integrity(IntegrityFlow flow, std::span<const Sge> data,
                           std::span<const Sge> protection,
                           const IntegrityAttributes& attributes) override {
    const PostStatus status = check_protected_lists(options_.integrity, options_.max_segments, data,
                                                    protection, attributes);
    if (status != PostStatus::kOk) return status;
    segments_.assign(data.begin(), data.end());
    length_ = 0;
    for (const Sge& sge : data) length_ += sge.length;
    length_ = attributes.wire_bytes(length_ / attributes.block_size);
    flows.push_back(flow);
    return PostStatus::kOk;
  }
  IntegrityReport check_integrity() override {
    ++checks;
    return report;
  }
  void advance_key() override {
    rkey_.value = (rkey_.value & ~0xffu) | ((rkey_.value + 1) & 0xffu);
    lkey_.value = rkey_.value;
  }
  bool needs_registration() const override { return registers_; }
  Sge sge() const override {
    return {segments_.empty() ? nullptr : segments_[0].addr, uint32_t(length_), lkey_};
  }
  absl::Status renew() override {
    if (renewals_to_fail_->load() > 0 && renewals_to_fail_->fetch_sub(1) > 0) {
      return absl::UnavailableError("scripted");
    }
    advance_key();
    renewed.fetch_add(1);
    return absl::OkStatus();
  }

  const std::vector<Sge>& segments() const { return segments_; }
  std::atomic<int> renewed = 0;
  // Of integrity: what was mapped, and what the checks are to find.
  std::vector<IntegrityFlow> flows;
  int checks = 0;
  IntegrityReport report{.verdict = IntegrityReport::Verdict::kGood};

 private:
  FastMrOptions options_;
  bool registers_;
  std::atomic<int>* live_count_;
  std::atomic<int>* renewals_to_fail_;
  std::vector<Sge> segments_;
};

class FakePd : public Pd {
 public:
  explicit FakePd(const DeviceCaps& caps = fake_caps()) : caps_(caps) {}

  absl::StatusOr<std::unique_ptr<Mr>> reg_mr(std::span<std::byte>, Access) override {
    return absl::UnimplementedError("the fake has no Mr");
  }
  absl::StatusOr<std::unique_ptr<FastMr>> alloc_fast_mr(const FastMrOptions& options) override {
    if (made_ == fail_after) return absl::ResourceExhaustedError("max_mr is scripted");
    ++made_;
    return std::make_unique<FakeFastMr>(made_, options,
                                        caps_.registration != Registration::kPreRegistered,
                                        &live_mrs, &renewals_to_fail);
  }
  absl::StatusOr<std::unique_ptr<Srq>> create_srq(Reactor&, const SrqOptions&) override {
    return absl::UnimplementedError("the fake has no Srq");
  }
  const DeviceCaps& caps() const override { return caps_; }

  uint32_t fail_after = UINT32_MAX;
  std::atomic<int> live_mrs = 0;
  std::atomic<int> renewals_to_fail = 0;

 private:
  DeviceCaps caps_;
  uint32_t made_ = 0;
};

// Runs tasks when the test calls poll(). Posting is locked: it is a test.
class FakeReactor : public Reactor {
 public:
  void run() override {
    while (!stopped_.load()) poll();
  }
  void stop() override { stopped_.store(true); }
  size_t poll() override {
    size_t ran = 0;
    while (Task* task = pop()) {
      task->run(*task);
      ++ran;
    }
    // Every timer is due: there is no clock.
    for (Timer* timer : std::exchange(timers_, {})) {
      timer->expire();
      ++ran;
    }
    return ran;
  }
  bool arm() override { return true; }
  int fd() override { return -1; }
  void post(Task& task) override {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(&task);
  }
  bool cancel(Task& task) override {
    const std::lock_guard lock(mutex_);
    return std::erase(tasks_, &task) > 0;
  }
  void add_poller(Poller&) override {}
  void remove_poller(Poller&) override {}
  Nanoseconds now() const override { return Nanoseconds(0); }
  bool in_thread() const override { return true; }

 protected:
  void arm_timer(Timer& timer) override { timers_.push_back(&timer); }
  void cancel_timer(Timer& timer) override { std::erase(timers_, &timer); }

 private:
  Task* pop() {
    const std::lock_guard lock(mutex_);
    if (tasks_.empty()) return nullptr;
    Task* task = tasks_.front();
    tasks_.pop_front();
    return task;
  }

  std::vector<Timer*> timers_;
  std::mutex mutex_;
  std::deque<Task*> tasks_;
  std::atomic<bool> stopped_ = false;
};

// A work request as the fake keeps it: the caller's copy may go once it is posted.
struct PostedRequest {
  WorkRequest wr;
  std::vector<Sge> sges;
};

class FakeQp : public Qp {
 public:
  FakeQp(Pd& pd, Reactor& reactor, uint32_t max_send_wr, uint16_t ord)
      : pd_(pd), reactor_(reactor), ord_(ord) {
    options_.max_send_wr = max_send_wr;
    options_.max_send_sge = 16;
  }

  PostResult post_send(const WorkRequest& chain) override {
    ++posts;
    for (const WorkRequest* wr = &chain; wr != nullptr; wr = wr->next) {
      PostStatus status = PostStatus::kOk;
      if (accept == 0) status = full ? PostStatus::kQueueFull : PostStatus::kBadSge;
      if (!connected_) status = PostStatus::kNotConnected;
      if (outstanding.size() >= options_.max_send_wr) status = PostStatus::kQueueFull;
      if (status != PostStatus::kOk) return {status, wr};
      if (accept > 0) --accept;
      PostedRequest posted{*wr, {wr->sges.begin(), wr->sges.end()}};
      posted.wr.sges = {};
      posted.wr.next = nullptr;
      outstanding.push_back(posted);
      history.push_back(posted);
      if (wr->opcode == Opcode::kRdmaRead || wr->opcode == Opcode::kRdmaReadWithInv) {
        max_reads = std::max(max_reads, ++reads);
      }
    }
    return {};
  }
  PostStatus post_recv(const RecvRequest&) override { return PostStatus::kUnsupported; }
  void disconnect() override { connected_ = false; }
  void abort() override { connected_ = false; }
  bool connected() const override { return connected_; }
  Pd& pd() override { return pd_; }
  Reactor& reactor() override { return reactor_; }
  const QpOptions& options() const override { return options_; }
  uint32_t send_room() const override {
    return uint32_t(options_.max_send_wr - outstanding.size());
  }
  uint16_t ord() const override { return ord_; }
  size_t memory_bytes() const override { return 0; }

  // Completes the oldest outstanding request. Unsignalled successes are silent.
  void complete(WcStatus status = WcStatus::kSuccess) {
    const PostedRequest done = outstanding.front();
    outstanding.pop_front();
    if (done.wr.opcode == Opcode::kRdmaRead || done.wr.opcode == Opcode::kRdmaReadWithInv) --reads;
    if (done.wr.completion == nullptr) return;
    if (!done.wr.signalled && status == WcStatus::kSuccess) return;
    WorkCompletion wc;
    wc.status = status;
    wc.opcode = done.wr.opcode;
    wc.qp = this;
    done.wr.completion->done(wc);
  }
  void complete_all() {
    while (!outstanding.empty()) complete();
  }
  // The connection broke: outstanding requests are flushed; `first` has the reason.
  void fail(WcStatus first = WcStatus::kFlushed) {
    connected_ = false;
    for (bool head = true; !outstanding.empty(); head = false) {
      complete(head ? first : WcStatus::kFlushed);
    }
  }

  std::deque<PostedRequest> outstanding;
  std::vector<PostedRequest> history;
  int accept = -1;    // requests to take before one is refused; -1: all
  bool full = false;  // that one finds the queue full; else it has a bad Sge
  int posts = 0;
  int reads = 0;
  int max_reads = 0;

 private:
  Pd& pd_;
  Reactor& reactor_;
  QpOptions options_;
  uint16_t ord_;
  bool connected_ = true;
};

}  // namespace mrpool::testing
