#include "examples/metrics/http_options.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace mrpool::metrics {
namespace {

constexpr size_t kMinToken = 16;
constexpr size_t kMaxToken = 1024;

template <typename... Parts>
absl::Status bad(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

struct File {
  explicit File(const std::string& path)
      // O_NONBLOCK: opening a pipe would wait for a writer.
      : fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  ~File() {
    if (fd >= 0) ::close(fd);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  const int fd;
};

absl::Status check_mode(const std::string& path, const struct stat& info) {
  if (!S_ISREG(info.st_mode)) return bad(path, ": is no regular file");
  if (info.st_uid != 0 && info.st_uid != ::geteuid()) {
    return bad(path, ": belongs to user ", info.st_uid, "; chown it to the daemon's user or root");
  }
  if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return bad(path, ": others than its owner may use it; chmod 600 ", path);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<HttpEndpoint> parse_http_address(std::string_view text) {
  const auto refuse = [&] {
    return bad("'", std::string(text),
               "' is no address to serve HTTP at; write HOST:PORT with a numeric host, as "
               "127.0.0.1:",
               kDefaultHttpPort, " or [::1]:", kDefaultHttpPort);
  };
  std::string_view host = text;
  std::string_view port;
  const size_t colon = text.rfind(':');
  const bool bracketed = text.starts_with('[');
  const size_t bracket = text.find(']');
  if (bracketed && bracket == text.npos) return refuse();
  if (colon != text.npos && (!bracketed || colon > bracket)) {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    if (port.empty()) return refuse();
  }
  if (bracketed) {
    if (host.size() != bracket + 1) return refuse();
    host = host.substr(1, bracket - 1);
  } else if (host.find(':') != host.npos) {
    return refuse();  // an IPv6 address without brackets is ambiguous
  }
  if (host.empty() && (bracketed || port.empty())) return refuse();
  uint32_t number = kDefaultHttpPort;
  const bool digits = std::ranges::all_of(port, [](char c) { return c >= '0' && c <= '9'; });
  if (!port.empty() &&
      (!digits || !absl::SimpleAtoi(absl::string_view(port.data(), port.size()), &number))) {
    return refuse();
  }
  boost::system::error_code error;
  const auto address =
      boost::asio::ip::make_address(host.empty() ? "127.0.0.1" : std::string(host), error);
  if (error || number > 65535) return refuse();
  return HttpEndpoint{.endpoint = {address, uint16_t(number)}, .loopback = address.is_loopback()};
}

absl::StatusOr<std::string> read_token(const std::string& path) {
  const File file(path);
  struct stat info {};
  if (file.fd < 0 || ::fstat(file.fd, &info) != 0) return bad(path, ": ", std::strerror(errno));
  if (absl::Status status = check_mode(path, info); !status.ok()) return status;
  std::array<char, kMaxToken + 2> room;
  const ssize_t size = ::read(file.fd, room.data(), room.size());
  if (size < 0) return bad(path, ": ", std::strerror(errno));
  std::string token(room.data(), size_t(size));
  if (token.ends_with('\n')) token.pop_back();
  const bool printable = std::ranges::all_of(token, [](char c) { return c > ' ' && c < 0x7f; });
  if (!printable || token.size() < kMinToken || token.size() > kMaxToken) {
    return bad(path, ": holds no token; write one line of ", kMinToken, " to ", kMaxToken,
               " characters without spaces, as openssl rand -hex 32 makes it");
  }
  return token;
}

}  // namespace mrpool::metrics
