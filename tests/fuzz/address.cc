// Device addresses: what is read is written back as the same address.
#include "mrpool/device.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto address = mrpool::Address::parse(mrpool::fuzz::text_of(data, size));
  if (!address.ok()) {
    FUZZ_CHECK(!address.status().message().empty());
    return 0;
  }
  const auto again = mrpool::Address::parse(address->to_string());
  FUZZ_CHECK(again.ok());
  FUZZ_CHECK(again->transport == address->transport && again->host == address->host &&
             again->port == address->port && again->options == address->options);
  return 0;
}
