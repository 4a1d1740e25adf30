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
  EXPECT_EQ(request.sink_offset, 0u) << "an offset in the key's range, no address";
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
  state_.peer_reads.add(ReadRequest{.sink_stag = 9,
                                    .sink_offset = 77,
                                    .length = 50,
                                    .source_stag = stag(),
                                    .source_offset = at(8)},
                        1);
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
  state_.peer_reads.add(ReadRequest{.length = 50, .source_stag = stag(), .source_offset = at(0)},
                        6);
  mr_.reset();
  EXPECT_TRUE(build().empty());
  ASSERT_TRUE(state_.violation.has_value());
  EXPECT_EQ(state_.violation->code, term::kReadInvalidStag);
  ASSERT_TRUE(state_.violation->segment.has_value());
  EXPECT_EQ(state_.violation->segment->msn, 6u);
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

// ------------------------------------------------------------------------------- RFC 7306

TEST_F(SendSideTest, ImmediateDataFollowsAWrite) {
  Recorded done;
  ASSERT_TRUE(side_
                  .post({.completion = &done,
                         .opcode = Opcode::kRdmaWriteWithImm,
                         .solicited = true,
                         .sges = {&sge_, 1},
                         .remote_addr = {5},
                         .rkey = {6},
                         .imm = 0x01020304})
                  .ok());
  const auto fpdus = build();
  ASSERT_EQ(fpdus.size(), 2u);
  EXPECT_EQ(fpdus[0].header.kind, MessageKind::kWrite);
  EXPECT_TRUE(fpdus[0].header.last);
  EXPECT_EQ(fpdus[1].header.kind, MessageKind::kImmediateSe);
  EXPECT_TRUE(fpdus[1].header.last);
  EXPECT_EQ(fpdus[1].header.msn, 1u);
  EXPECT_EQ(fpdus[1].header.mo, 0u);
  EXPECT_EQ(decode_immediate(fpdus[1].payload.data()), 0x01020304u);
  side_.sent(bytes_);
  cq_.dispatch();
  EXPECT_TRUE(done.good());
}

TEST_F(SendSideTest, ImmediateDataIsTheLastSegmentOfItsSend) {
  Recorded first, second;
  ASSERT_TRUE(
      side_
          .post(
              {.completion = &first, .opcode = Opcode::kSendWithImm, .sges = {&sge_, 1}, .imm = 7})
          .ok());
  ASSERT_TRUE(side_.post({.completion = &second, .sges = {&sge_, 1}}).ok());
  const auto fpdus = build();
  ASSERT_EQ(fpdus.size(), 3u);
  EXPECT_EQ(fpdus[0].header.kind, MessageKind::kSend);
  EXPECT_FALSE(fpdus[0].header.last);
  EXPECT_EQ(fpdus[1].header.kind, MessageKind::kImmediate);
  EXPECT_EQ(fpdus[1].header.msn, 1u);
  EXPECT_EQ(fpdus[1].header.mo, 100u);
  EXPECT_EQ(fpdus[2].header.msn, 2u);
}

TEST_F(SendSideTest, AnAtomicCountsAsARead) {
  Recorded done[kDepth + 1];
  const Sge sink = mr_->sge(8, 8);
  for (Recorded& each : done) {
    ASSERT_TRUE(side_
                    .post({.completion = &each,
                           .opcode = Opcode::kFetchAdd,
                           .sges = {&sink, 1},
                           .remote_addr = {16},
                           .rkey = {6},
                           .compare_add = 3})
                    .ok());
  }
  const auto fpdus = build();
  ASSERT_EQ(fpdus.size(), size_t{kDepth});
  EXPECT_EQ(fpdus[1].header.kind, MessageKind::kAtomicRequest);
  EXPECT_EQ(fpdus[1].header.queue, kReadQueue);
  EXPECT_EQ(fpdus[1].header.msn, 2u);
  EXPECT_EQ(decode_atomic_request(fpdus[1].payload.data()),
            (AtomicRequest{
                .id = 2, .stag = 6, .offset = 16, .add_swap = 3, .compare_mask = ~uint64_t{0}}));
  state_.own_reads.finish_oldest();
  side_.read_answered(0);
  EXPECT_EQ(build().size(), 1u);
  cq_.dispatch();
  EXPECT_TRUE(done[0].good());
  EXPECT_FALSE(done[1].done());
}

