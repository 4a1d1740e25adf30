#include "transport/checker/guard/choose.h"

#include <dlfcn.h>

#include "transport/checker/guard/asan_guard.h"
#include "transport/checker/guard/valgrind_guard.h"

namespace mrpool::guard {
namespace {

// Of libmrpool-guard.so, which mrpool-run preloads where it is the one.
Guard* page_guard() {
  auto* const get = reinterpret_cast<Guard* (*)()>(::dlsym(RTLD_DEFAULT, "mrpool_page_guard"));
  return get == nullptr ? nullptr : get();
}

}  // namespace

Guard* choose(std::string_view name) {
  for (Guard* const guard : {valgrind_guard(), asan_guard(), page_guard()}) {
    if (guard != nullptr && (name.empty() || guard->name() == name)) return guard;
  }
  return nullptr;
}

}  // namespace mrpool::guard
