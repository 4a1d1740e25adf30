// What the provider finds of this object, by name: it works without it, too.
#include "transport/checker/guard/page_guard.h"

extern "C" [[gnu::visibility("default")]] mrpool::guard::Guard* mrpool_page_guard() {
  return &mrpool::guard::PageGuard::get();
}
