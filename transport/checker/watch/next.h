// The function that a call would reach if this library did not define it.
//
// Thread safety: any thread, before constructors too.
#pragma once

#include <dlfcn.h>

#include <atomic>

namespace mrpool::watch {

template <typename Function>
class Next {
 public:
  explicit constexpr Next(const char* name) : name_(name) {}
  // Null: the lookup itself calls for it.
  Function* get() {
    // Released by the thread that looked it up; all threads find the same function.
    if (Function* const known = found_.load(std::memory_order_acquire)) return known;
    if (looking_) return nullptr;
    looking_ = true;
    auto* const found = reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name_));
    looking_ = false;
    found_.store(found, std::memory_order_release);
    return found;
  }

 private:
  static inline constinit thread_local bool looking_ __attribute__((tls_model("initial-exec"))) =
      false;
  const char* const name_;
  std::atomic<Function*> found_{nullptr};
};

}  // namespace mrpool::watch
