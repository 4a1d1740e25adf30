// A finding as one line of JSON.
//
// Thread safety: pure.
#pragma once

#include <sys/types.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "transport/checker/finding.h"

namespace mrpool::checker {

// `stacks`: of finding.where, then of each origin.
std::string to_json(const Finding& finding, std::span<const std::vector<Frame>> stacks, pid_t pid);
// The summary of a process.
std::string to_json(const Counts& counts, pid_t pid);

std::string json_text(std::string_view text);

}  // namespace mrpool::checker
