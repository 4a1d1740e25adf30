// A storage target with an MR pool: a RAM disk over RDMA. docs/start/tutorial.md explains it.
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <cerrno>
#include <cstdio>
#include <vector>

#include "examples/c/block.h"
#include "mrpool/asio.h"

using boost::asio::awaitable, boost::asio::co_spawn, boost::asio::detached;

namespace mrpool {

constexpr RwLimits kLimits{.max_operations = BLOCK_MAX_REQUESTS, .max_transfer = BLOCK_MAX_BYTES};
constexpr int kServers = 2 * BLOCK_MAX_REQUESTS;  // as many again whose answers are on their way

struct Target {
  Reactor& reactor;
  std::shared_ptr<Device> device;
  RwQueueNeeds needs = rw_queue_needs(device->caps(), kLimits);
  std::unique_ptr<Pd> pd = device->alloc_pd().value();
  std::unique_ptr<Cq> cq = device->create_cq(reactor, {.depth = 16384}).value();
  MrPoolOptions options{.count = 8, .access = needs.pool_access};
  std::unique_ptr<MrPool> pool = MrPool::create(*pd, options).value();
  std::vector<std::byte> memory = std::vector<std::byte>(16 << 20);
  std::unique_ptr<Mr> disk = pd->reg_mr(memory, needs.sink_access).value();
};

// Receives a request, moves its data, answers, and begins again, until the connection ends.
awaitable<void> serve(Target& t, Qp& qp, RwContext& rw) {
  block_request wire[1];
  block_response answer[1];
  auto wire_mr = t.pd->reg_mr(std::as_writable_bytes(std::span(wire)), Access::kLocalWrite).value();
  auto answer_mr = t.pd->reg_mr(std::as_writable_bytes(std::span(answer)), Access::kNone).value();
  const Sge in = wire_mr->sge(0, sizeof wire), out = answer_mr->sge(0, sizeof answer);
  for (;;) {
    const auto [received, message] = co_await async_receive(qp, {&in, 1});
    if (received != PostStatus::kOk || message.status != WcStatus::kSuccess) co_return;
    const auto& [operation, tag, offset, addr, rkey, length] = wire[0];
    answer[0] = {tag, EINVAL};
    if (length > 0 && length <= BLOCK_MAX_BYTES && offset <= t.memory.size() - length) {
      const Sge local = t.disk->sge(offset, length);
      const RemoteBuffer remote{{addr}, length, {rkey}};
      const auto way = operation == BLOCK_WRITE ? RwDirection::kRead : RwDirection::kWrite;
      const auto [started, status] =
          co_await async_transfer(rw, t.reactor, way, {&local, 1}, remote);
      if (started != PostStatus::kOk || status != WcStatus::kSuccess) co_return qp.abort();
      answer[0].error = 0;
    }
    const bool ends_key = peer_may_invalidate(t.device->caps());
    WorkRequest send{.opcode = ends_key ? Opcode::kSendWithInv : Opcode::kSend};
    send.sges = {&out, 1};
    send.rkey = {rkey};
    co_await async_post(qp, send);
  }
}

awaitable<void> serve(Target& t, std::unique_ptr<ConnectRequest> request) {
  QpOptions options{.send_cq = t.cq.get(), .recv_cq = t.cq.get()};
  options.max_send_wr = t.needs.send_wr + kServers;
  options.max_send_sge = t.needs.send_sge;
  AsioQp qp(t.reactor);
  if (!qp.accept(*request, *t.pd, options).ok()) co_return;
  auto rw = RwContext::create(*qp, t.pool.get(), kLimits).value();
  for (int i = 0; i < kServers; ++i) co_spawn(io_context(t.reactor), serve(t, *qp, *rw), detached);
  co_await qp.async_disconnected();
  rw->stop();
}

awaitable<void> accept(Target& t, AsioListener& listener) {
  for (;;) {
    auto request = co_await listener.async_accept();
    co_spawn(io_context(t.reactor), serve(t, std::move(request)), detached);
  }
}

}  // namespace mrpool

int main(int argc, char** argv) {
  const auto address =
      mrpool::Address::parse(argc > 1 ? argv[1] : "uiwarp://127.0.0.1:4713").value();
  auto reactor = mrpool::Reactor::create().value();
  mrpool::Target target{*reactor, mrpool::Device::open(address).value()};
  mrpool::AsioListener listener(*reactor);
  if (!listener.listen(*target.device, address).ok()) return 1;
  std::printf("listening on port %d\n", listener.port());
  std::fflush(stdout);
  co_spawn(io_context(*reactor), accept(target, listener), detached);
  reactor->run();
}
