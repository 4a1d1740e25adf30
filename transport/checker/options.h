// What mrpool-run --check hands to the checker through the environment.
//
// Thread safety: pure.
#pragma once

namespace mrpool::checker {

// The seed of what is random. Empty or missing: the checker is off.
inline constexpr char kSeedVariable[] = "MRPOOL_VERBS_CHECK";
// A file that gets each finding as a line of JSON; empty: none.
inline constexpr char kReportVariable[] = "MRPOOL_VERBS_CHECK_REPORT";
// The exit status of a program that ended with 0 although there were errors.
inline constexpr char kExitVariable[] = "MRPOOL_VERBS_CHECK_EXIT";
// A file of suppressions; empty: none.
inline constexpr char kSuppressionsVariable[] = "MRPOOL_VERBS_CHECK_SUPPRESSIONS";

// Which kind of guard watches memory (guard/guard.h); empty: the first that works.
inline constexpr char kGuardVariable[] = "MRPOOL_VERBS_GUARD";
// Its values: no guard at all, and the kinds.
inline constexpr char kNoGuard[] = "none";
inline constexpr char kPageGuard[] = "pages";
inline constexpr char kAsanGuard[] = "asan";
inline constexpr char kValgrindGuard[] = "valgrind";

inline constexpr unsigned kExitStatus = 66;
inline constexpr char kDefaultSeed[] = "1";

}  // namespace mrpool::checker
