// Statistics: what every device counts, on the Qp and on the device. Deltas, because all tests
// share one device.
#include "mrpool/statistics.h"

#include "tests/conformance/fixture.h"

namespace mrpool::conformance {
namespace {

class Statistics : public ConformanceTest {
 protected:
  uint64_t since_start(uint64_t TransportStatistics::*counter) const {
    return device.statistics().*counter - start_.*counter;
  }
  const TransportStatistics start_ = device.statistics();
};

TEST_F(Statistics, CountMessagesAndBytes) {
  connect();
  Region inbox(*server.pd, 100, Access::kLocalWrite);
  Region remote(*server.pd, 300, Access::kLocalWrite | Access::kRemoteWrite | Access::kRemoteRead);
  Region local(*client.pd, 300, Access::kLocalWrite | sink_access());
  Op& received = server.receive(inbox.sge());
  Op& sent = client.send(local.sge(0, 100));
  Op& written = client.write(local.sge(0, 200), remote.remote(), remote.rkey());
  Op& read = client.read(local.sge(), remote.remote(), remote.rkey());
  for (const Op* op : {&received, &sent, &written, &read}) {
    ASSERT_TRUE(finish(*op));
    ASSERT_TRUE(op->ok());
  }
  const TransportStatistics here = client.qp->statistics();
  EXPECT_EQ(here.connections_opened, 1u);
  EXPECT_EQ(here.send_messages_sent, 1u);
  EXPECT_EQ(here.send_bytes_sent, 100u);
  EXPECT_EQ(here.write_bytes_sent, 200u);
  EXPECT_EQ(here.read_response_messages_received, 1u);
  EXPECT_EQ(here.read_response_bytes_received, 300u);
  const TransportStatistics there = server.qp->statistics();
  EXPECT_EQ(there.send_messages_received, 1u);
  EXPECT_EQ(there.send_bytes_received, 100u);
  EXPECT_EQ(since_start(&TransportStatistics::connections_opened), 2u);
  EXPECT_EQ(since_start(&TransportStatistics::send_bytes_sent), 100u);
  EXPECT_EQ(since_start(&TransportStatistics::send_bytes_received), 100u);
}

TEST_F(Statistics, CountEndsByReasonAndOutliveTheQp) {
  connect();
  client.qp->disconnect();
  ASSERT_TRUE(both_ended());
  EXPECT_EQ(client.qp->statistics().connections_ended_local, 1u);
  client.qp.reset();
  server.qp.reset();
  EXPECT_EQ(since_start(&TransportStatistics::connections_opened), 2u);
  EXPECT_EQ(since_start(&TransportStatistics::connections_ended_local), 1u);
  EXPECT_EQ(since_start(&TransportStatistics::connections_ended_peer), 1u);
}

TEST_F(Statistics, CountWhatIsFlushed) {
  connect();
  Region inbox(*server.pd, 64, Access::kLocalWrite);
  server.receive(inbox.sge());
  server.receive(inbox.sge());
  client.qp->disconnect();
  ASSERT_TRUE(both_ended());
  EXPECT_EQ(server.qp->statistics().failed_flushed, 2u);
}

TEST_F(Statistics, CountRejections) {
  acceptor.server = nullptr;
  listen();
  start_connect(client);
  ASSERT_TRUE(until([&] { return acceptor.kept != nullptr; }));
  EXPECT_TRUE(acceptor.kept->reject({}).ok());
  ASSERT_TRUE(until([&] { return client.disconnected.has_value(); }));
  EXPECT_EQ(since_start(&TransportStatistics::connections_rejected), 1u);
  EXPECT_EQ(since_start(&TransportStatistics::connections_ended_rejected), 1u);
  EXPECT_EQ(since_start(&TransportStatistics::connections_opened), 0u);
}

TEST_F(Statistics, APdCountsWhatIsMadeFromIt) {
  auto pd = device.alloc_pd();
  ASSERT_TRUE(pd.ok()) << pd.status();
  EXPECT_EQ((*pd)->statistics(), PdStatistics{});
  {
    Region first(**pd, 8192, Access::kLocalWrite), second(**pd, 4096, Access::kNone);
    const PdStatistics both = (*pd)->statistics();
    EXPECT_EQ(both.regions, 2u);
    EXPECT_EQ(both.region_bytes, 12288u);
    EXPECT_FALSE((*pd)->reg_mr(first.bytes(), Access::kRemoteWrite).ok());
    auto key = (*pd)->alloc_fast_mr({.max_segments = 1});
    ASSERT_TRUE(key.ok()) << key.status();
    EXPECT_EQ((*pd)->statistics().fast_mrs, 1u);
  }
  EXPECT_EQ((*pd)->statistics(),
            (PdStatistics{
                .regions_max = 2, .regions_total = 2, .regions_refused = 1, .fast_mrs_max = 1}));
  EXPECT_THAT(to_text((*pd)->statistics()), testing::HasSubstr("regions_refused 1\n"));
}

TEST_F(Statistics, CountImmediateDataAndAtomics) {
  MRPOOL_NEEDS(caps().immediate_data && caps().atomics != AtomicScope::kNone);
  connect();
  Region target(*server.pd, 64, Access::kLocalWrite | Access::kRemoteWrite | Access::kRemoteAtomic);
  Region sink(*client.pd, 64, Access::kLocalWrite);
  const Sge sge = sink.sge(0, 8);
  Op& received = server.receive(target.sge());
  client.post({.opcode = Opcode::kSendWithImm, .sges = {&sge, 1}, .imm = 1});
  ASSERT_TRUE(finish(received));
  ASSERT_TRUE(finish(client.post({.opcode = Opcode::kFetchAdd,
                                  .sges = {&sge, 1},
                                  .remote_addr = target.remote(),
                                  .rkey = target.rkey()})));
  const TransportStatistics here = client.qp->statistics(), there = server.qp->statistics();
  EXPECT_EQ(here.immediates_sent, 1u);
  EXPECT_EQ(here.send_messages_sent, 1u);
  EXPECT_EQ(here.atomic_responses_received, 1u);
  EXPECT_EQ(there.immediates_received, 1u);
  EXPECT_EQ(there.send_messages_received, 1u);
}

}  // namespace
}  // namespace mrpool::conformance
