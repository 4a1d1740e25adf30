// Leases and rw contexts of the C interface.
#include <cerrno>
#include <cstring>

#include "tests/unit/c/fixture.h"

namespace mrpool::c {
namespace {

struct Leases : Connected {
  mrpool_lease* mapped(const mrpool_sge& memory_of) {
    mrpool_lease* const lease = mrpool_mr_pool_get(pool);
    EXPECT_EQ(mrpool_map_mr_sg(lease, &memory_of, 1), 1u);
    return lease;
  }
  mrpool_mr_pool_stats stats() {
    mrpool_mr_pool_stats now{};
    now.size = sizeof now;
    EXPECT_EQ(mrpool_mr_pool_query(pool, &now), 0) << mrpool_error();
    return now;
  }
};

TEST_F(Leases, APoolGivesWhatItHasAndThenNothing) {
  make_pool(2, kAllRights);
  mrpool_lease* const first = mrpool_mr_pool_get(pool);
  mrpool_lease* const second = mrpool_mr_pool_get(pool);
  ASSERT_NE(first, nullptr);
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(mrpool_mr_pool_get(pool), nullptr);
  EXPECT_EQ(stats().mrs, 2u);
  EXPECT_EQ(stats().in_use, 2u);
  EXPECT_EQ(stats().exhaustions, 1u);
  mrpool_mr_pool_put(first);
  EXPECT_EQ(mrpool_mr_pool_get(pool), first);
  mrpool_mr_pool_put(first);
  mrpool_mr_pool_put(second);
  EXPECT_EQ(stats().in_use, 0u);
}

TEST_F(Leases, AKeyLivesFromItsRegistrationToItsInvalidation) {
  make_pool(1, kAllRights);
  connect();
  const mrpool_sge lent = sge(256, 64), from = sge(0, 64), none = sge(0, 1);
  mrpool_lease* const lease = mapped(lent);
  EXPECT_EQ(mrpool_mr_needs_reg(lease), 1);
  mrpool_send_wr reg;
  EXPECT_EQ(mrpool_mr_prepare_reg(lease, kAllRights | MRPOOL_ACCESS_REMOTE_ATOMIC, &reg), -EACCES);
  ASSERT_EQ(mrpool_mr_prepare_reg(lease, kAllRights, &reg), 0);
  mrpool_mr_not_posted(lease);
  ASSERT_EQ(mrpool_mr_prepare_reg(lease, kAllRights, &reg), 0);
  EXPECT_EQ(mrpool_lease_length(lease), 64u);
  EXPECT_EQ(mrpool_lease_sge(lease).length, 64u);
  EXPECT_EQ(mrpool_lease_sge(lease).lkey, mrpool_lease_lkey(lease));
  Wait registered;
  reg.cqe = &registered;
  reg.send_flags = MRPOOL_SEND_SIGNALED;
  ASSERT_EQ(mrpool_post_send(server.qp, &reg, nullptr), 0);
  until([&] { return registered.calls == 1; });
  EXPECT_EQ(registered.wc.opcode, uint32_t{MRPOOL_WR_REG_MR});

  // The peer writes through it, and its message ends it.
  Wait told, written, sent;
  mrpool_recv_wr recv{};
  recv.cqe = &told;
  recv.sg_list = &none;
  recv.num_sge = 1;
  ASSERT_EQ(mrpool_post_recv(server.qp, &recv, nullptr), 0);
  std::memset(memory.data(), 'x', 64);
  mrpool_send_wr write{}, end{};
  write.cqe = &written;
  write.opcode = MRPOOL_WR_RDMA_WRITE;
  write.sg_list = &from;
  write.num_sge = 1;
  write.rkey = mrpool_lease_rkey(lease);
  write.remote_addr = mrpool_lease_remote_addr(lease);
  write.next = &end;
  end.cqe = &sent;
  end.opcode = MRPOOL_WR_SEND_WITH_INV;
  end.send_flags = MRPOOL_SEND_SIGNALED;
  end.rkey = mrpool_lease_rkey(lease);
  ASSERT_EQ(mrpool_post_send(client.qp, &write, nullptr), 0);
  until([&] { return told.calls && sent.calls; });
  EXPECT_EQ(sent.wc.status, MRPOOL_WC_SUCCESS);
  ASSERT_EQ(told.wc.status, MRPOOL_WC_SUCCESS);
  EXPECT_EQ(told.wc.invalidated, 1);
  EXPECT_EQ(told.wc.invalidated_rkey, mrpool_lease_rkey(lease));
  EXPECT_EQ(memory[256 + 63], 'x');
  mrpool_mr_invalidated(lease);
  mrpool_mr_pool_put(lease);
}

TEST_F(Leases, ALocalInvalidationEndsAKeyAndRepairHealsOneThatMayLive) {
  make_pool(2, kAllRights);
  connect();
  const mrpool_sge lent = sge(256, 64);
  mrpool_lease* const lease = mapped(lent);
  mrpool_lease* const dropped = mapped(lent);
  mrpool_send_wr reg, second, inv;
  Wait dead;
  ASSERT_EQ(mrpool_mr_prepare_reg(lease, kAllRights, &reg), 0);
  ASSERT_EQ(mrpool_mr_prepare_reg(dropped, kAllRights, &second), 0);
  mrpool_mr_prepare_inv(lease, &inv);
  inv.cqe = &dead;
  reg.next = &second;
  second.next = &inv;
  ASSERT_EQ(mrpool_post_send(client.qp, &reg, nullptr), 0);
  until([&] { return dead.calls == 1; });
  EXPECT_EQ(dead.wc.status, MRPOOL_WC_SUCCESS);
  mrpool_mr_invalidated(lease);
  mrpool_mr_pool_put(lease);
  mrpool_mr_pool_put(dropped);
  EXPECT_EQ(stats().in_repair, 1u);
  EXPECT_EQ(mrpool_mr_pool_repair(pool), 1u);
  EXPECT_EQ(stats().in_repair, 0u);
}

struct Rw : Leases {
  static constexpr uint32_t kBytes = 4096;

