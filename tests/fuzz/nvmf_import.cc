// What nvmetcli saves, as the NVMe-oF target's configuration: what is accepted is complete, can be
// printed and read again, and admits no host that has to prove itself.
#include "examples/nvmf/target/config_json.h"
#include "examples/nvmf/target/import.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace target = mrpool::nvmf_target;
  mrpool::engine::ImportOptions options;
  options.blocks = [](const std::string& path) {
    return mrpool::engine::BlockSize{.device = path.starts_with("/dev/"), .bytes = 512};
  };
  auto imported = target::import_nvmetcli(mrpool::fuzz::text_of(data, size), options);
  if (!imported.ok()) {
    FUZZ_CHECK(!imported.status().message().empty());
    return 0;
  }
  for (const auto& note : imported->notes) FUZZ_CHECK(!note.text.empty());
  target::Config& config = imported->config;
  if (!target::complete(config).ok()) return 0;
  FUZZ_CHECK(!config.listen.empty() && config.in_capsule % 16 == 0);
  const std::string text = target::to_json(config);
  const auto again = target::parse_config(text);
  FUZZ_CHECK(again.ok());
  FUZZ_CHECK(target::to_json(*again) == text);
  return 0;
}
