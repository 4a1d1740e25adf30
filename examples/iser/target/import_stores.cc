#include "examples/iser/target/import_stores.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "examples/protocol/scsi/unit.h"
#include "examples/storage/spec.h"

namespace mrpool::iser_target {
namespace {

using base::ImportObject;
using base::ImportWeight;
using Usual = ImportObject::Usual;

constexpr uint64_t kMax64 = std::numeric_limits<uint64_t>::max();

constexpr Usual kAttributes[] = {
    {"pi_prot_type", "0", ImportWeight::kLost, "initiators see no protection information"},
    {"emulate_pr", "1", ImportWeight::kMinor, "initiators may reserve the LUN"},
    {"emulate_ua_intlck_ctrl", "0", ImportWeight::kMinor,
     "a unit attention is cleared when it is reported"},
    {"emulate_tas", "1", ImportWeight::kMinor, "aborted commands are reported as this daemon does"},
    {"emulate_caw", "1", ImportWeight::kMinor, "initiators may compare and write"},
    {"force_pr_aptpl", "0", ImportWeight::kMinor, "only initiators that ask keep reservations"},
};

// Attributes for which this daemon has its own values; no data depends on them.
void pass_attributes(ImportObject& attributes) {
  attributes.known({"alua_support",
                    "complete_type",
                    "emulate_3pc",
                    "emulate_dpo",
                    "emulate_fua_read",
                    "emulate_fua_write",
                    "emulate_model_alias",
                    "emulate_rest_reord",
                    "emulate_rsoc",
                    "emulate_tpu",
                    "emulate_tpws",
                    "emulate_write_cache",
                    "enforce_pr_isids",
                    "hw_block_size",
                    "hw_max_sectors",
                    "hw_pi_prot_type",
                    "hw_queue_depth",
                    "is_nonrot",
                    "max_unmap_block_desc_count",
                    "max_unmap_lba_count",
                    "max_write_same_len",
                    "optimal_sectors",
                    "pgr_support",
                    "pi_prot_format",
                    "pi_prot_verify",
                    "queue_depth",
                    "submit_type",
                    "unmap_granularity",
                    "unmap_granularity_alignment",
                    "unmap_zeroes_data"});
  attributes.usual(kAttributes);
}

void read_groups(ImportObject& object, ImportedStore& store) {
  object.objects("alua_tpgs", [&](ImportObject& group) {
    const std::string name = group.text("name");
    ImportedStore::Group& made = store.groups[name];
    made.id = uint16_t(group.number("tg_pt_gp_id", 0, std::numeric_limits<uint16_t>::max()));
    const uint64_t number = group.number("alua_access_state", 0, kMax64);
    if (const auto state = scsi::access_state_of(number)) {
      made.state = *state;
    } else {
      // Depends on the block, or offline.
      made.state = scsi::AccessState::kUnavailable;
      group.note(ImportWeight::kLost, "alua_access_state",
                 "is none of this daemon's: its LUNs are unavailable");
    }
    constexpr uint64_t kExplicit = 2;  // a bit; 1: implicit
    made.explicit_alua = (group.number("alua_access_type", 3, 3) & kExplicit) != 0;
    group.known({"alua_access_status", "alua_support_active_nonoptimized",
                 "alua_support_active_optimized", "alua_support_offline", "alua_support_standby",
                 "alua_support_transitioning", "alua_support_unavailable",
                 "alua_support_lba_dependent", "alua_write_metadata", "implicit_trans_secs",
                 "nonop_delay_msecs", "preferred", "trans_delay_msecs"});
  });
}

void read_names(ImportObject& object, ImportedStore& store) {
  const std::string serial = object.text("wwn");
  if (serial.empty()) return;
  const auto printable = [](char c) { return c > 0x20 && c < 0x7f; };
  if (serial.size() > scsi::kMaxSerial || !std::ranges::all_of(serial, printable)) {
    return object.fail("wwn", absl::StrCat("is not a serial number of up to ", scsi::kMaxSerial,
                                           " printable characters without spaces"));
  }
  store.names = {.serial = serial, .naa = kernel_naa(serial)};
}

void read_file(ImportObject& object, const engine::ImportOptions& options, ImportedStore& store) {
  const std::string path = object.text("dev");
  const bool direct = object.flag("aio", false);
  const uint64_t size = object.number("size", 0, kMax64);
  object.known({"write_back"});
  const engine::BlockSize blocks = options.blocks(path);
  const bool sized = size != 0 && !blocks.device;
  store.file = true;
  store.spec = engine::import_file(
      path, absl::StrCat(direct ? ",direct" : "", sized ? absl::StrCat(",size=", size) : ""));
}

void read_block(ImportObject& object, const engine::ImportOptions& options, ImportedStore& store) {
  const std::string path = object.text("dev");
  store.read_only = object.flag("readonly", false);
  object.known({"write_back", "exclusive"});
  if (const engine::BlockSize blocks = options.blocks(path); blocks.bytes != 0) {
    store.block_size = blocks.bytes;
  }
  store.file = true;
  store.spec = engine::import_file(path, ",direct");
}

// A SCSI disk is served as a block device; commands are not passed through.
void read_scsi(ImportObject& object, const engine::ImportOptions& options, ImportedStore& store) {
  const std::string path = object.text("dev");
  const engine::BlockSize blocks = options.blocks(path);
  if (!blocks.device) {
    store.why_not = absl::StrCat("\"", path,
                                 "\" is not a block device, and SCSI commands are not "
                                 "passed through to it");
    return;
  }
  if (blocks.bytes != 0) store.block_size = blocks.bytes;
  store.file = true;
  store.spec = engine::import_file(path, ",direct");
  object.note(ImportWeight::kLost, "plugin",
              "SCSI commands are not passed through: the blocks of the disk are served, and "
              "initiators see names of this daemon");
}

void read_memory(ImportObject& object, const std::string& name, ImportedStore& store) {
  const uint64_t size = object.number("size", 0, kMax64);
  if (object.flag("nullio", false)) {
    store.spec = absl::StrCat("null:", size, ",name=", storage::escape(name));
    return;
  }
  store.spec = absl::StrCat("ram:", size, ",name=", storage::escape(name));
  object.note(ImportWeight::kLost, "plugin", "the content of the kernel's memory is not copied");
}

}  // namespace

std::vector<uint8_t> kernel_naa(std::string_view serial) {
  constexpr size_t kDigits = 32;
  std::string digits = "6001405";
  for (const char c : serial) {
    if (absl::ascii_isxdigit(c) && digits.size() < kDigits) digits += c;
  }
  digits.resize(kDigits, '0');
  const std::string bytes = absl::HexStringToBytes(digits);
  return {bytes.begin(), bytes.end()};
}

std::map<std::string, ImportedStore> read_stores(ImportObject& root,
                                                 const engine::ImportOptions& options) {
  std::map<std::string, ImportedStore> stores;
  root.objects("storage_objects", [&](ImportObject& object) {
    const std::string plugin = object.text("plugin"), name = object.text("name");
    ImportedStore store;
    if (plugin == "fileio") {
      read_file(object, options, store);
    } else if (plugin == "block") {
      read_block(object, options, store);
    } else if (plugin == "pscsi") {
      read_scsi(object, options, store);
    } else if (plugin == "ramdisk") {
      read_memory(object, name, store);
    } else {
      store.why_not = absl::StrCat("storage of the kind \"", plugin, "\" is not known");
      object.known({"dev", "size", "config", "hw_max_sectors", "control"});
    }
    read_names(object, store);
    read_groups(object, store);
    object.object("attributes", [&](ImportObject& attributes) {
      store.block_size = uint32_t(attributes.number("block_size", store.block_size, 1 << 20));
      pass_attributes(attributes);
    });
    if (!stores.emplace(absl::StrCat("/backstores/", plugin, "/", name), std::move(store)).second) {
      object.fail("name", absl::StrCat(plugin, "/", name, " is there twice"));
    }
  });
  return stores;
}

}  // namespace mrpool::iser_target
