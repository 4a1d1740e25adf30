#include "transport/uiwarp/socket.h"

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <cerrno>
#include <climits>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "mrpool/callback.h"
#include "mrpool/internal/report.h"
#include "transport/uiwarp/edge_set.h"

namespace mrpool::uiwarp {
namespace {

using boost::asio::ip::tcp;
using boost::system::error_code;

// Owns a descriptor.
class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

void set_option(int fd, int level, int name, int value) {
  // None of these can fail on a TCP socket that is alive, and one that is not shows at the next
  // transfer.
  [[maybe_unused]] const int result = ::setsockopt(fd, level, name, &value, sizeof value);
}

// The kernel counts in whole seconds.
int seconds(Nanoseconds time) { return int(std::chrono::ceil<std::chrono::seconds>(time).count()); }

void set_keep_alive_options(int fd, const KeepAlive& keep_alive) {
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, seconds(keep_alive.idle));
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, seconds(keep_alive.interval));
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, int(keep_alive.probes));
  // Probes are sent while nothing is under way; what is under way gets as long.
  const Nanoseconds patience = keep_alive.idle + keep_alive.interval * keep_alive.probes;
  const auto limit = std::chrono::duration_cast<std::chrono::milliseconds>(patience).count();
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, int(std::min<int64_t>(limit, INT_MAX)));
}

void set_connection_options(int fd) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_keep_alive_options(fd, {});
}

std::string name_of(const tcp::endpoint& endpoint) {
  const std::string host = endpoint.address().to_string();
  return endpoint.address().is_v6() ? absl::StrCat("[", host, "]:", endpoint.port())
                                    : absl::StrCat(host, ":", endpoint.port());
}

// getsockname or getpeername.
template <typename Query>
tcp::endpoint endpoint_of(int fd, Query query) {
  tcp::endpoint endpoint;
  socklen_t size = endpoint.capacity();
  if (query(fd, endpoint.data(), &size) == 0) endpoint.resize(size);
  return endpoint;
}

class SocketStream final : public Stream, private EdgeSet::Member {
 public:
  SocketStream(Fd fd, const tcp::endpoint& peer) : fd_(std::move(fd)), peer_(peer) {}
  ~SocketStream() override { leave(); }

  StreamResult readv(std::span<const iovec> to) override {
    // Not readv(): its way through the file layer costs more than half of an attempt that finds
    // nothing, and a polling loop makes many of these.
    ssize_t n;
    do {
      if (to.size() == 1) {
        n = ::recv(fd_.get(), to[0].iov_base, to[0].iov_len, 0);
      } else {
        msghdr message{};
        message.msg_iov = const_cast<iovec*>(to.data());
        message.msg_iovlen = std::min<size_t>(to.size(), IOV_MAX);
        n = ::recvmsg(fd_.get(), &message, 0);
      }
    } while (n < 0 && errno == EINTR);
    return moved(n, to, kRead);
  }

  StreamResult writev(std::span<const iovec> from) override {
    ssize_t n;
    do {
      if (from.size() == 1) {
        n = ::send(fd_.get(), from[0].iov_base, from[0].iov_len, MSG_NOSIGNAL);
      } else {
        msghdr message{};
        message.msg_iov = const_cast<iovec*>(from.data());
        message.msg_iovlen = std::min<size_t>(from.size(), IOV_MAX);
        n = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
      }
    } while (n < 0 && errno == EINTR);
    return moved(n, from, kWrite);
  }

  void want_read() override { wait(kRead); }
  void want_write() override { wait(kWrite); }

  void stop_watching() override {
    if (!under_way()) leave();
  }

  void shutdown_write() override { ::shutdown(fd_.get(), SHUT_WR); }
  bool peer_closed() const override {
    tcp_info info{};
    socklen_t bytes = sizeof info;
    if (::getsockopt(fd_.get(), IPPROTO_TCP, TCP_INFO, &info, &bytes) != 0) return false;
    return info.tcpi_state != TCP_ESTABLISHED;
  }

