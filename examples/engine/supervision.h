// Tells the service manager how the daemon is, on a thread of its own, so that a reload that waits
// for a resolver or a file system is no reason to end a daemon that serves.
//
// The watchdog is fed only while every worker's loop answers: each gets a message, and the next
// WATCHDOG=1 waits for all answers.
//
// Thread safety: made and destroyed by one thread; `status` is called on its own. Ownership: the
// service and what the calls refer to outlive it; it ends before the workers do.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "examples/engine/notify.h"

namespace mrpool::engine {

// When what is sent, without threads and sockets.
class Heartbeat {
 public:
  // `watchdog`: as Notify::watchdog().
  explicit Heartbeat(std::optional<std::chrono::nanoseconds> watchdog) : watchdog_(watchdog) {}

  // How long until the next beat.
  std::chrono::nanoseconds period() const;

  struct Beat {
    std::string state;  // to be sent; empty: nothing
    std::optional<std::string>
        missed{};  // to be logged: the workers do not answer, once an episode
  };
  // `silent`: the workers that have not answered since the last beat. `status`: as it is now.
  Beat beat(const std::vector<uint32_t>& silent, const std::string& status,
            std::chrono::nanoseconds now);

 private:
  const std::optional<std::chrono::nanoseconds> watchdog_;
  std::string told_;
  std::optional<std::chrono::nanoseconds> silent_since_;
};

class Supervision {
 public:
  // Sends a message to the loop of a worker.
  using Post = std::function<void(uint32_t worker, std::function<void()> message)>;
  Supervision(const Notify& notify, uint32_t workers, Post post,
              std::function<std::string()> status);
  ~Supervision();
  Supervision(const Supervision&) = delete;
  Supervision& operator=(const Supervision&) = delete;

 private:
  void run();
  void ask();
  std::vector<uint32_t> silent() const;

  const Notify& notify_;
  const Post post_;
  const std::function<std::string()> status_;
  Heartbeat heartbeat_;
  // For each worker, whether it has answered. Shared with messages that may outlive this. Release
  // by the worker, acquire by the thread, which reads nothing else of it.
  std::vector<std::shared_ptr<std::atomic<bool>>> answered_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ends_ = false;
  std::thread thread_;
};

}  // namespace mrpool::engine
