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
  Sge atomic_sink(uint32_t) const override { return sink; }
  void peer_terminated(const Terminate& terminate) override { terminates.push_back(terminate); }
  Sge sink;
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

TEST_F(ReceiveSideTest, ASendUsesTheOldestReceive) {
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
  EXPECT_EQ(std::get<ReadRequest>(state_.peer_reads.oldest().request).sink_stag, 4u);
  expect_refused(
      segment({.kind = MessageKind::kReadRequest, .last = true, .queue = kReadQueue, .msn = 3},
              body),
      term::kUntaggedNoBuffer);
}

TEST_F(ReceiveSideTest, ReportsAReadWhenItsLastByteIsInPlace) {
  state_.own_reads.add({.slot = 7, .stag = stag(), .offset = 64, .length = 32});
  SegmentHeader response{
      .kind = MessageKind::kReadResponse, .tagged = true, .stag = stag(), .offset = 64};
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

// ------------------------------------------------------------------------------- RFC 7306

class ExtensionsReceived : public ReceiveSideTest {
 protected:
  static std::vector<std::byte> immediate(uint32_t value) {
    std::vector<std::byte> out(kImmediateBytes);
    encode_immediate(value, out.data());
    return out;
  }
  std::vector<std::byte> atomic(uint64_t offset) const {
    std::vector<std::byte> out(kAtomicRequestBytes);
    encode_atomic_request({.id = 1, .stag = stag(), .offset = offset, .add_swap = 1}, out.data());
    return out;
  }
  bool request(std::span<const std::byte> payload, uint32_t msn = 1) {
    return segment(
        {.kind = MessageKind::kAtomicRequest, .last = true, .queue = kReadQueue, .msn = msn},
        payload);
  }
};

TEST_F(ExtensionsReceived, ImmediateDataAfterAWriteUsesAReceive) {
  Recorded done;
  ASSERT_EQ(side_.post({.completion = &done}), PostStatus::kOk);
  ASSERT_TRUE(segment(write(0), payload_));
  ASSERT_TRUE(segment({.kind = MessageKind::kImmediateSe, .last = true, .msn = 1}, immediate(77)));
  cq_.dispatch();
  EXPECT_TRUE(done.good());
  EXPECT_EQ(done.wc.opcode, Opcode::kRecvRdmaWithImm);
  EXPECT_EQ(done.wc.imm, 77u);
  EXPECT_EQ(done.wc.byte_len, 16u);
  EXPECT_TRUE(done.wc.solicited);
}

TEST_F(ExtensionsReceived, ImmediateDataEndsTheSendItBelongsTo) {
  Recorded done;
  const Sge sge = mr_->sge(0, 64);
  ASSERT_EQ(side_.post({.completion = &done, .sges = {&sge, 1}}), PostStatus::kOk);
  ASSERT_TRUE(segment({.kind = MessageKind::kSend, .msn = 1}, payload_));
  ASSERT_TRUE(
      segment({.kind = MessageKind::kImmediate, .last = true, .msn = 1, .mo = 16}, immediate(78)));
  cq_.dispatch();
  EXPECT_TRUE(done.good());
  EXPECT_EQ(done.wc.opcode, Opcode::kRecvWithImm);
  EXPECT_EQ(done.wc.imm, 78u);
  EXPECT_EQ(done.wc.byte_len, 16u);
}

TEST_F(ExtensionsReceived, ImmediateDataIsCheckedAsEverySend) {
  const SegmentHeader good{.kind = MessageKind::kImmediate, .last = true, .msn = 1};
  struct Case {
    SegmentHeader header;
    size_t bytes;
    TerminateCode code;
  };
  SegmentHeader queue = good, msn = good, offset = good, parts = good;
  queue.queue = kReadQueue;
  msn.msn = 2;
  offset.mo = 1;
  parts.last = false;
  for (const Case& each :
       {Case{queue, 8, term::kUntaggedQueue}, Case{msn, 8, term::kUntaggedMsnRange},
        Case{offset, 8, term::kUntaggedOffset}, Case{parts, 8, term::kUntaggedTooLong},
        Case{good, 7, term::kUntaggedTooLong}, Case{good, 9, term::kUntaggedTooLong}}) {
    Recorded done;
    ASSERT_EQ(side_.post({.completion = &done}), PostStatus::kOk);
    state_.violation.reset();
    expect_refused(segment(each.header, std::vector<std::byte>(each.bytes)), each.code);
    side_.flush();
    cq_.dispatch();
  }
  state_.violation.reset();
  expect_refused(segment(good, immediate(1)), term::kUntaggedNoBuffer);
}

TEST_F(ExtensionsReceived, AreUnexpectedWithoutAgreement) {
  state_.agreement.extensions = false;
  for (const MessageKind kind : {MessageKind::kImmediate, MessageKind::kImmediateSe,
                                 MessageKind::kAtomicRequest, MessageKind::kAtomicResponse}) {
    state_.violation.reset();
    expect_refused(segment({.kind = kind, .last = true, .msn = 1}, immediate(1)),
                   term::kUnexpectedOpcode);
  }
}

TEST_F(ExtensionsReceived, AnAtomicWaitsForItsTurnAmongTheReads) {
  ASSERT_TRUE(request(atomic(at(8))));
  ASSERT_EQ(state_.peer_reads.count(), 1u);
  EXPECT_EQ(std::get<AtomicRequest>(state_.peer_reads.oldest().request).offset, at(8));
  EXPECT_EQ(memory_[8], std::byte(56));  // not yet
}

TEST_F(ExtensionsReceived, AtomicsBeyondTheAgreedDepthAreRefused) {
  ASSERT_TRUE(request(atomic(at(0)), 1));
  ASSERT_TRUE(request(atomic(at(0)), 2));
  expect_refused(request(atomic(at(0)), 3), term::kUntaggedNoBuffer);
}

TEST_F(ExtensionsReceived, AnAtomicNeedsItsRightItsBoundsAndAlignment) {
  expect_refused(request(atomic(at(4))), term::kStreamCatastrophic);
  state_.violation.reset();
  expect_refused(request(atomic(at(kMemory))), term::kReadBounds);
  state_.violation.reset();
  auto unknown = atomic(at(0));
  unknown[3] = std::byte(1);
  expect_refused(request(unknown), term::kUnexpectedOpcode);
  state_.violation.reset();
  keys_->slot_of(stag())->access = Access::kLocalWrite | Access::kRemoteWrite;
  expect_refused(request(atomic(at(0))), term::kReadAccess);
}

TEST_F(ExtensionsReceived, TheOriginalValueGoesToTheSink) {
  owner_.sink = mr_->sge(16, kAtomicBytes);
  state_.own_reads.add({.slot = 5, .length = kAtomicBytes, .msn = 3, .atomic = true});
  const SegmentHeader header{
      .kind = MessageKind::kAtomicResponse, .last = true, .queue = kAtomicResponseQueue, .msn = 1};
  std::vector<std::byte> body(kAtomicResponseBytes);
  encode_atomic_response({.id = 3, .original = 0x1122334455667788}, body.data());
  ASSERT_TRUE(segment(header, body));
  uint64_t value = 0;
  std::memcpy(&value, memory_.data() + 16, sizeof value);
  EXPECT_EQ(value, 0x1122334455667788u);
  EXPECT_EQ(owner_.answered, std::vector<uint32_t>{5});
  expect_refused(segment(header, body), term::kUnexpectedOpcode);  // nothing was asked
}

TEST_F(ExtensionsReceived, AResponseAnswersWhatIsOldest) {
  owner_.sink = mr_->sge(16, kAtomicBytes);
  state_.own_reads.add({.slot = 5, .length = kAtomicBytes, .msn = 3, .atomic = true});
  std::vector<std::byte> body(kAtomicResponseBytes);
  encode_atomic_response({.id = 4}, body.data());
  expect_refused(segment({.kind = MessageKind::kAtomicResponse,
                          .last = true,
                          .queue = kAtomicResponseQueue,
                          .msn = 1},
                         body),
                 term::kStreamCatastrophic);
  state_.violation.reset();
  expect_refused(segment({.kind = MessageKind::kReadResponse, .tagged = true, .last = true}, {}),
                 term::kUnexpectedOpcode);
}

}  // namespace
}  // namespace mrpool::uiwarp::testing
