// Guards by protected pages: a page that holds guarded bytes has no access rights, and a handler of
// SIGSEGV looks at what was touched.
//
//   guarded bytes     told, their guard ends, the instruction runs again
//   other bytes       the instruction runs alone with the page open (the trap flag), then the page
//                     closes again: about two signals and two calls of mprotect
//   the device        the page stays open until leave_device(), but for what place() writes
//   system calls      system_calls.cc opens the pages of a buffer for the length of the call
//
// Only pages that lie wholly inside registered memory, and are mapped for reading and writing, are
// guarded. Data that shares a page with a buffer by chance (locks, file names) reaches the kernel
// through calls that nobody can list.
//
// x86-64 only. Thread safety: as guard.h; handle_fault and handle_trap run in signal handlers.
#pragma once

#include <sys/types.h>
#include <ucontext.h>

#include <csignal>
#include <map>
#include <mutex>
#include <span>

#include "transport/checker/guard/guard.h"
#include "transport/checker/guard/page_map.h"
#include "transport/checker/guard/spin_lock.h"

struct iovec;

namespace mrpool::guard {

class PageGuard final : public Guard {
 public:
  // The one of this process: signal handlers have to find it.
  static PageGuard& get();

  std::string_view name() const override { return "pages"; }
  bool start(const Callbacks& callbacks) override;
  void add_region(Range region) override;
  void remove_region(Range region) override;
  Handle arm(Range bytes, const Note& note) override;
  void disarm(Handle handle) override;
  bool place(std::byte* to, const std::byte* from, size_t bytes) override;
  void enter_device() override;
  void leave_device() override;

  // Whether the fault was one of a guard, and is dealt with.
  bool handle_fault(const siginfo_t& info, ucontext_t& context);
  bool handle_trap(ucontext_t& context);

  // A system call is about to use that memory. False: no need for close().
  bool open_for_call(std::span<const iovec> pieces);
  // The call, which returns to `caller`, has used `bytes` of it, -1: none.
  void close_after_call(std::span<const iovec> pieces, ssize_t bytes, bool write,
                        const void* caller);
  // The memory is about to be unmapped or to get other rights.
  void forget(Range memory);
  // All guards end; for a forked child.
  void disarm_all();
  // Nobody else is in the tables while the process forks, and no signal handler of this thread
  // waits for it.
  void before_fork();
  void after_fork(bool child);

  struct Counts {
    uint64_t steps = 0;
    uint64_t touches = 0;
    uint64_t opened_for_device = 0;
  };
  Counts counts();

 private:
  static constexpr uint32_t kMaxCalls = 1024;
  class Rights;

  PageGuard() = default;
  Range guardable(Range bytes);
  bool in_call(uintptr_t page) const;
  // Gives the page the rights that its state asks for. It may be dropped then.
  void sync(Page& page);
  bool wants_protection(const Page& page) const;
  void mark_dirty(Page& page);
  void flush_dirty();
  // Calls visit(PageGuard&, Page&) for the pages of `range` that there are.
  void visit_range(Range range, void (*visit)(PageGuard&, Page&));
  void open_page_for_step(Page& page, ucontext_t& context);
  void end_step(ucontext_t& context);
  static void clear_page(PageGuard& self, Page& page);
  static void sync_page(PageGuard& self, Page& page) { self.sync(page); }
  bool let_through(Page* page, uintptr_t address, ucontext_t& context);
  bool handle_stale(uintptr_t address, ucontext_t& context);
  Touch end_guard(Handle handle, uintptr_t address, bool write);
  bool near_regions(const iovec& piece) const;
  Touch touch_of_call(Range used, bool write);

  Callbacks callbacks_;
  bool started_ = false;

  // Never inside lock_.
  std::mutex regions_mutex_;
  std::multimap<uintptr_t, uintptr_t> regions_;  // begin → end

  SpinLock lock_;
  sigset_t mask_before_fork_{};
  PageMap map_;
  uint32_t first_dirty_ = 0;
  Range calls_[kMaxCalls] = {};
  uint32_t calls_used_ = 0;
  uint64_t changes_ = 0;  // of the rights of pages
  Counts counts_;

  // Where registered memory lies at most, for system calls that have nothing to do with it.
  std::atomic<uintptr_t> lowest_{UINTPTR_MAX};
  std::atomic<uintptr_t> highest_{0};
  std::atomic<bool> any_dirty_{false};
};

}  // namespace mrpool::guard
