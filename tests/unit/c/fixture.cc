#include "tests/unit/c/fixture.h"

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <new>

namespace {
std::atomic<size_t> allocated;
}

void* operator new(size_t bytes) {
  allocated.fetch_add(1, std::memory_order_relaxed);
  if (void* const memory = std::malloc(bytes)) return memory;
  std::abort();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace mrpool::c {

size_t allocations() { return allocated.load(std::memory_order_relaxed); }

namespace {

End& end(void* context) { return *static_cast<End*>(context); }

const mrpool_qp_events kQpEvents = {
    .size = sizeof(mrpool_qp_events),
    .connected =
        [](mrpool_qp*, void* context, const mrpool_connection* info) {
          ++end(context).connected;
          end(context).private_data.assign(static_cast<const char*>(info->private_data),
                                           info->private_data_length);
        },
    .rejected =
        [](mrpool_qp*, void* context, const void* data, size_t length) {
          ++end(context).rejected;
          end(context).private_data.assign(static_cast<const char*>(data), length);
        },
    .disconnected =
        [](mrpool_qp*, void* context, const mrpool_disconnect* why) {
          ++end(context).disconnected;
          end(context).reason = why->reason;
        },
};

}  // namespace

Wait::Wait()
    : mrpool_cqe{[](mrpool_cqe* cqe, const mrpool_wc* told) {
                   auto& self = static_cast<Wait&>(*cqe);
                   ++self.calls;
                   self.wc = *told;
                 },
                 {}} {}

mrpool_qp_attr Connected::attributes(End& of) const {
  mrpool_qp_attr attr{};
  attr.size = sizeof attr;
  attr.send_cq = attr.recv_cq = cq;
  attr.events = &kQpEvents;
  attr.context = &of;
  attr.max_send_wr = max_send_wr;
  attr.max_recv_wr = 32;
  attr.max_recv_sge = 2;
  return attr;
}

void Connected::SetUp() {
  ASSERT_EQ(mrpool_reactor_create(nullptr, &reactor), 0) << mrpool_error();
  ASSERT_EQ(mrpool_device_open("uiwarp://127.0.0.1:0", &device), 0) << mrpool_error();
  ASSERT_EQ(mrpool_pd_alloc(device, &pd), 0) << mrpool_error();
  ASSERT_EQ(mrpool_cq_create(device, reactor, 1024, &cq), 0) << mrpool_error();
  ASSERT_EQ(mrpool_reg_mr(pd, memory.data(), memory.size(), kAllRights, &mr), 0) << mrpool_error();
}

void Connected::TearDown() {
  mrpool_qp_destroy(client.qp);
  mrpool_qp_destroy(server.qp);
  mrpool_mr_pool_destroy(pool);
  mrpool_dereg_mr(mr);
  mrpool_pd_dealloc(pd);
  mrpool_cq_destroy(cq);
  mrpool_listener_destroy(listener);
  mrpool_device_close(device);
  mrpool_reactor_destroy(reactor);
}

void Connected::listen() {
  mrpool_listen_events events{};
  events.size = sizeof events;
  events.connect_request = [](void* context, mrpool_connect_request* request,
                              const mrpool_connection* info) {
    auto& self = *static_cast<Connected*>(context);
    EXPECT_EQ(std::string(static_cast<const char*>(info->private_data), info->private_data_length),
              "ping");
    if (self.answer == Answer::kReject) {
      EXPECT_EQ(mrpool_reject(request, "no", 2), 0) << mrpool_error();
      return;
    }
    if (self.answer == Answer::kRejectWithTooMuch) {
      EXPECT_EQ(mrpool_reject(request, self.memory.data(), self.memory.size()), -EINVAL);
      return;
    }
    mrpool_qp_attr attr = self.attributes(self.server);
    attr.private_data = "pong";
    attr.private_data_length = 4;
    if (self.answer == Answer::kAcceptWithoutCqs) {
      attr.recv_cq = nullptr;
      EXPECT_EQ(mrpool_accept(request, self.pd, &attr, &self.server.qp), -EINVAL);
      EXPECT_EQ(self.server.qp, nullptr);
      return;
    }
    EXPECT_EQ(mrpool_accept(request, self.pd, &attr, &self.server.qp), 0) << mrpool_error();
  };
  ASSERT_EQ(mrpool_listen(device, reactor, "uiwarp://127.0.0.1:0", &events, this, &listener), 0)
      << mrpool_error();
}

void Connected::connect() {
  listen();
  mrpool_qp_attr attr = attributes(client);
  attr.private_data = "ping";
  attr.private_data_length = 4;
  const std::string address =
      "uiwarp://127.0.0.1:" + std::to_string(mrpool_listener_port(listener));
  ASSERT_EQ(mrpool_connect(device, address.c_str(), pd, &attr, &client.qp), 0) << mrpool_error();
  until([&] { return client.disconnected || (client.connected && server.connected); });
}

void Connected::run_until(bool (*done)(void*), void* context) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!done(context)) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    mrpool_reactor_poll(reactor);
  }
}

mrpool_mr_pool* Connected::make_pool(uint32_t count, uint32_t access) {
  mrpool_mr_pool_attr attr{};
  attr.size = sizeof attr;
  attr.count = count;
  attr.access = access;
  EXPECT_EQ(mrpool_mr_pool_init(pd, &attr, &pool), 0) << mrpool_error();
  return pool;
}

}  // namespace mrpool::c