  void attach(Reactor& reactor, StreamEvents& events) override {
    EdgeSet& set = EdgeSet::of(reactor);
    if (set_ != &set) {
      // An edge could be on its way to it, on the thread of the reactor that it leaves.
      if (under_way()) {
        internal::fatal("a stream moved to another reactor with a wait under way");
      }
      leave();
      set_ = &set;
    }
    events_ = &events;
  }

  void detach() override {
    waits_[kRead] = waits_[kWrite] = false;
    leave();
    set_ = nullptr;
  }

  void set_keep_alive(const KeepAlive& keep_alive) override {
    set_keep_alive_options(fd_.get(), keep_alive);
  }

  std::string local_name() const override { return name_of(endpoint_of(fd_.get(), ::getsockname)); }
  // Kept, because the kernel forgets it when the peer resets the connection.
  std::string peer_name() const override { return name_of(peer_); }

 private:
  enum Direction { kRead, kWrite };

  bool under_way() const { return waits_[kRead] || waits_[kWrite]; }

  // The result of a transfer. What has moved less than was asked for has emptied the socket, or
  // filled it: the next change of that makes an edge. An edge that came before means nothing more,
  // unless it was that of the end.
  StreamResult moved(ssize_t n, std::span<const iovec> pieces, Direction direction) {
    if (n > 0) {
      if (set_ != nullptr) set_->touch();
      if (ready_[direction] && size_t(n) < total_bytes(pieces)) ready_[direction] = false;
      return {.bytes = size_t(n)};
    }
    if (n == 0 && direction == kRead) return {.closed = true};
    if (n == 0) return {};
    if (errno != EAGAIN && errno != EWOULDBLOCK) return {.error = errno};
    ready_[direction] = false;
    return {.would_block = true};
  }

  static size_t total_bytes(std::span<const iovec> pieces) {
    size_t total = 0;
    for (const iovec& piece : pieces) total += piece.iov_len;
    return total;
  }

  void wait(Direction direction) {
    if (waits_[direction]) return;
    waits_[direction] = true;
    if (!joined_) join();
    if (ready(direction)) set_->make_due(*this);
  }

  bool ready(Direction direction) const {
    return waits_[direction] && (ready_[direction] || (direction == kRead && ended_));
  }

  // What is ready already makes an edge. The set refuses only when the kernel is out of memory, of
  // descriptors or of watches (fs.epoll.max_user_watches); the connection is then as good as
  // broken.
  void join() {
    joined_ = set_->join(fd_.get(), *this);
    if (joined_) return;
    ::shutdown(fd_.get(), SHUT_RDWR);
    ready_[kRead] = ready_[kWrite] = true;
  }

  void leave() {
    due_node.unlink();
    ready_[kRead] = ready_[kWrite] = false;
    if (std::exchange(joined_, false)) set_->leave(fd_.get(), *this);
  }

