#include "transport/uiwarp/tls_session.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mrpool::uiwarp {
namespace {

// Plain bytes in one record, at most; pieces that are smaller are gathered first.
constexpr size_t kRecordBytes = SSL3_RT_MAX_PLAIN_LENGTH;
// Of room(), until the handshake is over: strangers get no more.
constexpr size_t kFirstInputBytes = 16 * 1024;

constexpr std::byte kHandshakeRecord{22};
constexpr std::byte kAlertRecord{21};
// A fatal alert, "unexpected message", for a peer whose bytes OpenSSL does not answer.
constexpr std::array<unsigned char, 7> kUnexpected{21, 3, 3, 0, 2, 2, 10};

// A cipher suite whose hash is the one that pre-shared keys are for: TLS_AES_128_GCM_SHA256.
constexpr std::array<unsigned char, 2> kPskSuite{0x13, 0x01};

// A peer's text, for a message.
std::string shown(std::string_view text) {
  constexpr size_t kMost = 64;
  std::string out(text.substr(0, kMost));
  std::ranges::replace_if(
      out, [](char c) { return c < ' ' || c > '~'; }, '?');
  if (text.size() > kMost) out += "...";
  return out;
}

TlsSession& session_of(SSL* ssl) { return *static_cast<TlsSession*>(SSL_get_app_data(ssl)); }

// A pre-shared key as OpenSSL's session; null: out of memory.
SSL_SESSION* session_from(SSL* ssl, const TlsPsk& psk) {
  SSL_SESSION* const session = SSL_SESSION_new();
  const SSL_CIPHER* const suite = SSL_CIPHER_find(ssl, kPskSuite.data());
  const auto* const key = reinterpret_cast<const unsigned char*>(psk.key.text.data());
  if (session != nullptr && suite != nullptr &&
      SSL_SESSION_set1_master_key(session, key, psk.key.text.size()) == 1 &&
      SSL_SESSION_set_cipher(session, suite) == 1 &&
      SSL_SESSION_set_protocol_version(session, TLS1_3_VERSION) == 1) {
    return session;
  }
  SSL_SESSION_free(session);
  return nullptr;
}

bool is_address(const std::string& host) {
  ASN1_OCTET_STRING* const address = a2i_IPADDRESS(host.c_str());
  ASN1_OCTET_STRING_free(address);
  return address != nullptr;
}

}  // namespace

TlsSession::TlsSession(std::shared_ptr<const TlsContext> context, bool accepts,
                       const std::string& host)
    : context_(std::move(context)), accepts_(accepts), ssl_(context_->new_ssl(accepts)) {
  BIO* const wire = BIO_new(wire_method());
  if (ssl_ == nullptr || wire == nullptr) {
    BIO_free(wire);
    fail("TLS: out of memory");
    return;
  }
  BIO_set_data(wire, this);
  SSL_set_bio(ssl_, wire, wire);
  SSL_set_app_data(ssl_, this);
  if (accepts_) {
    SSL_set_accept_state(ssl_);
  } else {
    SSL_set_connect_state(ssl_);
    if (!expect_host(host)) fail("TLS: out of memory");
  }
}

TlsSession::~TlsSession() { SSL_free(ssl_); }

