// What targetcli saves, as the iSER target's configuration: what is accepted is complete, and can
// be printed and read again.
#include "examples/iser/target/config_json.h"
#include "examples/iser/target/import.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace target = mrpool::iser_target;
  mrpool::engine::ImportOptions options;
  options.blocks = [](const std::string& path) {
    return mrpool::engine::BlockSize{.device = path.starts_with("/dev/"), .bytes = 512};
  };
  auto imported = target::import_targetcli(mrpool::fuzz::text_of(data, size), options);
  if (!imported.ok()) {
    FUZZ_CHECK(!imported.status().message().empty());
    return 0;
  }
  for (const auto& note : imported->notes) FUZZ_CHECK(!note.text.empty());
  target::Config& config = imported->config;
  if (!target::complete(config).ok()) return 0;
  FUZZ_CHECK(!config.listen.empty() && !config.targets.empty());
  const auto text = target::to_json(config);
  if (!text.ok()) return 0;  // a user with a colon
  auto again = target::parse_json(*text);
  FUZZ_CHECK(again.ok() && target::complete(*again).ok());
  FUZZ_CHECK(*target::to_json(*again) == *text);
  return 0;
}
