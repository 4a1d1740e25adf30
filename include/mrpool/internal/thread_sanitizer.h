// Programs with ThreadSanitizer that link a library built without it. Not API.
//
// ThreadSanitizer does not see the synchronization inside such a library, and would report false
// races on MRs that pass from one thread to another. The package files of the library define
// MRPOOL_UNSANITIZED. A program built with the sanitizer then calls the library instead of the
// inline code. It declares the order that MrPool guarantees at each return and each use of a
// lease. A library built with the sanitizer declares nothing, so that its own order is checked.
#pragma once

#if defined(MRPOOL_UNSANITIZED)
#if defined(__SANITIZE_THREAD__)
#define MRPOOL_DECLARE_ORDER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MRPOOL_DECLARE_ORDER 1
#endif
#endif
#endif

#ifdef MRPOOL_DECLARE_ORDER
extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
}
#endif

namespace mrpool::internal {

#ifdef MRPOOL_DECLARE_ORDER
inline constexpr bool kDeclareOrder = true;
#else
inline constexpr bool kDeclareOrder = false;
#endif

// Whatever the caller did before happens before what follows declare_acquired() of that address.
[[gnu::always_inline]] inline void declare_released([[maybe_unused]] void* address) {
#ifdef MRPOOL_DECLARE_ORDER
  __tsan_release(address);
#endif
}

[[gnu::always_inline]] inline void declare_acquired([[maybe_unused]] void* address) {
#ifdef MRPOOL_DECLARE_ORDER
  __tsan_acquire(address);
#endif
}

}  // namespace mrpool::internal
