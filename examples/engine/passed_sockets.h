// Listening sockets that a service manager has opened for this process: socket activation, the
// protocol of sd_listen_fds(3). Each socket is used for the address of "listen" that equals its
// local address.
//
// Thread safety: shared objects: safe, once made. Ownership: owns the sockets and keeps them open,
// so that a reload can use them again.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/storage/descriptor.h"
#include "mrpool/device.h"

namespace mrpool::engine {

class PassedSockets {
 public:
  // Reads $LISTEN_PID, $LISTEN_FDS and $LISTEN_FDNAMES and removes them, so that child processes do
  // not use them. InvalidArgument: a variable is invalid, or a descriptor is not a listening TCP
  // socket.
  static absl::StatusOr<std::shared_ptr<const PassedSockets>> from_environment();

  // Refuses sockets that match no address of `listen`, and sockets that match the address of an
  // RDMA device, because RDMA devices do not use sockets.
  absl::Status check(std::span<const std::string> listen) const;

  // A duplicate of the socket that listens on `host` (numeric) and `port`; negative if there is
  // none.
  int take(const std::string& host, uint16_t port) const;

  bool empty() const { return sockets_.empty(); }

 private:
  struct Socket {
    storage::Descriptor fd;
    std::string name;  // from FileDescriptorName=, for messages
    std::string host;  // numeric
    uint16_t port;
  };
  std::vector<Socket> sockets_;
};

struct Options;

// Stores the sockets from the environment in `options`, for a daemon that listens on `listen`.
absl::Status take_passed_sockets(std::span<const std::string> listen, Options& options);

}  // namespace mrpool::engine
