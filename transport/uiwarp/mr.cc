#include "transport/uiwarp/mr.h"

#include "transport/checks/memory.h"

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

absl::Status UiwarpMr::change_access(const Pd& pd, Access access) {
  Granted granted;
  if (absl::Status status = grant(access, pd.caps().access, granted); !status.ok()) return status;
  if (absl::Status status = checks::check_mapped(memory_, access); !status.ok()) return status;
  KeyTable::close(*slot_);
  keys_.synchronize();
  granted_ = granted;
  remote_addr_ = {any(granted.effective & Access::kZeroBased)
                      ? 0
                      : reinterpret_cast<uintptr_t>(memory_.data())};
  slot_->remote_base = remote_addr_.value;
  slot_->access = granted.effective;
  keys_.open(*slot_, rkey_.value);
  return absl::OkStatus();
}

UiwarpMr::~UiwarpMr() {
  KeyTable::close(*slot_);
  keys_.synchronize();
  keys_.release(slot_);
}

}  // namespace mrpool::uiwarp
