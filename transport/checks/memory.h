// Which memory may be registered.
//
// Thread safety: pure, except that check_mapped reads /proc/thread-self/maps.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "mrpool/access.h"

namespace mrpool::checks {

// InvalidArgument: empty, null, or beyond the end of the address space.
absl::Status check_range(std::span<const std::byte> memory);

// InvalidArgument: a byte of `memory` is not mapped or not readable, or not writable although
// `access` lets the device write it. ibv_reg_mr reports the same by EFAULT. Asks the kernel
// for the mappings of `memory` alone; before Linux 6.11 it reads all of the process's, which costs
// time that grows with their number. OK where /proc is not mounted, and
// with kOnDemand.
absl::Status check_mapped(std::span<const std::byte> memory, Access access);

// The same against the text of /proc/thread-self/maps. Requires check_range() to be OK.
absl::Status check_mapped(std::span<const std::byte> memory, Access access, std::string_view maps);

}  // namespace mrpool::checks
