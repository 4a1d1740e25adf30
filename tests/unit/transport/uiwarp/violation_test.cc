// What a peer may not do: each violation ends its connection with the right Terminate code, touches
// nothing, and flushes what was outstanding.
#include <gtest/gtest.h>

#include "tests/unit/transport/uiwarp/pair.h"
#include "tests/unit/transport/uiwarp/raw_peer.h"
#include "transport/uiwarp/qp_core.h"

namespace mrpool::uiwarp::testing {
namespace {

constexpr size_t kMemory = 4096;
constexpr uint64_t kTop = ~uint64_t{0};

class Violation : public ::testing::Test {
 protected:
  Violation()
      : network_(std::make_shared<sim::SimNetwork>(reactor_, sim::NetworkOptions{})),
        pair_(reactor_, network_),
        peer_(reactor_, *network_),
        writable_(*pair_.server.pd, kMemory, Access::kLocalWrite | Access::kRemoteWrite, 0x11),
        readable_(*pair_.server.pd, kMemory, Access::kRemoteRead, 0x22),
        inbox_(*pair_.server.pd, 64, Access::kLocalWrite, 0x33) {
    pair_.step = [this] { reactor_.step(); };
  }

  void connect(uint16_t ird = 4) {
    pair_.server.options.ird = ird;
    pair_.listen();
    peer_.dial(pair_.server.listener->port());
    ASSERT_TRUE(pair_.until([&] { return peer_.up(); }));
    peer_.request({.crc = true, .enhanced = true, .ird = 16, .ord = 16});
    ASSERT_TRUE(run([&] { return pair_.server.connected && peer_.take_frame(true).has_value(); }));
    const Sge sge = inbox_.sge();
    ASSERT_EQ(pair_.server.qp->post_recv({.completion = &received_, .sges = {&sge, 1}}),
              PostStatus::kOk);
  }
  template <typename Condition>
  bool run(Condition&& condition) {
    for (int i = 0; i < 200'000; ++i) {
      if (peer_.up()) peer_.hear();
      if (condition()) return true;
      reactor_.step();
    }
    return false;
  }
  // The peer sends `bytes`; the Qp must end with `code` and say so to both sides.
  void expect_refused(std::span<const std::byte> bytes, const TerminateCode& code) {
    peer_.send(bytes);
    ASSERT_TRUE(run([&] { return pair_.server.disconnected && peer_.ended; }))
        << "the violation was not noticed";
    EXPECT_EQ(pair_.server.why.reason, DisconnectReason::kProtocol);
    const TerminateCode told{pair_.server.why.layer, pair_.server.why.error_type,
                             pair_.server.why.error_code};
    EXPECT_EQ(told, code) << to_string(told);
    EXPECT_EQ(pair_.server.detail, to_string(code));
    std::optional<RawPeer::Fpdu> last;
    while (auto next = peer_.take_fpdu()) last = next;
    ASSERT_TRUE(last.has_value()) << "no Terminate came";
    EXPECT_TRUE(last->crc_right);
    EXPECT_EQ(last->header.kind, MessageKind::kTerminate);
    EXPECT_EQ(last->header.queue, kTerminateQueue);
    EXPECT_EQ(last->header.msn, 1u);
    const auto terminate = decode_terminate(last->payload);
    ASSERT_TRUE(terminate.has_value());
    EXPECT_EQ(terminate->code, code) << to_string(terminate->code);
    EXPECT_EQ(received_.calls, 1);
    EXPECT_NE(received_.wc.status, WcStatus::kSuccess);
    expect_untouched();
  }
  void expect_untouched() {
    for (const std::byte b : writable_.memory) ASSERT_EQ(b, std::byte(0x11));
    for (const std::byte b : readable_.memory) ASSERT_EQ(b, std::byte(0x22));
  }
  std::vector<std::byte> write(uint32_t stag, uint64_t offset, size_t bytes) {
    return RawPeer::fpdu(
        {.kind = MessageKind::kWrite, .tagged = true, .last = true, .stag = stag, .offset = offset},
        std::vector<std::byte>(bytes, std::byte(0x99)));
  }
  std::vector<std::byte> send(uint32_t msn, size_t bytes, uint32_t mo = 0,
                              uint32_t queue = kSendQueue, MessageKind kind = MessageKind::kSend,
                              uint32_t invalidate = 0) {
    return RawPeer::fpdu({.kind = kind,
                          .last = true,
                          .invalidate = invalidate,
                          .queue = queue,
                          .msn = msn,
                          .mo = mo},
                         std::vector<std::byte>(bytes, std::byte(0x99)));
  }
  uint32_t write_key() const { return writable_.mr->rkey().value; }
  uint32_t read_key() const { return readable_.mr->rkey().value; }
  ReadRequest read_of(uint32_t stag, uint64_t offset, uint32_t length) const {
    return {.sink_stag = 1,
            .sink_offset = 0,
            .length = length,
            .source_stag = stag,
            .source_offset = offset};
  }

