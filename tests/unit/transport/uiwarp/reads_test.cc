// How a Qp handles its own READs: when it sends requests, and which responses it accepts.
#include "tests/unit/transport/uiwarp/violation.h"
#include "transport/uiwarp/limits.h"

namespace mrpool::uiwarp::testing {
namespace {

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
  static constexpr int kOut = kReadAheadBytes / kBytes;
  static constexpr int kBatch = kMaxBatchBytes / kBytes;

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
  // That many messages have arrived, and no more within a thousand steps.
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