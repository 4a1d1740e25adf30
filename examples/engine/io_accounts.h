// What is done for whom: commands, bytes and times, for each host and unit (a namespace, a logical
// unit), and a worker's histograms of latency. Metrics are made from it (examples/metrics/).
//
// A session opens an account for each unit when it first uses it, and counts into that: a few plain
// additions for each command, no lock and no read-modify-write. Latency is the time between two
// looks at the reactor's clock, which a loop reads once a round: what ends in the round it came in
// took no time.
//
// Accounts outlive their sessions, so that no total ever falls. Hosts have a limit (kMaxHosts):
// when there is no place, the host that has been gone for longest is folded into kOthers; when none
// has gone, the newcomer is counted there. So labels are bounded whatever peers call themselves.
//
// Thread safety: IoAccount: counted by its worker's thread, read by anyone. IoAccounts: shared
// objects: safe (one mutex; workers take it to open accounts, not for commands).
// Ownership: an account is shared by its sessions and IoAccounts, which outlives them.
#pragma once

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

// As a label: hosts that have no account of their own.
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

  // A command has been carried out.
  void count(IoClass what, uint64_t bytes, Nanoseconds took) {
    const auto ns = uint64_t(took.count());
    Sum& sum = sums_[size_t(what)];
    ++sum.completed;
    sum.bytes += bytes;
    sum.ns += ns;
    if (what == IoClass::kOther) return;
    auto& line = latencies_.lines[size_t(what)][metrics::size_class(bytes)];
    ++line.counts[metrics::latency_bucket(ns)];
    line.ns += ns;
  }
  // It was answered by an error; `storage`: because the store failed.
  void failed(bool storage) {
    ++errors_;
    if (storage) ++storage_;
  }
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
  LatencyHistograms& latencies_;
};

class IoAccounts {
 public:
  IoAccounts() = default;

  std::shared_ptr<IoAccount> open(uint32_t worker, std::string_view host, std::string_view target,
                                  uint32_t unit);

  // Shows a session until the result ends, where the protocol keeps no list that others may read.
  std::shared_ptr<void> enter(metrics::SessionState session);
  std::vector<metrics::SessionState> sessions() const;

  // Of every host, target and unit together, over the workers.
  struct Row {
    std::string host;
    std::string target;
    uint32_t unit = 0;
    bool open = false;  // some session has it
    metrics::IoTotals io;
  };
  std::vector<Row> rows() const;
  void add_latencies(metrics::Snapshot& to) const;
  // Fills in what was done to the units and by the hosts, once `to` has its targets and sessions;
  // hosts follow from sessions, too.
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
  std::list<std::string> hosts_;  // with accounts of their own, the one that came first in front
  std::map<std::tuple<std::string, uint32_t>, metrics::IoTotals> folded_;  // by target and unit
};

}  // namespace mrpool::engine
