// A client of a daemon's control socket: JSON-RPC 2.0 over a Unix socket.
//
// Thread safety: one thread. Ownership: a Client owns its connection.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace mrpool::ctl {

class Client {
 public:
  // Unavailable: no process listens there. PermissionDenied. Both errors have the remedy.
  static absl::StatusOr<Client> connect(const std::string& path);
  Client(Client&& other) noexcept;
  Client& operator=(Client&&) = delete;
  ~Client();

  // Returns the daemon's result. An error of the daemon becomes a status:
  //   InvalidArgument     a parameter is wrong
  //   Unimplemented       the method does not exist
  //   NotFound            it does not exist
  //   AlreadyExists, FailedPrecondition, ResourceExhausted, Unavailable, Internal
  // DeadlineExceeded: no answer in time; the call may still be executed. DataLoss: the connection
  // ended.
  absl::StatusOr<boost::json::value> call(std::string_view method,
                                          const boost::json::object& parameters);

  std::chrono::milliseconds timeout{std::chrono::seconds(60)};
  // Called each second while waiting for an answer, with the seconds so far.
  std::function<void(std::chrono::seconds)> waiting = [](std::chrono::seconds) {};

 private:
  explicit Client(int fd) : fd_(fd) {}
  absl::Status send(std::string_view text);
  absl::StatusOr<boost::json::value> receive();

  int fd_ = -1;
  int64_t last_id_ = 0;
};

// The sockets of daemons below `folder` (/run), sorted: FOLDER/mrpool*/*.sock and
// FOLDER/mrpool*.sock.
std::vector<std::string> find_sockets(const std::string& folder);

// The socket to use: `given`, else $MRPOOL_SOCKET, else the only one below /run whose path has
// `kind` ("nvmf", "iser"; empty: any). InvalidArgument lists them if there are several; if there is
// none, it has the remedy.
absl::StatusOr<std::string> choose_socket(const std::string& given, std::string_view kind,
                                          const std::string& folder);

}  // namespace mrpool::ctl
