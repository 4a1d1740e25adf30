#include "transport/provider/touches.h"

#include <atomic>
#include <cstddef>

namespace mrpool::provider {
namespace {

constexpr size_t kSlots = 256;
enum class State : uint8_t { kFree, kWriting, kReady };
struct Slot {
  std::atomic<State> state{State::kFree};
  NotedTouch noted;
};
Slot slots[kSlots];
std::atomic<size_t> next_write{0};
std::atomic<size_t> ready{0};
size_t next_read = 0;

}  // namespace

void note_touch(const guard::Touch& touch) {
  Slot& slot = slots[next_write.fetch_add(1, std::memory_order_relaxed) % kSlots];
  State expected = State::kFree;
  if (!slot.state.compare_exchange_strong(expected, State::kWriting, std::memory_order_acquire)) {
    return;
  }
  slot.noted.touch = touch;
  slot.noted.stack = checker::Stack::capture_from(touch.instruction);
  slot.state.store(State::kReady, std::memory_order_release);
  ready.fetch_add(1, std::memory_order_relaxed);
}

std::optional<NotedTouch> take_touch() {
  if (ready.load(std::memory_order_relaxed) == 0) return std::nullopt;
  for (size_t tries = 0; tries < kSlots; ++tries) {
    Slot& slot = slots[next_read++ % kSlots];
    if (slot.state.load(std::memory_order_acquire) != State::kReady) continue;
    const NotedTouch noted = slot.noted;
    slot.state.store(State::kFree, std::memory_order_release);
    ready.fetch_sub(1, std::memory_order_relaxed);
    return noted;
  }
  return std::nullopt;
}

}  // namespace mrpool::provider
