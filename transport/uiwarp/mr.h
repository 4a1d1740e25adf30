// Mr of uiwarp: memory that is registered as long as the Mr lives. It has one segment and is open
// from the start.
//
// Thread safety: as in mrpool/mr.h.
#pragma once

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "mrpool/device.h"
#include "mrpool/mr.h"
#include "transport/counters/pd_counters.h"
#include "transport/uiwarp/key_table.h"

namespace mrpool::uiwarp {

class UiwarpMr final : public Mr {
 public:
  UiwarpMr(KeyTable& keys, PdCounters& counters, KeySlot* slot, uint32_t stag, uint64_t pd,
           std::span<std::byte> memory, const Granted& granted);
  ~UiwarpMr() override;

  // Other rights under the same keys, as verbs' reregistration has it. Peers of a Qp in `Pd` whose
  // accesses are under way may still be served by the old ones until it returns.
  absl::Status change_access(const Pd& pd, Access access);

 private:
  KeyTable& keys_;
  KeySlot* const slot_;
  Segment segment_;
  const CountedRegion counted_;
};

}  // namespace mrpool::uiwarp
