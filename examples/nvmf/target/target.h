// The target as a whole, without sockets: its subsystems, their controllers, access control, and
// discovery.
//
// Thread safety: shared objects: safe (one mutex; connecting and configuration only).
// Ownership: owns subsystems and, until their last queue is drained, controllers. The
// ControllerHost must outlive it.
//
// A host that lost its connections reconnects immediately, reads, and writes. Pending storage
// requests of its earlier connections must not execute after that. So a Connect waits until all
// ended queues of the same host (NQN and identifier) and subsystem have drained. Live associations
// (other paths) do not count. The target cannot know that the host has given up a connection that
// still appears alive; the host must wait in this case: [base] 2.1, 9.6.
// Clauses: [fab] 3.3 Connect, 5 discovery.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "examples/engine/portals.h"
#include "examples/nvmf/target/controller.h"
#include "examples/nvmf/target/discovery_access.h"
#include "examples/nvmf/target/known_stores.h"
#include "examples/nvmf/target/lost_hosts.h"
#include "examples/nvmf/target/referral.h"
#include "examples/nvmf/target/subsystem.h"
#include "examples/protocol/nvme/wire.h"

namespace mrpool::nvmf_target {

using engine::Portal;

// The properties of a queue when its Connect command arrives.
struct QueueFacts {
  QueueRef ref;
  uint16_t cm_queue_id = 0;   // from the RDMA private data
  uint32_t entries = 0;       // as negotiated by the private data
  std::string local_address;  // "127.0.0.1:4420"
  std::string peer_address;
};

// The controller ids of a subsystem, one after the other. They are unique in the whole daemon.
class ControllerIds {
 public:
  void set_range(uint16_t min, uint16_t max) {
    min_ = min;
    max_ = max;
  }
  uint32_t count() const { return uint32_t(max_) - min_ + 1; }
  uint16_t next() {
    last_ = last_ < min_ || last_ >= max_ ? min_ : uint16_t(last_ + 1);
    return last_;
  }

 private:
  uint16_t min_ = 1;
  uint16_t max_ = kMaxControllerId;
  uint16_t last_ = 0;
};

struct Connected {
  // Not decided: an earlier connection of that host has ended, but its storage I/O has not. Keep
  // the command and call again after ControllerHost::connect_again.
  bool wait = false;
  nvme::Status status = nvme::Status::kSuccess;
  uint64_t result = 0;
  std::shared_ptr<Controller> controller;  // if it succeeded
};

class Target final : public DiscoverySource {
 public:
  struct Options {
    uint32_t workers = 1;
    uint32_t in_capsule = kDefaultInCapsule;
    uint32_t max_controllers = kDefaultMaxControllers;
  };
  Target(const Options& options, ControllerHost& host);

  // Replaces what is served and notifies the hosts. Controllers of removed subsystems and of hosts
  // that are no longer allowed end. Changes of namespaces and of discovery raise events. Subsystems
  // are matched by NQN.
  struct Served {
    SubsystemOptions options;
    std::vector<Namespace> namespaces;
  };
  void apply(std::vector<Served> served, std::vector<Portal> portals,
             std::vector<Referral> referrals = {}, DiscoveryProof discovery = DiscoveryProof::kOff);
  // Replaces the ports that discovery announces; raises the discovery event.
  void set_portals(std::vector<Portal> portals);

  // The states of ANA groups in a group of gateways, for subsystems with ANA reporting; notifies
  // hosts. Subsystems that come later have the same.
  void set_ownership(std::shared_ptr<const AnaStates> ownership);

  // Notifies hosts of namespaces whose size has changed.
  void refresh_sizes();

  std::shared_ptr<Subsystem> find(std::string_view nqn) const;
  // The discovery service as a subsystem, if hosts authenticate there; else null.
  std::shared_ptr<Subsystem> proving_discovery() const;
  // The controllers of all connected hosts, including discovery controllers.
  std::vector<std::shared_ptr<Controller>> all_controllers() const;
  // The controllers of a subsystem, including those that ended while storage I/O is outstanding.
  std::vector<std::shared_ptr<Controller>> controllers_of(const Subsystem& subsystem) const;
  // The subsystems that are served now, so that a reload keeps unchanged ones.
  std::vector<std::shared_ptr<Subsystem>> subsystems() const;

  Connected connect(const nvme::ConnectCommand& command, const nvme::ConnectData& data,
                    const QueueFacts& queue, Nanoseconds now);
  // The queue's connection has ended. The end of an admin queue ends its controller.
  void disconnected(Controller& controller, uint16_t queue_id);
  // Call it after disconnected(), when no operation of the queue is active.
  void drained(Controller& controller, uint16_t queue_id);
  // The queue no longer waits for its Connect.
  void forget_waiter(QueueRef queue);

  std::vector<std::byte> discovery_log(std::string_view host_nqn,
                                       std::string_view local) const override;
  uint64_t generation() const;
  size_t controllers() const;
  // The number of queues that connected since the start.
  struct QueueCount {
    uint64_t admin = 0;
    uint64_t io = 0;
  };
  std::vector<QueueCount> connected_queues() const;  // by worker

 private:
  static const char* unwelcome(const Controller& controller);
  void admit_to_discovery_locked(std::span<const Served> served, DiscoveryProof proof);
  Connected connect_admin(const nvme::ConnectCommand& command, const nvme::ConnectData& data,
                          const QueueFacts& queue, Nanoseconds now);
  Connected connect_io(const nvme::ConnectCommand& command, const nvme::ConnectData& data,
                       const QueueFacts& queue);
  std::optional<uint16_t> free_id_locked(std::string_view nqn);
  bool end_discovery_locked();
  bool draining_locked(std::string_view subsystem, std::string_view host,
                       std::span<const uint8_t> host_id) const;

  const Options options_;
  ControllerHost& host_;
  const std::shared_ptr<Subsystem> discovery_;
  DiscoveryProof discovery_proof_ = DiscoveryProof::kOff;
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Subsystem>, std::less<>> subsystems_;
  std::map<uint16_t, std::shared_ptr<Controller>> controllers_;
  std::vector<std::shared_ptr<Controller>> ending_;  // without admin queue, not yet drained
  std::vector<QueueRef> waiting_;                    // with a waiting Connect
  LostHosts lost_;
  std::shared_ptr<const AnaStates> ownership_;
  std::vector<Portal> portals_;
  std::vector<Referral> referrals_;
  std::vector<QueueCount> connected_;  // by worker
  uint64_t generation_ = 0;
  std::map<std::string, ControllerIds, std::less<>> ids_;  // by subsystem NQN
};

// Parses the private data of a connection request: the requested queue, or the reason to reject it.
struct QueueRequest {
  uint16_t queue_id = 0;
  uint32_t entries = 0;  // commands the host may have outstanding
};
bool parse_request(std::span<const std::byte> private_data, QueueRequest& request,
                   nvme::RdmaStatus& why);

}  // namespace mrpool::nvmf_target
