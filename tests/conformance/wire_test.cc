// A session with one of everything, whose FPDUs are known beforehand. tshark_test.py captures it
// and compares what Wireshark decodes with the counts recorded here.
#include "tests/conformance/fixture.h"
#include "transport/uiwarp/limits.h"

namespace mrpool::conformance {
namespace {

class Wire : public ConformanceTest {
 protected:
  // DDP segments of a message.
  static int segments(size_t length) {
    const size_t most = uiwarp::kMaxSegmentPayload;
    return static_cast<int>(std::max<size_t>(1, (length + most - 1) / most));
  }

  // Immediate data and atomics.
  void extensions(Region& local, Region& remote, Region& inbox, int& sends, int& writes) {
    Region counter(*server.pd, 4096, Access::kLocalWrite | Access::kRemoteAtomic);
    for (const size_t size :
         {size_t{0}, size_t{5}, size_t{4096}, size_t{uiwarp::kMaxSegmentPayload} + 1}) {
      const Sge sge = local.sge(0, size);
      Op& first = server.receive(inbox.sge());
      Op& second = server.receive(inbox.sge());
      client.post({.opcode = Opcode::kSendWithImm, .sges = {&sge, 1}, .imm = 1});
      client.post({.opcode = Opcode::kRdmaWriteWithImm,
                   .solicited = true,
                   .sges = {&sge, 1},
                   .remote_addr = remote.remote(),
                   .rkey = remote.rkey(),
                   .imm = 2});
      ASSERT_TRUE(finish(first) && finish(second)) << size;
      sends += segments(size);
      writes += segments(size);
      ++immediates_;
      ++immediates_solicited_;
    }
    const Sge sink = local.sge(0, 8);
    for (const Opcode opcode : {Opcode::kFetchAdd, Opcode::kCompareSwap}) {
      ASSERT_TRUE(finish(client.post({.opcode = opcode,
                                      .sges = {&sink, 1},
                                      .remote_addr = counter.remote(),
                                      .rkey = counter.rkey(),
                                      .compare_add = 0x0102030405060708,
                                      .swap = 0x1112131415161718})));
      ++atomics_;
    }
    ASSERT_TRUE(until([&] { return client.all_finished(); }));
  }

  int immediates_ = 0, immediates_solicited_ = 0, atomics_ = 0;
};

TEST_F(Wire, OneOfEverything) {
  connect();
  constexpr size_t kSize = 1 << 20;
  Region local(*client.pd, kSize, sink_access());
  Region remote(*server.pd, kSize,
                Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteWrite);
  Region inbox(*server.pd, kSize, Access::kLocalWrite);
  Region nothing(*server.pd, 4096, Access::kLocalWrite);
  local.fill(1);
  int sends = 0, solicited = 0, sends_with_invalidate = 0, writes = 0, reads = 0, responses = 0;

  // Sizes around every edge of padding, copying and segmenting.
  constexpr size_t kSegment = uiwarp::kMaxSegmentPayload;
  for (const size_t size :
       {size_t{0}, size_t{1}, size_t{2}, size_t{3}, size_t{4}, size_t{5}, size_t{63}, size_t{64},
        size_t{4095}, size_t{4096}, size_t{4097}, kSegment - 1, kSegment, kSegment + 1,
        2 * kSegment, size_t{100'000}, kSize}) {
    const Sge sge = local.sge(0, size);
    server.receive(inbox.sge(0, std::max<size_t>(size, 1)));
    client.write(sge, remote.remote(), remote.rkey());
    client.read(sge, remote.remote(), remote.rkey());
    const bool ask = size % 2 == 1;
    client.post({.opcode = Opcode::kSend, .solicited = ask, .sges = {&sge, 1}});
    (ask ? solicited : sends) += segments(size);
    writes += segments(size);
    reads += 1;
    responses += segments(size);
    ASSERT_TRUE(until([&] { return client.all_finished() && server.all_finished(); })) << size;
  }

  if (caps().immediate_data) extensions(local, remote, inbox, sends, writes);

  // A key that lives once and is ended by the peer.
  if (caps().registration == mrpool::Registration::kFastReg && caps().send_with_inv) {
    auto key = server.pd->alloc_fast_mr({.max_segments = 1, .ceiling = Access::kRemoteRead});
    ASSERT_TRUE(key.ok()) << key.status();
    const Sge exposed = remote.sge(0, 5000);
    ASSERT_EQ((*key)->map({&exposed, 1}), 1u);
    ASSERT_TRUE(finish(
        server.post({.opcode = Opcode::kRegMr, .mr = key->get(), .access = Access::kRemoteRead})));
    Op& read = client.read(local.sge(0, 5000), (*key)->remote_addr(), (*key)->rkey());
    reads += 1;
    responses += segments(5000);
    ASSERT_TRUE(finish(read));
    Op& received = server.receive(inbox.sge());
    const Sge answer = local.sge(0, 16);
    client.post({.opcode = Opcode::kSendWithInv, .sges = {&answer, 1}, .rkey = (*key)->rkey()});
    sends_with_invalidate += 1;
    ASSERT_TRUE(finish(received));
    EXPECT_TRUE(received.wc.invalidated);
  }

  // And a WRITE that is refused: its one segment, and the Terminate that answers it.
  client.write(local.sge(0, 10), nothing.remote(), nothing.rkey());
  writes += 1;
  ASSERT_TRUE(both_ended());

  RecordProperty("port", listener->port());
  RecordProperty("send", sends);
  RecordProperty("send_solicited", solicited);
  RecordProperty("send_with_invalidate", sends_with_invalidate);
  RecordProperty("write", writes);
  RecordProperty("read_request", reads);
  RecordProperty("read_response", responses);
  RecordProperty("terminate", 1);
  RecordProperty("immediate", immediates_);
  RecordProperty("immediate_solicited", immediates_solicited_);
  RecordProperty("atomic_request", atomics_);
  RecordProperty("atomic_response", atomics_);
}

}  // namespace
}  // namespace mrpool::conformance