  bool on_edge(uint32_t edges) override {
    // An error counts as ready: the next transfer returns it.
    if ((edges & (EPOLLIN | EPOLLERR)) != 0) ready_[kRead] = true;
    if ((edges & (EPOLLOUT | EPOLLERR | EPOLLHUP)) != 0) ready_[kWrite] = true;
    if ((edges & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) ended_ = true;
    const bool writable = ready(kWrite);
    if (ready(kRead)) {
      waits_[kRead] = false;
      if (writable) set_->make_due(*this);  // the reader may destroy this
      events_->on_readable();
      return true;
    }
    if (!writable) return false;
    waits_[kWrite] = false;
    events_->on_writable();
    return true;
  }

  Fd fd_;
  const tcp::endpoint peer_;
  EdgeSet* set_ = nullptr;  // of its reactor, once it is attached
  StreamEvents* events_ = nullptr;
  bool joined_ = false;
  bool waits_[2] = {false, false};
  bool ready_[2] = {false, false};  // by an edge, since a transfer emptied or filled the socket
  bool ended_ = false;              // the peer has closed, or there is an error: always readable
};

std::unique_ptr<Stream> make_stream(Fd fd, const tcp::endpoint& peer) {
  set_connection_options(fd.get());
  return std::make_unique<SocketStream>(std::move(fd), peer);
}

// The set that the reactor's connections join. A shortage shows here, where it can be named.
error_code open_set(Reactor& reactor) {
  return {EdgeSet::of(reactor).open(), boost::system::system_category()};
}

std::string host_or_loopback(const Address& address) {
  return address.host.empty() ? "127.0.0.1" : address.host;
}

// Out of descriptors or memory: accepting again at once would fail again, and a closed listener
// could not be opened again.
bool is_shortage(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

class SocketListener final : public StreamListener {
 public:
  SocketListener(Reactor& reactor, AcceptHandler& handler)
      : state_(std::make_shared<State>(reactor, handler)) {}
  ~SocketListener() override { state_->close(); }

  absl::Status open(Address address) {
    const absl::StatusOr<int> passed = take_listening_socket(address);
    if (!passed.ok()) return passed.status();
    if (*passed >= 0) return adopt(*passed, address);
    const std::string host = host_or_loopback(address);
    error_code ec;
    // Numbers resolve at once; a name listens where it leads to first.
    tcp::resolver resolver(*state_->reactor.io_context());
    const auto found =
        resolver.resolve(host, std::to_string(address.port), tcp::resolver::passive, ec);
    if (ec) {
      return absl::InvalidArgumentError(
          absl::StrCat("cannot listen on ", address.to_string(), ": '", host, "': ", ec.message()));
    }
    const tcp::endpoint endpoint = *found.begin();
    tcp::acceptor& acceptor = state_->acceptor;
    acceptor.open(endpoint.protocol(), ec);
    if (!ec) acceptor.set_option(tcp::acceptor::reuse_address(true), ec);
    if (!ec && endpoint.address().is_v6()) {
      acceptor.set_option(boost::asio::ip::v6_only(!endpoint.address().is_unspecified()), ec);
    }
    if (!ec) acceptor.bind(endpoint, ec);
    if (!ec) acceptor.listen(kBacklog, ec);
    if (!ec) acceptor.native_non_blocking(true, ec);
    if (!ec) ec = open_set(state_->reactor);
    if (ec) return listen_error(address, ec);
    port_ = acceptor.local_endpoint(ec).port();
    State::wait(state_);
    return absl::OkStatus();
  }

  uint16_t port() const override { return port_; }

 private:
  // On an error the descriptor stays the caller's.
  absl::Status adopt(int fd, const Address& address) {
    error_code ec;
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    int listens = 0;
    socklen_t listens_size = sizeof listens;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size) != 0 ||
        ::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &listens_size) != 0 || listens == 0 ||
        (bound.ss_family != AF_INET && bound.ss_family != AF_INET6)) {
      return absl::InvalidArgumentError(absl::StrCat("cannot listen on ", address.to_string(),
                                                     ": descriptor ", fd,
                                                     " is not a listening TCP socket"));
    }
    tcp::acceptor& acceptor = state_->acceptor;
    acceptor.assign(bound.ss_family == AF_INET ? tcp::v4() : tcp::v6(), fd, ec);
    if (ec) return listen_error(address, ec);
    acceptor.native_non_blocking(true, ec);
    if (!ec) ec = open_set(state_->reactor);
    if (ec) {
      error_code ignored;
      acceptor.release(ignored);
      return listen_error(address, ec);
    }
    port_ = acceptor.local_endpoint(ec).port();
    State::wait(state_);
    return absl::OkStatus();
  }

  // The kernel lowers it to net.core.somaxconn.
  static constexpr int kBacklog = 4096;
  // Accepts per wake-up, so that a storm of connections leaves room for those that are there.
  static constexpr int kAcceptsPerRound = 16;
  static constexpr Nanoseconds kShortagePause = std::chrono::milliseconds(100);

  static absl::Status listen_error(const Address& address, const error_code& ec) {
    const std::string text =
        absl::StrCat("cannot listen on ", address.to_string(), ": ", ec.message());
    if (ec == boost::asio::error::address_in_use) {
      return absl::AlreadyExistsError(absl::StrCat(text, "; port 0 takes a free one"));
    }
    if (ec == boost::asio::error::access_denied) return absl::PermissionDeniedError(text);
    return absl::UnavailableError(text);
  }

  // Shared with the handlers Asio holds; they may run after the listener is gone.
  struct State : Timer {
    State(Reactor& home, AcceptHandler& accept_handler)
        : Timer(to_method<&State::retry>),
          reactor(home),
          handler(accept_handler),
          acceptor(*home.io_context()) {}

    void retry() { wait(retry_self.lock()); }

    static void wait(const std::shared_ptr<State>& state) {
      state->acceptor.async_wait(tcp::acceptor::wait_read, [state](error_code ec) {
        if (!state->acceptor.is_open()) return;
        if (!ec) return accept_some(state);
        state->handler.on_accept_error(absl::UnavailableError(
            absl::StrCat("cannot accept on port ", state->port(), " any more: ", ec.message())));
      });
    }

    static void accept_some(const std::shared_ptr<State>& state) {
      for (int i = 0; i < kAcceptsPerRound; ++i) {
        tcp::endpoint peer;
        socklen_t size = peer.capacity();
        const int fd = ::accept4(state->acceptor.native_handle(), peer.data(), &size,
                                 SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
          peer.resize(size);
          state->short_of_descriptors = false;
          state->handler.on_accept(make_stream(Fd(fd), peer));
          if (!state->acceptor.is_open()) return;  // the handler dropped the listener
          continue;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) break;
        if (is_shortage(errno)) return state->pause(state);
        // Anything else is the fate of one connection that died in the queue.
      }
      wait(state);
    }

    void pause(const std::shared_ptr<State>& self) {
      const int error = errno;
      retry_self = self;
      arm(reactor, kShortagePause);
      if (std::exchange(short_of_descriptors, true)) return;
      // Last: the handler may drop the listener.
      handler.on_accept_error(absl::ResourceExhaustedError(
          absl::StrCat("cannot accept on port ", port(), ": ", std::strerror(error),
                       "; connections wait in the queue (raise `ulimit -n`)")));
    }

    uint16_t port() const {
      error_code ec;
      return acceptor.local_endpoint(ec).port();
    }

    void close() {
      cancel();
      error_code ec;
      acceptor.close(ec);
    }

    Reactor& reactor;
    AcceptHandler& handler;
    tcp::acceptor acceptor;
    bool short_of_descriptors = false;  // said so already
    std::weak_ptr<State> retry_self;
  };

  std::shared_ptr<State> state_;
  uint16_t port_ = 0;
};

