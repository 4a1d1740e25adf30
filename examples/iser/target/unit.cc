#include "examples/iser/target/unit.h"

#include <array>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "examples/iser/target/limits.h"
#include "examples/iser/target/state_file.h"

namespace mrpool::iser_target {
namespace {

// FNV-1a: names a unit by its target and number, the same at every start.
uint64_t stable_hash(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ uint8_t(c)) * 0x100000001b3;
  return hash;
}

std::string hex(uint64_t value) {
  std::array<char, 17> digits;
  std::snprintf(digits.data(), digits.size(), "%016llx", static_cast<unsigned long long>(value));
  return digits.data();
}

}  // namespace

absl::StatusOr<std::shared_ptr<Unit>> make_unit(std::shared_ptr<storage::Volume> volume,
                                                const UnitOptions& options) {
  const storage::Geometry& geometry = volume->geometry();
  scsi::UnitFacts facts{.block_size = geometry.block_size,
                        .blocks = geometry.blocks,
                        .read_only = geometry.read_only,
                        .volatile_cache = geometry.volatile_cache,
                        .thin = geometry.deallocate,
                        .max_transfer_blocks = kMaxTransfer / geometry.block_size,
                        .serial = stable_hash(absl::StrCat(options.target, "/", options.lun)),
                        .target_name = options.target,
                        .portal_group_tag = options.portal_group_tag};
  scsi::SaveReservations save;
  std::string kept;
  if (!options.state_dir.empty()) {
    const std::string path = absl::StrCat(options.state_dir, "/pr-", hex(facts.serial));
    absl::StatusOr<std::string> content = read_state(path);
    if (!content.ok()) return content.status();
    kept = *std::move(content);
    save = [path](const std::string& text) { return write_state(path, text); };
  }
  auto unit =
      std::make_shared<Unit>(std::move(volume), std::move(facts), std::move(save), options.workers);
  if (!unit->logical.reservations().restore(kept)) {
    return absl::DataLossError(absl::StrCat("the kept reservations of LUN ", options.lun, " of ",
                                            options.target, " are unreadable; remove the file in ",
                                            options.state_dir, " to go on without them"));
  }
  return unit;
}

}  // namespace mrpool::iser_target
