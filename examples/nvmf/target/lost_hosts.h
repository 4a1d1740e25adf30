// What hosts meant by their nsids when their connections were lost.
//
// A host that was lost comes again and repeats its commands, and nothing tells its new controller
// from one of another program on the same host, which uses the same NQN and identifier. So what a
// lost controller knew is kept, whatever other controllers of its host do meanwhile, and a new one
// begins with what all of them say together. Where they differ the host is first shown that the
// nsid is gone, and then what is there.
//
// Thread safety: none. Ownership: values.
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <optional>
#include <string>

#include "examples/nvmf/target/known_stores.h"
#include "mrpool/reactor.h"

namespace mrpool::nvmf_target {

class LostHosts {
 public:
  // For so long after a controller of the same host came, a lost one may still come again itself.
  static constexpr Nanoseconds kMayComeAgain = std::chrono::hours(1);

  // What a controller begins with. `host`: subsystem, NQN and identifier; `now`: monotonic.
  KnownStores known(const std::string& host, const NamespaceTable& table, Nanoseconds now);
  // A controller ended without a shutdown. The one that was lost first is forgotten where there are
  // kMaxLostHosts already.
  void lost(const std::string& host, KnownStores known);

  size_t size() const { return lost_.size(); }

 private:
  struct Lost {
    std::string host;
    KnownStores known;
    std::optional<Nanoseconds> followed{};  // by a controller of its host, at this time
  };

  std::deque<Lost> lost_;  // the oldest first
};

}  // namespace mrpool::nvmf_target