// The name that the certificate of the peer must have.
bool TlsSession::expect_host(const std::string& host) {
  const TlsOptions& options = context_->options();
  if (options.mode != TlsMode::kCert) return true;
  host_ = options.name.empty() ? host : options.name;
  if (host_.empty()) host_ = "127.0.0.1";
  host_ = host_.substr(0, host_.find('%'));  // the zone of an IPv6 address is this machine's
  X509_VERIFY_PARAM* const wanted = SSL_get0_param(ssl_);
  if (is_address(host_)) return X509_VERIFY_PARAM_set1_ip_asc(wanted, host_.c_str()) == 1;
  X509_VERIFY_PARAM_set_hostflags(
      wanted, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
  return X509_VERIFY_PARAM_set1_host(wanted, host_.c_str(), host_.size()) == 1 &&
         SSL_set_tlsext_host_name(ssl_, host_.c_str()) == 1;
}

// The wire.

BIO_METHOD* TlsSession::wire_method() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "mrpool wire");
    BIO_meth_set_read_ex(made, &TlsSession::wire_read);
    BIO_meth_set_write_ex(made, &TlsSession::wire_write);
    BIO_meth_set_ctrl(made, [](BIO*, int command, long, void*) -> long {
      return command == BIO_CTRL_FLUSH ? 1 : 0;
    });
    BIO_meth_set_create(made, [](BIO* bio) {
      BIO_set_init(bio, 1);
      return 1;
    });
    return made;
  }();
  return method;
}

int TlsSession::wire_read(BIO* bio, char* to, size_t bytes, size_t* done) {
  auto& self = *static_cast<TlsSession*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  *done = std::min(bytes, self.end_ - self.begin_);
  if (*done == 0) {
    BIO_set_retry_read(bio);
    return 0;
  }
  std::memcpy(to, self.input_.data() + self.begin_, *done);
  self.begin_ += *done;
  return 1;
}

int TlsSession::wire_write(BIO* bio, const char* from, size_t bytes, size_t* done) {
  auto& self = *static_cast<TlsSession*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  *done = 0;
  if (!self.put(from, bytes)) {
    BIO_set_retry_write(bio);
    return 0;
  }
  *done = bytes;
  return 1;
}

bool TlsSession::put(const void* from, size_t bytes) {
  if (output_.size() - output_sent_ + bytes > kOutputBytes) return false;
  const auto* const at = static_cast<const std::byte*>(from);
  output_.insert(output_.end(), at, at + bytes);
  return true;
}

std::span<std::byte> TlsSession::room() {
  const size_t size = state_ == State::kHandshake ? kFirstInputBytes : kInputBytes;
  if (hungry()) {
    begin_ = end_ = 0;
    if (input_.size() < size) input_.resize(size);
  }
  return std::span(input_).subspan(end_);
}

void TlsSession::received(size_t bytes) {
  end_ += bytes;
  if (bytes == 0 || std::exchange(began_, true)) return;
  if (not_tls()) begin_ = end_;
}

// By the first byte: a record of a handshake, or of the alert that refuses one.
bool TlsSession::not_tls() {
  const std::byte first = input_[begin_];
  if (first == kHandshakeRecord || (!accepts_ && first == kAlertRecord)) return false;
  const bool mpa = first == std::byte{'M'};
  put(kUnexpected.data(), kUnexpected.size());
  fail(mpa ? "TLS: the peer does not use it; add tls=... to its address"
           : "TLS: the peer does not speak it");
  return true;
}

void TlsSession::wire_ended() {
  if (state_ == State::kEnded) return;
  if (state_ == State::kFailed) return;
  cut_ = true;
  if (state_ == State::kOpen)
    return fail("TLS: the stream was cut: it ended without a close_notify");
  fail("TLS: the peer closed in the handshake; perhaps the peer does not use TLS");
}

void TlsSession::sent(size_t bytes) {
  output_sent_ += bytes;
  if (output_sent_ < output_.size()) return;
  output_.clear();
  output_sent_ = 0;
}

// The connection.

bool TlsSession::shake() {
  if (state_ != State::kHandshake) return state_ != State::kFailed;
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_);
  if (result != 1) {
    failed_call(result);
    return false;
  }
  if (!check_established()) return false;
  state_ = State::kOpen;
  return true;
}

bool TlsSession::check_established() {
  // A peer could have neither proven a key nor shown a certificate only by a fault of OpenSSL's.
  const bool psk = context_->options().mode == TlsMode::kPsk;
  if (psk ? SSL_session_reused(ssl_) == 1 : SSL_session_reused(ssl_) == 0) return true;
  fail("TLS: the peer has not proven who it is");
  return false;
}

