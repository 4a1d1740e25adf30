// Store specifications: what is read is written back as the same; what is opened is what was asked
// for. Files are not opened: a fuzzer must not choose paths.
#include <string>

#include "examples/base/units.h"
#include "examples/storage/spec.h"
#include "examples/storage/storage.h"
#include "tests/fuzz/fuzz.h"

namespace {

using mrpool::storage::StoreSpec;

void check_spec(const StoreSpec& spec) {
  FUZZ_CHECK(!spec.scheme.empty());
  FUZZ_CHECK(spec.target.find('\0') == std::string::npos);
  for (size_t i = 0; i < spec.options.size(); ++i) {
    FUZZ_CHECK(!spec.options[i].name.empty());
    FUZZ_CHECK(spec.find(spec.options[i].name) == &spec.options[i]);
    FUZZ_CHECK(spec.options[i].value.find('\0') == std::string::npos);
  }
  const auto again = mrpool::storage::parse_spec(to_text(spec));
  FUZZ_CHECK(again.ok() && *again == spec);
}

// What is its place's can be taken out, and the rest is as it was.
void check_taking(std::string_view text, const StoreSpec& spec) {
  static constexpr std::string_view kNames[] = {"nsid", "ro"};
  std::string rest(text);
  const auto taken = mrpool::storage::take_options(rest, kNames);
  if (!taken.ok()) return;
  const auto left = mrpool::storage::parse_spec(rest);
  FUZZ_CHECK(left.ok() && left->target == spec.target);
  FUZZ_CHECK(left->options.size() + taken->size() == spec.options.size());
  for (const std::string_view name : kNames) FUZZ_CHECK(left->find(name) == nullptr);
  for (const StoreSpec::Option& option : *taken) FUZZ_CHECK(*spec.find(option.name) == option);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = mrpool::fuzz::text_of(data, size);
  const auto spec = mrpool::storage::parse_spec(text);
  if (!spec.ok()) {
    FUZZ_CHECK(!spec.status().message().empty());
  } else {
    check_spec(*spec);
    check_taking(text, *spec);
    const absl::Status text_alone = mrpool::storage::check(text);
    FUZZ_CHECK(text_alone.ok() || !text_alone.message().empty());
    if (spec->scheme != "null") return 0;
  }
  FUZZ_CHECK(mrpool::storage::check(text).ok() == mrpool::storage::open(text).ok());
  const auto volume = mrpool::storage::open(text);
  FUZZ_CHECK(spec.ok() || !volume.ok());
  if (!volume.ok()) {
    FUZZ_CHECK(!volume.status().message().empty());
    return 0;
  }
  const mrpool::storage::Geometry geometry = (*volume)->geometry();
  FUZZ_CHECK(geometry.blocks > 0);
  FUZZ_CHECK(geometry.block_size == mrpool::storage::block_size_of(text, 4096));
  FUZZ_CHECK(geometry.bytes() == *mrpool::base::parse_size(spec->target));
  return 0;
}
