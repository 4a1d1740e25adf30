#include "examples/engine/supervision.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "examples/base/log.h"
#include "examples/base/units.h"
#include "examples/engine/limits.h"

namespace mrpool::engine {

std::chrono::nanoseconds Heartbeat::period() const {
  // Four beats in the manager's time, so that one late beat does not end the process.
  if (watchdog_) return std::clamp<std::chrono::nanoseconds>(*watchdog_ / 4, kLeastBeat, kStatus);
  return kStatus;
}

Heartbeat::Beat Heartbeat::beat(const std::vector<uint32_t>& silent, const std::string& status,
                                std::chrono::nanoseconds now) {
  Beat beat;
  std::string told = status;
  if (!silent.empty()) {
    const std::string who = absl::StrCat("worker ", absl::StrJoin(silent, ", "));
    absl::StrAppend(&told, told.empty() ? "" : "; ", who, " does not answer");
    if (!silent_since_ && watchdog_) {
      beat.missed = absl::StrCat(who, " does not answer; the service manager ends this process ",
                                 base::format_duration(*watchdog_), " after the last answer");
    }
    if (!silent_since_) silent_since_ = now;
  } else {
    silent_since_.reset();
    if (watchdog_) beat.state = "WATCHDOG=1";
  }
  if (std::exchange(told_, told) != told) {
    absl::StrAppend(&beat.state, beat.state.empty() ? "" : "\n", "STATUS=", told);
  }
  return beat;
}

Supervision::Supervision(const Notify& notify, uint32_t workers, Post post,
                         std::function<std::string()> status)
    : notify_(notify),
      post_(std::move(post)),
      status_(std::move(status)),
      heartbeat_(notify.watchdog()) {
  if (!notify.there()) return;
  for (uint32_t i = 0; i < workers; ++i) {
    answered_.push_back(std::make_shared<std::atomic<bool>>(true));
  }
  thread_ = std::thread([this] { run(); });
}

Supervision::~Supervision() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

// A worker that has not responded yet still has its message.
void Supervision::ask() {
  for (uint32_t i = 0; i < answered_.size(); ++i) {
    if (!answered_[i]->exchange(false, std::memory_order_acquire)) continue;
    post_(i, [answered = answered_[i]] { answered->store(true, std::memory_order_release); });
  }
}

std::vector<uint32_t> Supervision::silent() const {
  std::vector<uint32_t> all;
  for (uint32_t i = 0; i < answered_.size(); ++i) {
    if (!answered_[i]->load(std::memory_order_acquire)) all.push_back(i);
  }
  return all;
}

void Supervision::run() {
  std::unique_lock lock(mutex_);
  while (!ends_) {
    ask();
    changed_.wait_for(lock, heartbeat_.period(), [this] { return ends_; });
    if (ends_) return;
    lock.unlock();
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    const Heartbeat::Beat beat = heartbeat_.beat(silent(), status_(), now);
    notify_.send(beat.state);
    if (beat.missed) base::log({.event = base::Event::kWatchdogMissed, .message = *beat.missed});
    lock.lock();
  }
}

}  // namespace mrpool::engine