size_t TlsSession::read(std::span<const iovec> to, size_t skip) {
  size_t total = 0;
  for (const iovec& piece : to) {
    if (skip >= piece.iov_len) {
      skip -= piece.iov_len;
      continue;
    }
    while (skip < piece.iov_len) {
      if (state_ != State::kOpen || !has_input()) return total;
      size_t got = 0;
      ERR_clear_error();
      const int result =
          SSL_read_ex(ssl_, static_cast<char*>(piece.iov_base) + skip, piece.iov_len - skip, &got);
      if (result != 1) {
        failed_call(result);
        return total;
      }
      skip += got;
      total += got;
    }
    skip = 0;
  }
  return total;
}

size_t TlsSession::write(std::span<const iovec> from) {
  std::array<char, kRecordBytes> record;
  size_t total = 0;
  size_t skip = 0;  // of the first piece
  while (!from.empty() && total < kMaxWrite && state_ != State::kFailed && !closed_) {
    const char* at = static_cast<const char*>(from.front().iov_base) + skip;
    size_t bytes = from.front().iov_len - skip;
    if (bytes >= kRecordBytes || from.size() == 1) {
      bytes = std::min(bytes, kMaxWrite - total);
      skip += bytes;
      if (skip == from.front().iov_len) {
        from = from.subspan(1);
        skip = 0;
      }
    } else {
      bytes = 0;
      const size_t most = std::min(kRecordBytes, kMaxWrite - total);
      while (!from.empty() && bytes < most) {
        const size_t part = std::min(from.front().iov_len - skip, most - bytes);
        std::memcpy(record.data() + bytes, static_cast<const char*>(from.front().iov_base) + skip,
                    part);
        bytes += part;
        skip += part;
        if (skip < from.front().iov_len) break;
        from = from.subspan(1);
        skip = 0;
      }
      at = record.data();
    }
    if (bytes == 0) continue;
    size_t done = 0;
    ERR_clear_error();
    const int result = SSL_write_ex(ssl_, at, bytes, &done);
    if (result != 1) {
      failed_call(result);
      return total;
    }
    total += done;
  }
  written_ += total;
  if (written_ >= key_bytes_) update_key(/*of_peer=*/false);
  return total;
}

void TlsSession::update_key(bool of_peer) {
  written_ = 0;
  SSL_key_update(ssl_, of_peer ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
}

void TlsSession::close() {
  if (closed_ || (state_ != State::kOpen && state_ != State::kEnded)) return;
  closed_ = true;
  ERR_clear_error();
  SSL_shutdown(ssl_);
}

bool TlsSession::has_input() const { return !hungry() || SSL_pending(ssl_) > 0; }

size_t TlsSession::memory_bytes() const {
  // OpenSSL's own: one record each way, and what belongs to it.
  constexpr size_t kOfOpenssl = 40 * 1024;
  return sizeof(*this) + input_.capacity() + output_.capacity() + kOfOpenssl;
}

// Failures.

void TlsSession::failed_call(int result) {
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return;
    case SSL_ERROR_ZERO_RETURN:
      state_ = State::kEnded;
      return;
    default:
      fail(absl::StrCat("TLS: ", reason()));
  }
}

void TlsSession::fail(std::string why) {
  if (state_ == State::kFailed) return;
  state_ = State::kFailed;
  failure_ = std::move(why);
  begin_ = end_;
}

