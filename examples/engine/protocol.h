// The interface of a protocol to the engine: it accepts or refuses connection requests and makes
// the sessions.
//
// Thread safety: documented for each call. Ownership: the protocol outlives the Service and its
// links.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "examples/engine/link.h"
#include "examples/engine/link_layout.h"
#include "examples/engine/stores.h"
#include "mrpool/device.h"

namespace mrpool::engine {

class Worker;

// A protocol's decision on a connection request.
struct Verdict {
  bool accepted = false;
  std::string why{};                      // if not accepted: the reason, for the log
  std::vector<std::byte> private_data{};  // of the acceptance or the rejection
  LinkLayout layout{};
};

class Protocol {
 public:
  // Any worker's thread.
  virtual Verdict look(const ConnectionInfo& request, const DeviceCaps& caps) = 0;
  // The private data of a rejection for lack of resources. Any thread.
  virtual std::vector<std::byte> no_resources() const { return {}; }
  // The name of a rejected peer in the log. Any thread.
  virtual std::string name(const ConnectionInfo& request) const { return request.peer; }
  // Makes the session of a link whose request look() has accepted. The worker's thread.
  virtual std::unique_ptr<Session> make_session(Worker& worker, Link& link,
                                                const ConnectionInfo& request) = 0;
  // Called periodically while the worker has links. The worker's thread.
  virtual void tick(Worker&) {}
  // Visits channels to stores that are not the worker's Channels. The worker's thread.
  virtual void visit_stores(Worker&, const StoreVisitor&) {}

 protected:
  ~Protocol() = default;
};

}  // namespace mrpool::engine
