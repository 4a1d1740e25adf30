// The subcommands of mrpool-nvmf. Each parses its arguments, does its work, prints, and returns the
// exit status.
//
// Thread safety: the main thread.
#pragma once

#include <span>

#include "absl/status/status.h"

namespace mrpool::nvme::host {

// Exit statuses; scripts may rely on them.
inline constexpr int kExitOk = 0;
inline constexpr int kExitIo = 1;          // an I/O failed, or data was wrong
inline constexpr int kExitUsage = 2;       // the command line
inline constexpr int kExitConnection = 3;  // no connection, refused, or lost for good
inline constexpr int kExitInterrupted = 130;

int discover(std::span<char* const> arguments);
int identify(std::span<char* const> arguments);
int read(std::span<char* const> arguments);
int write(std::span<char* const> arguments);
int perf(std::span<char* const> arguments);

// Prints "mrpool-nvmf: MESSAGE" and picks the exit status that goes with it.
int fail(const absl::Status& status);

}  // namespace mrpool::nvme::host
