#include "examples/base/peer_log.h"

#include <algorithm>

namespace mrpool::base {

std::optional<uint64_t> LineBudget::take(std::chrono::nanoseconds now) {
  const auto full_at = std::max(full_at_, now) + per_line_;
  if (full_at - now > per_line_ * burst_) {
    ++left_out_;
    return std::nullopt;
  }
  full_at_ = full_at;
  return std::exchange(left_out_, 0);
}

LineBudget& LogLimits::budget(Event event, std::string_view about, std::chrono::nanoseconds now) {
  if (kinds_.size() >= kMost) {
    std::erase_if(kinds_, [now](const auto& each) { return each.second.idle(now); });
    if (kinds_.size() >= kMost) kinds_.clear();
  }
  return kinds_.try_emplace({event, std::string(about)}, kBurstOfKind, kPerLineOfKind)
      .first->second;
}

std::optional<LogLimits::LeftOut> LogLimits::take(Event event, std::string_view about, bool peer,
                                                  std::chrono::nanoseconds now) {
  const auto of_kind = budget(event, about, now).take(now);
  if (!of_kind) return std::nullopt;
  const auto of_all = peer ? all_.take(now) : 0;
  if (!of_all) return std::nullopt;
  return LeftOut{.of_kind = *of_kind, .of_all = *of_all};
}

}  // namespace mrpool::base
