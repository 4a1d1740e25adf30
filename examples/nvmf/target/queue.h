// An NVMe queue: its commands and their processing, from the capsule through storage to the answer.
// It uses the engine for all I/O.
//
// Flow control: every entry that the host may use has a receive. It is released before the
// completion that allows the host to use the entry again. A host that exceeds the queue's depth
// finds no receive and loses its connection.
//
// Thread safety: the worker's thread. Ownership: the link owns it. It lives until the connection
// has ended and the storage has answered all requests.
#pragma once

#include <bitset>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "examples/engine/channels.h"
#include "examples/engine/io_accounts.h"
#include "examples/engine/link.h"
#include "examples/engine/link_layout.h"
#include "examples/engine/staging.h"
#include "examples/engine/throttle.h"
#include "examples/nvmf/target/aside.h"
#include "examples/nvmf/target/command.h"
#include "examples/nvmf/target/controller.h"
#include "examples/nvmf/target/target.h"
#include "examples/protocol/nvme/auth/controller_side.h"

namespace mrpool::nvmf_target {

// Routes an Abort to a command on another worker, and the answer back.
class AbortRouter {
 public:
  virtual void route_abort(QueueRef victim, uint16_t command_id, const AbortWaiter& waiter) = 0;
  virtual void route_answer(const AbortWaiter& waiter, bool aborted) = 0;

 protected:
  ~AbortRouter() = default;
};

// Runs the computation of an authentication for a queue.
class ProofRouter {
 public:
  // Queue::proof_worked() follows. Until then the queue does not use `prover`.
  virtual void route_proof(std::shared_ptr<nvme::auth::ControllerSide> prover,
                           const AbortWaiter& waiter) = 0;

 protected:
  ~ProofRouter() = default;
};

// The objects that a worker's queues share.
struct QueueContext {
  Target& target;
  AbortRouter& aborts;
  Aside& aside;
  ProofRouter& proofs;
  engine::Staging& staging;
  engine::Channels& channels;
  engine::IoAccounts& accounts;
  Reactor& reactor;
  uint32_t worker = 0;
  std::unique_ptr<engine::Throttles> throttles = std::make_unique<engine::Throttles>(reactor);
};

class Queue final : public engine::Session {
 public:
  Queue(const QueueContext& context, engine::Link& link, const QueueRequest& request);
  ~Queue() override;

  // The buffers of a link for such a queue.
  static engine::LinkLayout layout(const QueueRequest& request, uint32_t in_capsule);

  // Session.
  void received(engine::Receive& receive, std::span<std::byte> message) override;
  void transferred(engine::Exchange& exchange, bool success) override;
  void sent(engine::Exchange& exchange) override;
  void disconnected(const Disconnect& how, std::string_view why) override;
  bool idle() const override { return outstanding_ == 0; }
  void drained() override;
  // Checks keep-alive, connections without Connect, and aborts that wait for the storage.
  void tick(Nanoseconds now) override;
  void linger(Nanoseconds now) override;

  // Sends the pending asynchronous events.
  void deliver_events();
  // Tries a waiting Connect again.
  void connect_again();

  // Tries to abort the command with that id. kLater: `waiter` gets its answer through the router.
  enum class AbortResult : uint8_t { kAborted, kNotAborted, kLater };
  AbortResult abort_command(uint16_t command_id, const AbortWaiter& waiter);
  // An Abort of this queue was answered.
  void abort_answered(uint32_t slot, uint32_t serial, bool aborted);
  // The computation of an authentication has ended.
  void proof_worked(uint32_t slot, uint32_t serial);

  // What was given to Aside is done.
  void answered_aside(uint32_t slot, uint32_t serial, nvme::Status status);
  // The marks of a store were changed for a command (Aside::change_marks).
  void marks_changed(uint32_t slot, uint32_t serial, storage::Error error);
  // The host's commands for the namespace end with the status as soon as they can: a Preempt and
  // Abort, or the end of the path. They hold the fence until nothing of them reaches the storage.
  void take_away(uint32_t nsid, nvme::Status status, const std::shared_ptr<Fence>& fence);
  // The commands for the namespace hold the fence until they have ended, in the storage too.
  void drain(uint32_t nsid, const std::shared_ptr<Fence>& fence);

