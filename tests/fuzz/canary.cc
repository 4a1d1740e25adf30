// A bounds check written as a sum, which wraps: the fuzzer must find it, or it finds nothing.
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mrpool::fuzz::Input input(data, size);
  const uint64_t start = 4096, length = 1024;
  const uint64_t address = input.take<uint64_t>();
  const uint64_t wanted = input.take<uint32_t>();
  const bool accepted = address + wanted <= start + length && address + wanted >= start;
  if (accepted) FUZZ_CHECK(address >= start && address - start <= length - wanted);
  return 0;
}
