// The function that a call would reach if this library did not define it.
//
// Thread safety: any thread.
#pragma once

#include <dlfcn.h>

namespace mrpool::guard {

// Usage: static auto* const real = next<int(int)>("close");
template <typename Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace mrpool::guard
