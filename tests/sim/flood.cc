#include "tests/sim/flood.h"

#include <utility>
#include <vector>

namespace mrpool::sim {

namespace {

constexpr Nanoseconds kPeriod = std::chrono::milliseconds(10);
constexpr uint32_t kEach = 8;
constexpr size_t kMostOpen = 600;  // more than a listener lets wait

}  // namespace

// One connection: sends its bytes, and waits until it is closed.
class Flood::Caller final : private uiwarp::DialHandler, private uiwarp::StreamEvents {
 public:
  Caller(Flood& flood, std::vector<std::byte> says) : flood_(flood), says_(std::move(says)) {
    dial_ = flood.simulation_.network->dial_from(flood.from_, nullptr, flood.address_, *this);
  }

 private:
  void on_dialed(absl::StatusOr<std::unique_ptr<uiwarp::Stream>> stream) override {
    if (!stream.ok()) return;
    stream_ = *std::move(stream);
    stream_->attach(flood_.simulation_.reactor, *this);
    on_writable();
  }
  void on_readable() override {}
  void on_writable() override {
    while (said_ < says_.size()) {
      const iovec rest{says_.data() + said_, says_.size() - said_};
      const uiwarp::StreamResult result = stream_->writev({&rest, 1});
      if (result.would_block) return stream_->want_write();
      if (result.bytes == 0) return;
      said_ += result.bytes;
    }
  }

  Flood& flood_;
  std::vector<std::byte> says_;
  size_t said_ = 0;
  std::unique_ptr<uiwarp::Dial> dial_;
  std::unique_ptr<uiwarp::Stream> stream_;
};

Flood::Flood(Simulation& simulation, std::string from, uint16_t port,
             std::shared_ptr<const Recordings> recordings)
    : simulation_(simulation),
      from_(std::move(from)),
      address_{.transport = "uiwarp", .host = "127.0.0.1", .port = port, .options = {}},
      recordings_(std::move(recordings)),
      rng_(simulation.seed) {}

Flood::~Flood() = default;

void Flood::begin() { next_.arm(simulation_.reactor, kPeriod); }

void Flood::end() {
  next_.cancel();
  callers_.clear();
}

// Some send nothing, some stop during set-up, some send as much as their recording.
std::vector<std::byte> Flood::beginning() {
  if (recordings_->size() == 0 || below(4) == 0) return {};
  const std::vector<std::byte>& model = (*recordings_)[below(recordings_->size())];
  const uint64_t wanted = below(3) == 0 ? below(64) : below(Recordings::kBytes);
  const auto size = std::min<size_t>(wanted, model.size());
  return {model.begin(), model.begin() + static_cast<ptrdiff_t>(size)};
}

void Flood::wave() {
  simulation_.moved("flood");
  for (uint32_t i = 0; i < kEach; ++i) {
    callers_.push_back(std::make_unique<Caller>(*this, beginning()));
  }
  // Some of the oldest leave, so that others than the target's limits end connections too.
  for (uint64_t leaving = below(kEach + 1); leaving > 0; --leaving) callers_.pop_front();
  while (callers_.size() > kMostOpen) callers_.pop_front();
  next_.arm(simulation_.reactor, kPeriod);
}

}  // namespace mrpool::sim
