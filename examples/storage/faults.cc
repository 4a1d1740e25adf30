#include "examples/storage/faults.h"

#include <algorithm>
#include <new>

#include "examples/storage/outstanding.h"
#include "examples/storage/wrapper.h"
#include "mrpool/callback.h"

namespace mrpool::storage {

void FaultPlan::add(const Fault& fault) {
  const std::lock_guard lock(mutex_);
  faults_.push_back(fault);
}

void FaultPlan::clear() {
  const std::lock_guard lock(mutex_);
  faults_.clear();
}

Fault FaultPlan::decide(const Io& io) {
  const std::lock_guard lock(mutex_);
  for (Fault& fault : faults_) {
    if (fault.op != io.op || fault.times == 0) continue;
    // Overlap, by subtraction: `length` may be the largest number.
    const bool overlaps =
        io.op == Op::kFlush || (io.offset >= fault.offset ? io.offset - fault.offset < fault.length
                                                          : fault.offset - io.offset < io.length);
    if (!overlaps) continue;
    if (fault.probability < 1.0 &&
        std::uniform_real_distribution<>(0, 1)(random_) >= fault.probability) {
      continue;
    }
    if (fault.times != ~uint32_t{0}) --fault.times;
    injected_.fetch_add(1, std::memory_order_relaxed);
    return fault;
  }
  return {};
}

namespace {

class FaultyChannel final : public Channel {
 public:
  FaultyChannel(std::unique_ptr<Channel> inner, std::shared_ptr<FaultPlan> plan, Reactor& reactor)
      : inner_(std::move(inner)), plan_(std::move(plan)), reactor_(reactor) {}

  bool submit(Io& io) override {
    const Fault fault = plan_->decide(io);
    if (fault.delay == Nanoseconds{}) {
      io.error = fault.error;
      return fault.error != Error::kNone || inner_->submit(io);
    }
    static_assert(sizeof(Delayed) <= sizeof io.scratch);
    delayed_.add(io, reactor_.now());
    auto* delayed = new (io.scratch) Delayed(*this, io, fault.error);
    delayed->arm(reactor_, fault.delay);
    return false;
  }
  void release(Io& io) override { inner_->release(io); }
  bool wanted(const Io& io) const override { return inner_->wanted(io); }
  uint32_t pending() const override { return delayed_.count() + inner_->pending(); }
  Nanoseconds oldest_age(Nanoseconds now) const override {
    return std::max(delayed_.oldest_age(now), inner_->oldest_age(now));
  }
  Trouble take_trouble() override {
    Trouble all = delayed_.take_trouble();
    all.add(inner_->take_trouble());
    return all;
  }

 private:
  void go_on(Io& io, Error error) {
    io.error = error;
    delayed_.remove(io, reactor_.now());
    if (error != Error::kNone || inner_->submit(io)) io.done(io);
  }

  // Lives in the request's scratch space until the delay is over.
  struct Delayed : Timer {
    Delayed(FaultyChannel& c, Io& i, Error e)
        : Timer(to_method<&Delayed::over>), channel(&c), io(&i), error(e) {}
    // The request takes its scratch space back before it goes on.
    void over() {
      FaultyChannel& to = *channel;
      Io& request = *io;
      const Error result = error;
      this->~Delayed();
      to.go_on(request, result);
    }
    FaultyChannel* channel;
    Io* io;
    Error error;
  };

  const std::unique_ptr<Channel> inner_;
  const std::shared_ptr<FaultPlan> plan_;
  Reactor& reactor_;
  Outstanding delayed_;
};

class FaultyVolume final : public VolumeWrapper {
 public:
  FaultyVolume(std::shared_ptr<Volume> inner, std::shared_ptr<FaultPlan> plan)
      : VolumeWrapper(std::move(inner)), plan_(std::move(plan)) {}
  std::span<std::byte> memory() override { return {}; }
  std::byte* locate(uint64_t, uint64_t) override { return nullptr; }
  absl::StatusOr<std::unique_ptr<Channel>> open_channel(Reactor& reactor) override {
    auto channel = inner().open_channel(reactor);
    if (!channel.ok()) return channel.status();
    return std::make_unique<FaultyChannel>(std::move(*channel), plan_, reactor);
  }

 private:
  const std::shared_ptr<FaultPlan> plan_;
};

}  // namespace

std::shared_ptr<Volume> with_faults(std::shared_ptr<Volume> inner,
                                    std::shared_ptr<FaultPlan> plan) {
  return std::make_shared<FaultyVolume>(std::move(inner), std::move(plan));
}

}  // namespace mrpool::storage
