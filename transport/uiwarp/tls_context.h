// What the TLS sessions of one device share: keys, certificates, and OpenSSL's two contexts.
//
// TLS 1.3 only. Pre-shared keys go with an ephemeral key exchange, so a key that leaks later opens
// no recorded connection. There are no tickets, no early data and no resumption.
//
// Thread safety: any thread, once it is made.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "transport/uiwarp/tls_files.h"
#include "transport/uiwarp/tls_options.h"

struct ssl_ctx_st;
struct ssl_st;

namespace mrpool::uiwarp {

class TlsContext {
 public:
  // Reads the files. InvalidArgument names the file or the option that is wrong.
  static absl::StatusOr<std::shared_ptr<const TlsContext>> create(const TlsOptions& options);
  ~TlsContext();
  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  const TlsOptions& options() const { return options_; }
  // InvalidArgument: the option that a side which accepts, or one that connects, needs.
  absl::Status check_accepts() const;
  absl::Status check_connects() const;

  // For TlsSession: a new SSL, and the keys.
  ssl_st* new_ssl(bool accepts) const;
  const TlsPsk* find_psk(std::string_view identity) const;
  const TlsPsk* own_psk() const;

 private:
  explicit TlsContext(const TlsOptions& options) : options_(options) {}
  absl::Status load();
  absl::Status load_psks();
  absl::Status load_certificates();
  absl::Status load_authorities();
  absl::Status load_own_certificate();

  const TlsOptions options_;
  std::vector<TlsPsk> psks_;
  ssl_ctx_st* acceptor_ = nullptr;
  ssl_ctx_st* connector_ = nullptr;
};

}  // namespace mrpool::uiwarp
