// Secrets that stand in files of their own, or that the service manager passes as credentials.
//
// Thread safety: any thread; functions of files.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "examples/base/acting_user.h"

namespace mrpool::base {

// Whether `place` is written as "credential:NAME".
bool names_credential(std::string_view place);

// Reads the secret at `place`: the path of a file, or "credential:NAME", which is the file NAME in
// $CREDENTIALS_DIRECTORY (LoadCredential= of systemd). The file has one line, of 4 KiB at most,
// which is returned without its end. InvalidArgument names the file: it is missing, `reader` cannot
// read it, users other than `reader` and root can read or write it (the group of `reader` may read
// it), or it has more lines.
absl::StatusOr<std::string> read_secret(const std::string& place,
                                        const ActingUser& reader = ActingUser::self());

// The same for a secret that this process reads once, before it becomes `owner`.
absl::StatusOr<std::string> read_secret_once(const std::string& place, const ActingUser& owner);

// InvalidArgument: others than `reader` and root can read or change what the file `path` has.
absl::Status check_secret_mode(const std::string& path,
                               const ActingUser& reader = ActingUser::self());

}  // namespace mrpool::base
