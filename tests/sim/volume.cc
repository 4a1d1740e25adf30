#include "tests/sim/volume.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>
#include <vector>

#include "examples/storage/outstanding.h"
#include "examples/storage/wrapper.h"

namespace mrpool::sim {

namespace {

using storage::Error;
using storage::Io;
using storage::Op;

constexpr Nanoseconds kLook = std::chrono::milliseconds(20);

bool has_range(Op op) { return op != Op::kFlush; }

// The size that a store has, and the one that it is taken to have.
class Size {
 public:
  Size(const uint64_t* now, uint64_t bytes) : now_(now), taken_(now == nullptr ? bytes : *now) {}
  uint64_t taken() const { return taken_; }
  storage::SizeChange refresh() {
    const uint64_t before = taken_;
    if (now_ != nullptr) taken_ = *now_;
    if (taken_ == before) return storage::SizeChange::kSame;
    return taken_ > before ? storage::SizeChange::kGrown : storage::SizeChange::kShrunk;
  }
  bool within(const Io& io) const { return !has_range(io.op) || io.offset + io.length <= taken_; }
  // A request that meets the end of a store that was cut shows how large it is.
  bool carries_out(const Io& io) {
    if (!has_range(io.op) || now_ == nullptr || io.offset + io.length <= *now_) return true;
    taken_ = std::min(taken_, *now_);
    return false;
  }

 private:
  const uint64_t* const now_;
  uint64_t taken_;
};

// What a store had before its last write; for Plant::kStaleRead.
class Past {
 public:
  explicit Past(std::span<std::byte> memory) : memory_(memory) {
    before_.assign(memory.begin(), memory.end());
  }
  void note_write(const Io& io) {
    std::copy_n(memory_.begin() + ptrdiff_t(io.offset), io.length,
                before_.begin() + ptrdiff_t(io.offset));
  }
  void read(const Io& io) const {
    const std::byte* from = before_.data() + io.offset;
    for (const iovec& piece : io.buffers) {
      std::memcpy(piece.iov_base, from, piece.iov_len);
      from += piece.iov_len;
    }
  }

 private:
  const std::span<std::byte> memory_;
  std::vector<std::byte> before_;
};

class SimChannel final : public storage::Channel {
 public:
  SimChannel(std::unique_ptr<storage::Channel> inner, Reactor& reactor, Simulation& simulation,
             const SimVolumeOptions& options, std::shared_ptr<Size> size,
             std::shared_ptr<Past> past)
      : inner_(std::move(inner)),
        reactor_(reactor),
        simulation_(simulation),
        options_(options),
        size_(std::move(size)),
        past_(std::move(past)) {}

  bool submit(Io& io) override {
    if (!size_->within(io)) {
      io.error = Error::kOutOfRange;
      return true;
    }
    const bool slow = simulation_.chance(options_.slow_per_thousand);
    const Nanoseconds most = slow ? options_.slow : options_.max_delay;
    static_assert(sizeof(Delayed) <= sizeof io.scratch);
    auto* delayed = new (io.scratch) Delayed(*this, io);
    delayed_.add(io, reactor_.now());
    delayed->arm(reactor_, Nanoseconds(simulation_.below(static_cast<uint64_t>(most.count()) + 1)));
    return false;
  }
  void release(Io& io) override { inner_->release(io); }
  bool wanted(const Io& io) const override { return inner_->wanted(io); }
  uint32_t pending() const override { return delayed_.count() + inner_->pending(); }
  Nanoseconds oldest_age(Nanoseconds now) const override {
    return std::max(delayed_.oldest_age(now), inner_->oldest_age(now));
  }

 private:
  // Lives in the request's scratch space until the delay is over.
  struct Delayed : Timer {
    Delayed(SimChannel& c, Io& i)
        : Timer([](Timer& self) {
            auto& delayed = static_cast<Delayed&>(self);
            SimChannel& channel = delayed.channel;
            Io& io = delayed.io;
            if (channel.hangs()) return delayed.arm(channel.reactor_, kLook);
            delayed.~Delayed();
            channel.delayed_.remove(io);
            channel.carry_out(io);
          }),
          channel(c),
          io(i) {}
    SimChannel& channel;
    Io& io;
  };

  // A write that was acknowledged before it is carried out, by a plant.
  struct Late : Timer, Io {
    explicit Late(SimChannel& c)
        : Timer([](Timer& self) {
            auto& late = static_cast<Late&>(self);
            (void)late.channel.inner_->submit(late);
          }),
          Io([](Io&) {}),
          channel(c) {}
    SimChannel& channel;
    std::vector<std::byte> bytes;
    iovec piece{};
  };

