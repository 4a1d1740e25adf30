// What ran, for mrpool-run --stats.
//
// Thread safety: under the engine's lock.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "mrpool/access.h"
#include "mrpool/work.h"

namespace mrpool::provider {

struct Statistics {
  struct Operation {
    uint64_t count = 0;
    uint64_t bytes = 0;
  };
  Operation sends;
  Operation writes;
  Operation reads;
  Operation atomics;
  Operation receives;
  uint64_t failed = 0;  // completions with an error, flushes included
  uint64_t connections = 0;
  uint64_t receive_waits = 0;  // sends that waited for the peer to post a receive

  uint64_t mrs = 0;
  uint64_t mrs_now = 0;
  uint64_t mrs_high = 0;
  uint64_t mrs_refused = 0;
  std::map<uint32_t, uint64_t> asked;    // access flags of user verbs → registrations
  std::map<Access, uint64_t> effective;  // what was granted → registrations

  uint64_t cq_depth_high = 0;

  // Lines for people, each with a newline.
  std::string report() const;
};

}  // namespace mrpool::provider
