// What a thread has to remember between a fault and the trap after it.
//
// Thread safety: each thread's own; read and written in its signal handlers. The model of its
// storage needs no allocation at first use.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace mrpool::guard {

struct ThreadState {
  // One instruction may touch several pages: two operands, each across a boundary, and a few more
  // of gathers.
  static constexpr size_t kMaxPages = 32;

  uint32_t device_depth = 0;
  int memory_fd = -1;  // of this process's memory, while the thread is the device
  bool stepping = false;
  uint32_t pages = 0;  // that the instruction has open
  std::array<uintptr_t, kMaxPages> open{};
  uint64_t signal_mask = 0;  // as the kernel has it, to be restored

  // The last fault that no guard explained.
  uintptr_t stale_address = 0;
  uintptr_t stale_instruction = 0;
  uint64_t stale_changes = 0;
  uint32_t stale_count = 0;
};

extern constinit thread_local ThreadState thread_state __attribute__((tls_model("initial-exec")));

}  // namespace mrpool::guard
