// One side of a TLS 1.3 connection without I/O: bytes of the wire in and out, plain bytes in and
// out. OpenSSL does the protocol.
//
//   wire ─▶ room(), received() ─▶ read() ─▶ plain
//   plain ─▶ write() ─▶ output(), sent() ─▶ wire
//
// The handshake goes on inside shake(), which needs bytes of the peer. Its failure, and any later
// one, is final and has a text for people.
//
// Limits: kInputBytes of the wire are kept, and kOutputBytes until they are sent.
//
// Thread safety: one thread at a time.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "transport/uiwarp/tls_context.h"

struct bio_method_st;
struct bio_st;
struct evp_md_st;
struct ssl_session_st;

namespace mrpool::uiwarp {

class TlsSession {
 public:
  static constexpr size_t kInputBytes = 64 * 1024;
  static constexpr size_t kMaxWrite = 128 * 1024;
  // A peer that asks for more key updates than it reads answers of is not read meanwhile.
  static constexpr size_t kOutputBytes = 2 * kMaxWrite;
  // After so many bytes the sender changes its key (RFC 8446 §5.5: 2^24.5 full records of AES-GCM).
  static constexpr uint64_t kKeyBytes = uint64_t{1} << 36;

  enum class State : uint8_t {
    kHandshake,
    kOpen,
    kEnded,  // the peer has said that it sends no more
    kFailed,
  };

  // A side that accepts: `host` is empty. One that connects: the host of the address it connects
  // to.
  TlsSession(std::shared_ptr<const TlsContext> context, bool accepts, const std::string& host);
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  State state() const { return state_; }
  bool failed() const { return state_ == State::kFailed; }
  // Why, for people.
  const std::string& failure() const { return failure_; }
  // It failed because the wire ended without a close_notify.
  bool cut() const { return cut_; }

  // Where bytes of the wire are to go: never empty while `hungry()`.
  std::span<std::byte> room();
  void received(size_t bytes);
  // The wire has ended. Without the peer's word that it sends no more, the stream was cut.
  void wire_ended();
  // Everything that came was taken.
  bool hungry() const { return begin_ == end_; }

  // For the wire.
  std::span<const std::byte> output() const { return std::span(output_).subspan(output_sent_); }
  void sent(size_t bytes);

  // Goes on with the handshake. True: it is over, and well.
  bool shake();
  // Plain bytes into [skip, end) of the list; returns how many.
  size_t read(std::span<const iovec> to, size_t skip);
  // Takes up to kMaxWrite plain bytes, when output() is empty; returns how many.
  size_t write(std::span<const iovec> from);
  // No more will be written.
  void close();

  // Plain bytes, or something that may become some, wait for read().
  bool has_input() const;
  size_t memory_bytes() const;
  // The key of the sender changes now; of the other side, too, if asked.
  void update_key(bool of_peer);
  void set_key_bytes_for_test(uint64_t bytes) { key_bytes_ = bytes; }

  // Callbacks of OpenSSL.
  static int find_psk(ssl_st* ssl, const unsigned char* identity, size_t bytes,
                      ssl_session_st** session);
  static int use_psk(ssl_st* ssl, const evp_md_st* hash, const unsigned char** identity,
                     size_t* bytes, ssl_session_st** session);

 private:
  static bio_method_st* wire_method();
  static int wire_read(bio_st* bio, char* to, size_t bytes, size_t* done);
  static int wire_write(bio_st* bio, const char* from, size_t bytes, size_t* done);

  bool expect_host(const std::string& host);
  bool not_tls();
  bool check_established();
  void failed_call(int result);
  void fail(std::string why);
  std::string reason() const;
  std::string alert_reason(int alert) const;
  bool put(const void* from, size_t bytes);

  const std::shared_ptr<const TlsContext> context_;
  const bool accepts_;
  std::string host_;
  ssl_st* ssl_;
  State state_ = State::kHandshake;
  bool closed_ = false;  // close() was called
  bool began_ = false;   // the peer's first bytes came
  bool cut_ = false;
  std::string failure_;
  std::string unknown_identity_;
  std::vector<std::byte> input_;  // [begin_, end_) waits for OpenSSL
  size_t begin_ = 0;
  size_t end_ = 0;
  std::vector<std::byte> output_;
  size_t output_sent_ = 0;
  uint64_t key_bytes_ = kKeyBytes;
  uint64_t written_ = 0;  // with this key
};

}  // namespace mrpool::uiwarp