  Rw() { max_send_wr = 128; }
  void make_rw(uint32_t mrs) {
    make_pool(mrs, kAllRights);
    connect();
    mrpool_rw_attr attr{};
    attr.size = sizeof attr;
    attr.max_operations = 8;
    attr.max_transfer = kBytes;
    attr.max_segments = 4;
    ASSERT_EQ(mrpool_rw_create(client.qp, pool, &attr, &rw), 0) << mrpool_error();
  }
  void TearDown() override {
    mrpool_rw_destroy(rw);
    Connected::TearDown();
  }
  mrpool_rw* rw = nullptr;
};

struct Ctx : mrpool_rw_ctx {
  Ctx() {
    done = [](mrpool_rw_ctx* ctx, int status_of) {
      static_cast<Ctx*>(ctx)->status = status_of;
      ++static_cast<Ctx*>(ctx)->calls;
    };
  }
  int status = -1;
  int calls = 0;
};

TEST_F(Rw, TransfersMoveAPartOfAListInBothDirections) {
  make_rw(1);
  const mrpool_sge list[] = {sge(0, 1000), sge(8192, 3096), sge(4096, 100)};
  const uint32_t key = mrpool_mr_rkey(mr);
  const uint64_t far = mrpool_mr_remote_addr(mr) + 32768;
  std::memset(memory.data(), 'a', 1000);
  std::memset(&memory[8192], 'b', 3096);
  Ctx write, read;
  ASSERT_EQ(mrpool_rw_ctx_init(&write, rw, list, 3, 500, far, key, 2000, MRPOOL_RW_WRITE), 0);
  ASSERT_EQ(mrpool_rw_ctx_post(&write, nullptr), 0);
  until([&] { return write.calls == 1; });
  EXPECT_EQ(write.status, MRPOOL_WC_SUCCESS);
  mrpool_rw_ctx_destroy(&write);
  // What was written is read back, in the middle of a READ's sink. (The end of the WRITE does not
  // mean that the peer has it; the READ comes after it on the same Qp.)
  const mrpool_sge sink = sge(16384, kBytes);
  ASSERT_EQ(mrpool_rw_ctx_init(&read, rw, &sink, 1, 16, far, key, 2000, MRPOOL_RW_READ), 0);
  ASSERT_EQ(mrpool_rw_ctx_post(&read, nullptr), 0);
  until([&] { return read.calls == 1; });
  EXPECT_EQ(read.status, MRPOOL_WC_SUCCESS);
  mrpool_rw_ctx_destroy(&read);
  EXPECT_EQ(memory[16384 + 15], 0);
  EXPECT_EQ(std::string(&memory[16384 + 16], 2000), std::string(500, 'a') + std::string(1500, 'b'));
}

TEST_F(Rw, AResponseIsSentAfterTheData) {
  make_rw(1);
  Wait told, sent;
  const mrpool_sge data = sge(0, 64), text = sge(64, 2), to = sge(8192, 8);
  mrpool_recv_wr recv{};
  recv.cqe = &told;
  recv.sg_list = &to;
  recv.num_sge = 1;
  ASSERT_EQ(mrpool_post_recv(server.qp, &recv, nullptr), 0);
  std::memset(memory.data(), 'd', 64);
  std::memcpy(&memory[64], "ok", 2);
  mrpool_send_wr response{};
  response.cqe = &sent;
  response.opcode = MRPOOL_WR_SEND;
  response.send_flags = MRPOOL_SEND_SIGNALED;
  response.sg_list = &text;
  response.num_sge = 1;
  Ctx write;
  int posted = -1;
  ASSERT_EQ(mrpool_rw_ctx_init(&write, rw, &data, 1, 0, mrpool_mr_remote_addr(mr) + 4096,
                               mrpool_mr_rkey(mr), 64, MRPOOL_RW_WRITE),
            0);
  static int* told_posted;
  told_posted = &posted;
  write.done = [](mrpool_rw_ctx* ctx, int) { *told_posted = mrpool_rw_ctx_last_posted(ctx); };
  ASSERT_EQ(mrpool_rw_ctx_post(&write, &response), 0);
  until([&] { return posted >= 0 && told.calls && sent.calls; });
  EXPECT_EQ(posted, 1);
  EXPECT_EQ(std::string(&memory[8192], 2), "ok");
  EXPECT_EQ(memory[4096 + 63], 'd');
  mrpool_rw_ctx_destroy(&write);
}

TEST_F(Rw, TheDataPathAllocatesNothing) {
  make_rw(1);
  const mrpool_sge sink = sge(0, 64);
  const uint64_t far = mrpool_mr_remote_addr(mr) + 4096;
  size_t before = 0;
  for (int i = 0; i < 200; ++i) {
    if (i == 100) before = allocations();  // queues have grown to their sizes
    Ctx read;
    ASSERT_EQ(
        mrpool_rw_ctx_init(&read, rw, &sink, 1, 0, far, mrpool_mr_rkey(mr), 64, MRPOOL_RW_READ), 0);
    ASSERT_EQ(mrpool_rw_ctx_post(&read, nullptr), 0);
    until([&] { return read.calls == 1; });
    ASSERT_EQ(read.status, MRPOOL_WC_SUCCESS);
    mrpool_rw_ctx_destroy(&read);
  }
  EXPECT_EQ(allocations(), before);
}

TEST_F(Rw, WhatCannotBeIsRefused) {
  make_rw(1);
  const mrpool_sge small = sge(0, 10), big = sge(0, 2 * kBytes);
  mrpool_sge alien = small;
  alien.lkey ^= 1;
  const uint64_t far = mrpool_mr_remote_addr(mr);
  const uint32_t key = mrpool_mr_rkey(mr);
  Ctx ctx;
  EXPECT_EQ(mrpool_rw_ctx_init(nullptr, rw, &small, 1, 0, far, key, 10, MRPOOL_RW_READ), -EINVAL);
  EXPECT_EQ(mrpool_rw_ctx_init(&ctx, nullptr, &small, 1, 0, far, key, 10, MRPOOL_RW_READ), -EINVAL);
  EXPECT_EQ(mrpool_rw_ctx_post(nullptr, nullptr), -EINVAL);
  EXPECT_EQ(mrpool_post_send(nullptr, nullptr, nullptr), -EINVAL);
  EXPECT_EQ(mrpool_post_recv(nullptr, nullptr, nullptr), -EINVAL);
  EXPECT_EQ(mrpool_rw_ctx_init(&ctx, rw, &small, 1, 0, far, key, 11, MRPOOL_RW_READ), -EINVAL);
  EXPECT_EQ(mrpool_rw_ctx_init(&ctx, rw, &small, 1, 5, far, key, 6, MRPOOL_RW_READ), -EINVAL);
  EXPECT_EQ(mrpool_rw_ctx_init(&ctx, rw, &small, 1, 0, far, key, 1, mrpool_rw_direction(2)),
            -EINVAL);
  ASSERT_EQ(mrpool_rw_ctx_init(&ctx, rw, &big, 1, 0, far, key, 2 * kBytes, MRPOOL_RW_READ), 0);
  EXPECT_EQ(mrpool_rw_ctx_post(&ctx, nullptr), -EMSGSIZE);
  mrpool_rw_ctx_destroy(&ctx);
  const mrpool_sge many[] = {small, small, small, small, small};
  ASSERT_EQ(mrpool_rw_ctx_init(&ctx, rw, many, 5, 0, far, key, 50, MRPOOL_RW_WRITE), 0);
  EXPECT_EQ(mrpool_rw_ctx_post(&ctx, nullptr), -EINVAL);
  mrpool_rw_ctx_destroy(&ctx);
  ASSERT_EQ(mrpool_rw_ctx_init(&ctx, rw, &small, 1, 0, far, key, 10, MRPOOL_RW_READ), 0);
  mrpool_send_wr last{};
  EXPECT_EQ(mrpool_rw_ctx_post(&ctx, &last), -EOPNOTSUPP) << "a response behind a read";
  last.opcode = 99;
  EXPECT_EQ(mrpool_rw_ctx_post(&ctx, &last), -EOPNOTSUPP);
  EXPECT_EQ(mrpool_rw_ctx_cancel(&ctx), 0) << "nothing is under way";
  mrpool_rw_ctx_destroy(&ctx);
  EXPECT_EQ(ctx.calls, 0);
}

TEST_F(Rw, TransfersWaitForMrsAndCanBeTakenBack) {
  make_rw(1);
  mrpool_lease* const lease = mrpool_mr_pool_get(pool);
  const mrpool_sge sink = sge(0, 64);
  const uint64_t far = mrpool_mr_remote_addr(mr) + 4096;
  Ctx waiting, cancelled;
  for (Ctx* ctx : {&waiting, &cancelled}) {
    ASSERT_EQ(mrpool_rw_ctx_init(ctx, rw, &sink, 1, 0, far, mrpool_mr_rkey(mr), 64, MRPOOL_RW_READ),
              0);
    ASSERT_EQ(mrpool_rw_ctx_post(ctx, nullptr), 0);
  }
  EXPECT_EQ(mrpool_rw_ctx_cancel(&cancelled), 1);
  mrpool_rw_ctx_destroy(&cancelled);
  EXPECT_EQ(waiting.calls, 0);
  mrpool_mr_pool_put(lease);
  until([&] { return waiting.calls == 1; });
  EXPECT_EQ(waiting.status, MRPOOL_WC_SUCCESS);
  mrpool_rw_ctx_destroy(&waiting);
  EXPECT_EQ(cancelled.calls, 0);
  mrpool_mr_pool_stats stats{};
  stats.size = sizeof stats;
  ASSERT_EQ(mrpool_mr_pool_query(pool, &stats), 0);
  EXPECT_EQ(stats.waits, 1u);
  EXPECT_GT(stats.wait_ns, 0u);
}

TEST_F(Rw, TheEndOfTheConnectionIsTheEndOfWhatWaits) {
  make_rw(1);
  mrpool_lease* const lease = mrpool_mr_pool_get(pool);
  const mrpool_sge sink = sge(0, 64);
  Ctx waiting;
  ASSERT_EQ(mrpool_rw_ctx_init(&waiting, rw, &sink, 1, 0, mrpool_mr_remote_addr(mr) + 4096,
                               mrpool_mr_rkey(mr), 64, MRPOOL_RW_READ),
            0);
  ASSERT_EQ(mrpool_rw_ctx_post(&waiting, nullptr), 0);
  mrpool_abort_qp(client.qp);
  until([&] { return client.disconnected == 1; });
  mrpool_rw_stop(rw);
  EXPECT_EQ(waiting.calls, 1);
  EXPECT_EQ(waiting.status, MRPOOL_WC_WR_FLUSH_ERR);
  EXPECT_EQ(mrpool_rw_ctx_post(&waiting, nullptr), -ENOTCONN);
  mrpool_rw_ctx_destroy(&waiting);
  mrpool_mr_pool_put(lease);
}

TEST_F(Rw, AContextNeedsAPoolAndAQpThatCarryIt) {
  connect();
  EXPECT_EQ(mrpool_rw_create(client.qp, nullptr, nullptr, &rw), -EPERM);
  make_pool(1, MRPOOL_ACCESS_LOCAL_WRITE);
  EXPECT_EQ(mrpool_rw_create(client.qp, pool, nullptr, &rw), -EPERM);
  EXPECT_EQ(rw, nullptr);
}

}  // namespace
}  // namespace mrpool::c
