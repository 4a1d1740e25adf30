// A small file that is replaced whole and durable when write() returns: where persistent
// reservations outlive the process.
//
// Thread safety: distinct paths: safe.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mrpool::iser_target {

// An absent file reads as "".
absl::StatusOr<std::string> read_state(const std::string& path);
// Empty content removes the file.
absl::Status write_state(const std::string& path, const std::string& content);

}  // namespace mrpool::iser_target
