// VerbsQp on a device that the test controls (fake_rdma.h).
#include "transport/verbs/qp.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <functional>
#include <string>

#include "tests/unit/transport/verbs/fake_rdma.h"
#include "transport/verbs/device.h"
#include "transport/verbs/listener.h"
#include "transport/verbs/siw.h"

namespace mrpool::verbs::testing {
namespace {

using ::testing::HasSubstr;

struct Counted : Completion {
  Counted() : Completion(&Counted::finished) {}
  static void finished(Completion& self, const WorkCompletion& wc) {
    auto& me = static_cast<Counted&>(self);
    ++me.calls;
    me.status = wc.status;
    if (me.then) me.then();
  }
  int calls = 0;
  WcStatus status = WcStatus::kSuccess;
  std::function<void()> then;
};

struct Ended final : QpEvents {
  void on_connected(Qp&, const ConnectionInfo&) override { connected = true; }
  void on_rejected(Qp&, std::span<const std::byte>) override {}
  void on_disconnected(Qp&, const Disconnect& why) override {
    ++ends;
    reason = why.reason;
    detail = std::string(why.detail);
  }
  bool connected = false;
  int ends = 0;
  DisconnectReason reason = DisconnectReason::kLocal;
  std::string detail;
};

class VerbsQpTest : public ::testing::Test {
 protected:
  void open(uint32_t vendor) {
    rdma.attributes.vendor_id = vendor;
    device = *VerbsDevice::create(rdma.new_id(nullptr, nullptr));
    pd = *device->alloc_pd();
    cq = *device->create_cq(*reactor, {.depth = 256});
    mr = *pd->reg_mr(memory, Access::kLocalWrite);
  }

  QpOptions options() {
    return {.send_cq = cq.get(), .recv_cq = cq.get(), .max_send_wr = 32, .max_recv_wr = 4};
  }

  void connect(QpOptions with) {
    qp = *device->connect(*Address::parse("verbs://127.0.0.1:4420"), *pd, with, {}, events);
    id = rdma.last_id;
    const auto channel = *device->channel_for(*reactor);
    for (const auto type :
         {RDMA_CM_EVENT_ADDR_RESOLVED, RDMA_CM_EVENT_ROUTE_RESOLVED, RDMA_CM_EVENT_ESTABLISHED}) {
      rdma.raise(id, type);
      channel->on_readable();
    }
    ASSERT_TRUE(qp->connected());
  }
  void connect_siw() {
    open(siw::kVendor);
    connect(options());
  }

  void peer_closes() {
    rdma.raise(id, RDMA_CM_EVENT_DISCONNECTED);
    (*device->channel_for(*reactor))->on_readable();
  }

  // A chain of SENDs of `bytes` each; only the last is signalled.
  template <size_t kCount>
  PostStatus post(uint32_t bytes) {
    const Sge sge{memory.data(), bytes, mr->lkey()};
    std::array<WorkRequest, kCount> chain;
    for (size_t i = 0; i < kCount; ++i) {
      chain[i].completion = &done[i];
      chain[i].signalled = i + 1 == kCount;
      chain[i].sges = {&sge, 1};
      if (i + 1 < kCount) chain[i].next = &chain[i + 1];
    }
    const PostResult result = qp->post_send(chain[0]);
    refused_at = result.ok() ? -1 : int(result.refused - chain.data());
    return result.status;
  }

  void run_until(const std::function<bool()>& condition) {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!condition() && std::chrono::steady_clock::now() < limit) reactor->poll();
    EXPECT_TRUE(condition());
  }

