// What one Qp of a verbs device counts (mrpool/statistics.h): what its completions and connection
// events show. Segments, Terminates, CRC errors, refused keys and one-sided accesses of the peer
// happen inside the device, which reports none of them to a program; they are not counted.
//
// Thread safety: written by the reactor of its Qp; snapshot: any thread.
#pragma once

#include <infiniband/verbs.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "mrpool/qp.h"
#include "transport/counters/counter.h"
#include "transport/counters/registry.h"

namespace mrpool::verbs {

class QpCounters final : public CounterSource {
 public:
  struct Messages {
    Counter messages;
    Counter bytes;
    void count(uint64_t length) {
      messages.add();
      bytes.add(length);
    }
  };
  Messages sends;  // completed without an error, as all of these
  Messages writes;
  Messages reads;
  Messages receives;
  Messages atomics;
  Counter immediates_sent;
  Counter immediates_received;

  std::array<Counter, size_t{1} + static_cast<size_t>(WcStatus::kTransport)> completions;  // failed
  Counter retries_exceeded;
  Counter receiver_not_ready_retries_exceeded;
  Counter opened;
  std::array<Counter, size_t{1} + static_cast<size_t>(DisconnectReason::kFault)> ended;

  void succeeded(Opcode opcode, uint64_t length);
  void failed(WcStatus status) { completions[static_cast<size_t>(status)].add(); }
  // The device's error of a request that it gave up.
  void gave_up(ibv_wc_status status);
  void end(DisconnectReason reason) { ended[static_cast<size_t>(reason)].add(); }

  TransportStatistics snapshot() const override;
};

// What a verbs device counts is 0, the rest not counted.
TransportStatistics zero_statistics();

}  // namespace mrpool::verbs
