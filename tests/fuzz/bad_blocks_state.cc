// The file of kept marks of uncorrectable blocks.
//
// Whatever the file holds: it is refused, or it is what would be written for the ranges that were
// read from it.
#include <string>

#include "examples/storage/bad_blocks.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using mrpool::storage::BadBlocks;
  const std::string text(reinterpret_cast<const char*>(data), size);
  // The head is the same in every file that is not empty.
  for (const std::string& each : {text, "mrpool bad blocks 1\n" + text}) {
    const auto ranges = BadBlocks::parse(each);
    if (ranges) FUZZ_CHECK(BadBlocks::format(*ranges) == each);
  }
  return 0;
}
