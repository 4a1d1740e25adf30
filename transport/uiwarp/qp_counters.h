// What one Qp counts (mrpool/statistics.h), each event where it happens.
//
// Thread safety: written by the reactor of its Qp; snapshot: any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "mrpool/qp.h"
#include "transport/counters/counter.h"
#include "transport/counters/registry.h"
#include "transport/uiwarp/key_table.h"
#include "transport/uiwarp/terminate.h"
#include "transport/uiwarp/wire.h"

namespace mrpool::uiwarp {

// Segments in one direction, by message kind.
struct SegmentCounters {
  struct Kind {
    std::array<Counter, 2> segments;  // [1]: the last of its message
    Counter bytes;
  };
  std::array<Kind, kMessageKinds> kinds;

  void count(const SegmentHeader& header, size_t payload) {
    Kind& kind = kinds[static_cast<size_t>(header.kind) & (kMessageKinds - 1)];
    kind.segments[header.last ? 1 : 0].add();
    kind.bytes.add(payload);
  }
};

// A Terminate ends its connection, so there is one at most in each direction.
class TerminateSeen {
 public:
  void set(const TerminateCode& code) {
    code_.store(
        uint32_t{1} << 24 | uint32_t{code.layer} << 16 | uint32_t{code.type} << 8 | code.code,
        std::memory_order_relaxed);
  }
  // Null: there was none.
  const TerminateCounter* counter() const {
    const uint32_t code = code_.load(std::memory_order_relaxed);
    if (code == 0) return nullptr;
    return &terminate_counter(uint8_t(code >> 16), uint8_t(code >> 8), uint8_t(code));
  }

 private:
  std::atomic<uint32_t> code_{0};
};

class QpCounters final : public CounterSource {
 public:
  SegmentCounters sent;
  SegmentCounters received;
  // The immediate data of a SEND is the last segment of its message.
  Counter sends_with_immediate_sent;
  Counter sends_with_immediate_received;
  Counter empty_fpdus_received;
  Counter reads_outstanding_max;
  Counter peer_reads_outstanding_max;

  Counter crc_errors;  // receive_side.cc, violation()
  std::array<Counter, size_t{1} + static_cast<size_t>(KeyError::kWrap)> key_refusals;
  Counter invalidations_refused;
  Counter receives_missing;
  Counter read_requests_over_limit;
  TerminateSeen terminate_sent;
  TerminateSeen terminate_received;

  std::array<Counter, size_t{1} + static_cast<size_t>(WcStatus::kTransport)> completions;  // failed
  Counter opened;
  std::array<Counter, size_t{1} + static_cast<size_t>(DisconnectReason::kFault)> ended;

  void refused(KeyError error) { key_refusals[static_cast<size_t>(error)].add(); }
  void completed(WcStatus status) { completions[static_cast<size_t>(status)].add(); }
  void end(DisconnectReason reason) { ended[static_cast<size_t>(reason)].add(); }

  TransportStatistics snapshot() const override;
};

// What a uiwarp device counts is 0, the rest not counted.
TransportStatistics zero_statistics();

}  // namespace mrpool::uiwarp
