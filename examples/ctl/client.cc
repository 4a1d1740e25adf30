#include "examples/ctl/client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json/serialize.hpp>
#include <boost/json/stream_parser.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace mrpool::ctl {

namespace json = boost::json;

namespace {

absl::string_view view(std::string_view text) { return {text.data(), text.size()}; }

absl::Status explain_connect(const std::string& path, int error) {
  const std::string why = absl::StrCat(path, ": ", std::system_category().message(error));
  switch (error) {
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(
          absl::StrCat(why, "; run this as root, or as the owner of this socket"));
    case ENOENT:
      return absl::UnavailableError(absl::StrCat(why, "; start the daemon with --control ", path,
                                                 ", or write --socket PATH"));
    case ECONNREFUSED:
      return absl::UnavailableError(
          absl::StrCat(why, "; the daemon that made it has ended: start it again"));
    default:
      return absl::UnavailableError(why);
  }
}

// The codes of examples/control/error.h.
absl::StatusCode code_of(int64_t code) {
  switch (code) {
    case -32600:
    case -32602:
    case -32700:
    case -EINVAL:
      return absl::StatusCode::kInvalidArgument;
    case -32601:
      return absl::StatusCode::kUnimplemented;
    case -ENODEV:
    case -ENOENT:
      return absl::StatusCode::kNotFound;
    case -EEXIST:
      return absl::StatusCode::kAlreadyExists;
    case -EBUSY:
      return absl::StatusCode::kFailedPrecondition;
    case -ENOMEM:
      return absl::StatusCode::kResourceExhausted;
    case -EAGAIN:
      return absl::StatusCode::kUnavailable;
    default:
      return absl::StatusCode::kInternal;
  }
}

absl::StatusOr<json::value> result_of(const json::value& answer) {
  const json::object* object = answer.if_object();
  if (object == nullptr) return absl::DataLossError("the answer is not JSON-RPC");
  if (const json::value* result = object->if_contains("result")) return *result;
  const json::value* error = object->if_contains("error");
  const json::object* told = error == nullptr ? nullptr : error->if_object();
  if (told == nullptr) return absl::DataLossError("the answer has neither a result nor an error");
  const json::value* code = told->if_contains("code");
  const json::value* message = told->if_contains("message");
  return absl::Status(code_of(code != nullptr && code->is_int64() ? code->as_int64() : 0),
                      message != nullptr && message->is_string() ? view(message->as_string())
                                                                 : "no reason is given");
}

}  // namespace

absl::StatusOr<Client> Client::connect(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", path, "\" is not a path for a socket: 1 to ",
                     sizeof(address.sun_path) - 1, " bytes; write a shorter one"));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  Client client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (client.fd_ < 0) return absl::InternalError(std::system_category().message(errno));
  if (::connect(client.fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return explain_connect(path, errno);
  }
  return client;
}

Client::Client(Client&& other) noexcept
    : timeout(other.timeout),
      waiting(std::move(other.waiting)),
      fd_(std::exchange(other.fd_, -1)),
      last_id_(other.last_id_) {}

Client::~Client() {
  if (fd_ >= 0) ::close(fd_);
}

absl::StatusOr<json::value> Client::call(std::string_view method, const json::object& parameters) {
  json::object request;
  request["jsonrpc"] = "2.0";
  request["id"] = ++last_id_;
  request["method"] = method;
  if (!parameters.empty()) request["params"] = parameters;
  if (absl::Status status = send(json::serialize(request) + "\n"); !status.ok()) return status;
  const auto answer = receive();
  return answer.ok() ? result_of(*answer) : answer;
}

absl::Status Client::send(std::string_view text) {
  while (!text.empty()) {
    const ssize_t sent = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) {
      return absl::DataLossError(
          absl::StrCat("the daemon ended the connection: ", std::system_category().message(errno)));
    }
    text.remove_prefix(size_t(sent));
  }
  return absl::OkStatus();
}

absl::StatusOr<json::value> Client::receive() {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point begin = Clock::now();
  std::chrono::seconds told{0};
  json::parse_options options;
  options.max_depth = 64;
  json::stream_parser parser({}, options);
  std::array<char, 1 << 16> bytes;
  while (!parser.done()) {
    pollfd ready{.fd = fd_, .events = POLLIN, .revents = 0};
    const int events = ::poll(&ready, 1, 200);
    const auto passed = Clock::now() - begin;
    if (events == 0) {
      if (passed >= timeout) {
        return absl::DeadlineExceededError(absl::StrCat(
            "no answer after ", std::chrono::duration_cast<std::chrono::seconds>(passed).count(),
            " s; the daemon may still do it. Check, or wait longer with --timeout"));
      }
      const auto seconds = std::chrono::floor<std::chrono::seconds>(passed);
      if (seconds > told) waiting(told = seconds);
      continue;
    }
    const ssize_t got = ::recv(fd_, bytes.data(), bytes.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return absl::DataLossError("the daemon ended the connection without an answer");
    json::error_code error;
    parser.write_some(bytes.data(), size_t(got), error);
    if (error)
      return absl::DataLossError(absl::StrCat("the answer is not JSON: ", error.message()));
  }
  return parser.release();
}

std::vector<std::string> find_sockets(const std::string& folder) {
  namespace fs = std::filesystem;
  std::vector<std::string> found;
  const auto look = [&](const fs::path& path) {
    std::error_code ignored;
    if (path.extension() == ".sock" && fs::is_socket(path, ignored)) found.push_back(path.string());
  };
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    if (!at->path().filename().string().starts_with("mrpool")) continue;
    look(at->path());
    std::error_code inner;
    for (fs::directory_iterator in(at->path(), inner); !inner && in != end; in.increment(inner)) {
      look(in->path());
    }
  }
  std::ranges::sort(found);
  return found;
}

absl::StatusOr<std::string> choose_socket(const std::string& given, std::string_view kind,
                                          const std::string& folder) {
  if (!given.empty()) return given;
  if (const char* set = std::getenv("MRPOOL_SOCKET"); set != nullptr && *set != '\0') return set;
  std::vector<std::string> found = find_sockets(folder);
  std::erase_if(found, [kind](const std::string& path) { return path.find(kind) == path.npos; });
  if (found.size() == 1) return found[0];
  if (found.empty()) {
    return absl::NotFoundError(absl::StrCat(
        "no control socket is found below ", folder,
        "; start a daemon with --control PATH, and write --socket PATH, or set MRPOOL_SOCKET"));
  }
  return absl::InvalidArgumentError(absl::StrCat("there are several daemons; write --socket ",
                                                 absl::StrJoin(found, " or --socket ")));
}

}  // namespace mrpool::ctl
