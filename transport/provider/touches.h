// Touches of guarded memory, noted in signal handlers and taken by code that may allocate.
//
// Memory ordering: a slot's state is released when its content is written, and acquired before it
// is read. Thread safety: note() any thread and signal handlers; take() one thread at a time.
#pragma once

#include <optional>

#include "transport/checker/guard/guard.h"
#include "transport/checker/stack.h"

namespace mrpool::provider {

struct NotedTouch {
  guard::Touch touch;
  checker::Stack stack;
};

// More at a time than there is room for are lost.
void note_touch(const guard::Touch& touch);
std::optional<NotedTouch> take_touch();

}  // namespace mrpool::provider
