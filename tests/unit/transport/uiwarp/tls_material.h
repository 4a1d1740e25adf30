// Keys and certificates for tests of TLS: made when they are needed, in a folder that goes with
// them.
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "transport/uiwarp/tls_options.h"

namespace mrpool::uiwarp::testing {

class TlsMaterial {
 public:
  // The content of a certificate.
  struct Subject {
    std::string names = "IP:127.0.0.1,DNS:localhost";  // subjectAltName
    long from_seconds = -3600;
    long to_seconds = 3600;
    std::string purpose = "serverAuth,clientAuth";
  };
  // A certificate and its key, in files.
  struct Pair {
    std::string cert;
    std::string key;
  };

  TlsMaterial() {
    const char* const base = std::getenv("TEST_TMPDIR");
    std::string pattern = std::string(base != nullptr ? base : "/tmp") + "/tls-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    folder_ = pattern;
    authority_key_.reset(EVP_EC_gen("P-256"));
    authority_.reset(make(authority_key_.get(),
                          "CN=Authority " + folder_.substr(folder_.size() - 6), {},
                          /*authority=*/true));
    ca = file("ca.pem", pem(authority_.get()), 0644);
  }
  ~TlsMaterial() { std::filesystem::remove_all(folder_); }
  TlsMaterial(const TlsMaterial&) = delete;
  TlsMaterial& operator=(const TlsMaterial&) = delete;

  std::string file(const std::string& name, const std::string& content, mode_t mode = 0600) {
    const std::string path = folder_ + "/" + name;
    std::FILE* const out = std::fopen(path.c_str(), "w");
    if (out == nullptr || std::fwrite(content.data(), 1, content.size(), out) != content.size() ||
        std::fclose(out) != 0 || ::chmod(path.c_str(), mode) != 0) {
      std::abort();
    }
    return path;
  }

  Pair signed_pair(const std::string& name, const Subject& subject) {
    const Key key(EVP_EC_gen("P-256"));
    const Certificate cert(make(key.get(), "CN=" + name, subject, /*authority=*/false));
    return {.cert = file(name + ".pem", pem(cert.get()), 0644),
            .key = file(name + ".key", pem(key.get()))};
  }
  Pair signed_pair(const std::string& name) { return signed_pair(name, {}); }

  // Options of both kinds, for a side that may do everything.
  TlsOptions psk(const std::string& lines = std::string("host-1:") + std::string(64, 'a') + "\n") {
    TlsOptions options;
    options.mode = TlsMode::kPsk;
    options.psk = file("psk-" + std::to_string(++count_), lines);
    return options;
  }
  TlsOptions certificates() {
    const Pair pair = signed_pair("peer-" + std::to_string(++count_));
    TlsOptions options;
    options.mode = TlsMode::kCert;
    options.cert = pair.cert;
    options.key = pair.key;
    options.ca = ca;
    return options;
  }

  std::string ca;

 private:
  template <auto Free>
  struct Deleter {
    template <typename T>
    void operator()(T* object) const {
      Free(object);
    }
  };
  using Key = std::unique_ptr<EVP_PKEY, Deleter<&EVP_PKEY_free>>;
  using Certificate = std::unique_ptr<X509, Deleter<&X509_free>>;
  using Bio = std::unique_ptr<BIO, Deleter<&BIO_free_all>>;

  static std::string text_of(BIO* bio) {
    char* at = nullptr;
    const long bytes = BIO_get_mem_data(bio, &at);
    return {at, static_cast<size_t>(bytes)};
  }
  static std::string pem(X509* certificate) {
    const Bio bio(BIO_new(BIO_s_mem()));
    PEM_write_bio_X509(bio.get(), certificate);
    return text_of(bio.get());
  }
  static std::string pem(EVP_PKEY* key) {
    const Bio bio(BIO_new(BIO_s_mem()));
    PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
    return text_of(bio.get());
  }

  static void extend(X509* certificate, int kind, const std::string& value) {
    X509_EXTENSION* const made = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value.c_str());
    if (made == nullptr) std::abort();
    X509_add_ext(certificate, made, -1);
    X509_EXTENSION_free(made);
  }

  X509* make(EVP_PKEY* key, const std::string& name, const Subject& subject, bool authority) {
    X509* const made = X509_new();
    X509_set_version(made, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made), ++count_);
    X509_gmtime_adj(X509_getm_notBefore(made), subject.from_seconds);
    X509_gmtime_adj(X509_getm_notAfter(made), subject.to_seconds);
    X509_set_pubkey(made, key);
    X509_NAME* const subject_name = X509_get_subject_name(made);
    X509_NAME_add_entry_by_txt(subject_name, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>(name.c_str() + 3), -1, -1, 0);
    X509_set_issuer_name(made, authority ? subject_name : X509_get_subject_name(authority_.get()));
    extend(made, NID_basic_constraints, authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (!authority) {
      extend(made, NID_subject_alt_name, subject.names);
      extend(made, NID_ext_key_usage, subject.purpose);
    }
    X509_sign(made, authority_key_.get(), EVP_sha256());
    return made;
  }

  std::string folder_;
  Key authority_key_;
  Certificate authority_;
  int count_ = 0;
};

}  // namespace mrpool::uiwarp::testing
