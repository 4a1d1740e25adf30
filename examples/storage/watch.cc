#include "examples/storage/watch.h"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/base/block_signals.h"

namespace mrpool::storage {
namespace {

constexpr std::chrono::seconds kPatience{1};

// What is wrong with the store now.
absl::Status trouble_of(Volume& volume) {
  absl::Status there = volume.still_there();
  if (!there.ok() && !absl::IsUnavailable(there)) return there;
  absl::Status size = volume.refresh(0).status();
  return there.ok() ? size : there;
}

// Something else is by now, or nothing any more where something was.
std::string change(const absl::Status& before, const absl::Status& now) {
  if (absl::IsUnavailable(now)) return std::string(now.message());
  if (!now.ok()) {
    return absl::StrCat(now.message(), "; SIGHUP makes the daemon serve the current file");
  }
  return absl::IsUnavailable(before) ? "no other program uses it any more"
                                     : "is in its place again";
}

}  // namespace

std::vector<std::string> StoreLook::look(std::span<const std::shared_ptr<Volume>> stores) {
  std::erase_if(seen_, [](const auto& each) { return each.second.volume.expired(); });
  std::vector<std::string> lines;
  for (const std::shared_ptr<Volume>& volume : stores) {
    const auto [at, fresh] = seen_.try_emplace(volume.get());
    Seen& seen = at->second;
    if (fresh) seen = {.volume = volume, .bytes = volume->geometry().bytes(), .trouble = {}};
    absl::Status trouble = trouble_of(*volume);
    const uint64_t bytes = volume->geometry().bytes();
    if (bytes != seen.bytes) {
      lines.push_back(absl::StrCat(volume->spec(), bytes > seen.bytes ? ": grew" : ": shrank",
                                   " from ", seen.bytes, " to ", bytes, " bytes",
                                   bytes > seen.bytes ? "" : "; requests beyond its end fail"));
    }
    if (trouble != seen.trouble) {
      lines.push_back(absl::StrCat(volume->spec(), ": ", change(seen.trouble, trouble)));
    }
    seen.bytes = bytes;
    seen.trouble = std::move(trouble);
  }
  return lines;
}

namespace {

// The notifications of stores for all watches. Reactors post them, so the mutex is held briefly.
class News {
 public:
  uint64_t count() {
    const std::lock_guard lock(mutex_);
    return count_;
  }
  void tell() {
    {
      const std::lock_guard lock(mutex_);
      ++count_;
    }
    told_.notify_all();
  }
  // Until there is more than `seen`, or stop().
  void wait(std::chrono::nanoseconds period, uint64_t seen, const std::atomic<bool>& stop) {
    std::unique_lock lock(mutex_);
    told_.wait_for(lock, period, [&] { return stop || count_ != seen; });
  }
  void stop(std::atomic<bool>& flag) {
    {
      const std::lock_guard lock(mutex_);
      flag = true;
    }
    told_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable told_;
  uint64_t count_ = 0;
};
// Never destroyed: a watch that hangs may outlive main().
News& news() {
  static News& all = *new News;
  return all;
}

}  // namespace

void look_at_stores() { news().tell(); }

// Shared with the thread, which may outlive the watch.
struct StoreWatch::State {
  const std::chrono::nanoseconds period;
  const Stores stores;
  const Report report;
  std::mutex mutex;
  std::condition_variable wake;
  std::atomic<bool> stop{false};  // set under both mutexes
  bool ended = false;

  // `stores` and `report` are called with the mutex held, so that none begins after the stop.
  void run() {
    StoreLook look;
    std::unique_lock lock(mutex);
    while (!stop) {
      const uint64_t seen = news().count();
      std::vector<std::shared_ptr<Volume>> all = stores();
      lock.unlock();
      const std::vector<std::string> lines = look.look(all);
      all.clear();
      lock.lock();
      if (stop) break;
      report(lines);
      lock.unlock();
      news().wait(period, seen, stop);
      lock.lock();
    }
    ended = true;
    wake.notify_all();
  }
};

StoreWatch::StoreWatch(std::chrono::nanoseconds period, Stores stores, Report report)
    : state_(new State{.period = period,
                       .stores = std::move(stores),
                       .report = std::move(report),
                       .mutex = {},
                       .wake = {}}) {
  std::thread([state = state_] {
    base::block_signals();
    state->run();
  }).detach();
}

StoreWatch::~StoreWatch() {
  std::unique_lock lock(state_->mutex);
  news().stop(state_->stop);
  state_->wake.wait_for(lock, kPatience, [this] { return state_->ended; });
}

}  // namespace mrpool::storage
