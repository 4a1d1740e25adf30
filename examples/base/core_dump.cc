#include "examples/base/core_dump.h"

#include <sys/mman.h>
#include <sys/prctl.h>

#include <atomic>

namespace mrpool::base {
namespace {

// Relaxed: it is set before other threads are made.
std::atomic<CoreDump> asked{CoreDump::kWithoutData};

}  // namespace

void set_core_dump(CoreDump what) {
  asked.store(what, std::memory_order_relaxed);
  renew_core_dump();
}

void renew_core_dump() {
  const bool some = asked.load(std::memory_order_relaxed) != CoreDump::kNone;
  (void)::prctl(PR_SET_DUMPABLE, some ? 1 : 0, 0, 0, 0);
}

void keep_out_of_core_dump(std::span<std::byte> pages) {
  if (asked.load(std::memory_order_relaxed) == CoreDump::kFull) return;
  (void)::madvise(pages.data(), pages.size(), MADV_DONTDUMP);
}

}  // namespace mrpool::base
