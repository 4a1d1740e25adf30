#include "transport/provider/main_thread.h"

#include <pthread.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

namespace mrpool::provider {
namespace {

std::atomic<bool> ended{false};
std::atomic<void (*)()> tell{nullptr};

// Of the main thread, set from the start on. exit() does not call it, pthread_exit() does.
pthread_key_t key;
[[gnu::constructor]] void make_key() {
  const bool made = ::pthread_key_create(&key, [](void*) {
                      ended.store(true);
                      if (void (*const told)() = tell.load()) told();
                    }) == 0;
  if (!made || ::gettid() != ::getpid()) return;
  ::pthread_setspecific(key, &key);
  // The thread that forks is the child's main thread.
  ::pthread_atfork(nullptr, nullptr, [] {
    ended.store(false);
    ::pthread_setspecific(key, &key);
  });
}

// The main thread stays in the list until the process ends.
bool has_ended(const std::filesystem::path& task) {
  std::ifstream file(task / "stat");
  std::string line;
  std::getline(file, line);
  const size_t name_end = line.rfind(')');
  return name_end == std::string::npos || line.substr(name_end, 4).find_first_of("ZX") == 2;
}

}  // namespace

void watch_main_thread(void (*told)()) { tell.store(told); }

bool main_thread_ended() { return ended.load(std::memory_order_relaxed); }

bool is_last_thread(pid_t own) {
  std::error_code error;
  const std::string self = std::to_string(own);
  size_t seen = 0;
  for (std::filesystem::directory_iterator it("/proc/self/task", error), end; !error && it != end;
       it.increment(error)) {
    ++seen;
    if (it->path().filename() != self && !has_ended(it->path())) return false;
  }
  return !error && seen > 0;
}

}  // namespace mrpool::provider
