// Mr of uiwarp: memory registered for good, one segment, open from the start.
//
// Thread safety: as mrpool/mr.h says.
#pragma once

#include <cstdint>
#include <span>

#include "mrpool/mr.h"
#include "transport/counters/pd_counters.h"
#include "transport/uiwarp/key_table.h"

namespace mrpool::uiwarp {

class UiwarpMr final : public Mr {
 public:
  UiwarpMr(KeyTable& keys, PdCounters& counters, KeySlot* slot, uint32_t stag, uint64_t pd,
           std::span<std::byte> memory, const Granted& granted);
  ~UiwarpMr() override;

 private:
  KeyTable& keys_;
  KeySlot* const slot_;
  Segment segment_;
  const CountedRegion counted_;
};

}  // namespace mrpool::uiwarp
