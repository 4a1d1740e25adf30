// Two connected Qps of the C interface on one reactor, over uiwarp.
//
// Thread safety: one thread. Ownership: the fixture owns all; it destroys in the documented order.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "mrpool.h"

namespace mrpool::c {

// Calls of operator new of this program so far.
size_t allocations();

// A completion that remembers.
struct Wait : mrpool_cqe {
  Wait();
  int calls = 0;
  mrpool_wc wc{};
};

// One end of the connection.
struct End {
  mrpool_qp* qp = nullptr;
  int connected = 0;
  int rejected = 0;
  int disconnected = 0;
  uint32_t reason = 0;
  std::string private_data;
};

class Connected : public testing::Test {
 protected:
  static constexpr uint32_t kAllRights =
      MRPOOL_ACCESS_LOCAL_WRITE | MRPOOL_ACCESS_REMOTE_READ | MRPOOL_ACCESS_REMOTE_WRITE;

  void SetUp() override;
  void TearDown() override;
  // The attributes of both sides' Qps; a test may change them in its constructor.
  mrpool_qp_attr attributes(End& end) const;
  void listen();
  void connect();
  // Runs the loop until `done()`; fails after a minute.
  void run_until(bool (*done)(void*), void* context);
  template <typename Done>
  void until(Done done) {
    run_until([](void* call) -> bool { return (*static_cast<Done*>(call))(); }, &done);
  }
  mrpool_sge sge(size_t offset, uint32_t length) {
    return {memory.data() + offset, length, mrpool_mr_lkey(mr)};
  }
  mrpool_mr_pool* make_pool(uint32_t count, uint32_t access);

  mrpool_reactor* reactor = nullptr;
  mrpool_device* device = nullptr;
  mrpool_pd* pd = nullptr;
  mrpool_cq* cq = nullptr;
  mrpool_listener* listener = nullptr;
  mrpool_mr* mr = nullptr;
  mrpool_mr_pool* pool = nullptr;
  std::vector<char> memory = std::vector<char>(1 << 16);
  // What the server answers to a connection.
  enum class Answer { kAccept, kReject, kAcceptWithoutCqs, kRejectWithTooMuch };
  Answer answer = Answer::kAccept;
  End client, server;
  uint32_t max_send_wr = 64;
};

}  // namespace mrpool::c
