#include "transport/checker/guard/asan_guard.h"

#include <dlfcn.h>
#include <pthread.h>

#include <mutex>
#include <optional>
#include <unordered_map>

#include "transport/checker/guard/interval_map.h"

namespace mrpool::guard {
namespace {

template <typename Function>
Function* find(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_DEFAULT, name));
}

using Mark = void(const volatile void*, size_t);

class AsanGuard final : public Guard {
 public:
  AsanGuard()
      : poison_(find<Mark>("__asan_poison_memory_region")),
        unpoison_(find<Mark>("__asan_unpoison_memory_region")) {}
  bool works() const { return poison_ != nullptr && unpoison_ != nullptr; }

  std::string_view name() const override { return "asan"; }
  bool start(const Callbacks& callbacks) override;
  void add_region(Range) override {}
  void remove_region(Range region) override {
    const std::lock_guard lock(mutex_);
    ranges_.clear(region, [this](Range range, Handle) { mark(unpoison_, range); });
  }
  Handle arm(Range bytes, const Note& note) override;
  void disarm(Handle handle) override;
  bool place(std::byte*, const std::byte*, size_t) override { return false; }
  void enter_device() override;
  void leave_device() override;

  // AddressSanitizer is about to report an access to `address`.
  void on_error(uintptr_t address, uintptr_t pc, bool write);

 private:
  static void mark(Mark* how, Range range) {
    how(reinterpret_cast<const void*>(range.begin), range.end - range.begin);
  }
  std::optional<Touch> end_guard(uintptr_t address);
  void end_all();

  Mark* const poison_;
  Mark* const unpoison_;
  Callbacks callbacks_;
  std::mutex mutex_;
  IntervalMap ranges_;
  std::unordered_map<Handle, Note> notes_;
  Handle last_ = 0;
  uint32_t in_device_ = 0;
};

AsanGuard& instance() {
  static auto* const guard = new AsanGuard;  // lives as long as the process
  return *guard;
}

bool AsanGuard::start(const Callbacks& callbacks) {
  callbacks_ = callbacks;
  if (!works()) return false;
  ::pthread_atfork([] { instance().mutex_.lock(); }, [] { instance().mutex_.unlock(); },
                   [] {
                     instance().end_all();
                     instance().mutex_.unlock();
                   });
  return true;
}

// Of a forked child, which has none.
void AsanGuard::end_all() {
  ranges_.for_each([this](Range range) { mark(unpoison_, range); });
  ranges_ = {};
  notes_.clear();
  in_device_ = 0;
}

Handle AsanGuard::arm(Range bytes, const Note& note) {
  const std::lock_guard lock(mutex_);
  ranges_.add(bytes, ++last_);
  notes_[last_] = note;
  if (in_device_ == 0) mark(poison_, bytes);
  return last_;
}

void AsanGuard::disarm(Handle handle) {
  const std::lock_guard lock(mutex_);
  notes_.erase(handle);
  for (const Range& range : ranges_.take(handle)) mark(unpoison_, range);
}

// The device's copies are the program's memcpy, which AddressSanitizer checks.
void AsanGuard::enter_device() {
  const std::lock_guard lock(mutex_);
  if (++in_device_ > 1) return;
  ranges_.for_each([this](Range range) { mark(unpoison_, range); });
}

void AsanGuard::leave_device() {
  const std::lock_guard lock(mutex_);
  if (--in_device_ > 0) return;
  ranges_.for_each([this](Range range) { mark(poison_, range); });
}

std::optional<Touch> AsanGuard::end_guard(uintptr_t address) {
  const std::lock_guard lock(mutex_);
  const Handle handle = ranges_.at(address);
  if (handle == 0) return std::nullopt;
  Touch touch;
  touch.address = address;
  touch.handle = handle;
  touch.note = notes_[handle];
  notes_.erase(handle);
  for (const Range& range : ranges_.take(handle)) mark(unpoison_, range);
  return touch;
}

void AsanGuard::on_error(uintptr_t address, uintptr_t pc, bool write) {
  std::optional<Touch> touch = end_guard(address);
  if (!touch.has_value() || callbacks_.touched == nullptr) return;
  touch->instruction = pc;
  touch->write = write;
  callbacks_.touched(*touch);
  if (callbacks_.may_end != nullptr) callbacks_.may_end();
}

}  // namespace

Guard* asan_guard() { return instance().works() ? &instance() : nullptr; }

}  // namespace mrpool::guard

// AddressSanitizer calls this before it writes its report.
extern "C" [[gnu::visibility("default")]] void __asan_on_error() {
  using mrpool::guard::find;
  static auto* const address = find<void*()>("__asan_get_report_address");
  static auto* const pc = find<void*()>("__asan_get_report_pc");
  static auto* const write = find<int()>("__asan_get_report_access_type");
  if (address == nullptr || pc == nullptr || write == nullptr) return;
  mrpool::guard::instance().on_error(reinterpret_cast<uintptr_t>(address()),
                                     reinterpret_cast<uintptr_t>(pc()), write() != 0);
}
