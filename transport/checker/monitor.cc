#include "transport/checker/monitor.h"

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>

#include <cinttypes>
#include <cstdlib>
#include <string_view>
#endif

namespace mrpool::checker {
#if __has_include(<valgrind/valgrind.h>)

bool monitored() {
  static const bool result = [] {
    const char* const set = std::getenv(kMonitoredVariable);
    return set != nullptr && std::string_view(set) == "1" && RUNNING_ON_VALGRIND != 0;
  }();
  return result;
}

void tell_registered(uint32_t lkey) {
  if (monitored()) VALGRIND_PRINTF_BACKTRACE("%s%" PRIx32 "\n", kRegisteredWord, lkey);
}

void tell_counts(const Counts& counts) {
  VALGRIND_PRINTF("%s%" PRIu64 " %" PRIu64 " %" PRIu64 "\n", kCountsWord, counts.errors,
                  counts.hints, counts.suppressed);
}

#else
bool monitored() { return false; }
void tell_registered(uint32_t) {}
void tell_counts(const Counts&) {}
#endif

}  // namespace mrpool::checker
