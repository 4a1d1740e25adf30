// Handlers of SIGSEGV and SIGTRAP that coexist with the program's own.
//
// The program's calls of sigaction() and its like for these two signals are answered here
// (signal_calls.cc): it sees the handlers that it installed, and they run for faults that no guard
// explains. No thread can block the two signals.
//
// Thread safety: any thread; chain() runs in signal handlers.
#pragma once

#include <csignal>

namespace mrpool::guard {

// Takes the two signals over. False: the system refused.
bool install_handlers();
bool handlers_installed();

// The program's action for one of the two; null for other signals and before install_handlers().
struct sigaction* program_action(int signal);

// The system's functions, which the program's calls do not reach.
int real_sigaction(int signal, const struct sigaction* action, struct sigaction* old);

// What the program would have got: its handler runs, or the process ends as without guards.
void chain(int signal, siginfo_t* info, void* context);

}  // namespace mrpool::guard