  sim::SimReactor reactor_;
  std::shared_ptr<sim::SimNetwork> network_;
  Pair pair_;
  RawPeer peer_;
  Buffer writable_, readable_, inbox_;
  Recorded received_;
};

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
  expect_refused(write(foreign.mr->rkey().value, foreign.at(0).value, 8),
                 term::kTaggedNotAssociated);
  EXPECT_EQ(foreign.memory[0], std::byte(0x44));
}
TEST_F(Violation, WriteThroughADestroyedRegistration) {
  connect();
  const uint32_t key = write_key();
  const uint64_t at = writable_.at(0).value;
  writable_.mr.reset();
  expect_refused(write(key, at, 8), term::kTaggedInvalidStag);
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
      term::kReadNotAssociated);
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
TEST_F(Violation, ResponseThatNobodyAskedFor) {
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

// Not a violation of the peer's: what it says ends the connection, with its reason.
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

// The responder sends nothing before the initiator's first FPDU, of whatever agreed kind.
TEST_F(Violation, ResponderWaitsForEveryKindOfReady) {
  for (const int kind : {0, 1, 2, 3}) {
    SCOPED_TRACE(kind);
    Pair pair(reactor_, network_);
    pair.step = [this] { reactor_.step(); };
    pair.listen();
    RawPeer peer(reactor_, *network_);
    peer.dial(pair.server.listener->port());
    ASSERT_TRUE(pair.until([&] { return peer.up(); }));
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

// The Qp is the initiator and the peer the responder.
class Initiator : public Violation {
 protected:
  void establish() {
    const uint16_t port = peer_.listen();
    auto made = pair_.client_device->connect(
        {.transport = "uiwarp", .host = "", .port = port, .options = {}}, *pair_.client.pd,
        pair_.client_options, {}, pair_.client);
    ASSERT_TRUE(made.ok());
    pair_.client.qp = *std::move(made);
    ASSERT_TRUE(run([&] { return peer_.up(); }));
    ASSERT_TRUE(run([&] { return peer_.take_frame(false).has_value(); }));
    peer_.request({.reply = true, .crc = true, .enhanced = true, .ird = 16, .ord = 16});
    ASSERT_TRUE(run([&] { return pair_.client.connected; }));
  }
};

// A response may go nowhere but to the sink of the READ it answers, whatever else is writable.
class ForgedResponse : public Initiator {
 protected:
  void start() {
    establish();
    const Sge sge = sink_.sge();
    ASSERT_EQ(pair_.client.send({.completion = &read_,
                                 .opcode = Opcode::kRdmaRead,
                                 .sges = {&sge, 1},
                                 .remote_addr = {5},
                                 .rkey = {6}}),
              PostStatus::kOk);
    ASSERT_TRUE(run([&] { return peer_.take_fpdu().has_value(); }));
  }
  void expect_cut(const SegmentHeader& header, size_t bytes, const TerminateCode& code) {
    peer_.send(RawPeer::fpdu(header, std::vector<std::byte>(bytes, std::byte(0x99))));
    ASSERT_TRUE(run([&] { return pair_.client.disconnected; }));
    EXPECT_EQ(pair_.client.detail, to_string(code));
    EXPECT_EQ(read_.calls, 1);
    EXPECT_NE(read_.wc.status, WcStatus::kSuccess);
    for (const std::byte b : other_.memory) ASSERT_EQ(b, std::byte(0x55));
  }
  SegmentHeader response(const Buffer& to, uint64_t offset, bool last = true) const {
    return {.kind = MessageKind::kReadResponse,
            .tagged = true,
            .last = last,
            .stag = to.mr->rkey().value,
            .offset = to.at(offset).value};
  }
  Buffer sink_{*pair_.client.pd, 64, Access::kLocalWrite | Access::kRemoteWrite};
  Buffer other_{*pair_.client.pd, 64, Access::kLocalWrite | Access::kRemoteWrite, 0x55};
  Recorded read_;
};

TEST_F(ForgedResponse, ToAnotherKey) {
  start();
  expect_cut(response(other_, 0), 64, term::kTaggedInvalidStag);
}
TEST_F(ForgedResponse, ToAnotherPlace) {
  start();
  expect_cut(response(sink_, 1), 8, term::kTaggedBounds);
}
TEST_F(ForgedResponse, Longer) {
  start();
  expect_cut(response(sink_, 0), 65, term::kTaggedBounds);
}
TEST_F(ForgedResponse, Shorter) {
  start();
  expect_cut(response(sink_, 0), 63, term::kTaggedBounds);
}

// While enough READs are out, further ones go in batches.
class GatheredReads : public Initiator {
 protected:
  static constexpr uint32_t kBytes = 128 * 1024;
  static constexpr int kOut = QpCore::kReadAheadBytes / kBytes;
  static constexpr int kBatch = QpCore::kMaxBatchBytes / kBytes;

  void start() {
    pair_.client_options.ord = 16;
    establish();
    for (int i = 0; i < kOut; ++i) post_read();
    ASSERT_TRUE(heard(kOut));
  }
  // READs are flushed into done_.
  void TearDown() override { pair_.client.qp.reset(); }
  void post_read() {
    const Sge sge = sink_.sge();
    ASSERT_EQ(pair_.client.send({.completion = &done_,
                                 .opcode = Opcode::kRdmaRead,
                                 .sges = {&sge, 1},
                                 .remote_addr = {5},
                                 .rkey = {6}}),
              PostStatus::kOk);
  }
  // That many messages have come and, as far as a thousand steps can tell, no more will.
  bool heard(int count) {
    for (int i = 0; i < 1000; ++i) {
      reactor_.step();
      peer_.hear();
    }
    while (auto fpdu = peer_.take_fpdu()) {
      --count;
      if (fpdu->header.kind != MessageKind::kReadRequest) continue;
      requests_.push_back(decode_read_request(fpdu->payload.data()));
    }
    return count == 0;
  }
  // The peer answers its oldest READ.
  void answer() {
    const ReadRequest request = requests_.front();
    requests_.erase(requests_.begin());
    for (uint32_t at = 0; at < request.length; at += kBytes / 4) {
      peer_.send(RawPeer::fpdu({.kind = MessageKind::kReadResponse,
                                .tagged = true,
                                .last = at + kBytes / 4 == request.length,
                                .stag = request.sink_stag,
                                .offset = request.sink_offset + at},
                               std::vector<std::byte>(kBytes / 4, std::byte(0x99))));
    }
  }
  Buffer sink_{*pair_.client.pd, kBytes, Access::kLocalWrite | Access::kRemoteWrite};
  Recorded done_;
  std::vector<ReadRequest> requests_;
};

TEST_F(GatheredReads, GoTogether) {
  start();
  for (int i = 1; i < kBatch; ++i) {
    post_read();
    EXPECT_TRUE(heard(0));
  }
  post_read();
  EXPECT_TRUE(heard(kBatch));
}
TEST_F(GatheredReads, GoWhenLessIsOut) {
  start();
  post_read();
  EXPECT_TRUE(heard(0));
  answer();
  EXPECT_TRUE(heard(1));
  while (!requests_.empty()) answer();
  EXPECT_TRUE(run([&] { return done_.calls == kOut + 1; }));
}
TEST_F(GatheredReads, HoldNothingElseUp) {
  start();
  post_read();
  EXPECT_TRUE(heard(0));
  ASSERT_EQ(pair_.client.send({.completion = &done_}), PostStatus::kOk);
  EXPECT_TRUE(heard(2));
}

}  // namespace
}  // namespace mrpool::uiwarp::testing