  FakeRdma rdma;
  std::unique_ptr<Reactor> reactor = *Reactor::create();
  std::vector<std::byte> memory = std::vector<std::byte>(16384);
  Ended events;
  std::array<Counted, 8> done;
  std::shared_ptr<VerbsDevice> device;
  std::unique_ptr<Pd> pd;
  std::unique_ptr<Cq> cq;
  std::unique_ptr<Mr> mr;
  std::unique_ptr<Qp> qp;
  rdma_cm_id* id = nullptr;
  int refused_at = -1;
};

// siw gives the pages of such requests to TCP and never reports when TCP has finished with them.
TEST_F(VerbsQpTest, OnSiwPayloadOfAPageIsSignalled) {
  connect_siw();
  ASSERT_EQ(post<2>(4096), PostStatus::kOk);
  ASSERT_EQ(post<2>(4095), PostStatus::kOk);
  ASSERT_EQ(rdma.sends.size(), 4u);
  EXPECT_TRUE(rdma.sends[0].wr.send_flags & IBV_SEND_SIGNALED);
  EXPECT_FALSE(rdma.sends[2].wr.send_flags & IBV_SEND_SIGNALED);
}

TEST_F(VerbsQpTest, ElsewhereOnlyTheEndOfAChainIsSignalled) {
  open(0x15b3);
  connect(options());
  ASSERT_EQ(post<2>(4096), PostStatus::kOk);
  EXPECT_FALSE(rdma.sends[0].wr.send_flags & IBV_SEND_SIGNALED);
  EXPECT_TRUE(rdma.sends[1].wr.send_flags & IBV_SEND_SIGNALED);
}

// A single short range is what siw's own thread may copy from an address space that it lacks.
TEST_F(VerbsQpTest, OnSiwAShortRangeHasAnEmptyOneAfterIt) {
  open(siw::kVendor);
  QpOptions narrow = options();
  narrow.max_send_sge = 1;
  connect(narrow);
  EXPECT_GE(rdma.qp_attributes.cap.max_send_sge, 2u);
  ASSERT_EQ(post<2>(32), PostStatus::kOk);
  for (const PostedSend& send : rdma.sends) {
    ASSERT_EQ(send.sges.size(), 2u);
    EXPECT_EQ(send.sges[0].addr, uintptr_t(memory.data()));
    EXPECT_EQ(send.sges[0].length, 32u);
    EXPECT_EQ(send.sges[1].length, 0u);
  }
  rdma.sends.clear();
  ASSERT_EQ(post<1>(33), PostStatus::kOk);
  ASSERT_EQ(post<1>(0), PostStatus::kOk);
  for (const PostedSend& send : rdma.sends) EXPECT_EQ(send.sges.size(), 1u);
}

// The library queued all of it, then its doorbell failed.
TEST_F(VerbsQpTest, AnErrorThatNamesNoRequestMeansThatAllWereTaken) {
  connect_siw();
  rdma.answer = [](size_t count) { return PostAnswer{count, ENOTCONN, false}; };
  EXPECT_EQ(post<3>(64), PostStatus::kOk);
  EXPECT_EQ(qp->send_room(), 32u - 3u);
  // No other code may report that the queue pair has ended.
  run_until([&] { return events.ends == 1; });
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(done[i].calls, 1);
    EXPECT_EQ(done[i].status, WcStatus::kFlushed);
  }
}

// The queue was full half way, and the doorbell for the first half worked.
TEST_F(VerbsQpTest, SuccessThatNamesARequestMeansThatItWasNotTaken) {
  connect_siw();
  rdma.answer = [](size_t) { return PostAnswer{2, 0, true}; };
  EXPECT_EQ(post<3>(64), PostStatus::kQueueFull);
  EXPECT_EQ(refused_at, 2);
  EXPECT_EQ(qp->send_room(), 32u - 2u);
}

TEST_F(VerbsQpTest, OnSiwARequestThatCouldNotBeSentLeavesTheReasonToThePeer) {
  connect_siw();
  ASSERT_EQ(post<1>(64), PostStatus::kOk);
  rdma.complete(rdma.sends[0].wr.wr_id, IBV_WC_LOC_QP_OP_ERR);
  run_until([&] { return done[0].calls == 1; });
  EXPECT_EQ(done[0].status, WcStatus::kTransport);
  peer_closes();
  run_until([&] { return events.ends == 1; });
  EXPECT_EQ(events.reason, DisconnectReason::kPeer);
}

