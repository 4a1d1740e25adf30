#include "examples/base/log_thread.h"

#include <signal.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace mrpool::base {
namespace {

class Log {
 public:
  void add(std::string line) {
    std::unique_lock lock(mutex_);
    if (lines_.size() >= kLogLines) {
      ++left_out_;
      return;
    }
    if (left_out_ > 0) {
      line = "(" + std::to_string(std::exchange(left_out_, 0)) + " lines left out)\n" + line;
    }
    lines_.push_back(std::move(line) + "\n");
    if (!start()) return write(lock);
    lock.unlock();
    changed_.notify_all();
  }

  void flush() {
    std::unique_lock lock(mutex_);
    if (writer_ != ::getpid()) return;
    changed_.wait_for(lock, kLogPatience, [this] { return lines_.empty() && !writing_; });
  }

 private:
  // False: no thread can be had. A child of the process that has the thread needs its own.
  bool start() {
    if (writer_ == ::getpid()) return true;
    try {
      std::thread([this] { run(); }).detach();
    } catch (const std::system_error&) {
      return false;
    }
    if (writer_ == 0) std::atexit(flush_log);
    writer_ = ::getpid();
    return true;
  }

  void run() {
    // The program's signals are for others.
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return !lines_.empty(); });
      write(lock);
      changed_.notify_all();
    }
  }

  void write(std::unique_lock<std::mutex>& lock) {
    const std::string line = std::move(lines_.front());
    lines_.pop_front();
    writing_ = true;
    lock.unlock();
    std::fputs(line.c_str(), stderr);
    lock.lock();
    writing_ = false;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::string> lines_;
  size_t left_out_ = 0;
  bool writing_ = false;
  pid_t writer_ = 0;  // the process whose thread writes
};

// Never destroyed: its thread may outlive main().
Log& the_log() {
  static Log& log = *new Log;
  return log;
}

}  // namespace

void log_line(std::string line) { the_log().add(std::move(line)); }

void flush_log() { the_log().flush(); }

}  // namespace mrpool::base
