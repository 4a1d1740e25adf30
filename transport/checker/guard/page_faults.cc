// PageGuard: what happens in the handlers of SIGSEGV and SIGTRAP.
#include <ucontext.h>

#include <algorithm>
#include <cstring>

#include "transport/checker/guard/handlers.h"
#include "transport/checker/guard/page_guard.h"
#include "transport/checker/guard/thread_state.h"

namespace mrpool::guard {
namespace {

#ifdef __x86_64__
constexpr greg_t kTrapFlag = 0x100;
constexpr greg_t kWriteFault = 2;

uintptr_t instruction_of(const ucontext_t& context) {
  return static_cast<uintptr_t>(context.uc_mcontext.gregs[REG_RIP]);
}
bool is_write(const ucontext_t& context) {
  return (context.uc_mcontext.gregs[REG_ERR] & kWriteFault) != 0;
}
void set_trap_flag(ucontext_t& context, bool on) {
  greg_t& flags = context.uc_mcontext.gregs[REG_EFL];
  flags = on ? flags | kTrapFlag : flags & ~kTrapFlag;
}
#else
uintptr_t instruction_of(const ucontext_t&) { return 0; }
bool is_write(const ucontext_t&) { return false; }
void set_trap_flag(ucontext_t&, bool) {}
#endif

// The kernel keeps the first 64 bits of the mask in a context.
void swap_mask(ucontext_t& context, uint64_t& mask) {
  uint64_t of_context;
  std::memcpy(&of_context, &context.uc_sigmask, sizeof of_context);
  std::memcpy(&context.uc_sigmask, &mask, sizeof mask);
  mask = of_context;
}

// A signal handler between the two would run with the page open. Faults of the instruction itself
// must come through.
uint64_t mask_of_step() {
  uint64_t mask = ~uint64_t{0};
  for (const int signal : {SIGSEGV, SIGTRAP, SIGBUS, SIGFPE, SIGILL}) {
    mask &= ~(uint64_t{1} << (signal - 1));
  }
  return mask;
}

// How often a fault may be nobody's while other threads change the rights of pages.
constexpr uint32_t kMaxStale = 1000;

}  // namespace

bool PageGuard::handle_fault(const siginfo_t& info, ucontext_t& context) {
  const auto address = reinterpret_cast<uintptr_t>(info.si_addr);
  Touch touch;
  {
    const Locked locked(lock_);
    Page* page = map_.find(address);
    uintptr_t first = 0;
    const Handle op = page == nullptr || thread_state.device_depth > 0
                          ? 0
                          : map_.guarding(*page, address, address + 1, first);
    // Guarded bytes count even where the page is open by now: it was closed when they were touched.
    if (op == 0) return let_through(page, address, context);
    touch = end_guard(op, address, is_write(context));
  }
  touch.instruction = instruction_of(context);
  if (callbacks_.touched != nullptr) callbacks_.touched(touch);
  return true;
}

// An access to bytes that are not guarded, or the device's. False: not on a page of ours.
bool PageGuard::let_through(Page* page, uintptr_t address, ucontext_t& context) {
  if (page == nullptr || !page->is_protected) return handle_stale(address, context);
  thread_state.stale_count = 0;
  if (thread_state.device_depth == 0) {
    ++counts_.steps;
    open_page_for_step(*page, context);
    return true;
  }
  ++counts_.opened_for_device;
  page->held_open = true;
  mark_dirty(*page);
  sync(*page);
  return true;
}

// Either another thread opened the page after the fault, or it is not ours. The same fault repeats
// only if it is not ours, or if rights have changed meanwhile.
bool PageGuard::handle_stale(uintptr_t address, ucontext_t& context) {
  ThreadState& state = thread_state;
  const uintptr_t instruction = instruction_of(context);
  const bool again = state.stale_count > 0 && state.stale_address == address &&
                     state.stale_instruction == instruction;
  const bool changed = !again || state.stale_changes != changes_;
  if (changed && state.stale_count < kMaxStale) {
    state.stale_count = again ? state.stale_count + 1 : 1;
    state.stale_address = address;
    state.stale_instruction = instruction;
    state.stale_changes = changes_;
    return true;
  }
  state.stale_count = 0;
  if (state.stepping) end_step(context);
  return false;
}

Touch PageGuard::end_guard(Handle handle, uintptr_t address, bool write) {
  ++counts_.touches;
  Touch touch;
  touch.address = address;
  touch.write = write;
  touch.handle = handle;
  touch.note = map_.note(handle);
  map_.drop_op(handle, [this](Page& page) { sync(page); });
  return touch;
}

void PageGuard::open_page_for_step(Page& page, ucontext_t& context) {
  ThreadState& state = thread_state;
  if (state.pages == ThreadState::kMaxPages) {  // no instruction has that many operands
    clear_page(*this, page);
    return;
  }
  ++page.steppers;
  state.open[state.pages++] = page.address;
  sync(page);
  if (state.stepping) return;
  state.stepping = true;
  state.signal_mask = mask_of_step();
  swap_mask(context, state.signal_mask);
  set_trap_flag(context, true);
}

void PageGuard::end_step(ucontext_t& context) {
  ThreadState& state = thread_state;
  for (uint32_t i = 0; i < state.pages; ++i) {
    Page* page = map_.find(state.open[i]);
    if (page == nullptr || page->steppers == 0) continue;
    --page->steppers;
    sync(*page);
  }
  state.pages = 0;
  state.stepping = false;
  set_trap_flag(context, false);
  swap_mask(context, state.signal_mask);
}

bool PageGuard::handle_trap(ucontext_t& context) {
  if (!thread_state.stepping) return false;
  const Locked locked(lock_);
  end_step(context);
  return true;
}

}  // namespace mrpool::guard
