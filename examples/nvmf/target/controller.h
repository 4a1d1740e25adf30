// A controller, created when a host connects an admin queue. It does no I/O itself.
//
// It has the properties, admin commands, features, log pages, asynchronous events and the
// keep-alive timer. Its inputs are bytes and times, its outputs replies. It calls ControllerHost
// for effects elsewhere: to complete a parked event request, to drop a queue, to abort a command.
//
// A queue has three states here: attached, closed (its connection ended, its storage I/O may be
// pending) and detached (its storage I/O has ended too). A reset or a shutdown completes only when
// every I/O queue is detached. Otherwise an old write could overwrite data that the host wrote
// after the reset, [base] 3.7.2.
//
// Thread safety: shared objects: safe. One mutex, taken by admin commands and configuration; the
// I/O path touches only write_cache() and the subsystem's version, both atomics.
// Ownership: shared by its queues and the Target. ControllerHost must outlive it and is called
// without the mutex held.
// Clauses: [base] 5 admin commands, 7.6 reset and shutdown, 7.12 keep alive; [fab] 3.4 properties.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "examples/nvmf/target/known_stores.h"
#include "examples/nvmf/target/limits.h"
#include "examples/nvmf/target/reservation_notices.h"
#include "examples/nvmf/target/subsystem.h"
#include "examples/protocol/nvme/wire.h"

namespace mrpool::nvmf_target {

// A reference to a queue of the engine: its worker and its number there. A stale one refers to no
// queue.
struct QueueRef {
  uint32_t worker = 0;
  uint64_t id = 0;
  friend bool operator==(const QueueRef&, const QueueRef&) = default;
};

// The engine's services for a controller. Called from any thread; must not call the controller
// before it returns.
class ControllerHost {
 public:
  // Controller::take_events has completions for this admin queue.
  virtual void events_ready(QueueRef admin_queue) = 0;
  virtual void drop_queue(QueueRef queue) = 0;
  // The Connect command that waits on this queue may be tried again.
  virtual void connect_again(QueueRef queue) = 0;

 protected:
  ~ControllerHost() = default;
};

// Builds the discovery log for a host that connected to the address `local`.
class DiscoverySource {
 public:
  virtual std::vector<std::byte> discovery_log(std::string_view host_nqn,
                                               std::string_view local) const = 0;

 protected:
  ~DiscoverySource() = default;
};

struct AdminReply {
  enum class Kind : uint8_t {
    kReply,
    kPark,     // an Asynchronous Event Request: take_events answers it
    kAside,    // run `job`, which may block, on another thread; its status is the answer
    kFormat,   // format namespace `nsid`, or all
    kProtect,  // set the write protection of namespace `nsid` to `result`, and flush it
    kAbort,    // abort command `abort_cid` on `abort_queue`; call abort_finished() after the answer
  };
  Kind kind = Kind::kReply;
  nvme::Status status = nvme::Status::kSuccess;
  uint64_t result = 0;
  std::vector<std::byte> data;  // for the host
  std::function<nvme::Status()> job;
  uint16_t abort_cid = 0;
  uint32_t nsid = 0;
  QueueRef abort_queue;
};

// The end of an Asynchronous Event Request: an event, or kAbortRequested at a reset.
struct AsyncCompletion {
  uint16_t command_id = 0;
  uint32_t result = 0;
  nvme::Status status = nvme::Status::kSuccess;
};

enum class AsyncEvent : uint8_t {
  kNamespaceChanged,
  kDiscoveryChanged,
  kReservation,
  kAccessChanged,
};
// Their bits in the Asynchronous Event Configuration, [base] 5.27.1.8.
inline constexpr uint32_t kEventNamespace = 1u << 8;
inline constexpr uint32_t kEventAccess = 1u << 11;
inline constexpr uint32_t kEventDiscovery = 1u << 31;
// Not there, since no host switches it on: it masks it, feature 82h. A bit that hosts cannot set.
inline constexpr uint32_t kEventReservation = 1u << 30;

class Controller {
 public:
  struct Identity {
    uint16_t id = 0;
    std::string host_nqn;
    std::array<uint8_t, 16> host_id{};
    std::string local_address;  // that the host connected to
    bool discovery = false;
    bool must_prove = false;  // the host has keys: it authenticates first
    uint32_t keep_alive_ms = 0;
    uint32_t in_capsule = kDefaultInCapsule;
  };

