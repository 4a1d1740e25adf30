// Serves one client: fetches its question by RDMA READ, puts the answer in its place by RDMA WRITE,
// and gives the key back.
#include <algorithm>

#include "examples/hello/hello.h"

namespace hello {

awaitable<void> serve(Reactor& reactor, Address address) {
  auto device = Device::open(address).value();
  AsioListener listener(reactor);
  require(listener.listen(*device, address));
  std::printf("listening on port %d\n", listener.port());
  std::fflush(stdout);
  auto request = co_await listener.async_accept();

  auto pd = device->alloc_pd().value();
  auto cq = device->create_cq(reactor, {.depth = 256}).value();
  // What the device needs for a READ and a WRITE at a time, the MRs of the READ's sink included.
  const RwLimits limits{.max_operations = 1};
  const RwQueueNeeds needs = rw_queue_needs(device->caps(), limits);
  Slot slot{};
  auto mr = pd->reg_mr(std::as_writable_bytes(std::span(&slot, 1)), needs.sink_access).value();
  const Sge lent = mr->sge(0, offsetof(Slot, text));
  const Sge text = mr->sge(offsetof(Slot, text), sizeof slot.text);

  const uint32_t mrs = std::max(needs.pool_mrs, 1u);
  auto pool = MrPool::create(*pd, {.count = mrs, .access = needs.pool_access}).value();

  AsioQp qp(reactor);
  const QpOptions options{.send_cq = cq.get(),
                          .recv_cq = cq.get(),
                          .max_send_wr = needs.send_wr + 1,
                          .max_send_sge = needs.send_sge};
  require(qp.accept(*request, *pd, options));
  auto [expected, message] = co_await async_receive(*qp, {&lent, 1});
  require(expected, message.status);

  auto rw = RwContext::create(*qp, pool.get(), limits).value();
  auto [asked, read] =
      co_await async_transfer(*rw, reactor, RwDirection::kRead, {&text, 1}, slot.lent);
  require(asked, read);
  std::printf("the client asks: %.64s\n", slot.text);

  std::snprintf(slot.text, sizeof slot.text, "hello from %s", device->caps().name.c_str());
  auto [answered, written] =
      co_await async_transfer(*rw, reactor, RwDirection::kWrite, {&text, 1}, slot.lent);
  require(answered, written);

  WorkRequest done{.opcode = slot.end_key ? Opcode::kSendWithInv : Opcode::kSend,
                   .rkey = slot.lent.rkey};
  co_await async_post(*qp, done);
  co_await qp.async_disconnected();
}

}  // namespace hello

int main(int argc, char** argv) {
  return hello::run(argc, argv, hello::serve, "hello_server",
                    "Serves one client: reads its question by RDMA and writes the answer.");
}
