// What an interrupted load still has time for; a second in all.
//
// Thread safety: pure.
#pragma once

#include <chrono>

namespace mrpool::load {

inline constexpr std::chrono::milliseconds kInterruptedReadBack{500};  // of what was written
inline constexpr std::chrono::milliseconds kInterruptedDrain{300};     // for what is under way
inline constexpr std::chrono::milliseconds kInterruptedEnd{150};       // for closing connections

}  // namespace mrpool::load
