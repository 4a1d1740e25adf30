// A small file that is replaced whole and durable when write_state() returns: where what must
// outlive the process is kept, as the UUIDs of stores and persistent reservations.
//
// Thread safety: distinct paths: safe.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "examples/storage/descriptor.h"

namespace mrpool::storage {

// Makes this process the owner of an existing directory of such files, for as long as it keeps the
// result. FailedPrecondition names the process that has it.
absl::StatusOr<Descriptor> own_state_directory(const std::string& directory);

// An absent file reads as "".
absl::StatusOr<std::string> read_state(const std::string& path);
// Empty content removes the file.
absl::Status write_state(const std::string& path, const std::string& content);
// The same for a file that others may read: one that is there keeps its mode and its owner, and a
// symbolic link stays one. A new file gets mode 0600.
absl::Status replace_file(const std::string& path, const std::string& content);
// The same, and it has mode 0600 afterwards.
absl::Status replace_secret_file(const std::string& path, const std::string& content);

}  // namespace mrpool::storage
