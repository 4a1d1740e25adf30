// Connections, messages and rw contexts of the C interface.
#include <cerrno>
#include <cstring>

#include "tests/unit/c/fixture.h"

namespace mrpool::c {
namespace {

struct Transfer : Connected {
  mrpool_recv_wr receive(Wait& wait, const mrpool_sge& to) {
    mrpool_recv_wr wr{};
    wr.cqe = &wait;
    wr.sg_list = &to;
    wr.num_sge = 1;
    return wr;
  }
  mrpool_send_wr request(mrpool_wr_opcode opcode, Wait& wait, const mrpool_sge& from) {
    mrpool_send_wr wr{};
    wr.cqe = &wait;
    wr.opcode = opcode;
    wr.send_flags = MRPOOL_SEND_SIGNALED;
    wr.sg_list = &from;
    wr.num_sge = 1;
    return wr;
  }
  int refused(mrpool_send_wr wr) {
    const mrpool_send_wr* bad = nullptr;
    const int error = mrpool_post_send(client.qp, &wr, &bad);
    EXPECT_EQ(bad, &wr);
    return error;
  }
};

TEST_F(Transfer, BothSidesHearOfTheConnectionAndItsEnd) {
  connect();
  EXPECT_EQ(client.private_data, "pong");
  EXPECT_EQ(mrpool_qp_connected(client.qp), 1);
  EXPECT_EQ(mrpool_qp_context(client.qp), &client);
  EXPECT_EQ(mrpool_qp_send_room(client.qp), max_send_wr);
  mrpool_disconnect_qp(client.qp);
  until([&] { return client.disconnected && server.disconnected; });
  EXPECT_EQ(client.reason, uint32_t{MRPOOL_DISCONNECT_LOCAL});
  EXPECT_EQ(server.reason, uint32_t{MRPOOL_DISCONNECT_PEER});
  EXPECT_EQ(mrpool_qp_connected(client.qp), 0);
}

TEST_F(Transfer, ARejectionCarriesItsData) {
  answer = Answer::kReject;
  connect();
  EXPECT_EQ(client.rejected, 1);
  EXPECT_EQ(client.private_data, "no");
  EXPECT_EQ(client.reason, uint32_t{MRPOOL_DISCONNECT_REJECTED});
}

TEST_F(Transfer, AnAnswerThatFailsRejects) {
  answer = Answer::kAcceptWithoutCqs;
  connect();
  EXPECT_EQ(client.rejected, 1);
  EXPECT_EQ(client.private_data, "");
  mrpool_qp_destroy(client.qp);
  mrpool_listener_destroy(listener);
  client = {};
  answer = Answer::kRejectWithTooMuch;
  connect();
  EXPECT_EQ(client.rejected, 1);
  EXPECT_EQ(client.private_data, "");
}

TEST_F(Transfer, SetUpErrorsAreReported) {
  listen();
  mrpool_qp_attr attr = attributes(client);
  const std::string port = std::to_string(mrpool_listener_port(listener));
  mrpool_listener* second = nullptr;
  mrpool_listen_events events{};
  events.size = sizeof events;
  events.connect_request = [](void*, mrpool_connect_request*, const mrpool_connection*) {};
  EXPECT_EQ(mrpool_listen(device, reactor, ("uiwarp://127.0.0.1:" + port).c_str(), &events, nullptr,
                          &second),
            -EADDRINUSE);
  EXPECT_EQ(mrpool_listen(device, reactor, "?", &events, nullptr, &second), -EINVAL);
  EXPECT_EQ(mrpool_connect(device, "?", pd, &attr, &client.qp), -EINVAL);
  attr.send_cq = nullptr;
  EXPECT_EQ(mrpool_connect(device, "uiwarp://127.0.0.1:1", pd, &attr, &client.qp), -EINVAL);
  attr = attributes(client);
  attr.max_send_wr = 1 << 20;
  EXPECT_LT(mrpool_connect(device, "uiwarp://127.0.0.1:1", pd, &attr, &client.qp), 0);
  attr = attributes(client);
  attr.private_data_length = 10;
  EXPECT_EQ(mrpool_connect(device, "uiwarp://127.0.0.1:1", pd, &attr, &client.qp), -EINVAL);
  EXPECT_STREQ(mrpool_error(), "attr->private_data is NULL");
  attr = attributes(client);
  mrpool_qp_events unsized{};
  attr.events = &unsized;  // its size is 0
  EXPECT_EQ(mrpool_connect(device, "uiwarp://127.0.0.1:1", pd, &attr, &client.qp), -EINVAL);
  EXPECT_EQ(client.qp, nullptr);
}

TEST_F(Transfer, NoListenerIsADisconnect) {
  listen();
  const std::string address =
      "uiwarp://127.0.0.1:" + std::to_string(mrpool_listener_port(listener));
  mrpool_listener_destroy(listener);
  listener = nullptr;
  mrpool_qp_attr attr = attributes(client);
  attr.timeout = 60000000000;
  ASSERT_EQ(mrpool_connect(device, address.c_str(), pd, &attr, &client.qp), 0) << mrpool_error();
  until([&] { return client.disconnected; });
  EXPECT_EQ(client.reason, uint32_t{MRPOOL_DISCONNECT_REFUSED});
}

TEST_F(Transfer, AQpWithoutEventsWorks) {
  listen();
  mrpool_qp_attr attr = attributes(client);
  attr.events = nullptr;
  attr.private_data = "ping";
  attr.private_data_length = 4;
  const std::string address =
      "uiwarp://127.0.0.1:" + std::to_string(mrpool_listener_port(listener));
  ASSERT_EQ(mrpool_connect(device, address.c_str(), pd, &attr, &client.qp), 0) << mrpool_error();
  until([&] { return mrpool_qp_connected(client.qp) && server.connected; });
  mrpool_abort_qp(client.qp);
  until([&] { return server.disconnected; });
}

TEST_F(Transfer, AChainOfMessagesArrivesInOrder) {
  connect();
  constexpr int kMessages = 20;  // more than are handed over in one call
  Wait sent, received[kMessages];
  mrpool_sge to[kMessages];
  mrpool_recv_wr receives[kMessages];
  for (int i = 0; i < kMessages; ++i) {
    to[i] = sge(size_t(100 + i), 1);
    receives[i] = receive(received[i], to[i]);
    receives[i].next = i + 1 < kMessages ? &receives[i + 1] : nullptr;
  }
  ASSERT_EQ(mrpool_post_recv(server.qp, receives, nullptr), 0);
  mrpool_sge from[kMessages];
  mrpool_send_wr sends[kMessages];
  for (int i = 0; i < kMessages; ++i) {
    memory[size_t(i)] = char('a' + i);
    from[i] = sge(size_t(i), 1);
    sends[i] = request(MRPOOL_WR_SEND, sent, from[i]);
    sends[i].send_flags = i + 1 < kMessages ? MRPOOL_SEND_SOLICITED : MRPOOL_SEND_SIGNALED;
    sends[i].next = i + 1 < kMessages ? &sends[i + 1] : nullptr;
  }
  ASSERT_EQ(mrpool_post_send(client.qp, sends, nullptr), 0);
  until([&] { return sent.calls == 1 && received[kMessages - 1].calls == 1; });
  EXPECT_EQ(std::string(&memory[100], kMessages), "abcdefghijklmnopqrst");
  EXPECT_EQ(sent.wc.opcode, uint32_t{MRPOOL_WR_SEND});
  EXPECT_EQ(sent.wc.qp, client.qp);
  EXPECT_EQ(received[0].wc.opcode, uint32_t{MRPOOL_WC_RECV});
  EXPECT_EQ(received[0].wc.qp, server.qp);
  EXPECT_EQ(received[0].wc.byte_len, 1u);
  EXPECT_EQ(received[0].wc.solicited, 1);
}

TEST_F(Transfer, WritesReadsImmediateDataAndAtomicsReachThePeersMemory) {
  connect();
  const uint32_t key = mrpool_mr_rkey(mr);
  const uint64_t base = mrpool_mr_remote_addr(mr);
  Wait written, read, added, told;
  const mrpool_sge source = sge(0, 8), sink = sge(64, 8), before = sge(128, 8), none = sge(256, 0);
  mrpool_recv_wr recv = receive(told, none);
  ASSERT_EQ(mrpool_post_recv(server.qp, &recv, nullptr), 0);
  std::memcpy(memory.data(), "8 bytes!", 8);
  mrpool_send_wr write = request(MRPOOL_WR_RDMA_WRITE_WITH_IMM, written, source);
  write.remote_addr = base + 32;
  write.rkey = key;
  write.imm = 4711;
  mrpool_send_wr fetch = request(MRPOOL_WR_RDMA_READ, read, sink);
  fetch.remote_addr = base + 32;
  fetch.rkey = key;
  write.next = &fetch;
  ASSERT_EQ(mrpool_post_send(client.qp, &write, nullptr), 0);
  until([&] { return written.calls && read.calls && told.calls; });
  EXPECT_EQ(read.wc.status, MRPOOL_WC_SUCCESS);
  EXPECT_EQ(std::string(&memory[64], 8), "8 bytes!");
  EXPECT_EQ(told.wc.opcode, uint32_t{MRPOOL_WC_RECV_RDMA_WITH_IMM});
  EXPECT_EQ(told.wc.imm, 4711u);
  EXPECT_EQ(told.wc.byte_len, 8u);
  mrpool_send_wr atomic = request(MRPOOL_WR_ATOMIC_FETCH_AND_ADD, added, before);
  atomic.remote_addr = base + 1024;
  atomic.rkey = key;
  atomic.compare_add = 5;
  EXPECT_EQ(mrpool_post_send(client.qp, &atomic, nullptr), 0);
  until([&] { return added.calls == 1; });
  EXPECT_EQ(added.wc.status, MRPOOL_WC_REM_ACCESS_ERR) << "the region has no right to atomics";
}

TEST_F(Transfer, APostReportsWhyItRefuses) {
  max_send_wr = 2;
  connect();
  Wait wait;
  const mrpool_sge good = sge(0, 8);
  mrpool_sge wrong = good;
  wrong.lkey ^= 1;
  const mrpool_sge many[] = {good, good, good, good, good, good, good, good};
  EXPECT_EQ(refused(request(MRPOOL_WR_SEND, wait, wrong)), -EFAULT);
  EXPECT_EQ(refused(request(mrpool_wr_opcode(77), wait, good)), -EOPNOTSUPP);
  mrpool_send_wr flagged = request(MRPOOL_WR_SEND, wait, good);
  flagged.send_flags |= UINT32_C(1) << 3;
  EXPECT_EQ(refused(flagged), -EOPNOTSUPP) << "such as IBV_SEND_INLINE";
  EXPECT_EQ(refused(request(MRPOOL_WR_REG_MR, wait, good)), -EKEYREJECTED);
  EXPECT_EQ(refused(request(MRPOOL_WR_LOCAL_INV, wait, good)), -EKEYREJECTED);
  mrpool_send_wr wide = request(MRPOOL_WR_SEND, wait, many[0]);
  wide.num_sge = 8;
  EXPECT_EQ(refused(wide), -EINVAL);
  mrpool_send_wr crooked = request(MRPOOL_WR_ATOMIC_CMP_AND_SWP, wait, good);
  crooked.remote_addr = 3;
  EXPECT_EQ(refused(crooked), -EINVAL);
  // Those before the refused one are taken.
  mrpool_send_wr chain[3] = {request(MRPOOL_WR_RDMA_WRITE, wait, good),
                             request(MRPOOL_WR_RDMA_WRITE, wait, good),
                             request(MRPOOL_WR_RDMA_WRITE, wait, good)};
  for (mrpool_send_wr& wr : chain) {
    wr.rkey = mrpool_mr_rkey(mr);
    wr.remote_addr = mrpool_mr_remote_addr(mr);
  }
  chain[0].next = &chain[1];
  chain[1].next = &chain[2];
  const mrpool_send_wr* bad = nullptr;
  EXPECT_EQ(mrpool_post_send(client.qp, chain, &bad), -EAGAIN);
  EXPECT_EQ(bad, &chain[2]);
  EXPECT_EQ(mrpool_post_send(client.qp, chain, nullptr), -EAGAIN) << "bad_wr may be NULL";
  until([&] { return wait.calls == 2; });
  const mrpool_recv_wr* bad_recv = nullptr;
  mrpool_recv_wr recv = receive(wait, wrong);
  EXPECT_EQ(mrpool_post_recv(client.qp, &recv, &bad_recv), -EFAULT);
  EXPECT_EQ(bad_recv, &recv);
  mrpool_disconnect_qp(client.qp);
  until([&] { return client.disconnected == 1; });
  EXPECT_EQ(refused(request(MRPOOL_WR_SEND, wait, good)), -ENOTCONN);
}

TEST_F(Transfer, TheEndFlushesWhatIsOutstanding) {
  connect();
  Wait wait;
  const mrpool_sge to = sge(0, 8);
  const mrpool_recv_wr recv = receive(wait, to);
  ASSERT_EQ(mrpool_post_recv(client.qp, &recv, nullptr), 0);
  mrpool_qp_destroy(client.qp);
  client.qp = nullptr;
  EXPECT_EQ(wait.calls, 1);
  EXPECT_EQ(wait.wc.status, MRPOOL_WC_WR_FLUSH_ERR);
}

}  // namespace
}  // namespace mrpool::c
