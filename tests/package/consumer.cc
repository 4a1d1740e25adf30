// A user's program: opens the soft device, makes a pool and takes an MR of it; checks that the
// library that runs is the one of its headers.
#include <iostream>

#include "mrpool/device.h"
#include "mrpool/mr_pool.h"
#include "mrpool/version.h"

int main() {
  if (mrpool_version() != MRPOOL_VERSION) return std::cerr << mrpool_version_string() << "\n", 1;
  auto address = mrpool::Address::parse("uiwarp://127.0.0.1");
  if (!address.ok()) return std::cerr << address.status() << "\n", 1;
  auto device = mrpool::Device::open(*address);
  if (!device.ok()) return std::cerr << device.status() << "\n", 1;
  auto pd = (*device)->alloc_pd();
  if (!pd.ok()) return std::cerr << pd.status() << "\n", 1;
  auto pool = mrpool::MrPool::create(**pd, {.count = 2});
  if (!pool.ok()) return std::cerr << pool.status() << "\n", 1;
  std::cout << (*device)->caps().name << ": a pool of " << (*pool)->stats().size << " MRs\n";
  return (*pool)->get() ? 0 : 1;
}
