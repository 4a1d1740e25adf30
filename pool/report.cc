#include "mrpool/internal/report.h"

#include <execinfo.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>

namespace mrpool::internal {

namespace {

bool asked_for(const char* variable) {
  const char* const value = std::getenv(variable);
  return value != nullptr && value[0] == '1' && value[1] == 0;
}

struct Log {
  LogSink sink = nullptr;
  void* context = nullptr;
};
std::mutex log_mutex;
Log log_now;

// A copy, so that a sink may itself lead here.
Log current_log() {
  const std::lock_guard lock(log_mutex);
  return log_now;
}

}  // namespace

const bool posts_are_checked = asked_for("MRPOOL_CHECK_THREADS");

void report(std::string_view line, LogLevel level) {
  const Log log = current_log();
  if (log.sink != nullptr) {
    log.sink(log.context, level, line);
  } else {
    std::fprintf(stderr, "mrpool: %.*s\n", static_cast<int>(line.size()), line.data());
  }
}

void fatal(std::string_view line) {
  report(line, LogLevel::kFatal);
  void* frames[32];
  const int count = ::backtrace(frames, sizeof frames / sizeof frames[0]);
  if (current_log().sink == nullptr) {
    ::backtrace_symbols_fd(frames, count, STDERR_FILENO);
  } else if (char** const names = ::backtrace_symbols(frames, count); names != nullptr) {
    for (int i = 0; i < count; ++i) report(names[i], LogLevel::kFatal);
  }
  std::abort();
}

void misuse(const char* call, const char* object, const void* address, const char* rule) {
  char line[256];
  std::snprintf(line, sizeof line, "%s: the %s at 0x%" PRIxPTR " %s", call, object,
                reinterpret_cast<uintptr_t>(address), rule);
  fatal(line);
}

}  // namespace mrpool::internal

namespace mrpool {

void set_log_sink(LogSink sink, void* context) {
  const std::lock_guard lock(internal::log_mutex);
  internal::log_now = {sink, context};
}

}  // namespace mrpool
