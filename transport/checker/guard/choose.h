// Which kind of guard watches a process.
//
// Thread safety: before there are threads that need a guard.
#pragma once

#include <string_view>

#include "transport/checker/guard/guard.h"

namespace mrpool::guard {

// By its name; empty: the first that works here, of valgrind, asan and pages. Null: that one does
// not work here, or none does.
Guard* choose(std::string_view name);

}  // namespace mrpool::guard
