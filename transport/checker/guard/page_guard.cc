// PageGuard: arming, disarming and the device. Faults are in page_faults.cc, system calls in
// page_calls.cc.
#include "transport/checker/guard/page_guard.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <new>

#include "transport/checker/guard/handlers.h"
#include "transport/checker/guard/regions.h"
#include "transport/checker/guard/thread_state.h"

namespace mrpool::guard {

constinit thread_local ThreadState thread_state;

namespace {

// Not the program's mprotect(), which ends guards.
bool set_rights(Range pages, bool protect) {
  return ::syscall(SYS_mprotect, pages.begin, pages.end - pages.begin,
                   protect ? PROT_NONE : PROT_READ | PROT_WRITE) == 0;
}

void close_memory() {
  int& fd = thread_state.memory_fd;
  if (fd < 0) return;
  ::syscall(SYS_close, fd);
  fd = -1;
}

}  // namespace

// Changes of rights: those of pages side by side are one system call. Under lock_.
class PageGuard::Rights {
 public:
  explicit Rights(PageGuard& guard) : guard_(guard) {}
  ~Rights() { flush(); }
  Rights(const Rights&) = delete;
  Rights& operator=(const Rights&) = delete;

  // As PageGuard::sync().
  void sync(Page& page) {
    const bool wanted = guard_.wants_protection(page);
    if (wanted != page.is_protected) change(page.address, wanted);
    page.is_protected = wanted;
    if (page.slots == 0 && page.steppers == 0 && !page.dirty) guard_.map_.drop_page(page);
  }

 private:
  void change(uintptr_t page, bool protect) {
    ++guard_.changes_;
    const bool fits = !run_.empty() && protect == protect_ &&
                      (page == run_.end || page + kPageBytes == run_.begin);
    if (!fits) {
      flush();
      run_ = {page, page + kPageBytes};
      protect_ = protect;
      return;
    }
    run_ = {std::min(run_.begin, page), std::max(run_.end, page + kPageBytes)};
  }
  // Too many mappings, huge pages, or nothing mapped: those pages are not guarded.
  void flush() {
    if (run_.empty() || set_rights(run_, protect_)) return;
    for (uintptr_t at = run_.begin; at < run_.end; at += kPageBytes) {
      if (set_rights({at, at + kPageBytes}, protect_) || !protect_) continue;
      Page* const page = guard_.map_.find(at);
      if (page == nullptr) continue;
      page->is_protected = false;
      guard_.map_.clear(*page);
      if (page->steppers == 0 && !page->dirty) guard_.map_.drop_page(*page);
    }
  }