  bool hangs() const {
    return options_.hung_until != nullptr && reactor_.now() < *options_.hung_until;
  }

  void carry_out(Io& io) {
    if (!size_->carries_out(io)) {
      io.error = Error::kOutOfRange;
      return io.done(io);
    }
    const bool fails = io.op != Op::kHold && simulation_.chance(options_.errors_per_thousand);
    if (fails && (io.op != Op::kWrite || simulation_.chance(500))) return fail(io);
    if (io.op == Op::kWrite && simulation_.planted(Plant::kEarlyAnswer)) return succeed(io);
    if (past_ != nullptr && io.op == Op::kWrite) past_->note_write(io);
    if (past_ != nullptr && io.op == Op::kRead && simulation_.planted(Plant::kStaleRead)) {
      past_->read(io);
      return succeed(io);
    }
    if (io.op == Op::kWrite && simulation_.planted(Plant::kLateWrite)) {
      postpone(io);
      return succeed(io);
    }
    if (!inner_->submit(io)) return;  // the RAM volume finds the range held: its done() follows
    fails ? fail(io) : io.done(io);
  }
  static void fail(Io& io) {
    io.error = io.op == Op::kRead ? Error::kMediaRead : Error::kMediaWrite;
    io.done(io);
  }
  static void succeed(Io& io) {
    io.error = Error::kNone;
    io.done(io);
  }
  void postpone(const Io& io) {
    auto late = std::make_unique<Late>(*this);
    late->op = io.op;
    late->offset = io.offset;
    late->length = io.length;
    for (const iovec& piece : io.buffers) {
      const auto* from = static_cast<const std::byte*>(piece.iov_base);
      late->bytes.insert(late->bytes.end(), from, from + piece.iov_len);
    }
    late->piece = {late->bytes.data(), late->bytes.size()};
    late->buffers = {&late->piece, 1};
    late->arm(reactor_, options_.slow);
    late_.push_back(std::move(late));
  }

  const std::unique_ptr<storage::Channel> inner_;
  Reactor& reactor_;
  Simulation& simulation_;
  const SimVolumeOptions options_;
  const std::shared_ptr<Size> size_;
  const std::shared_ptr<Past> past_;  // or null
  storage::Outstanding delayed_;
  std::vector<std::unique_ptr<Late>> late_;
};

class SimVolume final : public storage::VolumeWrapper {
 public:
  SimVolume(std::shared_ptr<storage::Volume> inner, Simulation& simulation,
            const SimVolumeOptions& options)
      : VolumeWrapper(std::move(inner)),
        simulation_(simulation),
        options_(options),
        size_(std::make_shared<Size>(options.size, VolumeWrapper::geometry().bytes())),
        past_(options.stale_reads ? std::make_shared<Past>(VolumeWrapper::memory()) : nullptr) {}

  storage::Geometry geometry() const override {
    storage::Geometry geometry = VolumeWrapper::geometry();
    geometry.blocks = size_->taken() / geometry.block_size;
    return geometry;
  }
  absl::StatusOr<storage::SizeChange> refresh(uint64_t) override { return size_->refresh(); }
  std::span<std::byte> memory() override {
    return options_.gather ? VolumeWrapper::memory() : std::span<std::byte>();
  }
  std::byte* locate(uint64_t offset, uint64_t length) override {
    return options_.gather ? VolumeWrapper::locate(offset, length) : nullptr;
  }
  absl::StatusOr<std::unique_ptr<storage::Channel>> open_channel(Reactor& reactor) override {
    auto channel = inner().open_channel(reactor);
    if (!channel.ok()) return channel.status();
    return std::make_unique<SimChannel>(std::move(*channel), reactor, simulation_, options_, size_,
                                        past_);
  }

 private:
  Simulation& simulation_;
  const SimVolumeOptions options_;
  const std::shared_ptr<Size> size_;
  const std::shared_ptr<Past> past_;
};

}  // namespace

SimVolumeOptions bad_storage(Simulation& simulation) {
  return {.max_delay = Nanoseconds(simulation.below(300'000)),
          .slow_per_thousand = static_cast<uint32_t>(simulation.below(100)),
          .slow = std::chrono::milliseconds(20),
          .errors_per_thousand = static_cast<uint32_t>(simulation.below(20)),
          .gather = simulation.chance(300)};
}

std::shared_ptr<storage::Volume> make_sim_volume(std::shared_ptr<storage::Volume> inner,
                                                 Simulation& simulation,
                                                 const SimVolumeOptions& options) {
  return std::make_shared<SimVolume>(std::move(inner), simulation, options);
}

}  // namespace mrpool::sim
