// The commands of mrpool-nvmf. Each declares itself, with its options and what runs it.
//
// Thread safety: the main thread.
#pragma once

#include "absl/status/status.h"
#include "examples/base/command_line.h"
#include "examples/base/exit_status.h"

namespace mrpool::nvme::host {

using base::kExitIo;
using base::kExitOk;

void add_discover(base::CommandLine& program);
void add_identify(base::CommandLine& program);
void add_read(base::CommandLine& program);
void add_write(base::CommandLine& program);
void add_write_uncorrectable(base::CommandLine& program);
void add_perf(base::CommandLine& program);

// Prints "mrpool-nvmf: MESSAGE" and picks the exit status that goes with it.
int fail(const absl::Status& status);

}  // namespace mrpool::nvme::host
