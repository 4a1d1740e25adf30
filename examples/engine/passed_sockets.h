// Listening sockets that a service manager has opened for this process: socket activation, the
// protocol of sd_listen_fds(3). A socket is used for the address of "listen" that names where it
// listens.
//
// Thread safety: shared objects: safe, once made. Ownership: owns the sockets, which stay open
// while it is there, so that a reload can use one again.
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
  // By $LISTEN_PID, $LISTEN_FDS and $LISTEN_FDNAMES, which are removed so that no child takes them
  // for its own. InvalidArgument: one is wrong, or a descriptor is no listening TCP socket.
  static absl::StatusOr<std::shared_ptr<const PassedSockets>> from_environment();

  // Refuses sockets that no address of `listen` wants, and addresses of RDMA devices where one is
  // meant: those have no sockets.
  absl::Status check(std::span<const std::string> listen) const;

  // A copy of the socket that listens at `host`, which is numeric, and `port`; negative: there is
  // none.
  int take(const std::string& host, uint16_t port) const;

  bool empty() const { return sockets_.empty(); }

 private:
  struct Socket {
    storage::Descriptor fd;
    std::string name;  // of FileDescriptorName=, for messages
    std::string host;  // numeric
    uint16_t port;
  };
  std::vector<Socket> sockets_;
};

struct Options;

// Puts the sockets of the environment into `options`, for a daemon that listens on `listen`.
absl::Status take_passed_sockets(std::span<const std::string> listen, Options& options);

}  // namespace mrpool::engine