  Controller(Identity identity, std::shared_ptr<Subsystem> subsystem, ControllerHost& host,
             const DiscoverySource& discovery, KnownStores known, Nanoseconds now);

  const Identity& identity() const { return identity_; }
  Nanoseconds began() const { return began_; }
  Subsystem& subsystem() const { return *subsystem_; }
  // The namespaces that the host sees. Any thread.
  std::shared_ptr<const NamespaceTable> namespaces() const {
    return subsystem_->namespaces(identity_.host_nqn);
  }

  // Queues. The creator of the controller attaches the admin queue; I/O queues join.
  void attach_admin(QueueRef queue, std::string peer = {});
  enum class Join : uint8_t {
    kJoined,
    kWait,     // an earlier queue or a reset has not ended
    kRefused,  // the controller is not enabled, or has a queue with that number
  };
  Join join(uint16_t queue_id, QueueRef queue, std::string local = {}, std::string peer = {});
  void close(uint16_t queue_id);
  void detach(uint16_t queue_id);
  // True if a queue is closed and not yet detached.
  bool draining() const;
  bool has_queues() const;
  struct QueueState {
    uint16_t number = 0;
    uint32_t worker = 0;
    std::string local;  // "127.0.0.1:4420"
    std::string peer;
  };
  std::vector<QueueState> queues() const;  // by number
  std::vector<QueueRef> io_queues() const;
  // The host has authenticated on the admin queue. The keep-alive timer begins.
  void prove(Nanoseconds now);
  // The host has authenticated, or need not.
  bool proven() const { return proven_.load(std::memory_order_relaxed); }
  // Ends the association: drops all queues.
  void terminate();
  bool enabled() const;

  // Commands of the admin queue.
  AdminReply property_get(const nvme::PropertyCommand& command) const;
  AdminReply property_set(const nvme::PropertyCommand& command, Nanoseconds now);
  // Any other admin command; `data_length` is what its SGL describes.
  AdminReply admin(const nvme::Sqe& sqe, uint64_t data_length, Nanoseconds now);
  void abort_finished();

  // Asynchronous events.
  void namespaces_changed(std::span<const uint32_t> nsids);
  void discovery_changed();
  // The state of a namespace at this controller's port, or its group, is another one.
  void access_changed();
  // The host hears that a reservation of the namespace has changed.
  void reservation_changed(uint32_t nsid, reservation::Event event);
  std::vector<AsyncCompletion> take_events();
  // True if a request with that id was parked; the caller sends its completion.
  bool unpark(uint16_t command_id);

  // The host is alive: it sent Keep Alive, or any command in traffic-based mode.
  void note_traffic(Nanoseconds now);
  // True once the keep-alive timer has expired; the controller is then in the fatal state.
  bool keep_alive_expired(Nanoseconds now);

  // Records a failed command in the Error Information log.
  void record_error(uint16_t queue_id, uint16_t command_id, nvme::Status status, uint32_t nsid,
                    uint64_t lba);

  // True if the host's commands for this nsid are meant for this store. Any thread.
  bool means(const Namespace& ns) const;
  // The stores that the host knows by its nsids, kept for its reconnect; nothing after an orderly
  // shutdown.
  std::optional<KnownStores> left_behind() const;

  // The states of all groups at this controller's port.
  AnaStates access(const NamespaceTable& table) const {
    return table.ana.at(identity_.local_address);
  }

  // False: the host disabled the volatile write cache, so every write is forced to the medium.
  bool write_cache() const { return write_cache_.load(std::memory_order_relaxed); }

