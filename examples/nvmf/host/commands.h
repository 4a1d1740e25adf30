// The subcommands of mrpool-nvmf. Each parses its arguments, does its work, prints, and returns the
// exit status.
//
// Thread safety: the main thread.
#pragma once

#include <span>

#include "absl/status/status.h"
#include "examples/base/exit_status.h"

namespace mrpool::nvme::host {

using load::kExitIo;
using load::kExitOk;
using load::kExitUsage;

int discover(std::span<char* const> arguments);
int identify(std::span<char* const> arguments);
int read(std::span<char* const> arguments);
int write(std::span<char* const> arguments);
int perf(std::span<char* const> arguments);

// Prints "mrpool-nvmf: MESSAGE" and picks the exit status that goes with it.
int fail(const absl::Status& status);

}  // namespace mrpool::nvme::host
