// TLS sessions against each other, without I/O.
#include "transport/uiwarp/tls_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/ssl.h>

#include <cstring>
#include <random>
#include <string>

#include "tests/unit/transport/uiwarp/tls_material.h"

namespace mrpool::uiwarp::testing {
namespace {

using ::testing::HasSubstr;
using State = TlsSession::State;

std::shared_ptr<const TlsContext> context_of(const TlsOptions& options) {
  auto made = TlsContext::create(options);
  EXPECT_TRUE(made.ok()) << made.status();
  return made.ok() ? *made : nullptr;
}

iovec piece_of(std::string& text) { return {text.data(), text.size()}; }

// A side that connects and one that accepts, with a wire between them.
struct Link {
  Link(const TlsOptions& connects, const TlsOptions& accepts, const std::string& host = "127.0.0.1")
      : client(context_of(connects), false, host), server(context_of(accepts), true, "") {}

  // Moves at most `most` bytes. False: there were none.
  static bool carry(TlsSession& from, TlsSession& to, size_t most) {
    const auto out = from.output();
    if (out.empty() || !to.hungry()) return false;
    const auto room = to.room();
    const size_t n = std::min({out.size(), room.size(), most});
    std::memcpy(room.data(), out.data(), n);
    from.sent(n);
    to.received(n);
    return true;
  }

  void shake(size_t most = 1 << 20) {
    bool moved = true;
    while (moved) {
      client.shake();
      server.shake();
      moved = carry(client, server, most) | carry(server, client, most);
    }
  }
  bool open() const { return client.state() == State::kOpen && server.state() == State::kOpen; }

  // What `to` has read in the end of `text`, which `from` has written.
  static std::string transfer(TlsSession& from, TlsSession& to, std::string text, size_t most,
                              size_t read_size = 5000) {
    std::string got;
    size_t written = 0;
    for (int idle = 0; idle < 3; ++idle) {
      if (from.output().empty() && written < text.size()) {
        const iovec rest{text.data() + written, text.size() - written};
        written += from.write({&rest, 1});
        idle = 0;
      }
      if (carry(from, to, most)) idle = 0;
      std::string room(read_size, '\0');
      const iovec piece = piece_of(room);
      const size_t n = to.read({&piece, 1}, 0);
      got.append(room, 0, n);
      if (n > 0) idle = 0;
    }
    return got;
  }

