#include "transport/uiwarp/tls_stream.h"

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mrpool::uiwarp {
namespace {

size_t total_bytes(std::span<const iovec> pieces) {
  size_t total = 0;
  for (const iovec& piece : pieces) total += piece.iov_len;
  return total;
}

}  // namespace

// What the socket takes of the farewell at once is all that is sent of it.
TlsStream::~TlsStream() {
  session_.close();
  const std::span<const std::byte> rest = session_.output();
  if (rest.empty() || error_ != 0) return;
  const iovec piece{const_cast<std::byte*>(rest.data()), rest.size()};
  wire_->writev({&piece, 1});
}

void TlsStream::attach(Reactor& reactor, StreamEvents& events) {
  if (reactor_ != &reactor) due_.cancel();
  reactor_ = &reactor;
  events_ = &events;
  wire_->attach(reactor, *this);
  flush();
}

void TlsStream::detach() {
  waits_[kRead] = waits_[kWrite] = false;
  due_.cancel();
  wire_->detach();
  reactor_ = nullptr;
}

std::string TlsStream::error_text(int error) const {
  if (session_.failed()) return session_.failure();
  const std::string text = wire_->error_text(error);
  if (session_.state() != TlsSession::State::kHandshake) return text;
  return absl::StrCat("TLS: ", text, " in the handshake; perhaps the peer does not use TLS");
}

// The wire.

// Sends what the session has for the wire. False: some of it must wait.
bool TlsStream::flush() {
  while (error_ == 0) {
    const std::span<const std::byte> out = session_.output();
    if (out.empty()) {
      if (std::exchange(shuts_down_, false)) wire_->shutdown_write();
      return true;
    }
    const iovec piece{const_cast<std::byte*>(out.data()), out.size()};
    const StreamResult result = wire_->writev({&piece, 1});
    if (result.bytes > 0) {
      session_.sent(result.bytes);
    } else if (result.error != 0) {
      error_ = result.error;
    } else {
      if (reactor_ != nullptr) wire_->want_write();
      return false;
    }
  }
  return false;
}

// Receives from the wire. False: nothing came.
bool TlsStream::fill() {
  if (!session_.hungry()) return false;
  const std::span<std::byte> room = session_.room();
  const iovec piece{room.data(), room.size()};
  const StreamResult result = wire_->readv({&piece, 1});
  if (result.bytes > 0) {
    session_.received(result.bytes);
    drained_ = result.bytes < room.size();
    return true;
  }
  drained_ = true;
  if (result.closed) session_.wire_ended();
  if (result.error != 0) error_ = result.error;
  return false;
}

// The handshake, as far as it goes now. True: it is over, and well.
bool TlsStream::shake() {
  if (session_.state() != TlsSession::State::kHandshake) return !over();
  do {
    const bool done = session_.shake();
    flush();  // what is to be said of a failure, too
    if (done || over()) {
      // The wire does not wake who waits for the other direction.
      if (waits_[kRead] || waits_[kWrite]) notify_later();
      return !over();
    }
  } while (fill());
  flush();
  return false;
}

StreamResult TlsStream::ended() const {
  if (session_.failed()) return {.error = session_.cut() ? ECONNRESET : EPROTO};
  if (error_ != 0) return {.error = error_};
  if (session_.state() == TlsSession::State::kEnded) return {.closed = true};
  return {.would_block = true};
}

StreamResult TlsStream::readv(std::span<const iovec> to) {
  if (!shake()) return ended();
  const size_t wanted = total_bytes(to);
  size_t got = session_.read(to, 0);
  drained_ = false;
  while (got < wanted && !drained_ && session_.state() == TlsSession::State::kOpen && fill()) {
    got += session_.read(to, got);
  }
  if (!session_.output().empty()) flush();  // an answer to the peer's change of keys, an alert
  return got > 0 ? StreamResult{.bytes = got} : ended();
}

StreamResult TlsStream::writev(std::span<const iovec> from) {
  if (!shake() || !flush()) {
    const StreamResult result = ended();
    return result.closed ? StreamResult{.would_block = true} : result;
  }
  const size_t taken = session_.write(from);
  flush();
  if (taken > 0) return {.bytes = taken};
  return over() ? ended() : StreamResult{.would_block = true};
}

void TlsStream::shutdown_write() {
  session_.close();
  shuts_down_ = true;
  flush();
}

// Waits.

bool TlsStream::readable() const {
  if (over() || session_.state() == TlsSession::State::kEnded) return true;
  return session_.state() == TlsSession::State::kOpen && session_.has_input() &&
         session_.output().empty();
}

bool TlsStream::writable() const {
  return over() || (session_.state() != TlsSession::State::kHandshake && session_.output().empty());
}

void TlsStream::want_read() {
  waits_[kRead] = true;
  if (readable()) return notify_later();
  wire_->want_read();
}

void TlsStream::want_write() {
  waits_[kWrite] = true;
  if (writable()) return notify_later();
  if (session_.state() == TlsSession::State::kHandshake) wire_->want_read();
  if (!session_.output().empty()) wire_->want_write();
}

void TlsStream::notify_later() {
  if (!due_.armed()) due_.arm(*reactor_, Nanoseconds::zero());
}

void TlsStream::on_readable() {
  if (session_.state() != TlsSession::State::kHandshake) {
    if (waits_[kRead]) {
      waits_[kRead] = false;
      events_->on_readable();
    }
    return;
  }
  shake();
  if (session_.state() == TlsSession::State::kHandshake && !over()) return wire_->want_read();
  notify();
}

void TlsStream::on_writable() {
  if (flush() || over()) notify();
}

// Ends the waits for what is ready. The last thing it does: the owner may destroy this.
void TlsStream::notify() {
  const bool read = waits_[kRead] && readable();
  const bool write = waits_[kWrite] && writable();
  // The handshake is over: the next bytes of the peer are payload.
  if (waits_[kRead] && !read && session_.state() != TlsSession::State::kHandshake) {
    wire_->want_read();
  }
  if (read && write) notify_later();
  if (read) {
    waits_[kRead] = false;
    events_->on_readable();
  } else if (write) {
    waits_[kWrite] = false;
    events_->on_writable();
  }
}

}  // namespace mrpool::uiwarp
