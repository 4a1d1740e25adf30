// The hot functions, one at a time, for tests/callgrind/check.py to count their instructions:
//   hot_paths NAME ITERATIONS
// Each has a function hot_NAME, which is what gets counted; what it needs is set up and warmed
// outside of it.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "examples/engine/io_accounts.h"
#include "mrpool/mr_pool.h"
#include "tests/callgrind/hot_fpdu.h"
#include "tests/callgrind/hot_post.h"
#include "tests/unit/pool/fake_device.h"

namespace {

std::unique_ptr<mrpool::MrPool> pool;

template <typename T>
void use(T& value) {
  asm volatile("" : : "r"(&value) : "memory");
}

}  // namespace

extern "C" {

[[gnu::noinline]] void hot_pool_get_put(long iterations) {
  for (long i = 0; i < iterations; ++i) {
    mrpool::MrPool::Lease lease = pool->get();
    use(lease);
  }
}

// The same through the thread's own view of the pool.
[[gnu::noinline]] void hot_pool_local(long iterations) {
  const mrpool::MrPool::Local local(*pool);
  for (long i = 0; i < iterations; ++i) {
    mrpool::MrPool::Lease lease = local.get();
    use(lease);
    local.put(std::move(lease));
  }
}

// Eight out at once, then back.
[[gnu::noinline]] void hot_pool_burst8(long iterations) {
  for (long i = 0; i < iterations; ++i) {
    mrpool::MrPool::Lease leases[8];
    for (auto& lease : leases) lease = pool->get();
    use(leases);
  }
}

// All out, then back: magazines change hands.
[[gnu::noinline]] void hot_pool_drain256(long iterations) {
  static mrpool::MrPool::Lease leases[256];
  for (long i = 0; i < iterations; ++i) {
    for (auto& lease : leases) lease = pool->get();
    use(leases);
    for (auto& lease : leases) lease.reset();
  }
}

// Sixteen FPDUs of 64 bytes written into a send buffer.
[[gnu::noinline]] void hot_fpdu_build16(long iterations) {
  static mrpool::uiwarp::FpduBatch batch;
  for (long i = 0; i < iterations; ++i) {
    batch.used = 0;
    for (size_t n = 0; n < mrpool::uiwarp::kFpdusPerBatch; ++n) batch.add(n);
    use(batch);
  }
}

// The same sixteen received at once, and handed over one by one.
[[gnu::noinline]] void hot_fpdu_parse16(long iterations) {
  using mrpool::uiwarp::Receiver;
  static mrpool::uiwarp::FpduBatch batch;
  static mrpool::uiwarp::CountingHandler handler;
  static Receiver receiver(handler);
  receiver.set_crc(false);
  if (batch.used == 0) {
    for (size_t n = 0; n < mrpool::uiwarp::kFpdusPerBatch; ++n) batch.add(n);
  }
  for (long i = 0; i < iterations; ++i) {
    iovec pieces[Receiver::kMaxPieces];
    const size_t count = receiver.plan(batch.bytes, pieces);
    if (!receiver.commit(batch.bytes, {pieces, count}, batch.used)) std::abort();
    use(handler);
  }
  if (handler.segments % mrpool::uiwarp::kFpdusPerBatch != 0) std::abort();
}

// A command counted for its host, its unit and its worker's histogram.
[[gnu::noinline]] void hot_account_io(long iterations) {
  static mrpool::engine::LatencyHistograms latencies;
  static mrpool::engine::IoAccount account(latencies);
  for (long i = 0; i < iterations; ++i) {
    account.count(mrpool::engine::IoClass::kRead, uint64_t{4096} << (i % 8),
                  mrpool::Nanoseconds(i * 1000));
    use(account);
  }
}

// Sixteen work requests posted to a connected Qp; what becomes of them is not counted.
[[gnu::noinline]] void hot_post_write16(mrpool::uiwarp::SelfConnection* connection) {
  connection->post();
}

}  // extern "C"

namespace {

void post_and_drain(long iterations) {
  static mrpool::uiwarp::SelfConnection connection;
  for (long i = 0; i < iterations; ++i) {
    hot_post_write16(&connection);
    connection.drain();
  }
}

}  // namespace

int main(int argc, char** argv) {
  struct Path {
    const char* name;
    void (*run)(long);
  };
  const Path paths[] = {{"pool_get_put", hot_pool_get_put}, {"pool_local", hot_pool_local},
                        {"pool_burst8", hot_pool_burst8},   {"pool_drain256", hot_pool_drain256},
                        {"fpdu_build16", hot_fpdu_build16}, {"fpdu_parse16", hot_fpdu_parse16},
                        {"account_io", hot_account_io},     {"post_write16", post_and_drain}};
  const long iterations = argc == 3 ? std::atol(argv[2]) : 0;
  mrpool::testing::FakePd pd;
  pool = *mrpool::MrPool::create(pd, {.count = 256});
  for (const Path& path : paths) {
    if (argc < 3 || std::strcmp(argv[1], path.name) != 0 || iterations <= 0) continue;
    path.run(1000);  // warm: every entry has been leased, the thread has its magazines
    path.run(iterations);
    pool.reset();
    return 0;
  }
  std::fprintf(stderr, "usage: hot_paths NAME ITERATIONS\nnames:");
  for (const Path& path : paths) std::fprintf(stderr, " %s", path.name);
  std::fputc('\n', stderr);
  return 2;
}
