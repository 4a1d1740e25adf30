// ThreadSanitizer and a library that was built without it. Not API.
//
// The sanitizer does not see how such a library hands an MR from one thread to another, and would
// report races that are none. The package files of a library without it define MRPOOL_UNSANITIZED.
// A program that is built with the sanitizer then calls the library where MrPool is inline
// otherwise, and declares the order that MrPool guarantees, at each return of a lease and at each
// use of one. A library that is built with the sanitizer declares nothing: its own order is
// checked.
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

// What the caller has done so far comes before what follows declare_acquired() of the same address.
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
