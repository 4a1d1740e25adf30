// Whether the program lives on its other threads only, after pthread_exit() in main().
//
// A process ends with its last thread. The engine's thread runs until then, so it looks for itself
// whether it is the last one, and ends the process with status 0, as glibc does.
//
// Thread safety: any thread.
#pragma once

#include <unistd.h>

namespace mrpool::provider {

// The main thread calls pthread_exit(): from then on main_thread_ended(), and `told` is called.
void watch_main_thread(void (*told)());
bool main_thread_ended();

// No other thread than `own` is left. False as well when /proc does not show it.
bool is_last_thread(pid_t own);

}  // namespace mrpool::provider
