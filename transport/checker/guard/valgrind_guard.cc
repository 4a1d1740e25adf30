#include "transport/checker/guard/valgrind_guard.h"

#if __has_include(<valgrind/memcheck.h>)
#include <pthread.h>
#include <valgrind/memcheck.h>

#include <mutex>
#include <unordered_map>

#include "transport/checker/guard/interval_map.h"
#endif

namespace mrpool::guard {
#if __has_include(<valgrind/memcheck.h>)
namespace {

class ValgrindGuard final : public Guard {
 public:
  std::string_view name() const override { return "valgrind"; }
  bool start(const Callbacks& callbacks) override;
  void add_region(Range) override {}
  void remove_region(Range region) override {
    const std::lock_guard lock(mutex_);
    ranges_.clear(region, [](Range range, Handle) { open(range); });
  }
  Handle arm(Range bytes, const Note& note) override;
  void disarm(Handle handle) override;
  bool place(std::byte*, const std::byte*, size_t) override { return false; }
  // Memcheck reports per thread.
  void enter_device() override { VALGRIND_DISABLE_ERROR_REPORTING; }
  void leave_device() override { VALGRIND_ENABLE_ERROR_REPORTING; }

 private:
  static void open(Range range) { VALGRIND_MAKE_MEM_DEFINED(range.begin, range.end - range.begin); }

  // Of a forked child, which has none.
  void end_all() {
    ranges_.for_each([](Range range) { open(range); });
    ranges_ = {};
    blocks_.clear();
  }

  Callbacks callbacks_;
  std::mutex mutex_;
  IntervalMap ranges_;
  std::unordered_map<Handle, int> blocks_;  // as memcheck numbers them
  Handle last_ = 0;
};

ValgrindGuard& instance() {
  static auto* const guard = new ValgrindGuard;  // lives as long as the process
  return *guard;
}

bool ValgrindGuard::start(const Callbacks& callbacks) {
  callbacks_ = callbacks;
  if (RUNNING_ON_VALGRIND == 0) return false;
  ::pthread_atfork([] { instance().mutex_.lock(); }, [] { instance().mutex_.unlock(); },
                   [] {
                     instance().end_all();
                     instance().mutex_.unlock();
                   });
  return true;
}

Handle ValgrindGuard::arm(Range bytes, const Note& note) {
  char text[256] = "received data";
  if (callbacks_.describe != nullptr) callbacks_.describe(note, text, sizeof text);
  const std::lock_guard lock(mutex_);
  const size_t length = bytes.end - bytes.begin;
  ranges_.add(bytes, ++last_);
  VALGRIND_MAKE_MEM_NOACCESS(bytes.begin, length);
  blocks_[last_] = static_cast<int>(VALGRIND_CREATE_BLOCK(bytes.begin, length, text));
  return last_;
}

void ValgrindGuard::disarm(Handle handle) {
  const std::lock_guard lock(mutex_);
  for (const Range& range : ranges_.take(handle)) open(range);
  const auto block = blocks_.find(handle);
  if (block == blocks_.end()) return;
  VALGRIND_DISCARD(block->second);
  blocks_.erase(block);
}

}  // namespace

Guard* valgrind_guard() { return RUNNING_ON_VALGRIND != 0 ? &instance() : nullptr; }
#else
Guard* valgrind_guard() { return nullptr; }
#endif

}  // namespace mrpool::guard