std::string TlsSession::reason() const {
  const unsigned long error = ERR_peek_last_error();
  const int code = ERR_GET_REASON(error);
  const bool of_tls = ERR_GET_LIB(error) == ERR_LIB_SSL;
  if (of_tls && code > SSL_AD_REASON_OFFSET) return alert_reason(code - SSL_AD_REASON_OFFSET);
  if (of_tls && code == SSL_R_CERTIFICATE_VERIFY_FAILED) {
    if (context_->options().mode == TlsMode::kPsk) {
      return "the peer has a certificate and no pre-shared key; tls=cert is for such peers";
    }
    const long verdict = SSL_get_verify_result(ssl_);
    std::string text =
        absl::StrCat("the peer's certificate is refused: ", X509_verify_cert_error_string(verdict));
    if (verdict == X509_V_ERR_HOSTNAME_MISMATCH || verdict == X509_V_ERR_IP_ADDRESS_MISMATCH) {
      absl::StrAppend(&text, ": it is not for '", host_, "' (tls-name=NAME expects another name)");
    }
    return text;
  }
  if (of_tls && code == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
    return "the peer has shown no certificate; its address needs tls-cert and tls-key";
  }
  if (of_tls && code == SSL_R_BINDER_DOES_NOT_VERIFY) {
    return "the peer has another key for its identity";
  }
  if (!unknown_identity_.empty()) {
    return absl::StrCat("there is no key for the identity '", unknown_identity_, "' of the peer");
  }
  if (of_tls && accepts_ && context_->options().mode == TlsMode::kPsk &&
      (code == SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM || code == SSL_R_NO_SHARED_CIPHER)) {
    return "the peer has no pre-shared key; its address needs tls=psk";
  }
  const char* const text = ERR_reason_error_string(error);
  return text != nullptr ? text : "OpenSSL has failed";
}

// What the peer has sent.
std::string TlsSession::alert_reason(int alert) const {
  const bool psk = context_->options().mode == TlsMode::kPsk;
  if (alert == SSL_AD_CERTIFICATE_REQUIRED) {
    return "the peer demands a certificate; the address needs tls-cert and tls-key";
  }
  const char* hint = "";
  if (alert == SSL_AD_HANDSHAKE_FAILURE) {
    hint = psk ? "; perhaps it has no key for the identity of this side"
               : "; perhaps it has no certificate";
  } else if (psk && (alert == SSL_AD_ILLEGAL_PARAMETER || alert == SSL_AD_DECRYPT_ERROR)) {
    hint = "; it has another key for the identity of this side";
  } else if (psk && alert == SSL_AD_UNKNOWN_CA) {
    hint = "; it has a pre-shared key and expects one, not a certificate";
  } else if (!psk && alert == SSL_AD_UNKNOWN_CA) {
    hint = ", of this side's certificate, or it expects pre-shared keys";
  }
  return absl::StrCat("the peer refuses: ", SSL_alert_desc_string_long(alert), hint);
}

// Callbacks of OpenSSL.

int TlsSession::find_psk(SSL* ssl, const unsigned char* identity, size_t bytes,
                         SSL_SESSION** session) {
  TlsSession& self = session_of(ssl);
  *session = nullptr;
  const std::string_view name(reinterpret_cast<const char*>(identity), bytes);
  const TlsPsk* const psk = self.context_->find_psk(name);
  if (psk == nullptr) {
    self.unknown_identity_ = bytes == 0 ? "(empty)" : shown(name);
    return 1;  // the handshake goes on without it, and ends for want of a certificate
  }
  *session = session_from(ssl, *psk);
  return *session != nullptr ? 1 : 0;
}

int TlsSession::use_psk(SSL* ssl, const EVP_MD* hash, const unsigned char** identity, size_t* bytes,
                        SSL_SESSION** session) {
  *session = nullptr;
  *identity = nullptr;
  *bytes = 0;
  if (hash != nullptr && EVP_MD_get_type(hash) != NID_sha256) return 1;
  const TlsPsk* const psk = session_of(ssl).context_->own_psk();
  if (psk == nullptr) return 1;
  *session = session_from(ssl, *psk);
  if (*session == nullptr) return 0;
  *identity = reinterpret_cast<const unsigned char*>(psk->identity.data());
  *bytes = psk->identity.size();
  return 1;
}

}  // namespace mrpool::uiwarp
