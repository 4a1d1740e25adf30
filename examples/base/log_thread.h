// Lines on stderr from threads that must not wait for its reader: stderr may be a pipe that is
// full.
//
// A thread writes them, in order. At most kLogLines wait; the next line has the number of those
// that were dropped. What others write to stderr by themselves may come before them.
//
// Thread safety: any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

namespace mrpool::base {

inline constexpr size_t kLogLines = 1024;
// The end of the program waits so long for the lines to be read.
inline constexpr std::chrono::seconds kLogPatience{1};

// `line` without its newline. Returns at once.
void log_line(std::string line);
// Waits until the lines before it are written, kLogPatience at most. exit() does so by itself.
void flush_log();
// How the number of lines that were left out is written; null: "(N lines left out)".
void set_left_out_line(std::string (*line)(uint64_t count));

}  // namespace mrpool::base
