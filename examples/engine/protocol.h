// What a protocol plugs into the engine: whether a peer may come in, and the session it then has.
//
// Thread safety: as each call says. Ownership: the protocol outlives the Service and its links.
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

// What a protocol makes of a connection request.
struct Verdict {
  bool accepted = false;
  std::string why{};                      // not accepted: for the log
  std::vector<std::byte> private_data{};  // of the acceptance or the rejection
  LinkLayout layout{};
};

class Protocol {
 public:
  // Any worker's thread.
  virtual Verdict look(const ConnectionInfo& request, const DeviceCaps& caps) = 0;
  // The private data of a rejection because something has run out. Any thread.
  virtual std::vector<std::byte> no_resources() const { return {}; }
  // How the log names who was rejected. Any thread.
  virtual std::string name(const ConnectionInfo& request) const { return request.peer; }
  // The session of a link whose request look() has accepted. The worker's thread.
  virtual std::unique_ptr<Session> make_session(Worker& worker, Link& link,
                                                const ConnectionInfo& request) = 0;
  // From time to time while there are links; the worker's thread.
  virtual void tick(Worker&) {}
  // Its ways to stores, besides the worker's channels; the worker's thread.
  virtual void visit_stores(Worker&, const StoreVisitor&) {}

 protected:
  ~Protocol() = default;
};

}  // namespace mrpool::engine
