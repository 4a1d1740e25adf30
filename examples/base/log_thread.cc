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
      line = left_out_line(std::exchange(left_out_, 0)) + "\n" + line;
    }
    lines_.push_back(std::move(line) + "\n");
    if (!start()) return write(lock);
    lock.unlock();
    changed_.notify_all();
  }

  void set_left_out_line(std::string (*line)(uint64_t count)) {
    const std::lock_guard lock(mutex_);
    left_out_line_ = line;
  }

  void flush() {
    std::unique_lock lock(mutex_);
    if (writer_ != ::getpid()) return;
    changed_.wait_for(lock, kLogPatience, [this] { return lines_.empty() && !writing_; });
  }

 private:
  std::string left_out_line(uint64_t count) const {
    if (left_out_line_ != nullptr) return left_out_line_(count);
    return "(" + std::to_string(count) + " lines left out)";
  }
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
  std::string (*left_out_line_)(uint64_t count) = nullptr;
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

void set_left_out_line(std::string (*line)(uint64_t count)) { the_log().set_left_out_line(line); }

}  // namespace mrpool::base
