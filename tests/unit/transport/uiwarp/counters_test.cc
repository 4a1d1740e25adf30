// Statistics of uiwarp: each counter moves when its event happens, on the Qp and on its device, and
// stays with the device when the Qp is gone.
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <string>
#include <thread>

#include "tests/unit/transport/uiwarp/violation.h"
#include "transport/uiwarp/limits.h"

namespace mrpool::uiwarp::testing {
namespace {

constexpr Access kOpen = Access::kLocalWrite | Access::kRemoteWrite | Access::kRemoteRead;

// The counters that are not zero, by name.
std::map<std::string, uint64_t> moved(const TransportStatistics& statistics) {
  std::map<std::string, uint64_t> out;
  for_each(statistics, [&](std::string_view name, uint64_t value) {
    if (value != 0) out[std::string(name)] = value;
  });
  return out;
}
using Moved = std::map<std::string, uint64_t>;

class Traffic : public ::testing::Test {
 protected:
  Traffic()
      : network_(std::make_shared<sim::SimNetwork>(reactor_, sim::NetworkOptions{})),
        pair_(reactor_, network_) {
    pair_.step = [this] { reactor_.step(); };
    pair_.connect();
  }
  void post(Opcode opcode, const Buffer& local, const Buffer& remote) {
    const Sge sge = local.sge();
    Recorded done;
    ASSERT_EQ(pair_.client.send({.completion = &done,
                                 .opcode = opcode,
                                 .sges = {&sge, 1},
                                 .remote_addr = remote.at(0),
                                 .rkey = remote.mr->rkey()}),
              PostStatus::kOk);
    ASSERT_TRUE(pair_.until([&] { return done.done(); }));
    ASSERT_TRUE(done.good());
  }

