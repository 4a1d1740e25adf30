// The storage objects of a file that targetcli saved, as stores of this daemon.
//
// Pure, except ImportOptions::blocks. Ownership: values.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "examples/base/import.h"
#include "examples/engine/import.h"
#include "examples/iser/target/config.h"

namespace mrpool::iser_target {

struct ImportedStore {
  std::string spec;     // empty: it cannot be served
  std::string why_not;  // then
  bool file = false;    // may be ",ro"
  bool read_only = false;
  uint32_t block_size = 512;
  UnitNames names;
  struct Group {
    uint16_t id = 0;
    scsi::AccessState state{};
    bool explicit_alua = true;
  };
  std::map<std::string, Group> groups;  // ALUA, by name
};

// By the name with which LUNs refer to them: "/backstores/fileio/disk".
std::map<std::string, ImportedStore> read_stores(base::ImportObject& root,
                                                 const engine::ImportOptions& options);

// The NAA identifier that the kernel's target derives from a unit serial number: 6001405 and 25 of
// its hexadecimal digits.
std::vector<uint8_t> kernel_naa(std::string_view serial);

}  // namespace mrpool::iser_target
