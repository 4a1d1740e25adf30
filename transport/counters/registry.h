// All that a device counts: the counters of its live Qps, where they are, and the sum of those that
// ended. Aggregated on request, so that no data path writes memory that threads share.
//
// Thread safety: any thread. A source must answer snapshot() on any thread until it is removed.
// Ownership: borrows the sources.
#pragma once

#include <mutex>
#include <unordered_set>

#include "mrpool/qp.h"
#include "mrpool/statistics.h"

namespace mrpool {

class CounterSource {
 public:
  virtual TransportStatistics snapshot() const = 0;

 protected:
  ~CounterSource() = default;
};

class CounterRegistry {
 public:
  // `zero`: what the device counts is 0 there, the rest kNotCounted.
  explicit CounterRegistry(const TransportStatistics& zero) : ended_(zero) {}

  void add(const CounterSource& source) {
    const std::lock_guard lock(mutex_);
    live_.insert(&source);
  }
  // Keeps what it counted.
  void remove(const CounterSource& source) {
    const std::lock_guard lock(mutex_);
    live_.erase(&source);
    merge(ended_, source.snapshot());
  }
  // An event of no Qp, off the data path.
  void count(uint64_t TransportStatistics::*counter) {
    const std::lock_guard lock(mutex_);
    ++(ended_.*counter);
  }
  TransportStatistics total() const {
    const std::lock_guard lock(mutex_);
    TransportStatistics sum = ended_;
    for (const CounterSource* source : live_) merge(sum, source->snapshot());
    return sum;
  }

 private:
  mutable std::mutex mutex_;
  std::unordered_set<const CounterSource*> live_;
  TransportStatistics ended_;
};

// The counter of connections that ended for `reason`.
inline uint64_t TransportStatistics::*ended_counter(DisconnectReason reason) {
  switch (reason) {
    case DisconnectReason::kLocal:
      return &TransportStatistics::connections_ended_local;
    case DisconnectReason::kPeer:
      return &TransportStatistics::connections_ended_peer;
    case DisconnectReason::kReset:
      return &TransportStatistics::connections_ended_reset;
    case DisconnectReason::kTerminated:
      return &TransportStatistics::connections_ended_terminated;
    case DisconnectReason::kProtocol:
      return &TransportStatistics::connections_ended_protocol;
    case DisconnectReason::kRejected:
      return &TransportStatistics::connections_ended_rejected;
    case DisconnectReason::kTimeout:
      return &TransportStatistics::connections_ended_timeout;
    case DisconnectReason::kRefused:
      return &TransportStatistics::connections_ended_refused;
    case DisconnectReason::kUnresolved:
      return &TransportStatistics::connections_ended_unresolved;
    case DisconnectReason::kUnreachable:
      return &TransportStatistics::connections_ended_unreachable;
    case DisconnectReason::kFault:
      break;
  }
  return &TransportStatistics::connections_ended_fault;
}

// The counter of completions with `status`; null for kSuccess.
inline uint64_t TransportStatistics::*failed_counter(WcStatus status) {
  switch (status) {
    case WcStatus::kSuccess:
      break;
    case WcStatus::kLocalLength:
      return &TransportStatistics::failed_local_length;
    case WcStatus::kLocalProtection:
      return &TransportStatistics::failed_local_protection;
    case WcStatus::kFlushed:
      return &TransportStatistics::failed_flushed;
    case WcStatus::kBind:
      return &TransportStatistics::failed_bind;
    case WcStatus::kRemoteInvalidRequest:
      return &TransportStatistics::failed_remote_invalid_request;
    case WcStatus::kRemoteAccess:
      return &TransportStatistics::failed_remote_access;
    case WcStatus::kRemoteOperation:
      return &TransportStatistics::failed_remote_operation;
    case WcStatus::kTransport:
      return &TransportStatistics::failed_transport;
    case WcStatus::kCancelled:  // never a Qp's
    case WcStatus::kIntegrity:
      break;
  }
  return nullptr;
}

}  // namespace mrpool
