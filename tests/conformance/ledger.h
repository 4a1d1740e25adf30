// The ledger of skipped tests: a conformance test that a device cannot run is skipped only when
// ledger.txt lists it for that device with a reason; an unlisted skip fails.
//
// A line is `DEVICE TEST  reason`; DEVICE and TEST are shell patterns (fnmatch), '#' starts a
// comment.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace mrpool::conformance {

class Ledger {
 public:
  static absl::StatusOr<Ledger> read(const std::string& path);

  // The reason why `device` may skip `test` ("Suite.Name"), or null.
  const std::string* find(std::string_view device, std::string_view test) const;

 private:
  struct Line {
    std::string device, test, reason;
  };
  std::vector<Line> lines_;
};

}  // namespace mrpool::conformance