  PageGuard& guard_;
  Range run_;
  bool protect_ = false;
};

PageGuard& PageGuard::get() {
  // Never destroyed: threads fault until the process is gone.
  alignas(PageGuard) static std::byte memory[sizeof(PageGuard)];
  static PageGuard* guard = new (memory) PageGuard;
  return *guard;
}

// Registered before the program's own handlers of forks, which then run outside of the lock and may
// touch guarded memory.
[[gnu::constructor(101)]] static void register_for_fork() {
  ::pthread_atfork([] { PageGuard::get().before_fork(); },
                   [] { PageGuard::get().after_fork(false); },
                   [] { PageGuard::get().after_fork(true); });
}

void PageGuard::before_fork() {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  real_sigmask(SIG_SETMASK, &all, &before);
  lock_.lock();
  mask_before_fork_ = before;
}

void PageGuard::after_fork(bool child) {
  const sigset_t before = mask_before_fork_;
  lock_.unlock();
  if (child) disarm_all();
  real_sigmask(SIG_SETMASK, &before, nullptr);
}

bool PageGuard::start(const Callbacks& callbacks) {
#ifdef __x86_64__
  const std::lock_guard once(regions_mutex_);
  callbacks_ = callbacks;
  if (started_) return true;
  if (!map_.open() || !install_handlers()) return false;
  started_ = true;
  return true;
#else
  (void)callbacks;
  return false;
#endif
}

void PageGuard::add_region(Range region) {
  if (!is_plain_memory(region)) return;
  const std::lock_guard lock(regions_mutex_);
  regions_.emplace(region.begin, region.end);
  lowest_.store(std::min(lowest_.load(), region.begin));
  highest_.store(std::max(highest_.load(), region.end));
}

void PageGuard::remove_region(Range region) {
  {
    const std::lock_guard lock(regions_mutex_);
    const auto [first, last] = regions_.equal_range(region.begin);
    const auto found =
        std::find_if(first, last, [&](const auto& each) { return each.second == region.end; });
    if (found != last) regions_.erase(found);
  }
  forget(region);
}

// What of `bytes` lies on pages wholly inside one region.
Range PageGuard::guardable(Range bytes) {
  const std::lock_guard lock(regions_mutex_);
  Range best;
  for (auto it = regions_.upper_bound(bytes.begin); it != regions_.begin();) {
    --it;
    const uintptr_t first = page_of(it->first + kPageBytes - 1);
    const Range part{std::max(bytes.begin, first), std::min(bytes.end, page_of(it->second))};
    if (part.empty()) continue;
    if (best.empty() || part.end - part.begin > best.end - best.begin) best = part;
    if (best.begin == bytes.begin && best.end == bytes.end) break;
  }
  return best;
}

Handle PageGuard::arm(Range bytes, const Note& note) {
  bytes = guardable(bytes);
  if (bytes.empty()) return 0;
  const Locked locked(lock_);
  const Handle op = map_.add_op(note);
  Rights rights(*this);
  for (uintptr_t at = bytes.begin; at < bytes.end;) {
    const uintptr_t end = std::min(bytes.end, page_of(at) + kPageBytes);
    Page* page = map_.add_slot(op, at, end);
    if (page != nullptr) rights.sync(*page);
    at = end;
  }
  return op;
}

void PageGuard::disarm(Handle handle) {
  if (handle == 0) return;
  const Locked locked(lock_);
  Rights rights(*this);
  map_.drop_op(handle, [&rights](Page& page) { rights.sync(page); });
}

// By the kernel, which does not look at the rights of private memory here. The descriptor lives no
// longer than the device's turn: the program may close those that it does not know.
bool PageGuard::place(std::byte* to, const std::byte* from, size_t bytes) {
  int& fd = thread_state.memory_fd;
  if (fd < 0) {
    fd = static_cast<int>(
        ::syscall(SYS_openat, AT_FDCWD, "/proc/thread-self/mem", O_WRONLY | O_CLOEXEC, 0));
  }
  if (fd < 0) return false;
  const long written = ::syscall(SYS_pwrite64, fd, from, bytes, reinterpret_cast<uintptr_t>(to));
  if (thread_state.device_depth == 0) close_memory();
  return written == static_cast<long>(bytes);
}

void PageGuard::enter_device() { ++thread_state.device_depth; }

void PageGuard::leave_device() {
  if (--thread_state.device_depth > 0) return;
  close_memory();
  if (!any_dirty_.load(std::memory_order_relaxed)) return;
  const Locked locked(lock_);
  flush_dirty();
}

void PageGuard::mark_dirty(Page& page) {
  if (page.dirty) return;
  page.dirty = true;
  page.next_dirty = first_dirty_;
  first_dirty_ = map_.index_of_page(page);
  any_dirty_.store(true, std::memory_order_relaxed);
}

void PageGuard::flush_dirty() {
  Rights rights(*this);
  while (first_dirty_ != 0) {
    Page& page = map_.page_at(first_dirty_);
    first_dirty_ = page.next_dirty;
    page.dirty = page.held_open = false;
    rights.sync(page);
  }
  any_dirty_.store(false, std::memory_order_relaxed);
}

bool PageGuard::in_call(uintptr_t page) const {
  return std::any_of(calls_, calls_ + calls_used_, [page](const Range& call) {
    return call.begin < page + kPageBytes && page < call.end;
  });
}

bool PageGuard::wants_protection(const Page& page) const {
  return page.slots > 0 && page.steppers == 0 && !page.held_open && !in_call(page.address);
}

void PageGuard::sync(Page& page) { Rights(*this).sync(page); }

void PageGuard::clear_page(PageGuard& self, Page& page) {
  self.map_.clear(page);
  self.sync(page);
}

void PageGuard::visit_range(Range range, void (*visit)(PageGuard&, Page&)) {
  for (uintptr_t at = page_of(range.begin); at < range.end; at += kPageBytes) {
    Page* page = map_.find(at);
    if (page != nullptr) visit(*this, *page);
  }
}

void PageGuard::forget(Range memory) {
  if (!started_ || memory.empty()) return;
  const Locked locked(lock_);
  visit_range(memory, &PageGuard::clear_page);
}

void PageGuard::disarm_all() {
  const Locked locked(lock_);
  calls_used_ = 0;
  close_memory();
  thread_state = {};
  map_.for_each([this](Page& page) {
    page.steppers = 0;
    clear_page(*this, page);
  });
}

PageGuard::Counts PageGuard::counts() {
  const Locked locked(lock_);
  return counts_;
}

}  // namespace mrpool::guard
