// The log page of Asymmetric Namespace Access, as a controller may send it to a host.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "examples/nvmf/host/ana_log.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using mrpool::nvme::AnaState;
  const auto page = std::as_bytes(std::span(data, size));
  for (const uint32_t nsid : {1u, 2u, 0xffffffffu}) {
    const auto state = mrpool::nvme::host::ana_state_of(page, nsid);
    if (state && to_string(*state) == "unknown") std::abort();
  }
  return 0;
}
