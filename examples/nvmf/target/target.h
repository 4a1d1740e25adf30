// The target as a whole, without sockets: its subsystems, the controllers in them, who may connect,
// and what discovery tells.
//
// Thread safety: shared objects: safe (one mutex; connecting and configuration only).
// Ownership: owns subsystems and, until their last queue is drained, controllers. The
// ControllerHost must outlive it.
//
// A host that lost its connections connects again at once, reads, and writes. What its earlier
// connections left with the storage must not land after that, so a Connect waits until the queues
// of the same host (NQN and identifier) and subsystem that are known to be gone have drained.
// Associations that live beside it (other paths) do not count. What the target cannot know, that a
// connection it takes for alive was given up by its host, stays the host's to wait for: [base] 2.1,
// 9.6.
// Clauses: [fab] 3.3 Connect, 5 discovery.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "examples/engine/portals.h"
#include "examples/nvmf/target/controller.h"
#include "examples/nvmf/target/known_stores.h"
#include "examples/nvmf/target/lost_hosts.h"
#include "examples/nvmf/target/referral.h"
#include "examples/nvmf/target/subsystem.h"
#include "examples/protocol/nvme/wire.h"

namespace mrpool::nvmf_target {

using engine::Portal;

// What the queue knows of itself when its Connect command arrives.
struct QueueFacts {
  QueueRef ref;
  uint16_t cm_queue_id = 0;   // as the RDMA private data said
  uint32_t entries = 0;       // what the private data agreed on
  std::string local_address;  // "127.0.0.1:4420"
  std::string peer_address;
};

struct Connected {
  // Not decided: an earlier connection of that host is gone, but not its storage I/O. Keep the
  // command and ask again when ControllerHost::connect_again says so.
  bool wait = false;
  nvme::Status status = nvme::Status::kSuccess;
  uint64_t result = 0;
  std::shared_ptr<Controller> controller;  // when it worked
};

class Target final : public DiscoverySource {
 public:
  struct Options {
    uint32_t workers = 1;
    uint32_t in_capsule = kDefaultInCapsule;
    uint32_t max_controllers = kDefaultMaxControllers;
  };
  Target(const Options& options, ControllerHost& host);

  // What is served from now on. Hosts hear of it: controllers of vanished subsystems and of hosts
  // no longer allowed are ended, changed namespaces and discovery raise events. Subsystems are
  // matched by NQN.
  struct Served {
    SubsystemOptions options;
    std::vector<Namespace> namespaces;
  };
  void apply(std::vector<Served> served, std::vector<Portal> portals,
             std::vector<Referral> referrals = {});
  // What discovery tells from now on of where hosts can come in; it raises their event.
  void set_portals(std::vector<Portal> portals);

  // Hosts hear of the namespaces whose size is another than they were told.
  void refresh_sizes();

  std::shared_ptr<Subsystem> find(std::string_view nqn) const;
  // Those of hosts that are connected, discovery too.
  std::vector<std::shared_ptr<Controller>> all_controllers() const;
  // Namespaces served now, by subsystem, so that a reload keeps what did not change.
  std::vector<std::shared_ptr<Subsystem>> subsystems() const;

  Connected connect(const nvme::ConnectCommand& command, const nvme::ConnectData& data,
                    const QueueFacts& queue, Nanoseconds now);
  // The queue's connection is gone. An admin queue takes its controller with it.
  void disconnected(Controller& controller, uint16_t queue_id);
  // Afterwards: nothing of the queue is under way any more.
  void drained(Controller& controller, uint16_t queue_id);
  // The queue waits no longer for its Connect.
  void forget_waiter(QueueRef queue);

  std::vector<std::byte> discovery_log(std::string_view host_nqn,
                                       std::string_view local) const override;
  uint64_t generation() const;
  size_t controllers() const;
  // Queues that connected since the start.
  struct QueueCount {
    uint64_t admin = 0;
    uint64_t io = 0;
  };
  std::vector<QueueCount> connected_queues() const;  // by worker

 private:
  Connected connect_admin(const nvme::ConnectCommand& command, const nvme::ConnectData& data,
                          const QueueFacts& queue, Nanoseconds now);
  Connected connect_io(const nvme::ConnectCommand& command, const nvme::ConnectData& data,
                       const QueueFacts& queue);
  uint16_t free_id_locked();
  bool end_discovery_locked();
  bool draining_locked(std::string_view subsystem, std::string_view host,
                       std::span<const uint8_t> host_id) const;

  const Options options_;
  ControllerHost& host_;
  const std::shared_ptr<Subsystem> discovery_;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Subsystem>, std::less<>> subsystems_;
  std::map<uint16_t, std::shared_ptr<Controller>> controllers_;
  std::vector<std::shared_ptr<Controller>> ending_;  // without admin queue, not yet drained
  std::vector<QueueRef> waiting_;                    // hold back a Connect
  LostHosts lost_;
  std::vector<Portal> portals_;
  std::vector<Referral> referrals_;
  std::vector<QueueCount> connected_;  // by worker
  uint64_t generation_ = 0;
  uint16_t last_id_ = 0;
};

// The private data of a connection request: what to reject it with, or what it asks for.
struct QueueRequest {
  uint16_t queue_id = 0;
  uint32_t entries = 0;  // commands the host may have outstanding
};
bool parse_request(std::span<const std::byte> private_data, QueueRequest& request,
                   nvme::RdmaStatus& why);

}  // namespace mrpool::nvmf_target
