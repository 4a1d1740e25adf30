// Remembers, for hosts whose connections were lost, which store they knew for each nsid.
//
// A lost host reconnects and repeats its commands. Its new controller cannot be distinguished from
// one of another program on the same host, which uses the same NQN and identifier. So the knowledge
// of a lost controller is kept, independent of other controllers of its host, and a new controller
// starts with the merged knowledge of all of them. Where they differ, the host is first shown that
// the nsid is gone, and then the current store.
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
  // The time after a new controller of the same host in which a lost controller may still
  // reconnect.
  static constexpr Nanoseconds kMayComeAgain = std::chrono::hours(1);

  // The initial knowledge of a new controller. `host`: subsystem, NQN and identifier; `now`:
  // monotonic.
  KnownStores known(const std::string& host, const NamespaceTable& table, Nanoseconds now);
  // A controller ended without a shutdown. If there are kMaxLostHosts already, the oldest is
  // removed.
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
