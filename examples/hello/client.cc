// Lends the server 64 bytes of memory for one round: the server reads the question out of them and
// writes its answer into them. The key is leased for that, and dead when the answer is there.
#include "examples/hello/hello.h"

namespace hello {

constexpr Access kLent = Access::kLocalWrite | Access::kRemoteRead | Access::kRemoteWrite;

awaitable<void> ask(Reactor& reactor, Address address) {
  auto device = Device::open(address).value();
  auto pd = device->alloc_pd().value();
  auto cq = device->create_cq(reactor, {.depth = 256}).value();
  auto pool = MrPool::create(*pd, {.count = 1, .access = kLent}).value();

  AsioQp qp(reactor);
  require(qp.connect(*device, address, *pd, {.send_cq = cq.get(), .recv_cq = cq.get()}));
  require(co_await qp.async_connected());

  const bool end_key = peer_may_invalidate(device->caps());
  Slot slot{.lent = {}, .end_key = end_key, .text = "is anybody there?"};
  auto mr =
      pd->reg_mr(std::as_writable_bytes(std::span(&slot, 1)), base_access(device->caps(), kLent))
          .value();
  const Sge lent = mr->sge(0, offsetof(Slot, text));
  const Sge text = mr->sge(offsetof(Slot, text), sizeof slot.text);

  // A key for the text with exactly these rights, registered in one chain with the message.
  auto lender = Lender::create(*qp, *pool).value();
  AsioLoan loan(reactor);
  require(co_await loan.async_begin(*lender, {&text, 1}, kLent), LoanStatus::kReady);
  slot.lent = loan.remote();
  const WorkRequest tell{.signalled = false, .sges = {&lent, 1}};
  require(lender->post(loan.loan(), tell).status, WcStatus::kSuccess);

  // The server's message ends the life of the key, or the lender does.
  auto [expected, done] = co_await async_receive(*qp, {});
  require(expected, done.status);
  require(co_await loan.async_end(*lender, done), LoanStatus::kReturned);
  std::printf("the server says: %.64s\n", slot.text);
  qp->disconnect();
  co_await qp.async_disconnected();
}

}  // namespace hello

int main(int argc, char** argv) {
  return hello::run(argc, argv, hello::ask, "hello_client",
                    "Lends a server 64 bytes of memory for one question.");
}