TEST_F(SendSideTest, AnsweringAnAtomicCarriesItOutOnce) {
  uint64_t value = 40;
  std::memcpy(memory_.data(), &value, sizeof value);
  state_.peer_reads.add(AtomicRequest{.id = 9, .stag = stag(), .offset = at(0), .add_swap = 2}, 1);
  const auto fpdus = build();
  ASSERT_EQ(fpdus.size(), 1u);
  EXPECT_EQ(fpdus[0].header.kind, MessageKind::kAtomicResponse);
  EXPECT_EQ(fpdus[0].header.queue, kAtomicResponseQueue);
  EXPECT_EQ(fpdus[0].header.msn, 1u);
  const AtomicResponse response = decode_atomic_response(fpdus[0].payload.data());
  EXPECT_EQ(response.id, 9u);
  EXPECT_EQ(response.original, 40u);
  std::memcpy(&value, memory_.data(), sizeof value);
  EXPECT_EQ(value, 42u);
  EXPECT_TRUE(build().empty());
}

// The CRC of a large response was taken over the memory, which goes out where it lies.
TEST_F(SendSideTest, AnAtomicWaitsUntilTheResponseBeforeItIsSent) {
  state_.peer_reads.add(
      ReadRequest{.length = kMemory, .source_stag = stag(), .source_offset = at(0)}, 1);
  state_.peer_reads.add(AtomicRequest{.id = 2, .stag = stag(), .offset = at(0), .add_swap = 1}, 2);
  static_assert(kMemory > TxBatch::kCopyResponseBytes);
  const std::vector<std::byte> before = memory_;
  const auto response = build();
  ASSERT_EQ(response.size(), 1u);
  EXPECT_EQ(response[0].payload, before);
  EXPECT_EQ(memory_, before);
  ASSERT_EQ(build().size(), 1u);
  EXPECT_NE(memory_, before);
}

TEST_F(SendSideTest, AnAtomicWhoseKeyEndedMeanwhileChangesNothing) {
  state_.peer_reads.add(AtomicRequest{.id = 9, .stag = stag(), .offset = at(0), .add_swap = 2}, 7);
  const std::byte before = memory_[0];
  mr_.reset();
  EXPECT_TRUE(build().empty());
  ASSERT_TRUE(state_.violation.has_value());
  EXPECT_EQ(state_.violation->code, term::kReadInvalidStag);
  ASSERT_TRUE(state_.violation->segment.has_value());
  EXPECT_EQ(state_.violation->segment->msn, 7u) << "of the request, not its identifier";
  EXPECT_EQ(memory_[0], before);
}

TEST_F(SendSideTest, ExtensionsNeedThePeersAgreement) {
  const Sge sink = mr_->sge(8, 8);
  state_.agreement.extensions = false;
  for (const Opcode opcode :
       {Opcode::kSendWithImm, Opcode::kRdmaWriteWithImm, Opcode::kFetchAdd, Opcode::kCompareSwap}) {
    const WorkRequest request{.opcode = opcode, .sges = {&sink, 1}};
    EXPECT_EQ(side_.post(request).status, PostStatus::kPeerUnsupported);
    caps_.immediate_data = false;
    EXPECT_EQ(side_.post(request).status, PostStatus::kUnsupported);
    caps_.immediate_data = true;
  }
}

TEST_F(SendSideTest, AnAtomicIsEightBytesAtAMultipleOfEight) {
  const auto status = [&](uint32_t bytes, uint64_t offset, size_t sges) {
    const Sge parts[] = {mr_->sge(0, bytes), mr_->sge(8, bytes)};
    return side_.post({.opcode = Opcode::kFetchAdd, .sges = {parts, sges}, .remote_addr = {offset}})
        .status;
  };
  EXPECT_EQ(status(4, 0, 1), PostStatus::kBadAtomic);
  EXPECT_EQ(status(16, 0, 1), PostStatus::kBadAtomic);
  EXPECT_EQ(status(8, 4, 1), PostStatus::kBadAtomic);
  EXPECT_EQ(status(4, 0, 2), PostStatus::kBadAtomic);
  EXPECT_EQ(status(8, 0, 0), PostStatus::kBadAtomic);
  EXPECT_EQ(status(8, 8, 1), PostStatus::kOk);
}

}  // namespace
}  // namespace mrpool::uiwarp::testing
