#include "examples/engine/notify.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace mrpool::engine {
namespace {

// $WATCHDOG_USEC applies if $WATCHDOG_PID is this process or is not set.
absl::StatusOr<std::optional<std::chrono::nanoseconds>> read_watchdog() {
  const char* const text = std::getenv("WATCHDOG_USEC");
  if (text == nullptr) return std::nullopt;
  uint64_t microseconds = 0;
  constexpr uint64_t kMost = 1'000'000'000'000;
  if (!absl::SimpleAtoi(text, &microseconds) || microseconds == 0 || microseconds > kMost) {
    return absl::InvalidArgumentError(
        absl::StrCat("WATCHDOG_USEC=", text, " is not a number of microseconds from 1 to ", kMost));
  }
  const char* const pid = std::getenv("WATCHDOG_PID");
  if (pid != nullptr && absl::StrCat(::getpid()) != pid) return std::nullopt;
  return std::chrono::microseconds(microseconds);
}

}  // namespace

absl::StatusOr<Notify> Notify::open() {
  Notify notify;
  const char* const name = std::getenv("NOTIFY_SOCKET");
  if (name == nullptr) return notify;
  notify.address_ = name;
  if (notify.address_.size() < 2 || (name[0] != '/' && name[0] != '@') ||
      notify.address_.size() >= sizeof(sockaddr_un::sun_path)) {
    return absl::InvalidArgumentError(
        absl::StrCat("NOTIFY_SOCKET=", name, " is neither a path nor an abstract name (@NAME)"));
  }
  if (name[0] == '@') notify.address_[0] = '\0';
  auto watchdog = read_watchdog();
  if (!watchdog.ok()) return watchdog.status();
  notify.watchdog_ = *watchdog;
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return absl::ErrnoToStatus(errno, "a socket for $NOTIFY_SOCKET");
  notify.socket_.emplace(fd);
  return notify;
}

void Notify::send(std::string_view state) const {
  if (!socket_) return;
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  std::memcpy(to.sun_path, address_.data(), address_.size());
  // A path ends with a zero byte; an abstract name does not.
  const size_t length =
      offsetof(sockaddr_un, sun_path) + address_.size() + (address_[0] == '\0' ? 0 : 1);
  (void)::sendto(socket_->get(), state.data(), state.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                 reinterpret_cast<const sockaddr*>(&to), socklen_t(length));
}

void Notify::ready(std::string_view status) const {
  send(absl::StrCat("READY=1\nSTATUS=", std::string(status)));
}

void Notify::reloading() const {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  send(absl::StrCat("RELOADING=1\nMONOTONIC_USEC=",
                    std::chrono::duration_cast<std::chrono::microseconds>(now).count(),
                    "\nSTATUS=reloading"));
}

void Notify::stopping(std::chrono::nanoseconds at_most) const {
  send(absl::StrCat("STOPPING=1\nEXTEND_TIMEOUT_USEC=",
                    std::chrono::duration_cast<std::chrono::microseconds>(at_most).count(),
                    "\nSTATUS=stopping"));
}

}  // namespace mrpool::engine