 private:
  friend struct QueueCallbacks;

  // A namespace with the objects through which this queue uses it.
  struct Handle {
    engine::ChannelSlot* channel = nullptr;
    Mr* memory = nullptr;
    std::shared_ptr<engine::StagingFlow> flow{};
    engine::IoAccount* account = nullptr;  // from the first command on
    bool meant = false;                    // Controller::means()
    nvme::Status path{};                   // not success: refuses commands (ana.h)
    bool limited = false;                  // one of these is set
    std::shared_ptr<engine::Throttle> host_limit{};
    std::shared_ptr<engine::Throttle> store_limit{};
    Reservations::Rights rights{};  // while a host holds a reservation
  };

  // Receiving.
  Command* take_command();
  void grow();
  void dispatch(Command& command, std::span<const std::byte> capsule);
  void route(Command& command, std::span<const std::byte> capsule);
  void dispatch_fabrics(Command& command);
  void dispatch_admin(Command& command);
  void dispatch_io(Command& command);

  void dispatch_connect(Command& command);
  void connect(Command& command);
  void end_connect(Command& command);
  bool admitted();
  void log_begin();
  void log_end(const std::string& ending) const;
  std::span<const std::byte> connect_data(const Command& command) const;

  // The host's proof: queue_auth.cc.
  bool must_prove() const { return prover_ != nullptr && !prover_->proven(); }
  void begin_proof();
  void dispatch_auth(Command& command);
  void take_proof(Command& command);
  void send_proof(Command& command);
  void proof_moved(Command& command, bool proven);
  void note_proof(bool proven);
  void refuse_proof(const std::string& why);
  void note_unproven(const std::string& ending);
  bool proof_overdue(Nanoseconds now);

  // Data from the host.
  bool take_staging(Command& command, engine::StagingFlow& flow, uint32_t chunks);
  void staged(Command& command);
  void fetch(Command& command);
  void fetch_next(Command& command);
  bool fetch_from(Command& command, const RemoteBuffer& remote);
  void fetched(Command& command);
  std::span<const std::byte> host_data(const Command& command, uint64_t offset) const;

  // Storage.
  bool refresh_namespaces();
  void release_handles();
  bool meant(const Namespace& ns);
  nvme::Status path_to(const Namespace& ns) const;
  nvme::Status path_to_all() const;
  bool use_channel(Command& command, const Namespace& ns);
  nvme::Status plan(Command& command);
  bool begin(Command& command);
  void start_io(Command& command);
  // Limits: queue_limits.cc.
  void take_limits(Handle& handle, const Namespace& ns);
  bool held_back(Command& command, const Namespace& ns);
  bool held_back(Command& command, const Namespace& ns, const engine::IoCost& cost);
  bool pair_held_back(Command& write);
  bool copy_held_back(Command& command);
  void released(Command& command);
  void stop_waiting(Command& command);
  void count_wait(Command& command);
  void start_read(Command& command);
  void hold(Command& command);
  void let_go(Command& command);
  bool keeps_writers_waiting(Nanoseconds now) const;
  void start_write(Command& command);
  void store(Command& command);
  void submit(Command& command);
  bool hand_over(Command& command);
  bool passes_late(Command& command);
  // Marked blocks: queue_marks.cc.
  bool hand_over_marked(Command& command);
  bool change_marks(Command& command);
  bool enter_gate(Command& command, bool exclusive);
  void leave_gate(Command& command);
  void stored(Command& command);
  // Commands that end before their requests.
  void look_at_aborts(Nanoseconds now);
  bool give_up(Command& command);
  void late_stored(Command& command);
  void finish_compare(Command& command);
  void next_range(Command& command);
  // Copy: queue_copy.cc.
  void start_copy(Command& command);
  void copy(Command& command);
  bool next_part(Command& command);
  void part_stored(Command& command);
  void next_flush(Command& command);
  // Fused operations: queue_fused.cc.
  void dispatch_fused(Command& command);
  void pair(Command& compare, Command& write);
  void miss_second();
  void fetch_pair(Command& write);
  void pair_fetched(Command& command);
  void compare_pair(Command& write);
  void pair_stored(Command& write);
  void respond_pair(Command& command, nvme::Status status);
  void end_partner(Command& command);
  // Format NVM: queue_format.cc.
  void format(Command& command, uint32_t nsid);
  nvme::Status may_format(const Namespace& ns);
  void format_next(Command& command);
  void formatted(uint32_t nsid);
  // Reservations: queue_reserve.cc.
  bool reservation_allows(const Namespace& ns, uint64_t held, reservation::Access access);
  bool flush_allowed();
  void reserve(Command& command);
  void report_reservations(Command& command);
  void flush_protected(Command& command);
  CommandRef ref_of(const Command& command) const;
  static const engine::StagingClaim& memory_of(const Command& command);
  std::span<const iovec> scatter(Command& command, uint64_t offset, uint64_t bytes);

