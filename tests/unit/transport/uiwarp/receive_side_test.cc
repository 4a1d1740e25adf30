// The receive side alone: segments become placed bytes, completions, and READs to answer.
#include "transport/uiwarp/receive_side.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <vector>

#include "tests/unit/transport/uiwarp/sides.h"

namespace mrpool::uiwarp::testing {
namespace {

struct RecordedOwner final : ReadOwner {
  void read_answered(uint32_t slot) override { answered.push_back(slot); }
  void read_refused(uint32_t slot) override { refused.push_back(slot); }
  void peer_terminated(const Terminate& terminate) override { terminates.push_back(terminate); }
  std::vector<uint32_t> answered, refused;
  std::vector<Terminate> terminates;
};

class ReceiveSideTest : public OneSide {
 protected:
  // A whole segment.
  bool segment(const SegmentHeader& header, std::span<const std::byte> payload) {
    return side_.begin(header, payload.size()) &&
           (payload.empty() || side_.place(0, payload.data(), payload.size())) && side_.end();
  }
  SegmentHeader write(uint64_t offset) const {
    return {.kind = MessageKind::kWrite,
            .tagged = true,
            .last = true,
            .stag = stag(),
            .offset = at(offset)};
  }
  void expect_refused(bool accepted, const TerminateCode& code) {
    EXPECT_FALSE(accepted);
    ASSERT_TRUE(state_.violation.has_value());
    EXPECT_EQ(state_.violation->code, code) << to_string(state_.violation->code);
  }

  RecordedOwner owner_;
  ReceiveSide side_{state_, owner_, cq_, {.max_recv_wr = 4}, nullptr};
  const std::vector<std::byte> payload_ = std::vector<std::byte>(16, std::byte(0xee));
};

TEST_F(ReceiveSideTest, PlacesAWrite) {
  ASSERT_TRUE(segment(write(32), payload_));
  EXPECT_TRUE(std::equal(payload_.begin(), payload_.end(), memory_.begin() + 32));
  EXPECT_EQ(memory_[31], std::byte(31 * 7));
  EXPECT_EQ(memory_[48], std::byte(uint8_t(48 * 7)));
}

TEST_F(ReceiveSideTest, NamesTheMemoryThatBytesAreFor) {
  ASSERT_TRUE(side_.begin(write(0), 1000));
  std::array<iovec, 4> pieces;
  ASSERT_EQ(side_.landing(200, 800, pieces), 1u);
  EXPECT_EQ(pieces[0].iov_base, memory_.data() + 200);
  EXPECT_EQ(pieces[0].iov_len, 800u);
}

TEST_F(ReceiveSideTest, OpensTheGateWithTheFirstSegment) {
  state_.gate_open = false;
  ASSERT_TRUE(segment(write(0), {}));
  EXPECT_TRUE(state_.gate_open);
}

TEST_F(ReceiveSideTest, ASendTakesTheOldestReceive) {
  Recorded first, second;
  const Sge sge = mr_->sge(0, 64);
  RecvRequest next{.completion = &second, .sges = {&sge, 1}};
  ASSERT_EQ(side_.post({.next = &next, .completion = &first, .sges = {&sge, 1}}), PostStatus::kOk);
  ASSERT_TRUE(segment({.kind = MessageKind::kSendSe, .last = true, .msn = 1}, payload_));
  cq_.dispatch();
  EXPECT_TRUE(first.good());
  EXPECT_EQ(first.wc.byte_len, 16u);
  EXPECT_TRUE(first.wc.solicited);
  EXPECT_EQ(first.wc.qp, &qp_);
  EXPECT_FALSE(second.done());
  side_.flush();
  cq_.dispatch();
  EXPECT_EQ(second.wc.status, WcStatus::kFlushed);
}

TEST_F(ReceiveSideTest, QueuesAReadForTheSendSide) {
  std::array<std::byte, kReadRequestBytes> body;
  encode_read_request(
      {.sink_stag = 4, .length = 100, .source_stag = stag(), .source_offset = at(0)}, body.data());
  for (uint32_t msn = 1; msn <= kDepth; ++msn) {
    ASSERT_TRUE(segment(
        {.kind = MessageKind::kReadRequest, .last = true, .queue = kReadQueue, .msn = msn}, body));
  }
  EXPECT_EQ(state_.peer_reads.count(), kDepth);
  EXPECT_EQ(state_.peer_reads.oldest().request.sink_stag, 4u);
  expect_refused(
      segment({.kind = MessageKind::kReadRequest, .last = true, .queue = kReadQueue, .msn = 3},
              body),
      term::kUntaggedNoBuffer);
}

TEST_F(ReceiveSideTest, ReportsAReadWhenItsLastByteIsInPlace) {
  state_.own_reads.add({.slot = 7, .stag = stag(), .offset = at(64), .length = 32});
  SegmentHeader response{
      .kind = MessageKind::kReadResponse, .tagged = true, .stag = stag(), .offset = at(64)};
  ASSERT_TRUE(segment(response, payload_));
  EXPECT_TRUE(owner_.answered.empty());
  response.offset += 16;
  response.last = true;
  ASSERT_TRUE(segment(response, payload_));
  EXPECT_EQ(owner_.answered, std::vector<uint32_t>{7});
  EXPECT_TRUE(state_.own_reads.empty());
  expect_refused(segment(response, payload_), term::kUnexpectedOpcode);
}

TEST_F(ReceiveSideTest, ReportsAReadWhoseSinkEnded) {
  state_.own_reads.add({.slot = 7, .stag = stag(), .offset = at(0), .length = 16});
  const SegmentHeader response{.kind = MessageKind::kReadResponse,
                               .tagged = true,
                               .last = true,
                               .stag = stag(),
                               .offset = at(0)};
  mr_.reset();
  expect_refused(segment(response, payload_), term::kTaggedInvalidStag);
  EXPECT_EQ(owner_.refused, std::vector<uint32_t>{7});
}

TEST_F(ReceiveSideTest, PassesThePeersTerminateOn) {
  std::array<std::byte, kMaxTerminateBytes> body;
  const size_t bytes = encode_terminate({.code = term::kTaggedBounds}, body.data());
  EXPECT_FALSE(
      segment({.kind = MessageKind::kTerminate, .last = true, .queue = kTerminateQueue, .msn = 1},
              std::span(body).first(bytes)));
  ASSERT_EQ(owner_.terminates.size(), 1u);
  EXPECT_EQ(owner_.terminates[0].code, term::kTaggedBounds);
  EXPECT_FALSE(state_.violation.has_value()) << "the peer has said its last word";
}

TEST_F(ReceiveSideTest, RefusesWithTheHeaderThatWasWrong) {
  expect_refused(segment(write(kMemory - 8), payload_), term::kTaggedBounds);
  ASSERT_TRUE(state_.violation->segment.has_value());
  EXPECT_EQ(state_.violation->segment->offset, at(kMemory - 8));
  EXPECT_EQ(state_.violation->segment_bytes, kTaggedHeaderBytes + payload_.size());
  EXPECT_EQ(state_.counters.snapshot().key_refusals_bounds, 1u);
}

}  // namespace
}  // namespace mrpool::uiwarp::testing
