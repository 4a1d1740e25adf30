// The iSER target's JSON configuration: an accepted one is complete and within its limits, and a
// refusal has a reason.
#include <set>

#include "examples/iser/target/config.h"
#include "examples/protocol/iscsi/text.h"
#include "mrpool/device.h"
#include "tests/fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto config = mrpool::iser_target::parse_json(mrpool::fuzz::text_of(data, size));
  if (!config.ok()) {
    FUZZ_CHECK(!config.status().message().empty());
    return 0;
  }
  const absl::Status valid = mrpool::iser_target::complete(*config);
  if (!valid.ok()) {
    FUZZ_CHECK(!valid.message().empty());
    return 0;
  }
  FUZZ_CHECK(!config->listen.empty() && !config->targets.empty());
  for (const std::string& address : config->listen) {
    const auto parsed = mrpool::Address::parse(address);
    FUZZ_CHECK(parsed.ok());
    FUZZ_CHECK(parsed->port != 0 || address.find(":0") != address.npos);
  }
  FUZZ_CHECK(config->block_size == 512 || config->block_size == 4096);
  std::set<std::string> names;
  for (const auto& target : config->targets) {
    FUZZ_CHECK(mrpool::iscsi::valid_written_name(target.name));
    FUZZ_CHECK(names.insert(target.name).second && !target.luns.empty());
    FUZZ_CHECK(target.initiators || target.account("iqn.h:anybody").has_value());
    if (!target.initiators) continue;
    for (const auto& initiator : *target.initiators) {
      FUZZ_CHECK(mrpool::iscsi::valid_written_name(initiator.name));
      const auto account = target.account(initiator.name);
      FUZZ_CHECK(account.has_value());
      if (!account->outgoing) continue;
      FUZZ_CHECK(account->incoming.has_value());
      FUZZ_CHECK(account->incoming->secret != account->outgoing->secret);
    }
  }
  return 0;
}
