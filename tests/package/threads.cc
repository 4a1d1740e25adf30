// A user's program under ThreadSanitizer, on a library that was built without it: threads share
// what belongs to an MR, which only the holder of its lease touches. It must run without a report.
#include <array>
#include <iostream>
#include <map>
#include <thread>
#include <vector>

#include "mrpool/device.h"
#include "mrpool/mr_pool.h"
#include "mrpool/reactor.h"

namespace {

constexpr uint32_t kMrs = 8;

// Gets and returns leases, and counts in what belongs to each MR, without a lock.
void use(mrpool::MrPool& pool, std::map<const mrpool::FastMr*, long>& uses) {
  for (int round = 0; round < 20'000; ++round) {
    std::array<mrpool::MrPool::Lease, 3> leases;
    for (mrpool::MrPool::Lease& lease : leases) {
      lease = pool.get();
      if (lease) ++uses.at(&lease.mr());
    }
  }
}

// A thread hands a value to a reactor's thread and takes it back after the loop's end.
bool post() {
  auto reactor = mrpool::Reactor::create();
  if (!reactor.ok()) return false;
  long value = 1;
  std::thread loop([&] { (*reactor)->run(); });
  (*reactor)->post([&] {
    ++value;
    (*reactor)->stop();
  });
  loop.join();
  return value == 2;
}

}  // namespace

int main() {
  auto address = mrpool::Address::parse("uiwarp://127.0.0.1");
  if (!address.ok()) return std::cerr << address.status() << "\n", 1;
  auto device = mrpool::Device::open(*address);
  if (!device.ok()) return std::cerr << device.status() << "\n", 1;
  auto pd = (*device)->alloc_pd();
  if (!pd.ok()) return std::cerr << pd.status() << "\n", 1;
  auto pool = mrpool::MrPool::create(**pd, {.count = kMrs});
  if (!pool.ok()) return std::cerr << pool.status() << "\n", 1;
  std::map<const mrpool::FastMr*, long> uses;
  {
    std::vector<mrpool::MrPool::Lease> all(kMrs);
    for (mrpool::MrPool::Lease& lease : all) uses[&(lease = (*pool)->get()).mr()] = 0;
  }
  std::vector<std::thread> threads;
  for (int n = 0; n < 4; ++n) threads.emplace_back([&] { use(**pool, uses); });
  for (std::thread& thread : threads) thread.join();
  return post() ? 0 : 1;
}
