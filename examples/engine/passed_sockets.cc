#include "examples/engine/passed_sockets.h"

#include <fcntl.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "examples/base/ip_address.h"
#include "examples/engine/options.h"
#include "examples/engine/portals.h"

namespace mrpool::engine {
namespace {

constexpr int kFirst = 3;  // SD_LISTEN_FDS_START
constexpr int kMost = 1024;

absl::Status bad(const std::string& why) { return absl::InvalidArgumentError(why); }

struct Place {
  std::string host;
  uint16_t port = 0;
};

// The local address of the socket; InvalidArgument: a listener cannot use it.
absl::StatusOr<Place> place_of(int fd, const std::string& name) {
  const std::string what =
      absl::StrCat("descriptor ", fd, name.empty() ? "" : absl::StrCat(" (", name, ")"),
                   " of the service manager ");
  int listens = 0;
  int type = 0;
  socklen_t size = sizeof listens;
  if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0) {
    return bad(absl::StrCat(what, "is not a socket; write ListenStream= in the socket unit"));
  }
  size = sizeof type;
  (void)::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size);
  sockaddr_storage address{};
  size = sizeof address;
  (void)::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  const bool internet = address.ss_family == AF_INET || address.ss_family == AF_INET6;
  if (!internet || type != SOCK_STREAM || listens == 0) {
    return bad(absl::StrCat(what,
                            "is not a listening TCP socket; write ListenStream=ADDRESS:PORT and "
                            "Accept=no in the socket unit"));
  }
  std::array<char, NI_MAXHOST> host;
  std::array<char, NI_MAXSERV> port;
  uint32_t number = 0;
  if (::getnameinfo(reinterpret_cast<const sockaddr*>(&address), size, host.data(), host.size(),
                    port.data(), port.size(), NI_NUMERICHOST | NI_NUMERICSERV) != 0 ||
      !absl::SimpleAtoi(port.data(), &number)) {
    return bad(absl::StrCat(what, "has no address"));
  }
  return Place{host.data(), uint16_t(number)};
}

std::string endpoint(const std::string& host, uint16_t port) {
  return host.find(':') == host.npos ? absl::StrCat(host, ":", port)
                                     : absl::StrCat("[", host, "]:", port);
}

bool same_host(const std::string& a, const std::string& b) {
  const auto one = base::IpAddress::parse(a);
  const auto other = base::IpAddress::parse(b);
  return one && other ? *one == *other : a == b;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const PassedSockets>> PassedSockets::from_environment() {
  auto sockets = std::make_shared<PassedSockets>();
  const char* const pid = std::getenv("LISTEN_PID");
  const char* const count_text = std::getenv("LISTEN_FDS");
  if (pid == nullptr || count_text == nullptr || absl::StrCat(::getpid()) != pid) return sockets;
  int count = 0;
  if (!absl::SimpleAtoi(count_text, &count) || count < 0 || count > kMost) {
    return bad(absl::StrCat("LISTEN_FDS=", count_text, " is not a number from 0 to ", kMost));
  }
  const char* const names_text = std::getenv("LISTEN_FDNAMES");
  std::vector<std::string> names;
  if (names_text != nullptr) names = absl::StrSplit(names_text, ':');
  names.resize(size_t(count));
  for (int i = 0; i < count; ++i) {
    const int fd = kFirst + i;
    if (::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
      return bad(absl::StrCat("LISTEN_FDS=", count, ", but descriptor ", fd, " is not open"));
    }
    storage::Descriptor held(fd);
    auto place = place_of(fd, names[size_t(i)]);
    if (!place.ok()) return place.status();
    sockets->sockets_.push_back(
        {std::move(held), std::move(names[size_t(i)]), std::move(place->host), place->port});
  }
  for (const char* const name : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) ::unsetenv(name);
  return sockets;
}

absl::Status PassedSockets::check(std::span<const std::string> listen) const {
  for (const Socket& socket : sockets_) {
    const std::string where = endpoint(socket.host, socket.port);
    bool wanted = false;
    for (const std::string& text : listen) {
      const auto address = Address::parse(text);
      if (!address.ok() || address->port != socket.port) continue;
      const auto host = resolve_host(address->host.empty() ? "127.0.0.1" : address->host);
      if (!host.ok() || !same_host(*host, socket.host)) continue;
      if (address->transport != "uiwarp") {
        return bad(absl::StrCat(text, ": the service manager has a TCP socket for it (",
                                socket.name.empty() ? where : socket.name,
                                "), and an RDMA device takes none; remove its ListenStream= from "
                                "the socket unit, or serve uiwarp:// there"));
      }
      wanted = true;
    }
    if (wanted) continue;
    return bad(absl::StrCat("the service manager has a socket on ", where,
                            socket.name.empty() ? "" : absl::StrCat(" (", socket.name, ")"),
                            ", which matches no address of \"listen\"; write uiwarp://", where,
                            ", or remove its ListenStream= from the socket unit"));
  }
  return absl::OkStatus();
}

absl::Status take_passed_sockets(std::span<const std::string> listen, Options& options) {
  auto sockets = PassedSockets::from_environment();
  if (!sockets.ok()) return sockets.status();
  options.sockets = *std::move(sockets);
  return options.sockets->check(listen);
}

int PassedSockets::take(const std::string& host, uint16_t port) const {
  const auto found = std::ranges::find_if(sockets_, [&](const Socket& socket) {
    return socket.port == port && same_host(socket.host, host.empty() ? "127.0.0.1" : host);
  });
  if (found == sockets_.end()) return -1;
  return ::fcntl(found->fd.get(), F_DUPFD_CLOEXEC, kFirst);
}

}  // namespace mrpool::engine