  TlsSession client;
  TlsSession server;
};

std::string random_text(size_t bytes) {
  std::mt19937 random(7);
  std::string text(bytes, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

TEST(TlsSession, PreSharedKeysOpenItAndCarryBytesBothWays) {
  TlsMaterial material;
  Link link(material.psk(), material.psk());
  link.shake();
  ASSERT_TRUE(link.open()) << link.client.failure() << link.server.failure();
  const std::string text = random_text(300'000);
  EXPECT_EQ(Link::transfer(link.client, link.server, text, 1 << 20), text);
  EXPECT_EQ(Link::transfer(link.server, link.client, text, 1 << 20), text);
}

TEST(TlsSession, CertificatesOpenIt) {
  TlsMaterial material;
  Link link(material.certificates(), material.certificates());
  link.shake();
  ASSERT_TRUE(link.open()) << link.client.failure() << link.server.failure();
  EXPECT_EQ(Link::transfer(link.client, link.server, "hello", 1 << 20), "hello");
}

TEST(TlsSession, GoesOnHoweverTheWireCutsIt) {
  TlsMaterial material;
  for (const size_t most : {1u, 2u, 7u, 100u, 1399u}) {
    SCOPED_TRACE(most);
    Link link(material.certificates(), material.certificates());
    link.shake(most);
    ASSERT_TRUE(link.open()) << link.client.failure() << link.server.failure();
    const std::string text = random_text(most * 900);
    EXPECT_EQ(Link::transfer(link.client, link.server, text, most, most + 2), text);
  }
}

TEST(TlsSession, GathersSmallPiecesAndScattersIntoMany) {
  TlsMaterial material;
  Link link(material.psk(), material.psk());
  link.shake();
  ASSERT_TRUE(link.open());
  std::vector<std::string> parts;
  std::string whole;
  for (size_t i = 0; i < 40; ++i) {
    parts.push_back(random_text(i % 3 == 0 ? 20'000 : i * 31 + 1));
    whole += parts.back();
  }
  std::vector<iovec> pieces;
  for (std::string& part : parts) pieces.push_back(piece_of(part));
  std::string got;
  size_t written = 0;
  while (got.size() < whole.size()) {
    size_t skip = written;
    std::vector<iovec> rest;
    for (const iovec& piece : pieces) {
      const size_t gone = std::min(skip, piece.iov_len);
      skip -= gone;
      if (gone < piece.iov_len) {
        rest.push_back({static_cast<char*>(piece.iov_base) + gone, piece.iov_len - gone});
      }
    }
    if (link.client.output().empty() && !rest.empty()) {
      const size_t n = link.client.write(rest);
      ASSERT_GT(n, 0u);
      ASSERT_LE(n, TlsSession::kMaxWrite);
      written += n;
    }
    Link::carry(link.client, link.server, 9000);
    std::string a(1000, 0), b(77, 0), c(1, 0);
    const iovec to[] = {piece_of(a), piece_of(b), piece_of(c)};
    const size_t n = link.server.read(to, 0);
    got += (a + b + c).substr(0, n);
  }
  EXPECT_EQ(got, whole);
}

TEST(TlsSession, ATargetKnowsSeveralIdentitiesAndAHostChoosesItsOwn) {
  TlsMaterial material;
  const std::string lines = "# hosts\n\nnqn.2014-08.org:uuid:1:" + std::string(64, 'b') +
                            "\nhost-1:" + std::string(128, 'c') + "\n";
  TlsOptions host = material.psk(lines);
  for (const char* identity : {"nqn.2014-08.org:uuid:1", "host-1"}) {
    host.identity = identity;
    Link link(host, material.psk(lines));
    link.shake();
    EXPECT_TRUE(link.open()) << link.client.failure() << link.server.failure();
  }
}

struct Refused {
  std::string client;
  std::string server;
};

Refused refused(const TlsOptions& connects, const TlsOptions& accepts,
                const std::string& host = "127.0.0.1") {
  Link link(connects, accepts, host);
  link.shake();
  // The side that connects may be open before the other one has looked at its certificate.
  std::string room(100, 0);
  const iovec piece = piece_of(room);
  link.client.read({&piece, 1}, 0);
  EXPECT_TRUE(link.client.failed());
  EXPECT_TRUE(link.server.failed());
  return {link.client.failure(), link.server.failure()};
}

TEST(TlsSession, NamesAWrongKeyOnBothSides) {
  TlsMaterial material;
  const Refused why =
      refused(material.psk(), material.psk("host-1:" + std::string(64, 'e') + "\n"));
  EXPECT_THAT(why.server, HasSubstr("the peer has another key for its identity"));
  EXPECT_THAT(why.client, HasSubstr("it has another key for the identity of this side"));
}

TEST(TlsSession, NamesAnUnknownIdentityOnBothSides) {
  TlsMaterial material;
  const Refused why =
      refused(material.psk("stranger:" + std::string(64, 'a') + "\n"), material.psk());
  EXPECT_THAT(why.server, HasSubstr("there is no key for the identity 'stranger' of the peer"));
  EXPECT_THAT(why.client, HasSubstr("perhaps it has no key for the identity of this side"));
}

TEST(TlsSession, KeysAndCertificatesDoNotMix) {
  TlsMaterial material;
  const Refused psk_first = refused(material.psk(), material.certificates());
  EXPECT_THAT(psk_first.client, HasSubstr("the peer has a certificate and no pre-shared key"));
  EXPECT_THAT(psk_first.server, HasSubstr("or it expects pre-shared keys"));
  const Refused cert_first = refused(material.certificates(), material.psk());
  EXPECT_THAT(cert_first.server, HasSubstr("the peer has no pre-shared key"));
  EXPECT_THAT(cert_first.client, HasSubstr("perhaps it has no certificate"));
}

TEST(TlsSession, RefusesCertificatesThatAreNotForTheHost) {
  TlsMaterial material;
  const Refused address = refused(material.certificates(), material.certificates(), "127.0.0.2");
  EXPECT_THAT(address.client, HasSubstr("it is not for '127.0.0.2'"));
  const Refused name = refused(material.certificates(), material.certificates(), "other.example");
  EXPECT_THAT(name.client, HasSubstr("it is not for 'other.example'"));

  // The subject does not count as a name of the host.
  const TlsMaterial::Pair pair = material.signed_pair("localhost", {.names = "IP:127.0.0.1"});
  TlsOptions of_subject = material.certificates();
  of_subject.cert = pair.cert;
  of_subject.key = pair.key;
  const Refused subject = refused(material.certificates(), of_subject, "localhost");
  EXPECT_THAT(subject.client, HasSubstr("it is not for 'localhost'"));

  TlsOptions named = material.certificates();
  named.name = "localhost";
  Link link(named, material.certificates(), "10.9.8.7");
  link.shake();
  EXPECT_TRUE(link.open()) << link.client.failure();
}

// What a stranger's first message costs is bounded by the groups.
TEST(TlsSession, RefusesGroupsThatCostMuch) {
  TlsMaterial material;
  const auto context = context_of(material.certificates());
  SSL* const stranger = context->new_ssl(/*accepts=*/false);
  ASSERT_EQ(SSL_set1_groups_list(stranger, "ffdhe8192"), 1);
  BIO* const from = BIO_new(BIO_s_mem());
  BIO* const to = BIO_new(BIO_s_mem());
  SSL_set_bio(stranger, from, to);
  SSL_set_connect_state(stranger);
  ASSERT_NE(SSL_do_handshake(stranger), 1);
  char* hello = nullptr;
  const auto bytes = static_cast<size_t>(BIO_get_mem_data(to, &hello));
  TlsSession server(context, true, "");
  std::memcpy(server.room().data(), hello, bytes);
  server.received(bytes);
  EXPECT_FALSE(server.shake());
  EXPECT_TRUE(server.failed()) << server.failure();
  SSL_free(stranger);
}

TEST(TlsSession, RefusesExpiredCertificates) {
  TlsMaterial material;
  TlsOptions expired = material.certificates();
  const auto pair = material.signed_pair("old", {.from_seconds = -7200, .to_seconds = -3600});
  expired.cert = pair.cert;
  expired.key = pair.key;
  const Refused of_target = refused(material.certificates(), expired);
  EXPECT_THAT(of_target.client, HasSubstr("certificate has expired"));
  EXPECT_THAT(of_target.server, HasSubstr("the peer refuses: certificate expired"));
  const Refused of_host = refused(expired, material.certificates());
  EXPECT_THAT(of_host.server, HasSubstr("certificate has expired"));
  EXPECT_THAT(of_host.client, HasSubstr("the peer refuses: certificate expired"));
}

TEST(TlsSession, RefusesCertificatesOfAnotherAuthorityAndForAnotherPurpose) {
  TlsMaterial material, others;
  TlsOptions stranger = others.certificates();
  stranger.ca = material.ca;
  const Refused authority = refused(material.certificates(), stranger);
  EXPECT_THAT(authority.client, HasSubstr("the peer's certificate is refused: unable to get"));
  EXPECT_THAT(authority.server, HasSubstr("the peer refuses: unknown CA"));

  TlsOptions client_only = material.certificates();
  const auto pair = material.signed_pair("client", {.purpose = "clientAuth"});
  client_only.cert = pair.cert;
  client_only.key = pair.key;
  EXPECT_THAT(refused(material.certificates(), client_only).client, HasSubstr("purpose"));
}

TEST(TlsSession, ATargetWithAuthoritiesDemandsACertificate) {
  TlsMaterial material;
  TlsOptions bare = material.certificates();
  bare.cert = bare.key = "";
  const Refused why = refused(bare, material.certificates());
  EXPECT_THAT(why.server, HasSubstr("the peer has shown no certificate"));
  EXPECT_THAT(why.client, HasSubstr("the peer demands a certificate"));

  TlsOptions any = material.certificates();
  any.ca = "";
  Link link(bare, any);
  link.shake();
  EXPECT_TRUE(link.open()) << link.client.failure() << link.server.failure();
}

void feed(TlsSession& session, std::string_view bytes) {
  const auto room = session.room();
  std::memcpy(room.data(), bytes.data(), bytes.size());
  session.received(bytes.size());
  session.shake();
}

TEST(TlsSession, NamesAPeerWithoutTls) {
  TlsMaterial material;
  Link mpa(material.psk(), material.psk());
  feed(mpa.server, "MPA ID Req Frame....");
  EXPECT_TRUE(mpa.server.failed());
  EXPECT_THAT(mpa.server.failure(), HasSubstr("the peer does not use it; add tls="));
  EXPECT_EQ(mpa.server.output().front(), std::byte{21}) << "no alert for the peer";

  Link other(material.psk(), material.psk());
  feed(other.server, "GET / HTTP/1.0\r\n\r\n");
  EXPECT_THAT(other.server.failure(), HasSubstr("the peer does not speak it"));

  Link closed(material.psk(), material.psk());
  closed.client.shake();
  closed.client.wire_ended();
  EXPECT_THAT(closed.client.failure(), HasSubstr("the peer closed in the handshake"));
}

TEST(TlsSession, EndsByCloseNotifyAndDetectsACut) {
  TlsMaterial material;
  Link link(material.psk(), material.psk());
  link.shake();
  link.client.close();
  EXPECT_EQ(Link::transfer(link.client, link.server, "", 1 << 20), "");
  EXPECT_EQ(link.server.state(), State::kEnded);
  link.server.wire_ended();
  EXPECT_EQ(link.server.state(), State::kEnded) << link.server.failure();
  // The other direction goes on, as in TCP.
  EXPECT_EQ(Link::transfer(link.server, link.client, "the rest", 1 << 20), "the rest");
  link.client.wire_ended();
  EXPECT_TRUE(link.client.failed());
  EXPECT_TRUE(link.client.cut());
  EXPECT_THAT(link.client.failure(), HasSubstr("the stream was cut"));
}

TEST(TlsSession, RefusesBytesThatWereChanged) {
  TlsMaterial material;
  Link link(material.psk(), material.psk());
  link.shake();
  std::string text = "some bytes";
  const iovec piece = piece_of(text);
  ASSERT_EQ(link.client.write({&piece, 1}), text.size());
  const auto out = link.client.output();
  const auto room = link.server.room();
  std::memcpy(room.data(), out.data(), out.size());
  room[out.size() - 3] ^= std::byte{1};
  link.server.received(out.size());
  EXPECT_EQ(link.server.read({&piece, 1}, 0), 0u);
  EXPECT_TRUE(link.server.failed());
  EXPECT_FALSE(link.server.cut());
  EXPECT_THAT(link.server.failure(), HasSubstr("bad record mac"));
}

TEST(TlsSession, TakesKeyUpdatesAndMakesItsOwn) {
  TlsMaterial material;
  Link link(material.psk(), material.psk());
  link.shake();
  const std::string text = random_text(50'000);
  link.client.update_key(/*of_peer=*/true);
  EXPECT_EQ(Link::transfer(link.client, link.server, text, 1 << 20), text);
  EXPECT_EQ(Link::transfer(link.server, link.client, text, 1 << 20), text);
  link.client.set_key_bytes_for_test(100'000);
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(Link::transfer(link.client, link.server, text, 4000), text) << i;
  }
  EXPECT_TRUE(link.open());
}

// A peer that only asks and never reads.
TEST(TlsSession, BoundsWhatItAnswersToUpdatesOfKeys) {
  TlsMaterial material;
  Link link(material.psk(), material.psk());
  link.shake();
  std::string byte = "x";
  const iovec piece = piece_of(byte);
  for (int i = 0; i < 3000 && !link.server.failed(); ++i) {
    link.client.update_key(/*of_peer=*/true);
    link.client.write({&piece, 1});
    while (Link::carry(link.client, link.server, 1 << 20)) {
      std::string room(100, 0);
      const iovec to = piece_of(room);
      link.server.read({&to, 1}, 0);
    }
    if (!link.client.output().empty()) link.client.sent(link.client.output().size());
    ASSERT_LE(link.server.output().size(), TlsSession::kOutputBytes);
  }
}

}  // namespace
}  // namespace mrpool::uiwarp::testing
