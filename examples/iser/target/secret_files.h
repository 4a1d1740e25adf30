// Accounts that stand in files of their own, or that the service manager passes as credentials.
//
// Thread safety: pure, but for the files.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "examples/iser/target/config.h"
#include "examples/protocol/iscsi/chap.h"

namespace mrpool::iser_target {

// Reads the account of `place`: the path of a file, or "credential:NAME", which is the file NAME in
// $CREDENTIALS_DIRECTORY (LoadCredential= of systemd). The file has one line, "user:secret".
// InvalidArgument: it is not there, others than its owner and root can read or write it, or it has
// something else.
absl::StatusOr<iscsi::Credentials> read_account(const std::string& place);

// Puts the accounts of all files into `config`. Errors name the key's target.
absl::Status read_secret_files(Config& config);

// A warning when the configuration file `path` has secrets itself and others can read it; empty:
// none.
std::string exposed_secrets(const std::string& path, const Config& config);

}  // namespace mrpool::iser_target
