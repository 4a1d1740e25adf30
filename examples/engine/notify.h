// What a service manager is told (sd_notify(3)): a datagram to the socket that $NOTIFY_SOCKET
// names. Without one, nothing is sent.
//
// Thread safety: send: any thread. Ownership: owns its socket.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "examples/storage/descriptor.h"

namespace mrpool::engine {

class Notify {
 public:
  // By the environment. InvalidArgument: $NOTIFY_SOCKET or $WATCHDOG_USEC is none.
  static absl::StatusOr<Notify> open();
  // Nobody is told anything.
  Notify() = default;
  Notify(Notify&&) = default;
  Notify& operator=(Notify&&) = default;

  bool there() const { return socket_.has_value(); }
  // Lines of NAME=VALUE. Lost where the manager does not listen.
  void send(std::string_view state) const;

  void ready(std::string_view status) const;
  // Until the next ready().
  void reloading() const;
  // It may take so long.
  void stopping(std::chrono::nanoseconds at_most) const;

  // How long the manager waits for a WATCHDOG=1 before it ends this process; null: it does not.
  const std::optional<std::chrono::nanoseconds>& watchdog() const { return watchdog_; }

 private:
  std::optional<storage::Descriptor> socket_;
  std::string address_;  // an abstract one begins with a zero byte
  std::optional<std::chrono::nanoseconds> watchdog_;
};

}  // namespace mrpool::engine
