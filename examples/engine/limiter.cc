#include "examples/engine/limiter.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

namespace mrpool::engine {
namespace {

constexpr uint64_t kWhole = 1000;  // a command, in thousandths
constexpr uint64_t kMebibyte = 1 << 20;
constexpr size_t kCommands = 0;
// The least that a host reserves at once, unless it needs less: a command, and a few blocks.
constexpr Amounts kLeastPart{kWhole, 16 << 10, 16 << 10, 16 << 10};
// More, if the rate allows more in this time, so that fast limits need few turns.
constexpr double kTurn = 250e3;  // nanoseconds
// A thread whose turns come late, because it is busy, reserves more at once: else a limit would not
// be used in full. Later than this, it is not.
constexpr Nanoseconds kMostLate = std::chrono::milliseconds(5);
constexpr double kNanoseconds = 1e9;
// Amounts beyond it would take longer than any host waits.
constexpr double kLongest = 3600 * kNanoseconds;

Amounts amounts_of(const IoCost& cost) {
  return {cost.commands * kWhole, cost.read + cost.written, cost.read, cost.written};
}

int64_t count(Nanoseconds time) { return time.count(); }

}  // namespace

// Buckets.

int64_t Limiter::Bucket::time_for(uint64_t amount) const {
  const uint64_t per_second = rate.load(std::memory_order_relaxed);
  if (per_second == 0) return 0;
  return int64_t(std::min(std::ceil(double(amount) * kNanoseconds / double(per_second)), kLongest));
}

bool Limiter::Bucket::take(int64_t time, Nanoseconds now) {
  const int64_t full = count(now) - burst.load(std::memory_order_relaxed);
  int64_t before = spent_until.load(std::memory_order_relaxed);
  do {
    if (std::max(before, full) + time > count(now)) return false;
  } while (!spent_until.compare_exchange_weak(before, std::max(before, full) + time,
                                              std::memory_order_relaxed));
  return true;
}

Nanoseconds Limiter::Bucket::reserve(int64_t time, Nanoseconds now) {
  const int64_t full = count(now) - burst.load(std::memory_order_relaxed);
  int64_t before = spent_until.load(std::memory_order_relaxed);
  int64_t after = 0;
  do {
    after = std::max(before, full) + time;
  } while (!spent_until.compare_exchange_weak(before, after, std::memory_order_relaxed));
  return Nanoseconds(after);
}

uint64_t Limiter::Bucket::part(size_t kind, uint32_t lines, double turn) const {
  const double per_second = double(rate.load(std::memory_order_relaxed));
  const auto amount = uint64_t(per_second * turn / kNanoseconds);
  return std::max<uint64_t>(std::max(amount, kLeastPart[kind]) / std::max(lines, 1u), 1);
}

// Limits.

void Limiter::set(const RateLimits& limits) {
  const std::lock_guard lock(mutex_);
  if (version_.load(std::memory_order_relaxed) != 0 && limits == limits_) return;
  limits_ = limits;
  const Amounts rates{limits.rw_ios_per_sec * kWhole, limits.rw_mbytes_per_sec * kMebibyte,
                      limits.r_mbytes_per_sec * kMebibyte, limits.w_mbytes_per_sec * kMebibyte};
  const int64_t burst = count(std::chrono::milliseconds(limits.burst_ms));
  for (size_t kind = 0; kind < kRateKinds; ++kind) {
    Bucket& bucket = buckets_[kind];
    bucket.rate.store(rates[kind], std::memory_order_relaxed);
    // A single command after a pause is never held back.
    const int64_t least = kind == kCommands ? bucket.time_for(kWhole) : 0;
    bucket.burst.store(std::max(burst, least), std::memory_order_relaxed);
    bucket.spent_until.store(kLongAgo, std::memory_order_relaxed);
  }
  active_.store(limits.any(), std::memory_order_relaxed);
  version_.fetch_add(1, std::memory_order_release);
}

RateLimits Limiter::limits() const {
  const std::lock_guard lock(mutex_);
  return limits_;
}

bool Limiter::by_direction() const {
  return (buckets_[2].rate.load(std::memory_order_relaxed) |
          buckets_[3].rate.load(std::memory_order_relaxed)) != 0;
}

std::shared_ptr<HostTurns> Limiter::turns_of(std::string_view host) {
  const std::lock_guard lock(mutex_);
  std::erase_if(turns_, [](const auto& each) { return each.second.expired(); });
  std::weak_ptr<HostTurns>& known = turns_[std::string(host)];
  std::shared_ptr<HostTurns> turns = known.lock();
  if (turns == nullptr) known = turns = std::make_shared<HostTurns>();
  return turns;
}

bool Limiter::take(const IoCost& cost, Nanoseconds now) {
  const Amounts amounts = amounts_of(cost);
  std::array<int64_t, kRateKinds> times{};
  for (size_t kind = 0; kind < kRateKinds; ++kind) {
    Bucket& bucket = buckets_[kind];
    times[kind] = bucket.time_for(amounts[kind]);
    if (times[kind] == 0 || bucket.take(times[kind], now)) continue;
    while (kind-- > 0) {
      if (times[kind] != 0) buckets_[kind].give_back(times[kind]);
    }
    return false;
  }
  return true;
}

// Credits.

void Credit::follow_version() {
  const uint64_t version = limiter_.version();
  if (version == version_) return;
  version_ = version;
  reserved_ = false;
  held_ = {};
  coming_ = {};
}

Nanoseconds Credit::reserve(const IoCost& waiting, Nanoseconds now) {
  follow_version();
  if (!waiting_) {
    waiting_ = true;
    turns_.lines.fetch_add(1, std::memory_order_relaxed);
    limiter_.waiting_.fetch_add(1, std::memory_order_relaxed);
    due_ = now;
  }
  const uint32_t lines = turns_.lines.load(std::memory_order_relaxed);
  // Lines of other threads use what this one is late for, so each makes up for its share.
  const uint32_t all = std::max(limiter_.waiting_.load(std::memory_order_relaxed), 1u);
  const double late = double(count(std::clamp(now - due_, Nanoseconds(0), kMostLate)));
  const double turn = std::max(kTurn, late / all);
  const Amounts needed = amounts_of(waiting);
  Nanoseconds due = Nanoseconds::min();
  for (size_t kind = 0; kind < kRateKinds; ++kind) {
    Limiter::Bucket& bucket = limiter_.buckets_[kind];
    coming_[kind] = 0;
    if (needed[kind] <= held_[kind]) continue;
    coming_[kind] = std::min(needed[kind] - held_[kind], bucket.part(kind, lines, turn));
    const int64_t time = bucket.time_for(coming_[kind]);
    if (time != 0) due = std::max(due, bucket.reserve(time, now));
  }
  reserved_ = true;
  due_ = std::max(due, now);
  return std::max(due, Nanoseconds(0));
}

void Credit::collect() {
  follow_version();
  for (size_t kind = 0; kind < kRateKinds; ++kind) held_[kind] += coming_[kind];
  coming_ = {};
  reserved_ = false;
}

bool Credit::pay(const IoCost& cost) {
  follow_version();
  const Amounts amounts = amounts_of(cost);
  for (size_t kind = 0; kind < kRateKinds; ++kind) {
    const bool limited = limiter_.buckets_[kind].rate.load(std::memory_order_relaxed) != 0;
    if (limited && amounts[kind] > held_[kind]) return false;
  }
  for (size_t kind = 0; kind < kRateKinds; ++kind) {
    held_[kind] -= std::min(held_[kind], amounts[kind]);
  }
  return true;
}

void Credit::leave() {
  follow_version();
  for (size_t kind = 0; kind < kRateKinds; ++kind) {
    Limiter::Bucket& bucket = limiter_.buckets_[kind];
    const int64_t time = bucket.time_for(held_[kind] + coming_[kind]);
    if (time != 0) bucket.give_back(time);
  }
  held_ = {};
  coming_ = {};
  reserved_ = false;
  if (!std::exchange(waiting_, false)) return;
  turns_.lines.fetch_sub(1, std::memory_order_relaxed);
  limiter_.waiting_.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace mrpool::engine
