// The cluster as a gateway uses it: the records of its group, and the clients of the cluster
// through which it serves.
//
// Each ANA group (iSER: target port group) is served through a client of its own, so that a group
// can be fenced alone. A client has an address that no other client has or will have.
//
// Thread safety: all calls and completions on one thread.
// Ownership: `done` is called once, never from inside the call. The object may be destroyed while
// calls are under way; their completions are then never called.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "examples/gateway/records.h"

namespace mrpool::gateway {

class Cluster {
 public:
  virtual ~Cluster() = default;

  // All records. Nothing: the cluster did not answer. A missing object has no records.
  virtual void read(std::function<void(std::optional<Records>)> done) = 0;

  // A guarded write. It creates the object if it is missing. After a time-out it is kUnknown.
  virtual void write(GuardedWrite write, std::function<void(Written)> done) = 0;

  // Makes a new client for `group` and gives up the one before, if any: nothing is sent through
  // that any more, its requests end with an error. `done` gets the new client's address; empty: it
  // did not connect.
  virtual void connect(std::string_view group, std::function<void(std::string address)> done) = 0;

  // Fences clients: the cluster refuses everything of them from now on. `done(true)` only after
  //   1. the cluster has a map with all the fences, and then
  //   2. the client of `group` (not only the one that asked for the fences) has the latest map. A
  //      store that gets a request with a later map than its own waits for that map; so no store
  //      executes a request of the new owner and then one of a fenced client.
  // `clients` may be empty. The second step is needed then too: a client may have been fenced for
  // an owner in between, whose own client had that map. The client of `group` need not have it. The
  // fence must last longer than a gateway can be stopped and continue (a day at least). A client
  // may be fenced twice.
  virtual void fence(std::string_view group, std::vector<std::string> clients,
                     std::function<void(bool)> done) = 0;
};

}  // namespace mrpool::gateway
