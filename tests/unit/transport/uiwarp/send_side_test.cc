// The send side alone: what is posted and what the peer asked for becomes FPDUs.
#include "transport/uiwarp/send_side.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "tests/unit/transport/uiwarp/sides.h"

namespace mrpool::uiwarp::testing {
namespace {

class SendSideTest : public OneSide {
 protected:
  struct Fpdu {
    SegmentHeader header;
    std::vector<std::byte> payload;
  };

  // What build() gives now, taken apart; `bytes_` counts it.
  std::vector<Fpdu> build() {
    TxBatch& batch = *batch_;
    batch.clear();
    side_.build(batch);
    std::vector<std::byte> stream;
    for (const iovec& piece : batch.unsent()) {
      const auto* from = static_cast<const std::byte*>(piece.iov_base);
      stream.insert(stream.end(), from, from + piece.iov_len);
    }
    bytes_ = stream.size();
    std::vector<Fpdu> out;
    for (size_t at = 0; at < stream.size();) {
      const size_t ulpdu = load_be16(&stream[at]);
      Fpdu fpdu{.header = decode_segment(&stream[at + kLengthBytes]), .payload = {}};
      const size_t start = at + kLengthBytes + fpdu.header.bytes();
      fpdu.payload.assign(&stream[start], &stream[at] + kLengthBytes + ulpdu);
      out.push_back(std::move(fpdu));
      at += fpdu_bytes(ulpdu);
    }
    return out;
  }
  WorkRequest read(Recorded& done) {
    return {.completion = &done,
            .opcode = Opcode::kRdmaRead,
            .sges = {&sge_, 1},
            .remote_addr = {5},
            .rkey = {6}};
  }

  SendSide side_{state_, cq_, {.max_send_wr = 8, .max_send_sge = 2}};
  std::unique_ptr<TxBatch> batch_ = std::make_unique<TxBatch>();
  const Sge sge_ = mr_->sge(0, 100);
  size_t bytes_ = 0;
};

TEST_F(SendSideTest, ASendIsDoneWhenTheStreamTookItsLastByte) {
  Recorded done;
  ASSERT_TRUE(side_.post({.completion = &done, .sges = {&sge_, 1}}).ok());
  ASSERT_TRUE(side_.can_send());
  const auto fpdus = build();
  ASSERT_EQ(fpdus.size(), 1u);
  EXPECT_EQ(fpdus[0].header.kind, MessageKind::kSend);
  EXPECT_TRUE(fpdus[0].header.last);
  EXPECT_EQ(fpdus[0].header.msn, 1u);
  EXPECT_EQ(fpdus[0].payload, std::vector<std::byte>(memory_.begin(), memory_.begin() + 100));
  EXPECT_FALSE(side_.can_send());

  side_.sent(bytes_ - 1);
  EXPECT_FALSE(cq_.dispatch());
  EXPECT_FALSE(side_.quiet());
  side_.sent(1);
  EXPECT_TRUE(cq_.dispatch());
  EXPECT_TRUE(done.good());
  EXPECT_TRUE(side_.quiet());
}

TEST_F(SendSideTest, SendsNothingWhileTheGateIsClosed) {
  state_.gate_open = false;
  ASSERT_TRUE(side_.post({.sges = {&sge_, 1}}).ok());
  EXPECT_FALSE(side_.can_send());
  EXPECT_TRUE(build().empty());
  state_.gate_open = true;
  EXPECT_EQ(build().size(), 1u);
}

TEST_F(SendSideTest, ReadsWaitForOrdAndCompleteInOrder) {
  std::array<Recorded, 3> done;
  for (Recorded& each : done) ASSERT_TRUE(side_.post(read(each)).ok());
  const auto fpdus = build();
  ASSERT_EQ(fpdus.size(), kDepth);
  const ReadRequest request = decode_read_request(fpdus[1].payload.data());
  EXPECT_EQ(request.sink_stag, stag());
  EXPECT_EQ(request.sink_offset, at(0));
  EXPECT_EQ(request.source_stag, 6u);
  EXPECT_EQ(request.length, 100u);
  EXPECT_EQ(state_.own_reads.count(), kDepth);

  // The receive side's part.
  state_.own_reads.came(100);
  const uint32_t slot = state_.own_reads.oldest().slot;
  state_.own_reads.finish_oldest();
  side_.read_answered(slot);
  cq_.dispatch();
  EXPECT_TRUE(done[0].good());
  EXPECT_FALSE(done[1].done());
  EXPECT_EQ(build().size(), 1u) << "the third";
}

TEST_F(SendSideTest, AFenceWaitsForReads) {
  Recorded done;
  ASSERT_TRUE(side_.post(read(done)).ok());
  ASSERT_TRUE(side_.post({.fence = true, .sges = {&sge_, 1}}).ok());
  EXPECT_EQ(build().size(), 1u);
  state_.own_reads.came(100);
  state_.own_reads.finish_oldest();
  side_.read_answered(0);
  const auto fpdus = build();
  ASSERT_EQ(fpdus.size(), 1u);
  EXPECT_EQ(fpdus[0].header.kind, MessageKind::kSend);
}

TEST_F(SendSideTest, AnswersThePeersReads) {
  state_.peer_reads.add({.sink_stag = 9,
                         .sink_offset = 77,
                         .length = 50,
                         .source_stag = stag(),
                         .source_offset = at(8)});
  ASSERT_TRUE(side_.can_send());
  const auto fpdus = build();
  ASSERT_EQ(fpdus.size(), 1u);
  EXPECT_EQ(fpdus[0].header.kind, MessageKind::kReadResponse);
  EXPECT_EQ(fpdus[0].header.stag, 9u);
  EXPECT_EQ(fpdus[0].header.offset, 77u);
  EXPECT_EQ(fpdus[0].payload, std::vector<std::byte>(memory_.begin() + 8, memory_.begin() + 58));
  EXPECT_TRUE(state_.peer_reads.empty());
}

TEST_F(SendSideTest, AKeyThatEndedGivesNothingAway) {
  state_.peer_reads.add({.length = 50, .source_stag = stag(), .source_offset = at(0)});
  mr_.reset();
  EXPECT_TRUE(build().empty());
  ASSERT_TRUE(state_.violation.has_value());
  EXPECT_EQ(state_.violation->code, term::kReadInvalidStag);
  EXPECT_FALSE(side_.can_send());
}

TEST_F(SendSideTest, APeersTerminateNamesTheRequest) {
  Recorded first, second;
  const WorkRequest write{.completion = &second,
                          .opcode = Opcode::kRdmaWrite,
                          .sges = {&sge_, 1},
                          .remote_addr = {1000},
                          .rkey = {3}};
  ASSERT_TRUE(side_.post({.completion = &first, .sges = {&sge_, 1}}).ok());
  ASSERT_TRUE(side_.post(write).ok());
  build();
  side_.peer_terminated(
      {.code = term::kTaggedBounds,
       .segment = SegmentHeader{
           .kind = MessageKind::kWrite, .tagged = true, .last = true, .stag = 3, .offset = 1000}});
  side_.flush();
  cq_.dispatch();
  EXPECT_EQ(first.wc.status, WcStatus::kFlushed);
  EXPECT_EQ(second.wc.status, WcStatus::kRemoteAccess);
  EXPECT_EQ(state_.counters.snapshot().failed_remote_access, 1u);
}

}  // namespace
}  // namespace mrpool::uiwarp::testing