class SocketDial final : public Dial {
 public:
  SocketDial(Reactor& reactor, const Address& address, DialHandler& handler)
      : state_(std::make_shared<State>(reactor, address, handler)) {
    State::resolve(state_);
  }
  ~SocketDial() override { state_->drop(); }

 private:
  // Shared with the handlers Asio holds; they may run after the dial is gone.
  struct State : Timer {
    State(Reactor& home, const Address& to, DialHandler& dial_handler)
        : Timer(to_method<&State::keep_polling>),
          reactor(home),
          address(to),
          handler(&dial_handler),
          resolver(*home.io_context()),
          socket(*home.io_context()) {}

    void keep_polling() { arm(reactor, kResolvePeriod); }

    static void resolve(const std::shared_ptr<State>& state) {
      const std::string host = host_or_loopback(state->address);
      error_code not_numeric;
      const auto number = boost::asio::ip::make_address(host, not_numeric);
      if (!not_numeric) {
        const tcp::endpoint endpoint(number, state->address.port);
        return connect(state, tcp::resolver::results_type::create(endpoint, host, ""));
      }
      // Asio resolves on a thread of its own, whose answer does not make Reactor::fd() readable; a
      // timer does.
      state->arm(state->reactor, kResolvePeriod);
      state->resolver.async_resolve(
          host, std::to_string(state->address.port), tcp::resolver::numeric_service,
          [state](error_code ec, const tcp::resolver::results_type& found) {
            state->cancel();
            if (state->handler == nullptr) return;
            if (ec) return state->fail(absl::StatusCode::kNotFound, "cannot resolve", ec);
            connect(state, found);
          });
    }

