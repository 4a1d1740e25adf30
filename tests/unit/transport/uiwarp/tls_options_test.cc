// Every mistake in the options of TLS and in the files that they name is refused by name.
#include "transport/uiwarp/tls_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "mrpool/device.h"
#include "tests/unit/transport/uiwarp/tls_material.h"
#include "transport/uiwarp/open.h"
#include "transport/uiwarp/tls_context.h"

namespace mrpool::uiwarp::testing {
namespace {

using ::testing::HasSubstr;

TEST(TlsOptions, AreReadFromAnAddress) {
  const auto psk = parse_options("tls=psk&tls-psk=/etc/mrpool/psk&tls-identity=nqn.a:b&crc=off");
  ASSERT_TRUE(psk.ok()) << psk.status();
  EXPECT_EQ(psk->tls.mode, TlsMode::kPsk);
  EXPECT_EQ(psk->tls.psk, "/etc/mrpool/psk");
  EXPECT_EQ(psk->tls.identity, "nqn.a:b");
  EXPECT_FALSE(psk->crc);
  const auto cert = parse_options("tls=cert&tls-ca=ca&tls-cert=c&tls-key=k&tls-name=n");
  ASSERT_TRUE(cert.ok()) << cert.status();
  EXPECT_EQ(cert->tls, (TlsOptions{.mode = TlsMode::kCert,
                                   .psk = "",
                                   .identity = "",
                                   .cert = "c",
                                   .key = "k",
                                   .ca = "ca",
                                   .name = "n"}));
  EXPECT_EQ(parse_options("tls=off")->tls, TlsOptions{});
}

TEST(TlsOptions, MistakesAreRefusedByName) {
  const struct {
    const char* options;
    const char* why;
  } kWrong[] = {
      {"tls", "tls=: expected tls=off, tls=psk or tls=cert"},
      {"tls=on", "tls=on: expected tls=off, tls=psk or tls=cert"},
      {"tls=PSK", "expected tls=off"},
      {"tls=psk", "tls=psk needs tls-psk=FILE"},
      {"tls=psk&tls-psk", "tls-psk= has no value"},
      {"tls=psk&tls-psk=", "tls-psk= has no value"},
      {"tls-psk=f", "tls-psk=... needs tls=psk"},
      {"tls=cert&tls-psk=f", "tls-psk=... needs tls=psk"},
      {"tls-identity=a", "tls-identity=... needs tls=psk"},
      {"tls=cert", "tls=cert needs tls-cert=FILE and tls-key=FILE"},
      {"tls=cert&tls-cert=c", "needs tls-key=FILE"},
      {"tls=cert&tls-key=k", "needs tls-cert=FILE"},
      {"tls-ca=f", "tls-ca=... needs tls=cert"},
      {"tls=psk&tls-psk=f&tls-cert=c", "tls-cert=... needs tls=cert"},
      {"tls=psk&tls-psk=f&tls-name=n", "tls-name=... needs tls=cert"},
      {"tls-pks=f",
       "unknown uiwarp option \"tls-pks\"; there are crc, extensions, placement, "
       "poison, seed, tls, tls-psk"},
  };
  for (const auto& wrong : kWrong) {
    const auto options = parse_options(wrong.options);
    ASSERT_FALSE(options.ok()) << wrong.options;
    EXPECT_EQ(options.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(options.status().message()), HasSubstr(wrong.why)) << wrong.options;
  }
}

TEST(TlsOptions, VerbsRefusesThem) {
  const auto device = Device::open(*Address::parse("verbs://127.0.0.1:4420?tls=psk&tls-psk=f"));
  EXPECT_EQ(device.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(device.status().message()), HasSubstr("verbs has no TLS"));
  const auto other = Device::open(*Address::parse("verbs://127.0.0.1:4420?crc=off"));
  EXPECT_THAT(std::string(other.status().message()), HasSubstr("verbs has no options"));
}

std::string error_of(const TlsOptions& options) {
  const auto made = TlsContext::create(options);
  EXPECT_EQ(made.status().code(), absl::StatusCode::kInvalidArgument) << made.status();
  return std::string(made.status().message());
}

TEST(TlsFiles, OfKeysAreRefusedByLineAndWithoutTheKey) {
  TlsMaterial material;
  const std::string key(64, 'd');
  const struct {
    std::string content;
    const char* why;
  } kWrong[] = {
      {"", "has no key; write lines IDENTITY:KEY"},
      {"# nothing\n\n", "has no key"},
      {"host-1 " + key, "line 1 has no colon"},
      {":" + key, "line 1: an identity has 1 to 255 printable characters"},
      {"ho st:" + key, "an identity has 1 to 255"},
      {std::string(256, 'x') + ":" + key, "an identity has 1 to 255"},
      {"\n\nhost-1:" + key.substr(1), "line 3: the key is not 64 to 128 hexadecimal"},
      {"host-1:" + key.substr(2), "openssl rand -hex 32"},
      {"host-1:" + std::string(130, 'd'), "is not 64 to 128"},
      {"host-1:" + key.substr(1) + "g", "is not 64 to 128"},
      {"a:" + key + "\na:" + key + "\n", "line 2: 'a' has a key already"},
  };
  for (const auto& wrong : kWrong) {
    const std::string why = error_of(material.psk(wrong.content));
    EXPECT_THAT(why, HasSubstr(wrong.why)) << wrong.content;
    EXPECT_THAT(why, HasSubstr("uiwarp option tls-psk: "));
    EXPECT_EQ(why.find("dddddddd"), std::string::npos) << why;
  }
  TlsOptions unknown = material.psk();
  unknown.identity = "nobody";
  EXPECT_THAT(error_of(unknown), HasSubstr("tls-identity=nobody"));
}

TEST(TlsFiles, ThatOthersCanReadOrChangeAreRefused) {
  TlsMaterial material;
  TlsOptions options = material.psk();
  for (const mode_t mode : {0604, 0602, 0622}) {
    ASSERT_EQ(::chmod(options.psk.c_str(), mode), 0);
    EXPECT_THAT(error_of(options), HasSubstr("chmod 0600")) << mode;
  }
  TlsOptions certificates = material.certificates();
  ASSERT_EQ(::chmod(certificates.key.c_str(), 0644), 0);
  EXPECT_THAT(error_of(certificates), HasSubstr("others can read or change it"));
  ASSERT_EQ(::chmod(certificates.key.c_str(), 0600), 0);
  ASSERT_EQ(::chmod(certificates.ca.c_str(), 0666), 0);
  EXPECT_THAT(error_of(certificates), HasSubstr("others can change it; chmod go-w"));
}

TEST(TlsFiles, ThatAreNotThereOrNotFilesAreRefused) {
  TlsMaterial material;
  TlsOptions options = material.psk();
  options.psk = "/nowhere/psk";
  EXPECT_THAT(error_of(options), HasSubstr("/nowhere/psk cannot be opened: No such file"));
  options.psk = "/tmp";
  EXPECT_THAT(error_of(options), HasSubstr("is not a regular file"));
  options.psk = "credential:tls";
  ::unsetenv("CREDENTIALS_DIRECTORY");
  EXPECT_THAT(error_of(options), HasSubstr("LoadCredential=tls:FILE"));
  options.psk = "credential:../tls";
  EXPECT_THAT(error_of(options), HasSubstr("is not a name of a credential"));
}

TEST(TlsFiles, OfCredentialsAreReadWhateverTheirMode) {
  TlsMaterial material;
  TlsOptions options = material.psk();
  ASSERT_EQ(::chmod(options.psk.c_str(), 0444), 0);
  const size_t slash = options.psk.rfind('/');
  ::setenv("CREDENTIALS_DIRECTORY", options.psk.substr(0, slash).c_str(), 1);
  options.psk = "credential:" + options.psk.substr(slash + 1);
  EXPECT_TRUE(TlsContext::create(options).ok());
  ::unsetenv("CREDENTIALS_DIRECTORY");
}

TEST(TlsFiles, OfCertificatesAreChecked) {
  TlsMaterial material;
  const TlsOptions good = material.certificates();
  EXPECT_TRUE(TlsContext::create(good).ok());
  TlsOptions wrong = good;
  wrong.ca = material.file("no-ca", "nothing", 0644);
  EXPECT_THAT(error_of(wrong), HasSubstr("tls-ca=" + wrong.ca + ": there is no certificate in it"));
  wrong = good;
  wrong.cert = material.file("no-cert", "nothing", 0644);
  EXPECT_THAT(error_of(wrong), HasSubstr(": there is no certificate in it"));
  wrong = good;
  wrong.key = material.file("no-key", "nothing");
  EXPECT_THAT(error_of(wrong), HasSubstr("there is no private key in it"));
  wrong = good;
  wrong.key = material.certificates().key;
  EXPECT_THAT(error_of(wrong), HasSubstr("it is not the key of the certificate in " + good.cert));
}

TEST(TlsFiles, WithADamagedCertificateAfterTheFirstAreRefused) {
  TlsMaterial material;
  const TlsOptions good = material.certificates();
  const std::string damaged = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
  const auto with_damage = [&](const std::string& name, const std::string& path) {
    std::ifstream in(path);
    const std::string whole((std::istreambuf_iterator<char>(in)), {});
    EXPECT_FALSE(whole.empty());
    return material.file(name, "a remark\n" + whole + damaged, 0644);
  };
  TlsOptions wrong = good;
  wrong.ca = with_damage("bad-ca.pem", good.ca);
  EXPECT_THAT(error_of(wrong),
              HasSubstr("tls-ca=" + wrong.ca + ": certificate 2 in it is damaged"));
  wrong = good;
  wrong.cert = with_damage("bad-chain.pem", good.cert);
  EXPECT_THAT(error_of(wrong), HasSubstr(": certificate 2 in it is damaged"));
}

// As ssl-cert does it: root has chosen who is in the group.
TEST(TlsFiles, OfRootMayBeReadByTheirGroup) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  TlsMaterial material;
  const TlsOptions options = material.psk();
  ASSERT_EQ(::chown(options.psk.c_str(), 0, 65534), 0);
  ASSERT_EQ(::chmod(options.psk.c_str(), 0640), 0);
  EXPECT_TRUE(TlsContext::create(options).ok());
  ASSERT_EQ(::chmod(options.psk.c_str(), 0660), 0);
  EXPECT_THAT(error_of(options), HasSubstr("chmod 0600"));
}

}  // namespace
}  // namespace mrpool::uiwarp::testing
