#include "transport/uiwarp/tls_context.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "transport/uiwarp/tls_session.h"

namespace mrpool::uiwarp {
namespace {

// A pre-shared key has a hash, SHA-256 by default (RFC 8446 §4.2.11). The cipher suite must have
// the same.
constexpr char kPskSuites[] = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256";
constexpr char kCertSuites[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
// Elliptic curves only: of a group such as ffdhe8192, a stranger's first message would take a tenth
// of a second of the thread that moves everybody's data.
constexpr char kGroups[] = "X25519:P-256:P-384";

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Bio = std::unique_ptr<BIO, Deleter<&BIO_free_all>>;
using Certificate = std::unique_ptr<X509, Deleter<&X509_free>>;
using PrivateKey = std::unique_ptr<EVP_PKEY, Deleter<&EVP_PKEY_free>>;

absl::Status bad(absl::string_view option, const std::string& place, absl::string_view why) {
  return absl::InvalidArgumentError(absl::StrCat("uiwarp option ", option, "=", place, ": ", why));
}

absl::StatusOr<TlsSecret> read(absl::string_view option, const std::string& place, bool secret) {
  absl::StatusOr<TlsSecret> content = read_tls_file(place, secret);
  if (content.ok()) return content;
  return absl::InvalidArgumentError(
      absl::StrCat("uiwarp option ", option, ": ", content.status().message()));
}

Bio bio_over(const TlsSecret& content) {
  return Bio(BIO_new_mem_buf(content.text.data(), static_cast<int>(content.text.size())));
}

// A key with a passphrase is refused: there is nobody to type it.
int no_passphrase(char*, int, int, void*) { return -1; }

// Whether reading PEM objects one after the other stopped at the end of the file, and not at one
// that is damaged.
bool at_end() { return ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE; }

SSL_CTX* new_context(bool accepts, TlsMode mode) {
  SSL_CTX* const context = SSL_CTX_new(accepts ? TLS_server_method() : TLS_client_method());
  if (context == nullptr) return nullptr;
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_ciphersuites(context, mode == TlsMode::kPsk ? kPskSuites : kCertSuites);
  SSL_CTX_set1_groups_list(context, kGroups);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_clear_options(context, SSL_OP_ENABLE_MIDDLEBOX_COMPAT);
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_COMPRESSION);
  // A client of pre-shared keys has no authorities: it takes no certificate.
  if (!accepts) SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  return context;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const TlsContext>> TlsContext::create(const TlsOptions& options) {
  std::shared_ptr<TlsContext> context(new TlsContext(options));
  if (absl::Status status = context->load(); !status.ok()) return status;
  return std::shared_ptr<const TlsContext>(std::move(context));
}

TlsContext::~TlsContext() {
  SSL_CTX_free(acceptor_);
  SSL_CTX_free(connector_);
}

absl::Status TlsContext::load() {
  acceptor_ = new_context(/*accepts=*/true, options_.mode);
  connector_ = new_context(/*accepts=*/false, options_.mode);
  if (acceptor_ == nullptr || connector_ == nullptr) {
    return absl::UnavailableError("uiwarp option tls: OpenSSL offers no TLS 1.3");
  }
  const absl::Status status = options_.mode == TlsMode::kPsk ? load_psks() : load_certificates();
  ERR_clear_error();
  return status;
}

absl::Status TlsContext::load_psks() {
  const absl::StatusOr<TlsSecret> content = read("tls-psk", options_.psk, /*secret=*/true);
  if (!content.ok()) return content.status();
  absl::StatusOr<std::vector<TlsPsk>> psks = parse_psks(content->text, options_.psk);
  if (!psks.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("uiwarp option tls-psk: ", psks.status().message()));
  }
  psks_ = *std::move(psks);
  if (!options_.identity.empty() && find_psk(options_.identity) == nullptr) {
    return bad("tls-identity", options_.identity,
               absl::StrCat(options_.psk, " has no key of that identity"));
  }
  SSL_CTX_set_psk_find_session_callback(acceptor_, &TlsSession::find_psk);
  SSL_CTX_set_psk_use_session_callback(connector_, &TlsSession::use_psk);
  return absl::OkStatus();
}

absl::Status TlsContext::load_certificates() {
  if (!options_.ca.empty()) {
    if (absl::Status status = load_authorities(); !status.ok()) return status;
    SSL_CTX_set_verify(acceptor_, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  return options_.cert.empty() ? absl::OkStatus() : load_own_certificate();
}

absl::Status TlsContext::load_authorities() {
  const absl::StatusOr<TlsSecret> content = read("tls-ca", options_.ca, /*secret=*/false);
  if (!content.ok()) return content.status();
  const Bio bio = bio_over(*content);
  size_t count = 0;
  while (Certificate authority{PEM_read_bio_X509(bio.get(), nullptr, &no_passphrase, nullptr)}) {
    for (SSL_CTX* context : {acceptor_, connector_}) {
      X509_STORE_add_cert(SSL_CTX_get_cert_store(context), authority.get());
    }
    SSL_CTX_add_client_CA(acceptor_, authority.get());
    ++count;
  }
  if (count == 0) return bad("tls-ca", options_.ca, "there is no certificate in it (PEM)");
  if (at_end()) return absl::OkStatus();
  return bad("tls-ca", options_.ca, absl::StrCat("certificate ", count + 1, " in it is damaged"));
}

absl::Status TlsContext::load_own_certificate() {
  const absl::StatusOr<TlsSecret> chain = read("tls-cert", options_.cert, /*secret=*/false);
  if (!chain.ok()) return chain.status();
  const absl::StatusOr<TlsSecret> secret = read("tls-key", options_.key, /*secret=*/true);
  if (!secret.ok()) return secret.status();
  const PrivateKey key(
      PEM_read_bio_PrivateKey(bio_over(*secret).get(), nullptr, &no_passphrase, nullptr));
  if (key == nullptr) {
    return bad("tls-key", options_.key,
               "there is no private key in it (PEM, without a passphrase)");
  }
  const Bio bio = bio_over(*chain);
  const Certificate own(PEM_read_bio_X509(bio.get(), nullptr, &no_passphrase, nullptr));
  if (own == nullptr) {
    return bad("tls-cert", options_.cert, "there is no certificate in it (PEM)");
  }
  if (X509_check_private_key(own.get(), key.get()) != 1) {
    return bad("tls-key", options_.key,
               absl::StrCat("it is not the key of the certificate in ", options_.cert));
  }
  for (SSL_CTX* context : {acceptor_, connector_}) {
    if (SSL_CTX_use_certificate(context, own.get()) != 1 ||
        SSL_CTX_use_PrivateKey(context, key.get()) != 1) {
      return bad("tls-cert", options_.cert,
                 "OpenSSL does not take it: its key is too short or of a kind that TLS 1.3 lacks");
    }
  }
  size_t count = 1;
  while (Certificate issuer{PEM_read_bio_X509(bio.get(), nullptr, &no_passphrase, nullptr)}) {
    for (SSL_CTX* context : {acceptor_, connector_}) {
      SSL_CTX_add1_chain_cert(context, issuer.get());
    }
    ++count;
  }
  if (at_end()) return absl::OkStatus();
  return bad("tls-cert", options_.cert,
             absl::StrCat("certificate ", count + 1, " in it is damaged"));
}

absl::Status TlsContext::check_accepts() const {
  if (options_.mode == TlsMode::kPsk || !options_.cert.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "uiwarp option tls=cert: accepting connections needs tls-cert=FILE and tls-key=FILE");
}

absl::Status TlsContext::check_connects() const {
  if (options_.mode == TlsMode::kCert && options_.ca.empty()) {
    return absl::InvalidArgumentError(
        "uiwarp option tls=cert: connecting needs tls-ca=FILE, the authorities of the peer");
  }
  if (options_.mode == TlsMode::kPsk && own_psk() == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("uiwarp option tls=psk: ", options_.psk,
                     " has several identities; tls-identity=NAME chooses one to connect with"));
  }
  return absl::OkStatus();
}

SSL* TlsContext::new_ssl(bool accepts) const { return SSL_new(accepts ? acceptor_ : connector_); }

const TlsPsk* TlsContext::find_psk(std::string_view identity) const {
  const auto found = std::ranges::find(psks_, identity, &TlsPsk::identity);
  return found == psks_.end() ? nullptr : &*found;
}

const TlsPsk* TlsContext::own_psk() const {
  if (!options_.identity.empty()) return find_psk(options_.identity);
  return psks_.size() == 1 ? &psks_.front() : nullptr;
}

}  // namespace mrpool::uiwarp
