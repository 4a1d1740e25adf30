// What TCP alone does on this machine: the ceiling that uiwarp and the NVMe-oF programs are divided
// by. Two processes, one core each, busy polling, everything that is ready in one system call.
//
//   tcp_ceiling reqrep --request BYTES --reply BYTES --depth N [--seconds S]
//   tcp_ceiling stream --request BYTES [--seconds S]      one way, in writes of that size
//   tcp_ceiling reqrep --request BYTES --reply BYTES --depth N --connections C
//
// With --connections the depth is that of all of them together, and every request goes out on a
// connection drawn at random; both sides ask one edge-triggered epoll set which are ready.
//
// --send and --receive bound the bytes of one system call (512 KiB each). What is best for bulk
// depends on caches and on the kernel, so groups/tcp.py tries several.
//
// Prints one JSON object. The server runs on core 0, the client on core 1. Every request in flight
// has separate memory for its payload, like an I/O. The program only counts bytes; it checks and
// parses nothing and touches no byte twice. So a protocol on top can only be slower.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "examples/load/histogram.h"
#include "examples/load/random.h"

namespace mrpool::bench {
namespace {

struct Shape {
  size_t request = 64;
  size_t reply = 64;  // 0: stream
  size_t depth = 1;
  size_t connections = 1;
  double seconds = 1;
};

// Bytes of one system call at most.
size_t max_send = 512 * 1024;
size_t max_receive = 512 * 1024;

[[noreturn]] void die(const char* what) {
  std::fprintf(stderr, "tcp_ceiling: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

void pin(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  if (sched_setaffinity(0, sizeof(set), &set) != 0) {
    std::fprintf(stderr, "tcp_ceiling: no core %d; the figures mean little\n", core);
  }
}

uint64_t now_ns() { return uint64_t(std::chrono::steady_clock::now().time_since_epoch().count()); }

// Payload memory, used round and round: a batch that reaches past the end goes on at the beginning,
// in the same system call.
class Area {
 public:
  explicit Area(size_t message, size_t depth) : bytes_(message * depth, char(0x5a)) {}
  size_t size() const { return bytes_.size(); }
  int next(size_t want, iovec (&pieces)[2]) {
    const size_t first = std::min(want, bytes_.size() - offset_);
    pieces[0] = {bytes_.data() + offset_, first};
    pieces[1] = {bytes_.data(), want - first};
    return want > first ? 2 : 1;
  }
  void advance(size_t n) {
    offset_ += n;
    if (offset_ >= bytes_.size()) offset_ -= bytes_.size();
  }

 private:
  std::vector<char> bytes_;
  size_t offset_ = 0;
};

// Bytes received; 0 when there is nothing; exits when the peer has closed.
size_t receive(int fd, Area& area) {
  iovec pieces[2];
  const int count = area.next(std::min(area.size(), max_receive), pieces);
  const ssize_t n = readv(fd, pieces, count);
  if (n > 0) {
    area.advance(size_t(n));
    return size_t(n);
  }
  if (n == 0 || errno == ECONNRESET) std::exit(0);
  if (errno != EAGAIN && errno != EINTR) die("readv");
  return 0;
}

size_t transmit(int fd, Area& area, size_t want) {
  iovec pieces[2];
  const int count = area.next(std::min({want, area.size(), max_send}), pieces);
  const ssize_t n = writev(fd, pieces, count);
  if (n > 0) {
    area.advance(size_t(n));
    return size_t(n);
  }
  if (n < 0 && (errno == EPIPE || errno == ECONNRESET)) std::exit(0);
  if (n < 0 && errno != EAGAIN && errno != EINTR) die("writev");
  return 0;
}

[[noreturn]] void serve(int fd, const Shape& shape) {
  Area in(shape.request, shape.depth);
  Area out(shape.reply == 0 ? 1 : shape.reply, shape.depth);
  size_t received = 0;
  size_t owed = 0;
  for (;;) {
    received += receive(fd, in);
    if (shape.reply != 0) {
      owed += received / shape.request * shape.reply;
      received %= shape.request;
    }
    while (owed > 0) {
      const size_t n = transmit(fd, out, owed);
      owed -= n;
      if (n == 0) break;
    }
  }
}

void request_reply(int fd, const Shape& shape) {
  Area out(shape.request, shape.depth);
  Area in(shape.reply, shape.depth);
  std::vector<uint64_t> started(shape.depth);  // a ring: replies come in order
  load::Histogram latency;
  uint64_t sent = 0;  // whole requests handed to the kernel or under way
  uint64_t done = 0;
  size_t unsent = 0;
  size_t received = 0;
  uint64_t now = now_ns();
  const uint64_t begin = now;
  const uint64_t measured_from = begin + uint64_t(shape.seconds * 0.1e9);  // warm up
  const uint64_t end = measured_from + uint64_t(shape.seconds * 1e9);
  uint64_t done_before = 0;
  uint64_t first = 0;
  // At least one operation is measured, however little time the machine gives.
  while (now < end || first == 0 || done == done_before) {
    if (first == 0 && now >= measured_from) {
      first = now;
      done_before = done;
      latency = load::Histogram();
    }
    for (; sent - done < shape.depth; ++sent) {
      started[sent % shape.depth] = now;
      unsent += shape.request;
    }
    while (unsent > 0) {
      const size_t n = transmit(fd, out, unsent);
      unsent -= n;
      if (n == 0) break;
    }
    const size_t n = receive(fd, in);
    now = now_ns();
    for (received += n; received >= shape.reply; received -= shape.reply) {
      latency.add(now - started[done++ % shape.depth]);
    }
  }
  const double seconds = double(now - first) / 1e9;
  std::printf(
      "{\"per_second\": %.1f, \"bytes_per_second\": %.0f, \"mean_us\": %.3f, \"p50_us\": %.3f, "
      "\"p99_us\": %.3f}\n",
      double(done - done_before) / seconds,
      double(done - done_before) * double(std::max(shape.reply, shape.request)) / seconds,
      latency.mean() / 1e3, double(latency.percentile(50)) / 1e3,
      double(latency.percentile(99)) / 1e3);
}

void stream(int fd, const Shape& shape) {
  Area out(shape.request, shape.depth);
  uint64_t bytes = 0;
  uint64_t now = now_ns();
  const uint64_t from = now + uint64_t(shape.seconds * 0.1e9);
  uint64_t first = 0;
  while (now < from + uint64_t(shape.seconds * 1e9) || bytes == 0) {
    const size_t n = transmit(fd, out, shape.request);
    now = now_ns();
    if (now < from) continue;
    if (first == 0) first = now;
    bytes += n;
  }
  const double seconds = double(now - first) / 1e9;
  std::printf("{\"per_second\": %.1f, \"bytes_per_second\": %.0f}\n",
              double(bytes) / double(shape.request) / seconds, double(bytes) / seconds);
}

// One of many connections, and what is under way on it.
struct Connection {
  int fd = -1;
  size_t unsent = 0;
  size_t received = 0;  // of a message that is not whole yet
  std::vector<uint64_t> started;
  size_t answered = 0;  // of `started`
};

class ReadySet {
 public:
  explicit ReadySet(std::vector<Connection>& all) : fd_(epoll_create1(0)) {
    if (fd_ < 0) die("epoll_create1");
    for (Connection& each : all) {
      epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLET, .data = {.ptr = &each}};
      if (epoll_ctl(fd_, EPOLL_CTL_ADD, each.fd, &event) != 0) die("epoll_ctl");
    }
  }
  // Calls visit(connection) for those where something may have changed.
  template <typename Visit>
  void poll(Visit&& visit) {
    const int count = epoll_wait(fd_, events_.data(), int(events_.size()), 0);
    for (int i = 0; i < count; ++i) visit(*static_cast<Connection*>(events_[size_t(i)].data.ptr));
  }

 private:
  const int fd_;
  std::vector<epoll_event> events_{256};
};

void flush(Connection& connection, Area& area) {
  while (connection.unsent > 0) {
    const size_t n = transmit(connection.fd, area, connection.unsent);
    if (n == 0) return;
    connection.unsent -= n;
  }
}

// All that has come; a receive that was not filled is the last.
size_t drain(Connection& connection, Area& area) {
  const size_t room = std::min(area.size(), max_receive);
  size_t total = 0;
  for (size_t n = room; n == room; total += n) n = receive(connection.fd, area);
  return total;
}

[[noreturn]] void serve_many(std::vector<Connection> connections, const Shape& shape) {
  Area in(shape.request, shape.depth);
  Area out(shape.reply, shape.depth);
  ReadySet ready(connections);
  for (;;) {
    ready.poll([&](Connection& connection) {
      connection.received += drain(connection, in);
      connection.unsent += connection.received / shape.request * shape.reply;
      connection.received %= shape.request;
      flush(connection, out);
    });
  }
}

void request_reply_many(std::vector<Connection> connections, const Shape& shape) {
  Area out(shape.request, shape.depth);
  Area in(shape.reply, shape.depth);
  ReadySet ready(connections);
  load::Random random(1);
  load::Histogram latency;
  uint64_t now = now_ns();
  const uint64_t measured_from = now + uint64_t(shape.seconds * 0.1e9);  // warm up
  const uint64_t end = measured_from + uint64_t(shape.seconds * 1e9);
  uint64_t first = 0;
  uint64_t done = 0;
  size_t idle = shape.depth;
  std::vector<Connection*> asked;
  while (now < end || done == 0) {
    if (first == 0 && now >= measured_from) {
      first = now;
      done = 0;
      latency = load::Histogram();
    }
    asked.clear();
    for (; idle > 0; --idle) {
      Connection& connection = connections[random.below(connections.size())];
      if (connection.answered == connection.started.size()) {
        connection.started.clear();
        connection.answered = 0;
      }
      connection.started.push_back(now);
      connection.unsent += shape.request;
      asked.push_back(&connection);
    }
    for (Connection* connection : asked) flush(*connection, out);
    ready.poll([&](Connection& connection) {
      flush(connection, out);
      connection.received += drain(connection, in);
      now = now_ns();
      for (; connection.received >= shape.reply; connection.received -= shape.reply) {
        latency.add(now - connection.started[connection.answered++]);
        ++done;
        ++idle;
      }
    });
    now = now_ns();
  }
  std::printf("{\"per_second\": %.1f, \"mean_us\": %.3f, \"p50_us\": %.3f, \"p99_us\": %.3f}\n",
              double(done) / (double(now - first) / 1e9), latency.mean() / 1e3,
              double(latency.percentile(50)) / 1e3, double(latency.percentile(99)) / 1e3);
}

int connect_to(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) die("connect");
  return fd;
}

void prepare(int fd) {
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  const int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

int usage() {
  std::fputs(
      "usage: tcp_ceiling reqrep --request BYTES --reply BYTES --depth N [--seconds S]\n"
      "                          [--connections C]\n"
      "       tcp_ceiling stream --request BYTES [--depth N] [--seconds S]\n"
      "both: [--send BYTES] [--receive BYTES]   of one system call at most\n",
      stderr);
  return 2;
}

// False: wrong usage.
bool parse(int argc, char** argv, std::string_view& mode, Shape& shape) {
  if (argc < 2) return false;
  mode = argv[1];
  if (mode != "reqrep" && mode != "stream") return false;
  for (int i = 2; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i];
    if (name == "--request") {
      shape.request = std::strtoull(argv[i + 1], nullptr, 10);
    } else if (name == "--reply") {
      shape.reply = std::strtoull(argv[i + 1], nullptr, 10);
    } else if (name == "--depth") {
      shape.depth = std::strtoull(argv[i + 1], nullptr, 10);
    } else if (name == "--connections") {
      shape.connections = std::strtoull(argv[i + 1], nullptr, 10);
    } else if (name == "--send") {
      max_send = std::strtoull(argv[i + 1], nullptr, 10);
    } else if (name == "--receive") {
      max_receive = std::strtoull(argv[i + 1], nullptr, 10);
    } else if (name == "--seconds") {
      shape.seconds = std::strtod(argv[i + 1], nullptr);
    } else {
      return false;
    }
  }
  if (mode == "stream") shape.reply = 0;
  return shape.request != 0 && shape.depth != 0 && (mode == "stream" || shape.reply != 0) &&
         max_send != 0 && max_receive != 0 && shape.connections != 0 &&
         (mode == "reqrep" || shape.connections == 1);
}

int run(int argc, char** argv) {
  std::string_view mode;
  Shape shape;
  if (!parse(argc, argv, mode, shape)) return usage();
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }

  signal(SIGPIPE, SIG_IGN);
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 ||
      listen(listener, int(shape.connections)) != 0 ||
      getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    die("listen");
  }
  const pid_t child = fork();
  if (child < 0) die("fork");
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pin(0);
    std::vector<Connection> connections(shape.connections);
    for (Connection& each : connections) {
      each.fd = accept(listener, nullptr, nullptr);
      if (each.fd < 0) die("accept");
      prepare(each.fd);
    }
    if (shape.connections > 1) serve_many(std::move(connections), shape);
    serve(connections[0].fd, shape);
  }
  close(listener);
  pin(1);
  std::vector<Connection> connections(shape.connections);
  for (Connection& each : connections) {
    each.fd = connect_to(ntohs(address.sin_port));
    prepare(each.fd);
  }
  if (mode == "stream") {
    stream(connections[0].fd, shape);
  } else if (shape.connections > 1) {
    request_reply_many(std::move(connections), shape);
  } else {
    request_reply(connections[0].fd, shape);
  }
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  return 0;
}

}  // namespace
}  // namespace mrpool::bench

int main(int argc, char** argv) { return mrpool::bench::run(argc, argv); }
