// What the checker hears from the device itself: the peer's work on the program's memory.
//
// Thread safety: before there is a device.
#pragma once

namespace mrpool::provider {

class Engine;

// Makes the device of that engine notify the checker, if there is one.
void observe_for_checker(const Engine& engine);

}  // namespace mrpool::provider