 private:
  struct AdminRequest {
    const nvme::Sqe& sqe;
    uint64_t data_length;  // what its SGL describes
    Nanoseconds now;
    std::vector<std::byte> discovery;  // the discovery log, if requested
  };
  // admin_commands.cc
  struct AdminCommand;
  static const AdminCommand kAdminCommands[];
  static std::vector<std::pair<nvme::AdminOpcode, uint32_t>> admin_effects();
  AdminReply keep_alive(const AdminRequest& request);
  AdminReply identify(const AdminRequest& request);
  AdminReply format(const AdminRequest& request);
  AdminReply get_log_page(const AdminRequest& request);
  nvme::Status feature_scope(uint32_t feature, uint32_t nsid) const;
  AdminReply set_features(const AdminRequest& request);
  AdminReply get_features(const AdminRequest& request);
  AdminReply park_event(const AdminRequest& request);
  // controller_reservations.cc
  AdminReply set_reservation_feature(const AdminRequest& request);
  AdminReply get_reservation_feature(const AdminRequest& request) const;
  AdminReply set_write_protection(const AdminRequest& request) const;
  AdminReply get_write_protection(const AdminRequest& request) const;
  nvme::Status reservation_log(const AdminRequest& request, std::vector<std::byte>& page);
  AdminReply abort(const AdminRequest& request);
  // log_pages.cc
  struct LogPage;
  static const LogPage kLogPages[];
  const LogPage* find_log_page(uint32_t id) const;
  static uint8_t log_page_attributes();
  nvme::Status supported_log_pages(const AdminRequest& request, std::vector<std::byte>& page);
  nvme::Status error_log(const AdminRequest& request, std::vector<std::byte>& page);
  nvme::Status smart_log(const AdminRequest& request, std::vector<std::byte>& page);
  nvme::Status firmware_log(const AdminRequest& request, std::vector<std::byte>& page);
  nvme::Status changed_log(const AdminRequest& request, std::vector<std::byte>& page);
  nvme::Status access_log(const AdminRequest& request, std::vector<std::byte>& page);
  nvme::Status effects_log(const AdminRequest& request, std::vector<std::byte>& page);
  nvme::Status discovery_log(const AdminRequest& request, std::vector<std::byte>& page);
  std::vector<std::byte> identify_controller() const;
  nvme::Status access_to(const NamespaceTable& table, uint32_t nsid) const;
  AdminReply identify_active(const NamespaceTable& table, uint32_t above);
  void write_cc(uint32_t cc, Nanoseconds now, std::vector<QueueRef>& drop);
  void reset_locked();
  bool has_io_queues_locked() const;
  void settle_locked();
  bool enabled_locked() const;
  void raise_locked(AsyncEvent event, bool& wake);
  bool note_changed_locked(std::span<const uint32_t> nsids);
  uint32_t supported_events() const;
  QueueRef admin_queue_locked() const;

  const Identity identity_;
  const std::shared_ptr<Subsystem> subsystem_;
  ControllerHost& host_;
  const DiscoverySource& discovery_;
  const Nanoseconds began_;

  mutable std::mutex mutex_;
  struct Member {
    QueueRef queue;
    std::string local{};
    std::string peer{};
    bool closed = false;
  };
  std::map<uint16_t, Member> queues_;
  bool resetting_ = false;  // CC.EN went to 0; I/O queues remain
  bool stopping_ = false;   // CC.SHN was set; I/O queues remain
  uint32_t cc_ = 0;
  uint32_t csts_ = 0;
  uint32_t keep_alive_ms_ = 0;
  Nanoseconds last_sign_{};
  uint32_t aborts_ = 0;

  // Events: enabled by the host; waiting for a request; reported and masked until the host has read
  // the log page with the details.
  uint32_t events_enabled_ = 0;
  uint32_t events_pending_ = 0;
  uint32_t events_masked_ = 0;
  std::vector<uint16_t> parked_;
  std::vector<AsyncCompletion> completions_;
  std::vector<uint32_t> changed_;
  bool changed_overflow_ = false;
  ReservationNotices reservation_notices_;

  KnownStores known_;
  bool events_came_ = false;  // by the current command

  uint64_t errors_ = 0;
  std::vector<nvme_error_log_page> error_log_;  // ring, newest at (errors_ - 1) % size

  uint32_t arbitration_ = 0;
  uint32_t power_state_ = 0;
  // Of the composite temperature, in kelvins: over, under.
  static constexpr std::array<uint32_t, 2> kThresholds{kWarningKelvin, 0};
  std::array<uint32_t, 2> thresholds_ = kThresholds;
  uint32_t error_recovery_ = 0;
  uint32_t write_atomicity_ = 0;
  std::atomic<bool> write_cache_{true};
  std::atomic<bool> proven_;  // alone: nothing is published by it
};

// The part of a log page that a command requests: [base] 5.14, offset and number of dwords.
struct LogRange {
  uint64_t offset = 0;
  uint64_t length = 0;
};
LogRange log_range(const nvme::Sqe& sqe);

}  // namespace mrpool::nvmf_target