  sim::SimReactor reactor_;
  std::shared_ptr<sim::SimNetwork> network_;
  Pair pair_;
};

TEST_F(Traffic, CountsMessagesSegmentsAndBytesOnBothSides) {
  constexpr uint32_t kLong = 2 * kMaxSegmentPayload + 1000;  // three segments
  Buffer local(*pair_.client.pd, kLong, kOpen);
  Buffer remote(*pair_.server.pd, kLong, kOpen);
  Buffer small(*pair_.client.pd, 100, Access::kLocalWrite);
  Buffer inbox(*pair_.server.pd, 100, Access::kLocalWrite);
  const Sge in = inbox.sge();
  Recorded received;
  ASSERT_EQ(pair_.server.qp->post_recv({.completion = &received, .sges = {&in, 1}}),
            PostStatus::kOk);
  post(Opcode::kSend, small, inbox);
  post(Opcode::kRdmaWrite, local, remote);
  post(Opcode::kRdmaRead, local, remote);
  ASSERT_TRUE(pair_.until([&] { return received.done(); }));

  // The initiator's first message, a WRITE of no bytes, makes the responder ready.
  const Moved client{{"connections_opened", 1},
                     {"send_messages_sent", 1},
                     {"send_segments_sent", 1},
                     {"send_bytes_sent", 100},
                     {"write_messages_sent", 2},
                     {"write_segments_sent", 4},
                     {"write_bytes_sent", kLong},
                     {"read_requests_sent", 1},
                     {"read_response_messages_received", 1},
                     {"read_response_segments_received", 3},
                     {"read_response_bytes_received", kLong},
                     {"reads_outstanding_max", 1},
                     {"fpdus_sent", 6},
                     {"fpdus_received", 3}};
  const Moved server{{"connections_opened", 1},
                     {"send_messages_received", 1},
                     {"send_segments_received", 1},
                     {"send_bytes_received", 100},
                     {"write_messages_received", 2},
                     {"write_segments_received", 4},
                     {"write_bytes_received", kLong},
                     {"read_requests_received", 1},
                     {"read_response_messages_sent", 1},
                     {"read_response_segments_sent", 3},
                     {"read_response_bytes_sent", kLong},
                     {"peer_reads_outstanding_max", 1},
                     {"fpdus_sent", 3},
                     {"fpdus_received", 6}};
  EXPECT_EQ(moved(pair_.client.qp->statistics()), client);
  EXPECT_EQ(moved(pair_.server.qp->statistics()), server);
  EXPECT_EQ(moved(pair_.client_device->statistics()), client);
  EXPECT_EQ(moved(pair_.server_device->statistics()), server);
}

TEST_F(Traffic, TheDeviceKeepsWhatAnEndedQpCounted) {
  Buffer local(*pair_.client.pd, 100, kOpen);
  Buffer remote(*pair_.server.pd, 100, kOpen);
  post(Opcode::kRdmaWrite, local, remote);
  pair_.client.qp->disconnect();
  ASSERT_TRUE(pair_.until([&] { return pair_.client.disconnected && pair_.server.disconnected; }));
  const TransportStatistics before = pair_.client_device->statistics();
  EXPECT_EQ(before.connections_ended_local, 1u);
  EXPECT_EQ(pair_.server_device->statistics().connections_ended_peer, 1u);
  pair_.client.qp.reset();
  EXPECT_EQ(pair_.client_device->statistics(), before);

  // A second connection adds to it.
  pair_.client.connected = pair_.client.disconnected = pair_.server.connected = false;
  pair_.dial();
  ASSERT_TRUE(pair_.until([&] { return pair_.client.connected; }));
  EXPECT_EQ(pair_.client_device->statistics().connections_opened, 2u);
  EXPECT_EQ(pair_.client_device->statistics().write_bytes_sent, 100u);
}

TEST_F(Traffic, ReportsWhatItDoesNotSee) {
  const TransportStatistics statistics = pair_.client_device->statistics();
  EXPECT_EQ(statistics.retries_exceeded, TransportStatistics::kNotCounted);
  EXPECT_EQ(statistics.receiver_not_ready_retries_exceeded, TransportStatistics::kNotCounted);
}

TEST_F(Traffic, KeepsTheMostReadsOutstanding) {
  Buffer local(*pair_.client.pd, 4096, kOpen);
  Buffer remote(*pair_.server.pd, 4096, kOpen);
  const Sge sge = local.sge();
  std::array<Recorded, 5> done;
  for (Recorded& each : done) {
    ASSERT_EQ(pair_.client.send({.completion = &each,
                                 .opcode = Opcode::kRdmaRead,
                                 .sges = {&sge, 1},
                                 .remote_addr = remote.at(0),
                                 .rkey = remote.mr->rkey()}),
              PostStatus::kOk);
  }
  ASSERT_TRUE(pair_.until([&] { return done.back().done(); }));
  EXPECT_EQ(pair_.client.qp->statistics().reads_outstanding_max, 5u);
  EXPECT_EQ(pair_.server.qp->statistics().peer_reads_outstanding_max, 5u);
}

TEST_F(Traffic, ARefusedAccessCountsOnBothSides) {
  Buffer local(*pair_.client.pd, 100, kOpen);
  Buffer remote(*pair_.server.pd, 100, Access::kLocalWrite);
  const Sge sge = local.sge();
  Recorded done;
  ASSERT_EQ(pair_.client.send({.completion = &done,
                               .opcode = Opcode::kRdmaRead,
                               .sges = {&sge, 1},
                               .remote_addr = remote.at(0),
                               .rkey = remote.mr->rkey()}),
            PostStatus::kOk);
  ASSERT_TRUE(pair_.until([&] { return pair_.client.disconnected && pair_.server.disconnected; }));
  const TransportStatistics server = pair_.server_device->statistics();
  EXPECT_EQ(server.key_refusals_access, 1u);
  EXPECT_EQ(server.terminates_sent_access, 1u);
  EXPECT_EQ(server.connections_ended_protocol, 1u);
  const TransportStatistics client = pair_.client_device->statistics();
  EXPECT_EQ(client.terminates_received_access, 1u);
  EXPECT_EQ(client.failed_remote_access, 1u);
  EXPECT_EQ(client.connections_ended_terminated, 1u);
}

// Statistics are asked for from another thread while the data path counts.
TEST_F(Traffic, MayBeReadFromAnyThread) {
  Buffer local(*pair_.client.pd, 100, kOpen);
  Buffer remote(*pair_.server.pd, 100, kOpen);
  std::atomic<bool> stop{false};
  std::thread reader([&] {
    uint64_t last = 0;
    while (!stop.load()) {
      const uint64_t now = pair_.client_device->statistics().write_messages_sent;
      EXPECT_GE(now, last);
      last = now;
    }
  });
  for (int i = 0; i < 2000; ++i) post(Opcode::kRdmaWrite, local, remote);
  pair_.client.qp.reset();
  stop = true;
  reader.join();
  EXPECT_EQ(pair_.client_device->statistics().write_messages_sent, 2001u);
}

// What a peer may not do.
class Refusals : public Violation {
 protected:
  // Sends `bytes`, waits for the end, and checks the counter of the finding, that of the Terminate
  // and that of the end.
  void expect(std::span<const std::byte> bytes, uint64_t TransportStatistics::*counter,
              uint64_t TransportStatistics::*terminate) {
    peer_.send(bytes);
    ASSERT_TRUE(run([&] { return pair_.server.disconnected; }));
    const TransportStatistics statistics = pair_.server_device->statistics();
    EXPECT_EQ(statistics.*counter, 1u);
    EXPECT_EQ(statistics.*terminate, 1u);
    EXPECT_EQ(statistics.connections_ended_protocol, 1u);
    EXPECT_EQ(pair_.server.qp->statistics(), statistics);
  }
};

TEST_F(Refusals, Crc) {
  connect();
  auto bad = write(write_key(), writable_.at(0).value, 100);
  bad[60] ^= std::byte(1);
  expect(bad, &TransportStatistics::crc_errors, &TransportStatistics::terminates_sent_mpa_crc);
  EXPECT_EQ(pair_.server.qp->statistics().fpdus_received, 0u);
}
TEST_F(Refusals, CrcOfALargeFpdu) {
  connect();
  auto bad = write(write_key(), writable_.at(0).value, kMemory);
  bad.back() ^= std::byte(1);
  expect(bad, &TransportStatistics::crc_errors, &TransportStatistics::terminates_sent_mpa_crc);
}
TEST_F(Refusals, KeyThatIsNone) {
  connect();
  expect(write(write_key() ^ 0x10000, 0, 8), &TransportStatistics::key_refusals_invalid,
         &TransportStatistics::terminates_sent_tagged_invalid_stag);
}
TEST_F(Refusals, KeyOfAnotherPd) {
  connect();
  auto other = *pair_.server_device->alloc_pd();
  Buffer foreign(*other, 64, kOpen);
  expect(write(foreign.mr->rkey().value, foreign.at(0).value, 8),
         &TransportStatistics::key_refusals_not_associated,
         &TransportStatistics::terminates_sent_tagged_invalid_stag);
}
TEST_F(Refusals, KeyWithoutTheRight) {
  connect();
  expect(write(read_key(), readable_.at(0).value, 8), &TransportStatistics::key_refusals_access,
         &TransportStatistics::terminates_sent_access);
}
TEST_F(Refusals, OutsideOfTheKey) {
  connect();
  expect(RawPeer::read_request(1, read_of(read_key(), readable_.at(1).value, kMemory)),
         &TransportStatistics::key_refusals_bounds,
         &TransportStatistics::terminates_sent_read_bounds);
}
TEST_F(Refusals, AddressThatWraps) {
  connect();
  expect(write(write_key(), kTop - 3, 8), &TransportStatistics::key_refusals_wrap,
         &TransportStatistics::terminates_sent_tagged_offset_wrap);
}
TEST_F(Refusals, InvalidationOfABaseKey) {
  connect();
  expect(send(1, 8, 0, kSendQueue, MessageKind::kSendInv, write_key()),
         &TransportStatistics::key_refusals_invalidate,
         &TransportStatistics::terminates_sent_cannot_invalidate);
  EXPECT_EQ(pair_.server.qp->statistics().failed_remote_invalid_request, 1u);
}
TEST_F(Refusals, SendWithoutAReceive) {
  connect();
  peer_.send(send(1, 8));
  ASSERT_TRUE(run([&] { return received_.done(); }));
  expect(send(2, 8), &TransportStatistics::receives_missing,
         &TransportStatistics::terminates_sent_untagged_no_buffer);
}
TEST_F(Refusals, ReadsBeyondIrd) {
  connect(/*ird=*/4);
  std::vector<std::byte> burst;
  for (uint32_t msn = 1; msn <= 5; ++msn) {
    const auto one =
        RawPeer::read_request(msn, read_of(read_key(), readable_.at(0).value, kMemory));
    burst.insert(burst.end(), one.begin(), one.end());
  }
  expect(burst, &TransportStatistics::read_requests_over_limit,
         &TransportStatistics::terminates_sent_untagged_no_buffer);
  EXPECT_EQ(pair_.server.qp->statistics().peer_reads_outstanding_max, 4u);
}
TEST_F(Refusals, LongerThanTheReceive) {
  connect();
  expect(send(1, 65), &TransportStatistics::failed_local_length,
         &TransportStatistics::terminates_sent_untagged_too_long);
}

TEST_F(Refusals, TerminateOfThePeer) {
  connect();
  std::byte body[kMaxTerminateBytes];
  const size_t size = encode_terminate({.code = term::kTaggedBounds}, body);
  peer_.send(RawPeer::fpdu(
      {.kind = MessageKind::kTerminate, .last = true, .queue = kTerminateQueue, .msn = 1},
      {body, size}));
  ASSERT_TRUE(run([&] { return pair_.server.disconnected; }));
  const TransportStatistics statistics = pair_.server_device->statistics();
  EXPECT_EQ(statistics.terminates_received_tagged_bounds, 1u);
  EXPECT_EQ(statistics.connections_ended_terminated, 1u);
  EXPECT_EQ(statistics.failed_flushed, 1u) << "the receive";
}

TEST_F(Refusals, TerminateWithACodeOfItsOwn) {
  connect();
  std::byte body[kMaxTerminateBytes];
  const size_t size = encode_terminate({.code = {1, 2, 0x77}}, body);
  peer_.send(RawPeer::fpdu(
      {.kind = MessageKind::kTerminate, .last = true, .queue = kTerminateQueue, .msn = 1},
      {body, size}));
  ASSERT_TRUE(run([&] { return pair_.server.disconnected; }));
  EXPECT_EQ(pair_.server_device->statistics().terminates_received_other, 1u);
}

TEST_F(Refusals, RejectedByTheProgram) {
  pair_.server.reject = true;
  pair_.listen();
  pair_.dial();
  ASSERT_TRUE(run([&] { return pair_.client.disconnected; }));
  EXPECT_EQ(pair_.server_device->statistics().connections_rejected, 1u);
  EXPECT_EQ(pair_.client_device->statistics().connections_ended_rejected, 1u);
  EXPECT_EQ(pair_.client_device->statistics().connections_opened, 0u);
}

TEST_F(Refusals, DroppedBeforeTheProgramWasNotified) {
  pair_.listen();
  peer_.dial(pair_.server.listener->port());
  ASSERT_TRUE(pair_.until([&] { return peer_.up(); }));
  peer_.send(bytes_of("GET / HTTP/1.1\r\nHost: here\r\n"));
  ASSERT_TRUE(run([&] { return peer_.ended; }));
  EXPECT_EQ(pair_.server_device->statistics().connections_dropped, 1u);
}

}  // namespace
}  // namespace mrpool::uiwarp::testing
