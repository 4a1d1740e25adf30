// Messages from the checker of a program under Valgrind to mrpool-run. mrpool-run reads Valgrind's
// XML, turns memcheck's errors in guarded bytes into findings and writes the summary.
//
// The words are messages of the program (VALGRIND_PRINTF) in that XML.
//
// Thread safety: any thread.
#pragma once

#include <cstdint>

#include "transport/checker/finding.h"

namespace mrpool::checker {

// Value "1": mrpool-run reads the XML of the Valgrind that the process runs under.
inline constexpr char kMonitoredVariable[] = "MRPOOL_VERBS_MONITORED";
// The lkey in hexadecimal follows, and the stack of the registration.
inline constexpr char kRegisteredWord[] = "mrpool-check:registered ";
// Errors, hints and suppressed findings follow, with a space between.
inline constexpr char kCountsWord[] = "mrpool-check:counts ";

bool monitored();
void tell_registered(uint32_t lkey);
void tell_counts(const Counts& counts);

}  // namespace mrpool::checker
