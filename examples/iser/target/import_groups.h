// The portal groups of a target in a file that targetcli saved: the LUNs and secrets of each
// initiator.
//
// Pure. Ownership: values.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "examples/base/import.h"
#include "examples/engine/import.h"
#include "examples/iser/target/config.h"

namespace mrpool::iser_target {

struct ImportedLun {
  std::string store;  // "/backstores/fileio/disk"
  std::string path;   // the LUN's path in the file
  std::string alua;   // its ALUA group
  bool read_only = false;
  bool operator==(const ImportedLun& other) const {
    return store == other.store && read_only == other.read_only;
  }
};
using ImportedLuns = std::map<uint64_t, ImportedLun>;  // by number

struct ImportedAcl {
  std::string path;
  std::string name;
  bool proof = false;  // must be given
  iscsi::Authentication account;
  ImportedLuns luns;
};

struct ImportedGroup {
  std::string path;
  bool enabled = false;
  bool anybody = false;           // also initiators without an ACL
  bool proof = false;             // must be given
  bool anybody_reads = true;      // alone
  bool listed_reads = false;      // alone
  iscsi::Authentication account;  // for initiators without an ACL
  ImportedLuns luns;
  std::vector<ImportedAcl> acls;
  std::vector<std::string> portals;
  std::string alias;
  bool initial_r2t = true;
  bool immediate_data = true;
};

ImportedGroup read_group(base::ImportObject& object, const engine::ImportOptions& options);

// Reads an account from the keys `user` and `password`, such as "chap_userid" and "chap_password";
// nothing if both values are empty. Reports secrets that are too short or too long.
std::optional<iscsi::Credentials> read_account(base::ImportObject& object, std::string_view user,
                                               std::string_view password);

}  // namespace mrpool::iser_target
