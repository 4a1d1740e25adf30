// Accounts in separate files, or passed by the service manager as credentials.
//
// Thread safety: pure, except that it reads files.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "examples/base/acting_user.h"
#include "examples/iser/target/config.h"
#include "examples/protocol/iscsi/chap.h"

namespace mrpool::iser_target {

// Reads the account of `place`: the path of a file, or "credential:NAME", which is the file NAME in
// $CREDENTIALS_DIRECTORY (LoadCredential= of systemd). The file has one line, "user:secret".
// InvalidArgument: as of base::read_secret(), or its content has another form.
absl::StatusOr<iscsi::Credentials> read_account(const std::string& place,
                                                const base::ActingUser& reader);

// Reads the accounts of all files into `config`. The daemon will run as `user` (--user; empty: as
// now). Errors name the target.
absl::Status read_secret_files(const std::string& user, Config& config);

// A warning if the configuration file `path` has secrets itself and other users can read it; else
// empty.
std::string exposed_secrets(const std::string& path, const Config& config);

}  // namespace mrpool::iser_target
