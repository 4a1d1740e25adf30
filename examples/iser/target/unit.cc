#include "examples/iser/target/unit.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "examples/iser/target/limits.h"
#include "examples/storage/state_file.h"

namespace mrpool::iser_target {
namespace {

storage::Uuid uuid_for(const UnitNames& given, const storage::Uuid& derived) {
  if (given.uuid != storage::Uuid{}) return given.uuid;
  if (!given.serial.empty()) return storage::derive_uuid("serial " + given.serial);
  if (given.naa.empty()) return derived;
  return storage::derive_uuid("naa " + std::string(given.naa.begin(), given.naa.end()));
}

}  // namespace

bool any_given(const UnitNames& names) {
  return names.uuid != storage::Uuid{} || !names.serial.empty() || !names.naa.empty();
}

UnitNames names_of(const UnitNames& given, const storage::Uuid& derived) {
  UnitNames names = given;
  names.uuid = uuid_for(given, derived);
  if (names.serial.empty()) {
    names.serial = absl::BytesToHexString(
        {reinterpret_cast<const char*>(names.uuid.data()), names.uuid.size()});
  }
  if (names.naa.empty()) {
    // NAA 3h, locally assigned: 60 bits chosen by the target.
    names.naa.assign(names.uuid.begin(), names.uuid.begin() + 8);
    names.naa[6] = names.uuid[15];  // has the version of a UUID
    names.naa[0] = uint8_t(0x30 | (names.naa[0] & 0x0f));
  }
  return names;
}

SeenUnit::SeenUnit(const Unit& unit)
    : uuid(unit.logical.facts().uuid),
      identity(unit.volume->identity()),
      block_size(unit.logical.facts().block_size),
      blocks(unit.logical.blocks()) {}

absl::StatusOr<std::shared_ptr<Unit>> make_unit(std::shared_ptr<storage::Volume> volume,
                                                const UnitNames& names,
                                                const UnitOptions& options) {
  const storage::Geometry geometry = volume->geometry();
  scsi::UnitFacts facts{.block_size = geometry.block_size,
                        .blocks = geometry.blocks,
                        .read_only = geometry.read_only,
                        .volatile_cache = geometry.volatile_cache,
                        .thin = geometry.deallocate,
                        .marks = !volume->shared(),
                        .max_transfer_blocks = kMaxTransfer / geometry.block_size,
                        .serial = names.serial,
                        .naa = names.naa,
                        .uuid = names.uuid,
                        .target_name = options.target,
                        .portal_group_tag = options.portal_group_tag,
                        .relative_port = options.relative_port,
                        .port_group = options.port_group,
                        .explicit_alua = options.explicit_alua};
  scsi::SaveReservations save;
  std::string kept;
  std::string path = absl::StrCat(options.state_dir, "/pr-", storage::format_uuid(names.uuid));
  if (options.apart) {
    absl::StrAppend(&path, "-", storage::format_uuid(storage::derive_uuid(options.target)));
  }
  if (!options.state_dir.empty()) {
    absl::StatusOr<std::string> content = storage::read_state(path);
    if (!content.ok()) return content.status();
    kept = *std::move(content);
    save = [path](const std::string& text) { return storage::write_state(path, text); };
  }
  auto unit = std::make_shared<Unit>(std::move(volume), std::move(facts), std::move(save),
                                     options.line, options.limiter);
  if (!unit->logical.reservations().restore(kept)) {
    return absl::DataLossError(absl::StrCat(
        path, ": the kept reservations are unreadable; remove the file to go on without them"));
  }
  return unit;
}

}  // namespace mrpool::iser_target
