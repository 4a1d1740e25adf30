// What the ordering sanitizer of a device did (docs/reference/relaxed_ordering.md).
//
// A device opened with placement=adversarial withholds, splits and reorders data as far as relaxed
// ordering allows. A program that relies on more than its completions then fails in a test. The
// report states how much the device withheld and reordered.
//
// Thread safety: any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "mrpool/device.h"

namespace mrpool {

// What the ordering sanitizer withheld.
struct OrderingReport {
  uint64_t seed = 0;               // replays the run
  uint64_t bytes_withheld = 0;     // not visible when they had arrived
  uint64_t chunks = 0;             // pieces they were split into
  uint64_t chunks_reordered = 0;   // became visible before one that had arrived earlier
  Nanoseconds longest_delay{};     // from arrival to visibility
  uint64_t regions_opted_out = 0;  // registrations with kDisableRelaxedOrdering

  std::string to_string() const;  // one line
};

// Nothing for a device without the sanitizer.
std::optional<OrderingReport> ordering_report(const Device& device);

}  // namespace mrpool
