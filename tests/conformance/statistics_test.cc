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
  acceptor.kept->reject({});
  ASSERT_TRUE(until([&] { return client.disconnected.has_value(); }));
  EXPECT_EQ(since_start(&TransportStatistics::connections_rejected), 1u);
  EXPECT_EQ(since_start(&TransportStatistics::connections_ended_rejected), 1u);
  EXPECT_EQ(since_start(&TransportStatistics::connections_opened), 0u);
}

}  // namespace
}  // namespace mrpool::conformance