  // Data to the host and answers.
  void send_reply(Command& command);
  void send_data(Command& command);
  void send_next(Command& command);
  size_t local_sges(const Command& command, uint64_t offset, uint64_t length,
                    std::span<Sge> out) const;
  engine::Answer answer(Command& command, nvme::Status status, uint64_t result);
  void respond(Command& command, nvme::Status status, uint64_t result = 0);
  void transfer_failed(Command& command);
  engine::IoAccount* account_of(const Namespace& ns);
  void settle(Command& command, nvme::Status status);
  void note_failure(Command& command, nvme::Status status);
  void release(Command& command);
  void finish(Command& command);

  const QueueContext& context_;
  engine::Link& link_;
  const uint16_t queue_id_;
  const uint32_t entries_;
  const Nanoseconds opened_;
  // Allocated in slabs when more are needed.
  std::vector<std::unique_ptr<Command>> commands_;
  std::vector<Command*> free_;
  const uint32_t max_commands_;
  uint32_t outstanding_ = 0;
  uint32_t late_ = 0;         // of these, ended before their requests
  Command* first_ = nullptr;  // of a fused operation, whose second command comes next
  bool aborts_wait_ = false;  // for the storage
  bool detached_ = false;     // from the controller
  Nanoseconds disconnected_{};
  uint64_t gathered_ = 0;                    // bytes being read in place
  Nanoseconds ticked_ = opened_;             // the last tick()
  std::unique_ptr<std::bitset<65536>> ids_;  // command ids in use
  uint32_t sq_head_ = 0;
  uint32_t sq_entries_ = 0;  // from Connect
  bool sq_flow_ = true;
  bool traffic_ = false;
  uint32_t early_commands_ = 0;  // before Connect
  bool connecting_ = false;      // a Connect is being processed
  bool announced_ = false;       // log_begin() was called

  std::shared_ptr<nvme::auth::ControllerSide> prover_;  // null: the host need not authenticate
  Nanoseconds proof_began_{};
  bool proof_busy_ = false;    // a transaction was under way
  bool proof_failed_ = false;  // and that was logged

  std::shared_ptr<Controller> controller_;  // since Connect
  WorkerCounters* counters_ = nullptr;
  std::shared_ptr<engine::Limiter> host_limiter_;  // since the first I/O command
  std::shared_ptr<const NamespaceTable> table_;
  uint64_t table_version_ = 0;
  std::vector<Handle> handles_;                                      // as table_->namespaces
  std::map<uint32_t, std::shared_ptr<engine::IoAccount>> accounts_;  // by nsid
  std::vector<std::shared_ptr<engine::StagingFlow>> leaving_;  // of earlier handles, still used
  std::shared_ptr<engine::StagingFlow> admin_;  // for commands that the target answers itself
};

}  // namespace mrpool::nvmf_target
