// The SGL of an NVMe command capsule: descriptors lie inside the capsule, lengths add up.
#include "examples/nvmf/target/sgl.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 64) return 0;
  const auto capsule = mrpool::fuzz::bytes_of(data, size);
  mrpool::nvmf_target::DataBuffers buffers;
  if (mrpool::nvmf_target::parse_sgl(capsule, buffers) != mrpool::nvme::Status::kSuccess) return 0;
  if (buffers.remote()) {
    FUZZ_CHECK(buffers.in_capsule.empty());
    uint64_t total = 0;
    for (uint32_t i = 0; i < buffers.count; ++i) total += buffers.remote(i).length;
    FUZZ_CHECK(total == buffers.length);
    return 0;
  }
  if (!buffers.in_capsule.empty()) {
    FUZZ_CHECK(buffers.in_capsule.data() >= capsule.data() + 64);
    FUZZ_CHECK(buffers.in_capsule.data() + buffers.in_capsule.size() <=
               capsule.data() + capsule.size());
    FUZZ_CHECK(buffers.in_capsule.size() == buffers.length);
  }
  return 0;
}
