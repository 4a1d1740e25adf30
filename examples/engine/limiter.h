// A rate limit that several threads share: token buckets, without sockets and clocks.
//
// A bucket is one number: the time until which its tokens are spent. It refills by the passage of
// time, to at most the burst. Two calls change it, each with one compare-and-swap:
//  - take() spends tokens that are there, or none.
//  - reserve() spends tokens of the future, and returns when they will be there. Reservations are
//    served in their order, over all threads. While one is outstanding, take() gets nothing.
// So the limit is exact over all threads. In a time t, a bucket gives at most rate*t + burst.
//
// Fairness: a host that has to wait has one reservation on each thread at a time, for a small part
// of what it waits for, and reserves the next part when it has that one. Hosts so take turns. The
// part is the same for each host: where bytes are limited, hosts share bytes, not commands. A
// host that waits on several threads, or in several lines, divides its part among them (HostTurns).
//
// set() changes the limits at any time. It begins with full buckets; a Credit of an earlier version
// is void.
//
// Thread safety: Limiter, HostTurns: shared objects: safe; no locks but in turns_of(). Credit: one
// thread. Ownership: a Credit keeps neither; both outlive it.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "examples/engine/rate_limits.h"
#include "mrpool/reactor.h"

namespace mrpool::engine {

// What one command, or several, take of the limits.
struct IoCost {
  uint64_t commands = 0;
  uint64_t read = 0;     // bytes
  uint64_t written = 0;  // bytes

  bool free() const { return commands == 0; }
  void add(const IoCost& other) {
    commands += other.commands;
    read += other.read;
    written += other.written;
  }
  void remove(const IoCost& other) {
    commands -= other.commands;
    read -= other.read;
    written -= other.written;
  }
};

// What is limited: the order of RateLimits.
inline constexpr size_t kRateKinds = 4;
using Amounts = std::array<uint64_t, kRateKinds>;  // thousandths of commands, and bytes

// One host's share of the turns.
struct HostTurns {
  // Relaxed: a number that only divides the host's part.
  std::atomic<uint32_t> lines{0};  // that wait now
};

class Limiter {
 public:
  explicit Limiter(const RateLimits& limits = {}) { set(limits); }
  Limiter(const Limiter&) = delete;
  Limiter& operator=(const Limiter&) = delete;

  void set(const RateLimits& limits);
  RateLimits limits() const;
  // True if something is limited.
  bool limits_something() const { return active_.load(std::memory_order_relaxed); }
  // True if reads and writes have limits of their own: they do not wait for each other.
  bool by_direction() const;
  uint64_t version() const { return version_.load(std::memory_order_acquire); }

  // Equal names return the same object while a reference to it exists.
  std::shared_ptr<HostTurns> turns_of(std::string_view host);

  // Spends all of `cost`, or nothing.
  bool take(const IoCost& cost, Nanoseconds now);

 private:
  friend class Credit;
  // A bucket that nobody has used is full, however early the clock of the reactors is.
  static constexpr int64_t kLongAgo = std::numeric_limits<int64_t>::min() / 2;
  struct alignas(64) Bucket {
    // Per second; 0: no limit. Relaxed, all of these: a command that sees an old limit has arrived
    // before the new one.
    std::atomic<uint64_t> rate{0};
    std::atomic<int64_t> burst{0};  // nanoseconds of the rate
    // Nanoseconds of the reactors' clock. Relaxed: no other memory depends on it.
    std::atomic<int64_t> spent_until{kLongAgo};

    int64_t time_for(uint64_t amount) const;
    bool take(int64_t time, Nanoseconds now);
    Nanoseconds reserve(int64_t time, Nanoseconds now);
    void give_back(int64_t time) { spent_until.fetch_sub(time, std::memory_order_relaxed); }
    // What a host reserves at once for a turn of so many nanoseconds, as one of its `lines`.
    uint64_t part(size_t kind, uint32_t lines, double turn) const;
  };

  std::array<Bucket, kRateKinds> buckets_;
  std::atomic<bool> active_{false};
  // Lines of all hosts that wait now. Relaxed: a number that only divides what is late.
  std::atomic<uint32_t> waiting_{0};
  // Release in set(), after the buckets: who sees the version sees them.
  std::atomic<uint64_t> version_{0};
  mutable std::mutex mutex_;  // of what follows
  RateLimits limits_;
  std::map<std::string, std::weak_ptr<HostTurns>, std::less<>> turns_;
};

// The tokens of one line: of a host's commands that wait on one thread.
class Credit {
 public:
  Credit(Limiter& limiter, HostTurns& turns) : limiter_(limiter), turns_(turns) {}
  ~Credit() { leave(); }
  Credit(const Credit&) = delete;
  Credit& operator=(const Credit&) = delete;

  // Reserves a part of what `waiting` needs beyond the credit; not while it has a reservation.
  // Returns when its tokens are there, which may be in the past.
  Nanoseconds reserve(const IoCost& waiting, Nanoseconds now);
  bool reserved() const { return reserved_; }
  // The time of the reservation has come.
  void collect();
  // False: the limits have changed, and what was reserved is void.
  bool current() const { return version_ == limiter_.version(); }
  // Spends the cost of a command; false: the credit is too small.
  bool pay(const IoCost& cost);
  // Nothing waits any more: gives back the rest.
  void leave();

 private:
  // Drops what comes from earlier limits.
  void follow_version();

  Limiter& limiter_;
  HostTurns& turns_;
  bool waiting_ = false;  // counted in turns_.lines
  bool reserved_ = false;
  uint64_t version_ = 0;
  Nanoseconds due_{};  // of the last reservation; before any: when the wait began
  Amounts held_{};
  Amounts coming_{};  // reserved
};

}  // namespace mrpool::engine
