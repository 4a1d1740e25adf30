// I/O accounting: commands, bytes and times for each host and unit (a namespace, a logical unit),
// and a latency histogram for each worker. The metrics (examples/metrics/) are made from it.
//
// A session opens an account for each unit at its first use and counts into it: a few plain
// additions for each command, without locks and read-modify-writes. Latency is the difference of
// two readings of the reactor's clock, which the loop reads once a round. A command that ends in
// the round in which it arrived has latency zero.
//
// Accounts outlive their sessions, so that totals never decrease. The number of hosts is limited
// (kMaxHosts). At the limit, the oldest host without a session is merged into kOthers; if all hosts
// have sessions, the new host is counted there. So the number of labels is
// bounded, whatever names the peers use.
//
// Thread safety: IoAccount: its worker's thread counts, any thread reads. IoAccounts: shared
// objects: safe (one mutex; workers take it to open accounts, not for commands).
// Ownership: an account is shared by its sessions and IoAccounts, which outlives them.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "examples/engine/counters.h"
#include "examples/metrics/buckets.h"
#include "examples/metrics/snapshot.h"
#include "mrpool/reactor.h"

namespace mrpool::engine {

// The label for hosts without an account of their own.
inline constexpr std::string_view kOthers = "(others)";
inline constexpr size_t kMaxHosts = 256;
inline constexpr size_t kMaxAccounts = 16384;

enum class IoClass : uint8_t { kRead, kWrite, kOther };

// One worker's.
struct LatencyHistograms {
  struct Line {
    std::array<Counter, metrics::kLatencyBuckets> counts;
    Counter ns;
  };
  std::array<std::array<Line, metrics::kSizeClasses>, 2> lines;  // reads, writes
};

class IoAccount {
 public:
  explicit IoAccount(LatencyHistograms& latencies) : latencies_(latencies) {}

  // Counts a command that succeeded.
  void count(IoClass what, uint64_t bytes, Nanoseconds took) {
    const auto ns = uint64_t(took.count());
    Sum& sum = sums_[size_t(what)];
    ++sum.completed;
    sum.bytes += bytes;
    sum.ns += ns;
    if (what == IoClass::kOther) return;
    auto& line = latencies_.lines[size_t(what)][metrics::size_class(bytes)];
    size_t bucket = metrics::latency_power(ns);
    if (bucket > metrics::kSlowBound) [[unlikely]] {
      bucket = std::min(bucket, metrics::kLatencyBounds);
      ++slow_;
    }
    ++line.counts[bucket];
    line.ns += ns;
  }
  // Counts a command that failed; `storage`: because the store failed.
  void failed(bool storage) {
    ++errors_;
    if (storage) ++storage_;
  }
  // A limit holds a command back, and has held it back (throttle.h).
  void held_back() { ++held_; }
  void held_for(Nanoseconds time) { held_ns_ += uint64_t(time.count()); }
  metrics::IoTotals totals() const;

 private:
  struct Sum {
    Counter completed;
    Counter bytes;
    Counter ns;
  };
  std::array<Sum, 3> sums_;
  Counter errors_;
  Counter storage_;
  Counter slow_;
  Counter held_;
  Counter held_ns_;
  LatencyHistograms& latencies_;
};

class IoAccounts {
 public:
  IoAccounts() = default;

  std::shared_ptr<IoAccount> open(uint32_t worker, std::string_view host, std::string_view target,
                                  uint32_t unit);

  // Lists a session until the result is destroyed. For protocols that have no list of sessions that
  // other threads may read.
  std::shared_ptr<void> enter(metrics::SessionState session);
  std::vector<metrics::SessionState> sessions() const;

  // One combination of host, target and unit, summed over the workers.
  struct Row {
    std::string host;
    std::string target;
    uint32_t unit = 0;
    bool open = false;  // a session uses it
    metrics::IoTotals io;
  };
  std::vector<Row> rows() const;
  void add_latencies(metrics::Snapshot& to) const;
  // Adds the I/O of units and hosts to `to`, which already has its targets and sessions. Hosts with
  // a session are listed even without I/O.
  void add_io(metrics::Snapshot& to) const;

 private:
  struct Key {
    std::string host;
    std::string target;
    uint32_t unit = 0;
    uint32_t worker = 0;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  using Table = std::map<Key, std::shared_ptr<IoAccount>>;

  std::string_view place_for(std::string_view host);
  bool fold_one();
  void fold(const std::string& host);
  bool in_use(const std::string& host) const;

  mutable std::mutex mutex_;
  std::map<uint32_t, LatencyHistograms> latencies_;  // by worker
  Table accounts_;
  std::list<metrics::SessionState> sessions_;
  std::list<std::string> hosts_;  // with accounts of their own, in the order of arrival
  std::map<std::tuple<std::string, uint32_t>, metrics::IoTotals> folded_;  // by target and unit
};

}  // namespace mrpool::engine
