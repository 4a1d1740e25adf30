// What a peer may not do: each violation ends its connection with the right Terminate code, touches
// nothing, and flushes what was outstanding.
#include "tests/unit/transport/uiwarp/violation.h"

namespace mrpool::uiwarp::testing {
namespace {

TEST_F(Violation, WriteWithUnknownStag) {
  connect();
  expect_refused(write(write_key() ^ 0x10000, writable_.at(0).value, 8), term::kTaggedInvalidStag);
}
TEST_F(Violation, WriteWithStaleKeyPart) {
  connect();
  expect_refused(write(write_key() - 1, writable_.at(0).value, 8), term::kTaggedInvalidStag);
}
TEST_F(Violation, WriteWithoutTheRight) {
  connect();
  expect_refused(write(read_key(), readable_.at(0).value, 8), term::kReadAccess);
}
TEST_F(Violation, WriteBeforeTheStart) {
  connect();
  expect_refused(write(write_key(), writable_.at(0).value - 1, 8), term::kTaggedBounds);
}
TEST_F(Violation, WritePastTheEnd) {
  connect();
  expect_refused(write(write_key(), writable_.at(kMemory - 7).value, 8), term::kTaggedBounds);
}
TEST_F(Violation, LargeWritePastTheEnd) {
  connect();
  expect_refused(write(write_key(), writable_.at(0).value, 60'000), term::kTaggedBounds);
}
TEST_F(Violation, WriteThatWraps) {
  connect();
  expect_refused(write(write_key(), kTop - 3, 8), term::kTaggedOffsetWrap);
}
TEST_F(Violation, WriteIntoAnotherPd) {
  connect();
  auto other = *pair_.server_device->alloc_pd();
  Buffer foreign(*other, 64, Access::kLocalWrite | Access::kRemoteWrite, 0x44);
  // As if there were no such key: a peer must not find out which keys of others are live.
  expect_refused(write(foreign.mr->rkey().value, foreign.at(0).value, 8), term::kTaggedInvalidStag);
  EXPECT_EQ(foreign.memory[0], std::byte(0x44));
}
TEST_F(Violation, WriteThroughADestroyedRegistration) {
  connect();
  const uint32_t key = write_key();
  const uint64_t at = writable_.at(0).value;
  writable_.mr.reset();
  expect_refused(write(key, at, 8), term::kTaggedInvalidStag);
}

// No violation, but it costs the peer nothing: what comes after the first of it is read slowly, and
// nothing is lost.
TEST_F(Violation, AFloodOfEmptyWritesIsReadSlowly) {
  connect();
  std::vector<std::byte> flood;
  const std::vector<std::byte> empty = write(0, 0, 0);
  for (int i = 0; i < 6000; ++i) flood.insert(flood.end(), empty.begin(), empty.end());
  const Nanoseconds start = reactor_.now();
  peer_.send(flood);
  peer_.send(send(1, 8));
  ASSERT_TRUE(run([&] { return received_.calls == 1; }));
  EXPECT_TRUE(received_.good());
  EXPECT_GE(reactor_.now() - start, std::chrono::milliseconds(50));
  EXPECT_TRUE(pair_.server.qp->connected());
}

TEST_F(Violation, ReadOfUnknownStag) {
  connect();
  expect_refused(RawPeer::read_request(1, read_of(7, 0, 8)), term::kReadInvalidStag);
}
TEST_F(Violation, ReadWithoutTheRight) {
  connect();
  expect_refused(RawPeer::read_request(1, read_of(write_key(), writable_.at(0).value, 8)),
                 term::kReadAccess);
}
TEST_F(Violation, ReadPastTheEnd) {
  connect();
  expect_refused(RawPeer::read_request(1, read_of(read_key(), readable_.at(1).value, kMemory)),
                 term::kReadBounds);
}
TEST_F(Violation, ReadThatWraps) {
  connect();
  expect_refused(RawPeer::read_request(1, read_of(read_key(), kTop, 4096)), term::kReadOffsetWrap);
}
TEST_F(Violation, ReadOfAnotherPd) {
  connect();
  auto other = *pair_.server_device->alloc_pd();
  Buffer foreign(*other, 64, Access::kRemoteRead);
  expect_refused(
      RawPeer::read_request(1, read_of(foreign.mr->rkey().value, foreign.at(0).value, 8)),
      term::kReadInvalidStag);
}
TEST_F(Violation, ReadOutOfSequence) {
  connect();
  expect_refused(RawPeer::read_request(2, read_of(read_key(), readable_.at(0).value, 8)),
                 term::kUntaggedMsnRange);
}
TEST_F(Violation, MoreReadsOutstandingThanAgreed) {
  connect(/*ird=*/4);
  std::vector<std::byte> burst;
  for (uint32_t msn = 1; msn <= 5; ++msn) {
    const auto one =
        RawPeer::read_request(msn, read_of(read_key(), readable_.at(0).value, kMemory));
    burst.insert(burst.end(), one.begin(), one.end());
  }
  expect_refused(burst, term::kUntaggedNoBuffer);
}
TEST_F(Violation, ReadRequestOfTheWrongSize) {
  connect();
  std::byte body[20] = {};
  expect_refused(
      RawPeer::fpdu(
          {.kind = MessageKind::kReadRequest, .last = true, .queue = kReadQueue, .msn = 1}, body),
      term::kUntaggedTooLong);
}
TEST_F(Violation, UnsolicitedResponse) {
  connect();
  expect_refused(RawPeer::fpdu({.kind = MessageKind::kReadResponse,
                                .tagged = true,
                                .last = true,
                                .stag = write_key(),
                                .offset = writable_.at(0).value},
                               std::vector<std::byte>(8)),
                 term::kUnexpectedOpcode);
}

TEST_F(Violation, SendOnAnotherQueue) {
  connect();
  expect_refused(send(1, 8, 0, 3), term::kUntaggedQueue);
}
TEST_F(Violation, SendOutOfSequence) {
  connect();
  expect_refused(send(2, 8), term::kUntaggedMsnRange);
}
TEST_F(Violation, SendNotFromItsStart) {
  connect();
  expect_refused(send(1, 8, 4), term::kUntaggedOffset);
}
TEST_F(Violation, SendLongerThanTheReceive) {
  connect();
  expect_refused(send(1, 65), term::kUntaggedTooLong);
  EXPECT_EQ(received_.wc.status, WcStatus::kLocalLength);
  for (const std::byte b : inbox_.memory) EXPECT_EQ(b, std::byte(0x33));
}
TEST_F(Violation, SendWithoutAReceive) {
  connect();
  peer_.send(send(1, 8));
  ASSERT_TRUE(run([&] { return received_.done(); }));
  ASSERT_TRUE(received_.good());
  peer_.send(send(2, 8));
  ASSERT_TRUE(run([&] { return pair_.server.disconnected; }));
  EXPECT_EQ(pair_.server.detail, to_string(term::kUntaggedNoBuffer));
  EXPECT_EQ(received_.calls, 1);
}
TEST_F(Violation, InvalidationOfABaseKey) {
  connect();
  expect_refused(send(1, 8, 0, kSendQueue, MessageKind::kSendInv, write_key()),
                 term::kCannotInvalidate);
  EXPECT_EQ(received_.wc.status, WcStatus::kRemoteInvalidRequest);
}
TEST_F(Violation, InvalidationOfNothing) {
  connect();
  expect_refused(send(1, 8, 0, kSendQueue, MessageKind::kSendSeInv, 0), term::kCannotInvalidate);
}

TEST_F(Violation, BadCrc) {
  connect();
  auto bad = write(write_key(), writable_.at(0).value, 100);
  bad[60] ^= std::byte(1);
  expect_refused(bad, term::kMpaCrc);
}
TEST_F(Violation, DdpVersion) {
  connect();
  expect_refused(RawPeer::fpdu({.kind = MessageKind::kWrite,
                                .tagged = true,
                                .last = true,
                                .ddp_version = 2,
                                .stag = write_key()},
                               {}),
                 term::kTaggedDdpVersion);
}
TEST_F(Violation, UntaggedDdpVersion) {
  connect();
  expect_refused(
      RawPeer::fpdu({.kind = MessageKind::kSend, .last = true, .ddp_version = 0, .msn = 1}, {}),
      term::kUntaggedDdpVersion);
}
TEST_F(Violation, RdmapVersion) {
  connect();
  expect_refused(
      RawPeer::fpdu({.kind = MessageKind::kSend, .last = true, .rdmap_version = 2, .msn = 1}, {}),
      term::kRdmapVersion);
}
TEST_F(Violation, UnknownOpcode) {
  connect();
  expect_refused(RawPeer::fpdu({.kind = MessageKind(9), .last = true, .msn = 1}, {}),
                 term::kUnexpectedOpcode);
}
TEST_F(Violation, TaggedSend) {
  connect();
  expect_refused(RawPeer::fpdu({.kind = MessageKind::kSend, .tagged = true, .last = true}, {}),
                 term::kUnexpectedOpcode);
}
TEST_F(Violation, UntaggedWrite) {
  connect();
  expect_refused(RawPeer::fpdu({.kind = MessageKind::kWrite, .last = true, .msn = 1}, {}),
                 term::kUnexpectedOpcode);
}
TEST_F(Violation, UlpduTooShortForAHeader) {
  connect();
  std::vector<std::byte> fpdu(fpdu_bytes(5), std::byte(0));
  store_be16(fpdu.data(), 5);
  Crc32c crc;
  crc.update(fpdu.data(), fpdu.size() - kCrcBytes);
  store_le32(fpdu.data() + fpdu.size() - kCrcBytes, crc.value());
  expect_refused(fpdu, term::kMpaLength);
}
TEST_F(Violation, EmptyFpduThatWasNotAgreed) {
  connect();
  std::vector<std::byte> fpdu(fpdu_bytes(0), std::byte(0));
  Crc32c crc;
  crc.update(fpdu.data(), fpdu.size() - kCrcBytes);
  store_le32(fpdu.data() + fpdu.size() - kCrcBytes, crc.value());
  expect_refused(fpdu, term::kMpaLength);
}
TEST_F(Violation, GiantTerminate) {
  connect();
  expect_refused(
      RawPeer::fpdu(
          {.kind = MessageKind::kTerminate, .last = true, .queue = kTerminateQueue, .msn = 1},
          std::vector<std::byte>(5000)),
      term::kUntaggedTooLong);
}

// Not a violation by the peer: its Terminate ends the connection, with its reason.
TEST_F(Violation, PeersTerminateIsReported) {
  connect();
  std::byte body[kMaxTerminateBytes];
  const size_t size = encode_terminate({.code = term::kTaggedBounds}, body);
  peer_.send(RawPeer::fpdu(
      {.kind = MessageKind::kTerminate, .last = true, .queue = kTerminateQueue, .msn = 1},
      {body, size}));
  ASSERT_TRUE(run([&] { return pair_.server.disconnected; }));
  EXPECT_EQ(pair_.server.why.reason, DisconnectReason::kTerminated);
  EXPECT_EQ(pair_.server.why.layer, 1);
  EXPECT_EQ(pair_.server.why.error_type, 1);
  EXPECT_EQ(pair_.server.why.error_code, 1);
  EXPECT_EQ(received_.wc.status, WcStatus::kFlushed);
}

TEST_F(Violation, EndInTheMiddleOfAnFpduIsAReset) {
  connect();
  const auto whole = send(1, 40);
  peer_.send(std::span(whole).first(30));
  peer_.finish();
  ASSERT_TRUE(run([&] { return pair_.server.disconnected; }));
  EXPECT_EQ(pair_.server.why.reason, DisconnectReason::kReset);
}

// --- Set-up ---

TEST_F(Violation, SlowLorisIsCutOff) {
  pair_.listen();
  peer_.dial(pair_.server.listener->port());
  ASSERT_TRUE(pair_.until([&] { return peer_.up(); }));
  peer_.send(std::vector<std::byte>(10, std::byte('M')));
  const Nanoseconds start = reactor_.now();
  ASSERT_TRUE(run([&] { return peer_.ended; }));
  EXPECT_LT(reactor_.now() - start, std::chrono::seconds(6));
  EXPECT_GT(reactor_.now() - start, std::chrono::seconds(4));
  EXPECT_FALSE(pair_.server.connected);
}

TEST_F(Violation, NonsenseInsteadOfARequest) {
  pair_.listen();
  peer_.dial(pair_.server.listener->port());
  ASSERT_TRUE(pair_.until([&] { return peer_.up(); }));
  peer_.send(bytes_of("GET / HTTP/1.1\r\nHost: here\r\n"));
  ASSERT_TRUE(run([&] { return peer_.ended; }));
  EXPECT_TRUE(peer_.heard.empty());
}

TEST_F(Violation, GiantPrivateDataIsCutOff) {
  pair_.listen();
  peer_.dial(pair_.server.listener->port());
  ASSERT_TRUE(pair_.until([&] { return peer_.up(); }));
  auto wire = encode_mpa({.enhanced = true});
  store_be16(wire.data() + 18, 60'000);
  peer_.send(wire);
  ASSERT_TRUE(run([&] { return peer_.ended; }));
}

TEST_F(Violation, MarkersAreRejected) {
  pair_.listen();
  peer_.dial(pair_.server.listener->port());
  ASSERT_TRUE(pair_.until([&] { return peer_.up(); }));
  peer_.request({.markers = true, .enhanced = true});
  std::optional<MpaFrame> reply;
  ASSERT_TRUE(run([&] { return (reply = peer_.take_frame(true)).has_value(); }));
  EXPECT_TRUE(reply->rejected);
  peer_.close();
}

TEST_F(Violation, RevisionOneIsServed) {
  pair_.listen();
  peer_.dial(pair_.server.listener->port());
  ASSERT_TRUE(pair_.until([&] { return peer_.up(); }));
  peer_.request({.revision = 1});
  std::optional<MpaFrame> reply;
  ASSERT_TRUE(run([&] { return (reply = peer_.take_frame(true)).has_value(); }));
  EXPECT_FALSE(reply->rejected);
  EXPECT_FALSE(reply->enhanced);
  EXPECT_EQ(reply->revision, 1);
  EXPECT_TRUE(reply->crc) << "this side asks for it";
}

// "Not negotiated" is not a depth, and an offer is limited by the device.
TEST_F(Violation, AnOfferStatesWhatTheConnectionMayBecome) {
  const DeviceCaps& caps = pair_.server_device->caps();
  const struct {
    uint16_t ird, ord, our_ord, our_ird;
  } kOffers[] = {{kReadDepthMask, kReadDepthMask, caps.max_ord, caps.max_ird},
                 {kReadDepthMask - 1, kReadDepthMask - 1, caps.max_ord, caps.max_ird},
                 {3, 2, 3, 2}};
  for (const auto& offer : kOffers) {
    SCOPED_TRACE(offer.ird);
    Pair pair(reactor_, network_);
    RawPeer peer(reactor_, *network_);
    ASSERT_NO_FATAL_FAILURE(dial(pair, peer));
    peer.request({.crc = true, .enhanced = true, .ird = offer.ird, .ord = offer.ord});
    ASSERT_TRUE(pair.until([&] { return pair.server.qp != nullptr; }));
    EXPECT_EQ(pair.server.offer.ord, offer.our_ord);
    EXPECT_EQ(pair.server.offer.ird, offer.our_ird);
    peer.close();
  }
}

// The responder sends nothing before the initiator's first FPDU, of whatever agreed kind.
TEST_F(Violation, ResponderWaitsForEveryKindOfReady) {
  for (const int kind : {0, 1, 2, 3}) {
    SCOPED_TRACE(kind);
    Pair pair(reactor_, network_);
    RawPeer peer(reactor_, *network_);
    ASSERT_NO_FATAL_FAILURE(dial(pair, peer));
    peer.request({.crc = true,
                  .enhanced = true,
                  .ird = 1,
                  .ord = 1,
                  .peer_to_peer = kind != 3,
                  .rtr_zero_length = kind == 0,
                  .rtr_write = kind == 1,
                  .rtr_read = kind == 2});
    const auto go = [&](auto&& condition) {
      for (int i = 0; i < 100'000; ++i) {
        peer.hear();
        if (condition()) return true;
        reactor_.step();
      }
      return false;
    };
    std::optional<MpaFrame> reply;
    ASSERT_TRUE(go([&] {
      if (!reply) reply = peer.take_frame(true);
      return reply && pair.server.connected;
    }));
    Buffer out(*pair.server.pd, 16, Access::kNone);
    const Sge sge = out.sge();
    Recorded sent;
    ASSERT_EQ(pair.server.send({.completion = &sent, .sges = {&sge, 1}}), PostStatus::kOk);
    for (int i = 0; i < 1000; ++i) {
      peer.hear();
      reactor_.poll();
    }
    EXPECT_TRUE(peer.heard.empty()) << "it spoke first";
    EXPECT_FALSE(sent.done());
    switch (kind) {
      case 0: {
        EXPECT_TRUE(reply->rtr_zero_length);
        std::vector<std::byte> fpdu(fpdu_bytes(0), std::byte(0));
        Crc32c crc;
        crc.update(fpdu.data(), fpdu.size() - kCrcBytes);
        store_le32(fpdu.data() + fpdu.size() - kCrcBytes, crc.value());
        peer.send(fpdu);
        break;
      }
      case 2:
        EXPECT_TRUE(reply->rtr_read);
        peer.send(RawPeer::read_request(1, {}));
        break;
      default:
        EXPECT_EQ(reply->rtr_write, kind == 1);
        peer.send(RawPeer::fpdu({.kind = MessageKind::kWrite, .tagged = true, .last = true}, {}));
    }
    std::optional<RawPeer::Fpdu> fpdu;
    if (kind == 2) {
      ASSERT_TRUE(go([&] { return (fpdu = peer.take_fpdu()).has_value(); }));
      EXPECT_EQ(fpdu->header.kind, MessageKind::kReadResponse);
      EXPECT_TRUE(fpdu->payload.empty());
    }
    ASSERT_TRUE(go([&] { return (fpdu = peer.take_fpdu()).has_value(); }));
    EXPECT_EQ(fpdu->header.kind, MessageKind::kSend);
    EXPECT_TRUE(sent.good());
    peer.close();
  }
}

// The initiator against a responder that chooses the READ, and one that answers nonsense.
TEST_F(Violation, InitiatorSendsTheReadyReadAndSwallowsItsResponse) {
  const uint16_t port = peer_.listen();
  auto made =
      pair_.client_device->connect({.transport = "uiwarp", .host = "", .port = port, .options = {}},
                                   *pair_.client.pd, pair_.client_options, {}, pair_.client);
  ASSERT_TRUE(made.ok());
  pair_.client.qp = *std::move(made);
  ASSERT_TRUE(run([&] { return peer_.up(); }));
  std::optional<MpaFrame> request;
  ASSERT_TRUE(run([&] { return (request = peer_.take_frame(false)).has_value(); }));
  EXPECT_TRUE(request->peer_to_peer);
  peer_.request({.reply = true,
                 .crc = true,
                 .enhanced = true,
                 .ird = 16,
                 .ord = 16,
                 .peer_to_peer = true,
                 .rtr_read = true});
  std::optional<RawPeer::Fpdu> fpdu;
  ASSERT_TRUE(run([&] { return (fpdu = peer_.take_fpdu()).has_value(); }));
  EXPECT_EQ(fpdu->header.kind, MessageKind::kReadRequest);
  peer_.send(RawPeer::fpdu({.kind = MessageKind::kReadResponse, .tagged = true, .last = true}, {}));
  // The program's own READ is the next one.
  Buffer sink(*pair_.client.pd, 4, Access::kLocalWrite | Access::kRemoteWrite);
  const Sge sge = sink.sge();
  Recorded read;
  ASSERT_TRUE(run([&] { return pair_.client.connected; }));
  ASSERT_EQ(pair_.client.send({.completion = &read,
                               .opcode = Opcode::kRdmaRead,
                               .sges = {&sge, 1},
                               .remote_addr = {5},
                               .rkey = {6}}),
            PostStatus::kOk);
  ASSERT_TRUE(run([&] { return (fpdu = peer_.take_fpdu()).has_value(); }));
  const ReadRequest wanted = decode_read_request(fpdu->payload.data());
  EXPECT_EQ(fpdu->header.msn, 2u);
  EXPECT_EQ(wanted.sink_stag, sink.mr->rkey().value);
  EXPECT_EQ(wanted.source_stag, 6u);
  EXPECT_EQ(wanted.length, 4u);
  peer_.send(RawPeer::fpdu({.kind = MessageKind::kReadResponse,
                            .tagged = true,
                            .last = true,
                            .stag = wanted.sink_stag,
                            .offset = wanted.sink_offset},
                           bytes_of("data")));
  ASSERT_TRUE(run([&] { return read.done(); }));
  EXPECT_TRUE(read.good());
  EXPECT_EQ(std::memcmp(sink.memory.data(), "data", 4), 0);
}

}  // namespace
}  // namespace mrpool::uiwarp::testing
