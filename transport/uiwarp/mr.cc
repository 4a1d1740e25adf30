#include "transport/uiwarp/mr.h"

namespace mrpool::uiwarp {

UiwarpMr::UiwarpMr(KeyTable& keys, PdCounters& counters, KeySlot* slot, uint32_t stag, uint64_t pd,
                   std::span<std::byte> memory, const Granted& granted)
    : keys_(keys),
      slot_(slot),
      segment_{.memory = memory.data(), .length = memory.size()},
      counted_(counters, memory.size()) {
  const auto address = reinterpret_cast<uintptr_t>(memory.data());
  memory_ = memory;
  granted_ = granted;
  lkey_ = {stag};
  rkey_ = {stag};
  remote_addr_ = {any(granted.effective & Access::kZeroBased) ? 0 : address};
  slot_->pd = pd;
  slot_->remote_base = remote_addr_.value;
  slot_->local_base = address;
  slot_->length = memory.size();
  slot_->segments = &segment_;
  slot_->segment_count = 1;
  slot_->access = granted.effective;
  keys_.open(*slot_, stag);
}

UiwarpMr::~UiwarpMr() {
  KeyTable::close(*slot_);
  keys_.synchronize();
  keys_.release(slot_);
}

}  // namespace mrpool::uiwarp
