// The transfers every network must carry: run by loopback_test on sockets and by qp_test on the
// in-memory network under seeds.
#pragma once

#include "tests/unit/transport/uiwarp/pair.h"

namespace mrpool::uiwarp::testing {

inline constexpr Access kSink = Access::kLocalWrite | Access::kRemoteWrite;

// SENDs of `size` bytes, `count` of them, received in order and intact.
inline void run_sends(Pair& pair, size_t size, int count) {
  Buffer out(*pair.client.pd, size, Access::kNone);
  out.pattern(3);
  std::vector<std::unique_ptr<Buffer>> in;
  std::vector<Recorded> received(count), sent(count);
  std::vector<Recorded*> order;
  for (int i = 0; i < count; ++i) {
    in.push_back(std::make_unique<Buffer>(*pair.server.pd, size + 8, Access::kLocalWrite));
    const Sge sge = in.back()->sge();
    received[i].log = &order;
    ASSERT_EQ(pair.server.qp->post_recv({.completion = &received[i], .sges = {&sge, 1}}),
              PostStatus::kOk);
  }
  const Sge sge = out.sge();
  for (int i = 0; i < count; ++i) {
    ASSERT_EQ(pair.client.send({.completion = &sent[i], .sges = {&sge, 1}}), PostStatus::kOk);
  }
  ASSERT_TRUE(pair.until([&] { return received.back().done() && sent.back().done(); }));
  for (int i = 0; i < count; ++i) {
    EXPECT_TRUE(sent[i].good());
    ASSERT_TRUE(received[i].good());
    EXPECT_EQ(order[i], &received[i]);
    EXPECT_EQ(received[i].wc.byte_len, size);
    EXPECT_EQ(std::memcmp(in[i]->memory.data(), out.memory.data(), size), 0);
  }
}

// One WRITE and one READ of `size` bytes through a key of the server's.
inline void run_write_and_read(Pair& pair, size_t size) {
  Buffer target(*pair.server.pd, size + 16, kSink | Access::kRemoteRead);
  Buffer out(*pair.client.pd, size, Access::kNone);
  Buffer back(*pair.client.pd, size, kSink);
  out.pattern(9);
  const Sge from = out.sge(), to = back.sge();
  Recorded write, read;
  WorkRequest wr_read{.completion = &read,
                      .opcode = Opcode::kRdmaRead,
                      .sges = {&to, 1},
                      .remote_addr = target.at(8),
                      .rkey = target.mr->rkey()};
  ASSERT_EQ(pair.client.send({.next = &wr_read,
                              .completion = &write,
                              .opcode = Opcode::kRdmaWrite,
                              .sges = {&from, 1},
                              .remote_addr = target.at(8),
                              .rkey = target.mr->rkey()}),
            PostStatus::kOk);
  ASSERT_TRUE(pair.until([&] { return read.done(); })) << pair.client.detail;
  EXPECT_TRUE(write.good());
  ASSERT_TRUE(read.good());
  EXPECT_EQ(back.memory, out.memory);
  for (size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(target.memory[i], std::byte(0));
    EXPECT_EQ(target.memory[size + 8 + i], std::byte(0));
  }
}

// A key registered for one WRITE, used by the peer, ended by its SEND.
inline void run_fast_registration(Pair& pair, size_t size) {
  Buffer memory(*pair.client.pd, size, Access::kLocalWrite);
  auto made = pair.client.pd->alloc_fast_mr({.ceiling = kSink | Access::kRemoteRead});
  ASSERT_TRUE(made.ok()) << made.status();
  FastMr& key = **made;
  Buffer out(*pair.server.pd, size, Access::kNone);
  out.pattern(21);
  for (int round = 0; round < 3; ++round) {
    std::fill(memory.memory.begin(), memory.memory.end(), std::byte(0));
    key.advance_key();
    const Sge sge = memory.sge();
    ASSERT_EQ(key.map({&sge, 1}), 1u);
    Recorded reg, received, answered;
    Buffer note(*pair.client.pd, 64, Access::kLocalWrite);
    const Sge note_sge = note.sge();
    ASSERT_EQ(pair.client.qp->post_recv({.completion = &received, .sges = {&note_sge, 1}}),
              PostStatus::kOk);
    ASSERT_EQ(pair.client.send(
                  {.completion = &reg, .opcode = Opcode::kRegMr, .mr = &key, .access = kSink}),
              PostStatus::kOk);
    ASSERT_TRUE(pair.until([&] { return reg.done(); }));
    ASSERT_TRUE(reg.good());
    const Sge from = out.sge();
    WorkRequest answer{.completion = &answered,
                       .opcode = Opcode::kSendWithInv,
                       .solicited = true,
                       .rkey = key.rkey()};
    ASSERT_EQ(pair.server.send({.next = &answer,
                                .opcode = Opcode::kRdmaWrite,
                                .signalled = false,
                                .sges = {&from, 1},
                                .remote_addr = key.remote_addr(),
                                .rkey = key.rkey()}),
              PostStatus::kOk);
    ASSERT_TRUE(pair.until([&] { return received.done() && answered.done(); }));
    ASSERT_TRUE(received.good()) << to_string(received.wc.status);
    EXPECT_TRUE(received.wc.invalidated);
    EXPECT_TRUE(received.wc.solicited);
    EXPECT_EQ(received.wc.invalidated_rkey, key.rkey());
    EXPECT_EQ(memory.memory, out.memory);
  }
}

}  // namespace mrpool::uiwarp::testing
