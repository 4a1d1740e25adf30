// Guards in programs built with AddressSanitizer: manual poisoning, exact to eight bytes.
//
// Its functions are looked up when the process runs. A touch is AddressSanitizer's error, too,
// after which the program goes on only when it was built with -fsanitize-recover=address.
//
// Thread safety: as guard.h. While any thread is the device nothing is poisoned.
#pragma once

#include "transport/checker/guard/guard.h"

namespace mrpool::guard {

// Null in programs without AddressSanitizer.
Guard* asan_guard();

}  // namespace mrpool::guard
