// The audit of a device: does a key give what it was registered for, and nothing more?
//
// Two parts. Flags: every access flag and every forbidden combination is asked for, and the answer
// noted: granted, ignored, unknown (a lower layer may have masked it), refused. Traffic: for each
// rule
// of the contract real requests cross a connection, those that must work and those that must be
// refused, and the memory is looked at afterwards.
//
// Thread safety: one thread. Ownership: borrows the device while it runs.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "mrpool/device.h"

namespace mrpool::audit {

enum class Verdict : uint8_t {
  kHolds,
  kBroken,
  kAbsent,  // the device has no such feature, so there is no such key
};

struct FlagLine {
  std::string flags;
  std::string answer;  // "granted", "ignored", "unknown", "refused"
  std::string detail;
  Verdict verdict = Verdict::kHolds;
};

struct RuleLine {
  std::string rule;     // "past-the-end-write"
  std::string meaning;  // "a WRITE that ends 8 bytes past the region"
  std::string outcome;  // what happened
  Verdict verdict = Verdict::kHolds;
};

struct Report {
  std::string device;
  std::string registration;
  bool iwarp = false;
  bool read_sink_needs_remote_write = false;
  std::vector<FlagLine> flags;
  std::vector<RuleLine> rules;
  bool passed() const;
};

// A failure here is one of the audit (no connection, no memory), not of the device.
absl::StatusOr<Report> run(Device& device, const Address& address);

// For people, and for programs.
std::string to_table(const Report& report);
std::string to_markdown(const Report& report);
std::string to_json(const Report& report);

}  // namespace mrpool::audit
