// The byte stream under an iWARP connection: the one thing uiwarp needs from the outside world.
//
// Two implementations: TCP sockets on Asio (socket.h) and, in tests, an in-memory pipe under a
// seed. The protocol core never sees either: UiwarpQp (qp.h) moves bytes between a Stream and it.
//
// Thread safety: the thread of the Reactor the stream is attached to.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "mrpool/device.h"
#include "mrpool/reactor.h"

namespace mrpool::uiwarp {

// Is called when the stream is ready. Called from the loop, never from inside a Stream call.
class StreamEvents {
 public:
  virtual void on_readable() = 0;
  virtual void on_writable() = 0;

 protected:
  ~StreamEvents() = default;
};

// Result of one transfer attempt. Exactly one of: bytes > 0, would_block, closed (readv: the peer
// sent all it had), or error (errno).
struct StreamResult {
  size_t bytes = 0;
  bool would_block = false;
  bool closed = false;
  int error = 0;
};

class Stream {
 public:
  virtual ~Stream() = default;  // closes at once (reset when data is unread or unsent)

  // One system call each; no locks, no allocation.
  virtual StreamResult readv(std::span<const iovec> to) = 0;
  virtual StreamResult writev(std::span<const iovec> from) = 0;

  // Asks for one on_readable / on_writable when the direction is ready again.
  virtual void want_read() = 0;
  virtual void want_write() = 0;
  // For a stream that will be read without waiting for a while: what watches it until the next
  // want_* costs time at every segment that arrives. Without effect while a wait is under way.
  virtual void stop_watching() = 0;

  virtual void shutdown_write() = 0;
  // Whether the peer has closed, though what it sent is unread. False where this is not known.
  virtual bool peer_closed() const { return false; }
  // Without effect where nothing vanishes.
  virtual void set_keep_alive(const KeepAlive&) {}

  // Moves the stream to `reactor`, whose thread calls this; readiness goes to `events` from now on.
  // Before the first attach a stream belongs to the reactor that made it and has no events. A
  // stream whose old reactor still runs is not watched there any more: stop_watching() or detach()
  // first.
  virtual void attach(Reactor& reactor, StreamEvents& events) = 0;
  // Leaves its reactor, whose thread calls this. Waits are over without an event. Until attach() it
  // can only be destroyed, on any thread.
  virtual void detach() = 0;

  virtual std::string local_name() const = 0;  // "127.0.0.1:4420"
  virtual std::string peer_name() const = 0;

  // A StreamResult's error, for people. A stream that knows more than the number overrides it.
  // EPROTO: the peer has broken the stream's own protocol, or has not proven who it is.
  virtual std::string error_text(int error) const { return std::strerror(error); }
  // Beyond what the kernel holds.
  virtual size_t memory_bytes() const { return 0; }
};

class StreamListener {
 public:
  virtual ~StreamListener() = default;
  virtual uint16_t port() const = 0;
};

class AcceptHandler {
 public:
  virtual void on_accept(std::unique_ptr<Stream> stream) = 0;
  // As ListenHandler::on_listen_error.
  virtual void on_accept_error(const absl::Status& error) = 0;

 protected:
  ~AcceptHandler() = default;
};

class DialHandler {
 public:
  // A connected stream, or why not. Unavailable: refused; NotFound: the host has no address;
  // DeadlineExceeded: no answer; ResourceExhausted: no socket here; any other: unreachable.
  virtual void on_dialed(absl::StatusOr<std::unique_ptr<Stream>> stream) = 0;

 protected:
  ~DialHandler() = default;
};

// A dial under way; destroying it cancels it and on_dialed is not called.
class Dial {
 public:
  virtual ~Dial() = default;
};

class Network {
 public:
  virtual ~Network() = default;
  virtual absl::StatusOr<std::unique_ptr<StreamListener>> listen(Reactor& reactor,
                                                                 const Address& address,
                                                                 AcceptHandler& handler) = 0;
  virtual absl::StatusOr<std::unique_ptr<Dial>> dial(Reactor& reactor, const Address& address,
                                                     DialHandler& handler) = 0;
  // Reads again the files that it works with. Any thread; may block on a file system.
  virtual absl::Status reload() { return absl::OkStatus(); }
  // Whether listen() has all that it needs besides an address. InvalidArgument names what is
  // missing.
  virtual absl::Status check_accepts() const { return absl::OkStatus(); }
};

}  // namespace mrpool::uiwarp
