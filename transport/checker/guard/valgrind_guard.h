// Guards under Valgrind's memcheck: client requests mark the bytes as not accessible, and as a
// block with a description that memcheck's own reports quote.
//
// Exact to the byte, any program. The findings are memcheck's: Callbacks::touched is not called.
//
// Thread safety: as guard.h.
#pragma once

#include "transport/checker/guard/guard.h"

namespace mrpool::guard {

// Null where Valgrind's headers were missing when this was built.
Guard* valgrind_guard();

}  // namespace mrpool::guard
