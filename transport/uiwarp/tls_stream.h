// A stream that carries TLS over another one: a TlsSession, and what moves its bytes.
//
// Thread safety: as stream.h.
#pragma once

#include <memory>
#include <string>

#include "mrpool/callback.h"
#include "transport/uiwarp/stream.h"
#include "transport/uiwarp/tls_session.h"

namespace mrpool::uiwarp {

class TlsStream final : public Stream, private StreamEvents {
 public:
  TlsStream(std::unique_ptr<Stream> wire, std::shared_ptr<const TlsContext> context, bool accepts,
            const std::string& host)
      : wire_(std::move(wire)), session_(std::move(context), accepts, host) {}
  ~TlsStream() override;

  StreamResult readv(std::span<const iovec> to) override;
  StreamResult writev(std::span<const iovec> from) override;
  void want_read() override;
  void want_write() override;
  void stop_watching() override { wire_->stop_watching(); }
  void shutdown_write() override;
  bool peer_closed() const override { return wire_->peer_closed(); }
  void set_keep_alive(const KeepAlive& keep_alive) override { wire_->set_keep_alive(keep_alive); }
  void attach(Reactor& reactor, StreamEvents& events) override;
  void detach() override;
  std::string local_name() const override { return wire_->local_name(); }
  std::string peer_name() const override { return wire_->peer_name(); }
  std::string error_text(int error) const override;
  size_t memory_bytes() const override { return sizeof(*this) + session_.memory_bytes(); }

 private:
  enum Direction { kRead, kWrite };

  void on_readable() override;
  void on_writable() override;
  bool shake();
  bool fill();
  bool flush();
  StreamResult ended() const;
  bool over() const { return session_.failed() || error_ != 0; }
  bool readable() const;
  bool writable() const;
  void notify();
  void notify_later();

  std::unique_ptr<Stream> wire_;
  TlsSession session_;
  Reactor* reactor_ = nullptr;
  StreamEvents* events_ = nullptr;
  Bound<Timer, &TlsStream::notify> due_{*this};  // something is ready, though the wire is not
  bool waits_[2] = {false, false};
  bool drained_ = false;     // the wire gave less than it was asked for
  bool shuts_down_ = false;  // the wire's turn comes once all is sent
  int error_ = 0;            // of the wire
};

}  // namespace mrpool::uiwarp
