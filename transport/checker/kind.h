// The kinds of findings: the word under which reports and suppressions know each, and whether it
// counts as an error.
//
// To add one: a line in kKinds, a section in docs/operate/checker.md, a program in
// tests/verbs_programs/zoo/.
//
// Thread safety: pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace mrpool::checker {

enum class Kind : uint8_t {
  // Guarded memory.
  kPrematureAccess,
  // Memory that the device owns until a completion.
  kSourceChanged,
  kSinkWritten,
  kReceiveWritten,
  // Keys and the memory that they name.
  kBadKey,
  kRemoteBadKey,
  // Life-cycles.
  kMrInUse,
  kMemoryFreed,
  kQpInUse,
  kCqOverrun,
  kSendQueueFull,
  // Hints.
  kOverlap,
  kNeverPolled,
  kWrIdReused,
  kLeaked,
  kUnusedRight,
};

struct KindInfo {
  Kind kind;
  std::string_view name;
  bool hint = false;  // worth a look; changes no exit status
};

inline constexpr std::array kKinds{
    KindInfo{Kind::kPrematureAccess, "premature-access"},
    KindInfo{Kind::kSourceChanged, "source-changed"},
    KindInfo{Kind::kSinkWritten, "sink-written"},
    KindInfo{Kind::kReceiveWritten, "receive-written"},
    KindInfo{Kind::kBadKey, "bad-key"},
    KindInfo{Kind::kRemoteBadKey, "remote-bad-key"},
    KindInfo{Kind::kMrInUse, "mr-in-use"},
    KindInfo{Kind::kMemoryFreed, "memory-freed"},
    KindInfo{Kind::kQpInUse, "qp-in-use"},
    KindInfo{Kind::kCqOverrun, "cq-overrun"},
    KindInfo{Kind::kSendQueueFull, "send-queue-full"},
    KindInfo{Kind::kOverlap, "overlap", true},
    KindInfo{Kind::kNeverPolled, "never-polled", true},
    KindInfo{Kind::kWrIdReused, "wr-id-reused", true},
    KindInfo{Kind::kLeaked, "leaked", true},
    KindInfo{Kind::kUnusedRight, "unused-right", true},
};

inline constexpr const KindInfo& info(Kind kind) { return kKinds[static_cast<size_t>(kind)]; }

static_assert([] {
  for (size_t i = 0; i < kKinds.size(); ++i) {
    if (kKinds[i].kind != static_cast<Kind>(i)) return false;
  }
  return true;
}());

}  // namespace mrpool::checker
