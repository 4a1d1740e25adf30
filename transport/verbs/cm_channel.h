// The connection manager's events on one reactor.
//
// Connections and listeners of a device that live on the same reactor share one channel. An id's
// `context` names the handler of its events; an id without one (a connection request that nobody
// has answered yet) has its events dropped.
//
// Thread safety: the reactor's thread, destruction included. What share() returns: any thread.
// Ownership: shared by the ids whose events it delivers. An id that only has to be valid, on
// whatever thread, holds a share of the event channel itself.
#pragma once

#include <rdma/rdma_cma.h>

#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "mrpool/reactor.h"
#include "transport/verbs/fd_watch.h"

namespace mrpool::verbs {

// An event that has been acknowledged already. `private_data` is valid during the call.
struct CmEvent {
  rdma_cm_event_type type;
  int status;
  rdma_cm_id* id;         // the new one where it is a connection request
  rdma_conn_param param;  // private_data points to a copy
  std::span<const std::byte> private_data;
};

class CmHandler {
 public:
  virtual void on_cm_event(const CmEvent& event) = 0;

 protected:
  ~CmHandler() = default;
};

class CmChannel final : public std::enable_shared_from_this<CmChannel>, private FdEvents {
 public:
  static absl::StatusOr<std::shared_ptr<CmChannel>> create(Reactor& reactor);
  rdma_event_channel* get() const { return channel_.get(); }
  std::shared_ptr<rdma_event_channel> share() const { return channel_; }
  // Handles what is there now; called by the loop, and where a completion overtook its event.
  void on_readable() override;

 private:
  std::shared_ptr<rdma_event_channel> channel_;
  std::unique_ptr<FdWatch> watch_;
};

}  // namespace mrpool::verbs
