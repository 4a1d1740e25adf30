// The NVMe-oF target's JSON configuration: what is accepted is complete and within its limits, and
// the same when it is written and read again.
#include "examples/nvmf/target/config.h"
#include "examples/nvmf/target/config_json.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto config = mrpool::nvmf_target::parse_config(mrpool::fuzz::text_of(data, size));
  if (!config.ok()) {
    FUZZ_CHECK(!config.status().message().empty());
    return 0;
  }
  if (!mrpool::nvmf_target::complete(*config).ok()) return 0;
  for (const auto& subsystem : config->subsystems) {
    FUZZ_CHECK(!subsystem.nqn.empty() && subsystem.nqn.size() <= 223);
    for (const auto& ns : subsystem.namespaces) {
      FUZZ_CHECK(ns.nsid != 0);
      FUZZ_CHECK(ns.block_size == 512 || ns.block_size == 4096);
    }
  }
  for (const auto& store : config->stores) FUZZ_CHECK(!store.name.empty());
  const std::string text = to_json(*config);
  const auto again = mrpool::nvmf_target::parse_config(text);
  FUZZ_CHECK(again.ok() && to_json(*again) == text);
  return 0;
}
