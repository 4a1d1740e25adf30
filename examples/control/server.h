// The control socket: accepts clients and gives each a session (session.h).
//
// At most kMaxClients at once; further ones receive an error and are closed. A client that reads no
// answers for kClientPatience, or has kMaxAnswers bytes of unread answers, is dropped. Calls of
// methods that change something are logged: process, user and group of the client, and the result.
//
// Thread safety: the thread of the io_context. Ownership: owns the socket and its file; the
// io_context and the methods outlive it.
#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "examples/control/methods.h"

namespace mrpool::control {

inline constexpr size_t kMaxClients = 64;
inline constexpr std::chrono::seconds kClientPatience{30};
inline constexpr size_t kMaxAnswers = 64 << 20;

class Server {
 public:
  // The defaults are for daemons; tests use other values.
  struct Options {
    std::chrono::nanoseconds patience = kClientPatience;
    size_t max_answers = kMaxAnswers;
    size_t max_clients = kMaxClients;
  };
  // Listens. The errors are those of SocketFile::listen.
  static absl::StatusOr<std::unique_ptr<Server>> create(boost::asio::io_context& loop,
                                                        const Methods& methods,
                                                        const std::string& path,
                                                        const Options& options);
  virtual ~Server() = default;
  virtual size_t clients() const = 0;
};

}  // namespace mrpool::control
