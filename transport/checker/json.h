// A finding as one line of JSON.
//
// Thread safety: pure.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "transport/checker/report.h"
#include "transport/checker/symbols.h"

namespace mrpool::checker {

// `stacks`: of finding.where, then of each origin.
std::string to_json(const Finding& finding, std::span<const std::vector<Frame>> stacks);

std::string json_text(std::string_view text);

}  // namespace mrpool::checker
