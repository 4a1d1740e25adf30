// TLS sessions and what a peer, or somebody on the way, may send. Bytes of a peer without a key
// open no session. Whatever is done to the bytes of a peer with one, what is read is what was
// written.
#include "transport/uiwarp/tls_session.h"

#include <algorithm>
#include <string>

#include "tests/fuzz/fuzz.h"
#include "tests/unit/transport/uiwarp/tls_material.h"
#include "transport/uiwarp/open.h"

namespace mrpool::uiwarp {
namespace {

using State = TlsSession::State;

struct Keys {
  testing::TlsMaterial material;
  std::shared_ptr<const TlsContext> psk = *TlsContext::create(material.psk());
  std::shared_ptr<const TlsContext> cert = *TlsContext::create(material.certificates());
};

const Keys& keys() {
  static const Keys made;
  return made;
}

void check(const TlsSession& session) {
  FUZZ_CHECK(session.failed() == !session.failure().empty());
  FUZZ_CHECK(session.output().size() <= TlsSession::kOutputBytes);
}

// What it has to read is appended to `got`.
void work(TlsSession& session, std::string& got) {
  session.shake();
  std::array<char, 3000> room;
  const iovec pieces[] = {{room.data(), 100}, {room.data() + 100, room.size() - 100}};
  got.append(room.data(), session.read(pieces, 0));
  check(session);
}

void stranger(fuzz::Input& input, TlsSession& session) {
  std::string got;
  work(session, got);
  while (!input.empty()) {
    const std::span<std::byte> room = session.room();
    if (room.empty()) break;
    const size_t most = 1 + input.take<uint8_t>() * size_t{16};
    const size_t n = input.fill(room.first(std::min(most, room.size())));
    session.received(n);
    work(session, got);
    if (!session.hungry()) break;
  }
  session.wire_ended();
  FUZZ_CHECK(session.state() == State::kFailed);
  FUZZ_CHECK(got.empty());
}

// Carries some bytes, as the input chooses: whole, cut, changed, or not at all.
void carry(fuzz::Input& input, TlsSession& from, TlsSession& to) {
  const uint8_t how = input.take<uint8_t>();
  const std::span<const std::byte> out = from.output();
  if (out.empty() || !to.hungry()) return;
  const std::span<std::byte> room = to.room();
  const size_t most = how % 4 == 0 ? 1 + input.take<uint16_t>() : out.size();
  const size_t n = std::min({out.size(), room.size(), most});
  std::memcpy(room.data(), out.data(), n);
  if (how % 8 == 3) room[input.take<uint16_t>() % n] ^= std::byte{input.take<uint8_t>()};
  from.sent(n);
  if (how % 64 != 5) to.received(n);
}

void on_the_way(fuzz::Input& input, TlsSession& client, TlsSession& server) {
  std::string sent, got, unused;
  while (!input.empty()) {
    work(client, unused);
    work(server, got);
    if (client.state() == State::kOpen && client.output().empty()) {
      std::string text(1 + input.take<uint8_t>() * size_t{70}, static_cast<char>(sent.size()));
      const iovec piece{text.data(), text.size()};
      sent.append(text, 0, client.write({&piece, 1}));
      if (text.size() % 5 == 0) client.update_key(text.size() % 2 == 0);
    }
    carry(input, client, server);
    carry(input, server, client);
    FUZZ_CHECK(sent.starts_with(got));
  }
  FUZZ_CHECK(unused.empty());
}

void text(std::string_view bytes) {
  const auto options = parse_options(bytes);
  if (options.ok()) FUZZ_CHECK(check_tls_options(options->tls).ok());
  const auto psks = parse_psks(bytes, "f");
  if (!psks.ok()) return;
  for (const TlsPsk& psk : *psks) {
    FUZZ_CHECK(psk.key.text.size() >= kMinPskBytes && psk.key.text.size() <= kMaxPskBytes);
    FUZZ_CHECK(!psk.identity.empty() && psk.identity.size() <= kMaxIdentityBytes);
  }
}

void run(const uint8_t* data, size_t size) {
  fuzz::Input input(data, size);
  const uint8_t choice = input.take<uint8_t>();
  const auto& context = (choice & 1) != 0 ? keys().cert : keys().psk;
  TlsSession client(context, /*accepts=*/false, "127.0.0.1");
  TlsSession server(context, /*accepts=*/true, "");
  if (choice % 8 < 2) {
    on_the_way(input, client, server);
  } else if (choice % 8 < 6) {
    stranger(input, choice % 8 < 4 ? server : client);
  } else {
    text(fuzz::text_of(data + (size > 0), size - (size > 0)));
  }
}

}  // namespace
}  // namespace mrpool::uiwarp

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mrpool::uiwarp::run(data, size);
  return 0;
}
