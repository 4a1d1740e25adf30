#include "examples/base/peer_log.h"

#include <algorithm>
#include <mutex>
#include <string>
#include <utility>

#include "examples/base/log_thread.h"
#include "examples/base/printable.h"

namespace mrpool::base {

std::optional<uint64_t> LineBudget::take(std::chrono::nanoseconds now) {
  const auto full_at = std::max(full_at_, now) + kPerLine;
  if (full_at - now > kPerLine * kBurst) {
    ++left_out_;
    return std::nullopt;
  }
  full_at_ = full_at;
  return std::exchange(left_out_, 0);
}

void say_of_peers(std::string_view line) {
  static std::mutex mutex;
  static LineBudget budget;
  const std::lock_guard lock(mutex);
  const std::optional<uint64_t> left_out =
      budget.take(std::chrono::steady_clock::now().time_since_epoch());
  if (!left_out) return;
  if (*left_out > 0) {
    log_line("(" + std::to_string(*left_out) + " messages about peers left out)");
  }
  log_line(printable(line));
}

}  // namespace mrpool::base
