// Carrying out the atomic operations of RFC 7306 on registered memory.
//
// The operation is one atomic access of this machine, so it is atomic with those of every other Qp
// and device here, and with std::atomic accesses of programs.
//
// Thread safety: any thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "transport/uiwarp/wire.h"

namespace mrpool::uiwarp {

inline constexpr size_t kAtomicBytes = 8;

constexpr bool known(AtomicCode code) {
  return code == AtomicCode::kFetchAdd || code == AtomicCode::kCompareSwap;
}

// What the value becomes.
constexpr uint64_t result_of(const AtomicRequest& request, uint64_t value) {
  const uint64_t mask = request.add_swap_mask;
  if (request.code == AtomicCode::kCompareSwap) {
    const bool equal = ((value ^ request.compare) & request.compare_mask) == 0;
    return equal ? (value & ~mask) | (request.add_swap & mask) : value;
  }
  // The sum without the masked positions has no carry out of them; they are added without one.
  return ((value & ~mask) + (request.add_swap & ~mask)) ^ ((value ^ request.add_swap) & mask);
}

// `at` is aligned to kAtomicBytes. Returns what was there before.
inline uint64_t carry_out(const AtomicRequest& request, std::byte* at) {
  const std::atomic_ref<uint64_t> value(*reinterpret_cast<uint64_t*>(at));
  uint64_t before = value.load(std::memory_order_acquire);
  while (!value.compare_exchange_weak(before, result_of(request, before), std::memory_order_acq_rel,
                                      std::memory_order_acquire)) {
  }
  return before;
}

}  // namespace mrpool::uiwarp