    static void connect(const std::shared_ptr<State>& state,
                        const tcp::resolver::results_type& found) {
      boost::asio::async_connect(state->socket, found,
                                 [state](error_code ec, const tcp::endpoint&) {
                                   if (state->handler == nullptr) return;
                                   if (ec == boost::asio::error::operation_aborted) {
                                     // It was not cancelled: the socket could not be opened, and
                                     // Asio does not report why.
                                     error_code why;
                                     state->socket.open(tcp::v4(), why);
                                     if (why) ec = why;
                                   }
                                   if (ec) return state->fail_to_connect(ec);
                                   state->succeed();
                                 });
    }

    void succeed() {
      error_code ec;
      socket.native_non_blocking(true, ec);
      Fd fd(ec ? -1 : socket.release(ec));
      if (!ec) ec = open_set(reactor);
      if (ec) return fail_to_connect(ec);
      const tcp::endpoint peer = endpoint_of(fd.get(), ::getpeername);
      std::exchange(handler, nullptr)->on_dialed(make_stream(std::move(fd), peer));
    }

    void fail_to_connect(const error_code& ec) {
      absl::StatusCode code = absl::StatusCode::kFailedPrecondition;
      if (ec == boost::asio::error::connection_refused) code = absl::StatusCode::kUnavailable;
      if (ec == boost::asio::error::timed_out) code = absl::StatusCode::kDeadlineExceeded;
      if (is_shortage(ec.value())) code = absl::StatusCode::kResourceExhausted;
      fail(code, "cannot connect to", ec);
    }
    void fail(absl::StatusCode code, const char* what, const error_code& ec) {
      std::exchange(handler, nullptr)
          ->on_dialed(
              absl::Status(code, absl::StrCat(what, " ", address.to_string(), ": ", ec.message())));
    }

    void drop() {
      handler = nullptr;
      cancel();
      resolver.cancel();
      error_code ec;
      socket.close(ec);
    }

    static constexpr Nanoseconds kResolvePeriod = std::chrono::milliseconds(2);

    Reactor& reactor;
    const Address address;
    DialHandler* handler;  // null once it has been told or dropped
    tcp::resolver resolver;
    tcp::socket socket;
  };

  std::shared_ptr<State> state_;
};

absl::Status check_asio(Reactor& reactor) {
  if (reactor.io_context() != nullptr) return absl::OkStatus();
  return absl::FailedPreconditionError("sockets need a reactor that runs an io_context");
}

class SocketNetwork final : public Network {
 public:
  absl::StatusOr<std::unique_ptr<StreamListener>> listen(Reactor& reactor, const Address& address,
                                                         AcceptHandler& handler) override {
    if (absl::Status status = check_asio(reactor); !status.ok()) return status;
    auto listener = std::make_unique<SocketListener>(reactor, handler);
    if (absl::Status status = listener->open(address); !status.ok()) return status;
    return listener;
  }

  absl::StatusOr<std::unique_ptr<Dial>> dial(Reactor& reactor, const Address& address,
                                             DialHandler& handler) override {
    if (absl::Status status = check_asio(reactor); !status.ok()) return status;
    if (address.port == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("cannot connect to ", address.to_string(), ": it names no port"));
    }
    return std::make_unique<SocketDial>(reactor, address, handler);
  }
};

}  // namespace

std::shared_ptr<Network> make_socket_network() { return std::make_shared<SocketNetwork>(); }

absl::StatusOr<int> take_listening_socket(Address& address) {
  constexpr absl::string_view kName = "fd=";
  std::vector<absl::string_view> rest;
  int fd = -1;
  const std::string options = address.options;
  for (const absl::string_view option : absl::StrSplit(options, '&', absl::SkipEmpty())) {
    if (!absl::StartsWith(option, kName)) {
      rest.push_back(option);
    } else if (!absl::SimpleAtoi(option.substr(kName.size()), &fd) || fd < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("address '", address.to_string(), "': ", option,
                       " names no descriptor; write fd=3, or leave it out"));
    }
  }
  address.options = absl::StrJoin(rest, "&");
  return fd;
}

}  // namespace mrpool::uiwarp
