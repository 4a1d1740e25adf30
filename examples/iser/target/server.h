// The portals of a site: listeners on every address, and the connections that came through them.
//
// Thread safety: the reactor's thread. Ownership: site and reactor outlive it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "examples/iser/target/qp_link.h"
#include "examples/iser/target/site.h"
#include "mrpool/device.h"
#include "mrpool/reactor.h"

namespace mrpool::iser_target {

class Server {
 public:
  Server(Site& site, Reactor& reactor, const Config& config);
  ~Server();

  // Opens the device of `uri` and listens; returns the address with the port in use.
  absl::StatusOr<std::string> listen(const std::string& uri);
  // Ends every connection; `done` runs from the loop when the last is gone.
  void stop(std::function<void()> done);

  size_t connections() const { return links_.size(); }
  // In use over all pools, for the report at the end.
  MrPoolStats pool_stats() const;
  size_t staging_in_use() const;

  // Bytes a connection holds, the largest of those there are.
  size_t memory_per_connection() const;

 private:
  struct Portal;
  void take(Domain& domain, ConnectRequest& request);
  void reap();
  void sweep();

  Site& site_;
  Reactor& reactor_;
  const Config& config_;
  std::vector<std::unique_ptr<Portal>> portals_;
  std::vector<std::unique_ptr<QpLink>> links_;
  std::function<void()> stopped_;
  Nanoseconds stop_began_{};

  struct Tick : Timer {
    explicit Tick(Server& server);
    Server& owner;
  };
  Tick tick_;
};

}  // namespace mrpool::iser_target
