// Reports the daemon's state to the service manager on a separate thread. So a reload that waits
// for a resolver or a file system does not trigger the watchdog.
//
// The watchdog is fed only while every worker's loop responds: each worker receives a message, and
// the next WATCHDOG=1 waits for all responses.
//
// Thread safety: one thread creates and destroys it; `status` is called on its own thread.
// Ownership: the service and the objects that the calls use outlive it. It ends before the workers.
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

// Decides when to send which message; without threads and sockets.
class Heartbeat {
 public:
  // `watchdog` is Notify::watchdog().
  explicit Heartbeat(std::optional<std::chrono::nanoseconds> watchdog) : watchdog_(watchdog) {}

  // The time until the next beat.
  std::chrono::nanoseconds period() const;

  struct Beat {
    std::string state;  // the message to send; empty: none
    std::optional<std::string>
        missed{};  // to be logged once each time that workers stop responding
  };
  // `silent`: the workers that have not responded since the last beat. `status`: the current
  // status.
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
  // For each worker, whether it has responded. Shared with messages that may outlive this object.
  // The worker stores with release, this thread loads with acquire; no other data depends on it.
  std::vector<std::shared_ptr<std::atomic<bool>>> answered_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ends_ = false;
  std::thread thread_;
};

}  // namespace mrpool::engine
