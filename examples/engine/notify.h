// Reports the daemon's state to the service manager (sd_notify(3)): a datagram to the socket in
// $NOTIFY_SOCKET. Without that variable nothing is sent.
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
  // Reads the environment. InvalidArgument: the value of $NOTIFY_SOCKET or $WATCHDOG_USEC is
  // invalid.
  static absl::StatusOr<Notify> open();
  // Sends nothing.
  Notify() = default;
  Notify(Notify&&) = default;
  Notify& operator=(Notify&&) = default;

  bool there() const { return socket_.has_value(); }
  // Sends lines of NAME=VALUE. They are lost if the manager does not listen.
  void send(std::string_view state) const;

  void ready(std::string_view status) const;
  // The reload lasts until the next ready().
  void reloading() const;
  // The stop may take `at_most`.
  void stopping(std::chrono::nanoseconds at_most) const;

  // How long the manager waits for a WATCHDOG=1 before it ends this process; null: there is no
  // watchdog.
  const std::optional<std::chrono::nanoseconds>& watchdog() const { return watchdog_; }

 private:
  std::optional<storage::Descriptor> socket_;
  std::string address_;  // an abstract address begins with a zero byte
  std::optional<std::chrono::nanoseconds> watchdog_;
};

}  // namespace mrpool::engine