TEST_F(VerbsQpTest, OnSiwARequestThatCouldNotBeSentEndsAConnectionWhosePeerIsSilent) {
  connect_siw();
  ASSERT_EQ(post<1>(64), PostStatus::kOk);
  rdma.complete(rdma.sends[0].wr.wr_id, IBV_WC_LOC_QP_OP_ERR);
  run_until([&] { return events.ends == 1; });
  EXPECT_EQ(events.reason, DisconnectReason::kReset);
  EXPECT_THAT(events.detail, HasSubstr("SEND: local QP operation error"));
}

TEST_F(VerbsQpTest, ElsewhereItIsAFaultOnThisSide) {
  open(0x15b3);
  connect(options());
  ASSERT_EQ(post<1>(64), PostStatus::kOk);
  rdma.complete(rdma.sends[0].wr.wr_id, IBV_WC_LOC_QP_OP_ERR);
  run_until([&] { return events.ends == 1; });
  EXPECT_EQ(done[0].status, WcStatus::kLocalProtection);
  EXPECT_EQ(events.reason, DisconnectReason::kFault);
}

// The end of a queue pair delivers completed requests; the last callback may destroy everything.
TEST_F(VerbsQpTest, ACompletionOfADrainMayDestroyTheCompletionQueue) {
  connect_siw();
  ASSERT_EQ(post<2>(64), PostStatus::kOk);
  rdma.on_destroy_qp = [&] {
    for (const PostedSend& send : rdma.sends) rdma.complete(send.wr.wr_id, IBV_WC_WR_FLUSH_ERR);
  };
  done[1].then = [&] {
    qp.reset();
    cq.reset();
  };
  qp->abort();
  run_until([&] { return done[1].calls == 1; });
  EXPECT_EQ(done[0].calls, 1);
  EXPECT_EQ(events.ends, 0);
}

struct Requests final : ListenHandler {
  void on_connect_request(std::unique_ptr<ConnectRequest> request) override {
    last = std::move(request);
  }
  void on_listen_error(const absl::Status&) override {}
  std::unique_ptr<ConnectRequest> last;
};

class VerbsListenerTest : public VerbsQpTest {
 protected:
  void request() {
    open(siw::kVendor);
    listener = *device->listen(*listening, *Address::parse("verbs://127.0.0.1:0"), requests);
    rdma_cm_id* const heard = rdma.last_id;
    peer = rdma.new_id(heard->channel, heard->context);
    rdma.raise(peer, RDMA_CM_EVENT_CONNECT_REQUEST, heard);
    (*device->channel_for(*listening))->on_readable();
    ASSERT_NE(requests.last, nullptr);
  }

  std::unique_ptr<Reactor> listening = *Reactor::create();
  Requests requests;
  std::unique_ptr<Listener> listener;
  rdma_cm_id* peer = nullptr;
};

// It was moved to the channel of a reactor that nothing else of the device lives on.
TEST_F(VerbsListenerTest, ARequestThatCannotBeAcceptedIsRejectedOnALiveChannel) {
  request();
  rdma.create_qp_error = ENOMEM;
  EXPECT_FALSE(requests.last->accept(*pd, options(), {}, events).ok());
  requests.last.reset();
  EXPECT_EQ(rdma.rejected, 1);
  EXPECT_FALSE(rdma.used_a_dead_channel);
}

// Acknowledged, an event keeps its id no longer: another thread may give it to another handler.
TEST_F(VerbsListenerTest, AnEventGoesToTheHandlerThatItsIdHadWhenItCame) {
  request();
  struct Other final : CmHandler {
    void on_cm_event(const CmEvent&) override { ++calls; }
    int calls = 0;
  } other;
  rdma.on_ack = [&](rdma_cm_event& event) { event.id->context = static_cast<CmHandler*>(&other); };
  rdma.raise(peer, RDMA_CM_EVENT_DISCONNECTED);
  (*device->channel_for(*listening))->on_readable();
  EXPECT_EQ(other.calls, 0);
}

}  // namespace
}  // namespace mrpool::verbs::testing
