// An NVM subsystem: its namespaces, who may use it, and what it has done so far.
//
// The namespaces are an immutable table that is replaced whole. I/O queues keep the table they last
// saw and compare version(), one relaxed load, for each command; nothing on the I/O path locks.
//
// Thread safety: shared objects: safe, except that counters(worker) is written by one thread.
// Ownership: shared; controllers and queues keep their subsystem alive.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "examples/storage/storage.h"

namespace mrpool::nvmf_target {

using Uuid = std::array<uint8_t, 16>;

struct Namespace {
  uint32_t nsid = 0;
  std::shared_ptr<storage::Volume> volume;
  Uuid uuid{};
};

struct NamespaceTable {
  uint64_t version = 0;
  std::vector<Namespace> namespaces;  // sorted by nsid

  const Namespace* find(uint32_t nsid) const;
  bool volatile_cache() const;
};

// What one worker did for a subsystem. Written by that worker only, read by anyone.
struct alignas(64) Counters {
  std::atomic<uint64_t> reads{0};  // commands; Compare counts as a read
  std::atomic<uint64_t> writes{0};
  std::atomic<uint64_t> bytes_read{0};
  std::atomic<uint64_t> bytes_written{0};
  std::atomic<uint64_t> media_errors{0};
  std::atomic<uint64_t> busy_ns{0};

  static void add(std::atomic<uint64_t>& counter, uint64_t n) {
    counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
};

// Their sums.
struct Totals {
  uint64_t reads = 0;
  uint64_t writes = 0;
  uint64_t bytes_read = 0;
  uint64_t bytes_written = 0;
  uint64_t media_errors = 0;
  uint64_t busy_ns = 0;
};

struct SubsystemOptions {
  std::string nqn;
  std::string serial;
  std::string model = "mrpool NVMe-oF target";
  bool allow_any_host = true;
  std::set<std::string, std::less<>> hosts;  // NQNs, when not any
  bool traffic_keep_alive = true;            // CTRATT.TBKAS
  Nanoseconds power_on{};                    // when the target came to life, for SMART
};

class Subsystem {
 public:
  Subsystem(SubsystemOptions options, uint32_t workers);

  const std::string nqn;
  const std::string serial;
  const std::string model;
  const bool traffic_keep_alive;
  const Nanoseconds power_on;

  std::shared_ptr<const NamespaceTable> namespaces() const;
  uint64_t version() const { return version_.load(std::memory_order_acquire); }
  // Replaces the table; returns the nsids that appeared, vanished or are another volume now.
  std::vector<uint32_t> set_namespaces(std::vector<Namespace> namespaces);

  bool allows(std::string_view host_nqn) const;
  void set_hosts(bool any, std::set<std::string, std::less<>> hosts);

  Counters& counters(uint32_t worker) { return counters_[worker]; }
  Totals totals() const;

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const NamespaceTable> table_;
  bool allow_any_host_;
  std::set<std::string, std::less<>> hosts_;
  std::atomic<uint64_t> version_{0};
  std::vector<Counters> counters_;
};

}  // namespace mrpool::nvmf_target
