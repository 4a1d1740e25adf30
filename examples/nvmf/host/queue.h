// One NVMe-oF queue of a host: a connection, its submission slots, and the keys of its commands.
//
// A command is a Request of the caller's: submit it, and done() runs once with the outcome. For a
// command with data the queue lends exactly the bytes (mrpool/lender.h) with exactly the right the
// command needs: remote read for data to the controller, remote write for data to the host. It asks
// the controller to invalidate the key with its response; where that did not happen, it invalidates
// locally. done() runs when the response has arrived, the capsule's SEND has completed and the key
// is dead. The buffer is then the caller's again. Small data to the controller travels in
// the capsule where the controller offers the room, and needs no key.
//
// A lost connection gives each command back: with `retain` they wait and are submitted again by the
// next open(), else they end with kHostPathing. Leases whose keys were live go to the pool's repair
// list. done() comes from the loop, and the queue may be destroyed from inside it.
//
// A command that the controller refuses for now is submitted again (retries.h).
//
// If the controller requires authentication (DH-HMAC-CHAP), open() authenticates, and the queue can
// repeat that periodically. If there is a secret of the controller, open() fails unless the
// controller authenticates too.
//
// Limits: `depth` commands at the controller; further ones wait in order, here. Commands the pool
// has no MR for wait as well.
// Thread safety: everything on the thread of options.reactor.
// Ownership: the caller owns queue, requests and data; a Request and its data stay until done().
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "examples/load/buffer.h"
#include "examples/load/lending_slots.h"
#include "examples/nvmf/host/async.h"
#include "examples/nvmf/host/identity.h"
#include "examples/nvmf/host/limits.h"
#include "examples/nvmf/host/request.h"
#include "examples/nvmf/host/retries.h"
#include "examples/protocol/nvme/auth/host_side.h"
#include "examples/protocol/nvme/wire.h"
#include "mrpool/callback.h"
#include "mrpool/device.h"
#include "mrpool/lender.h"
#include "mrpool/mr_pool.h"

namespace mrpool::nvme::host {

// What a host reports itself when no controller did: [base] path related status, type 3.
inline constexpr Status kHostPathing{0x370};    // the connection is gone
inline constexpr Status kAbortedByHost{0x371};  // the queue was closed
// No controller has sent it.
inline bool ended_here(Status status) {
  return code(status) == kHostPathing || code(status) == kAbortedByHost;
}

struct QueueOptions {
  Device* device = nullptr;
  Pd* pd = nullptr;
  MrPool* pool = nullptr;
  Reactor* reactor = nullptr;
  Address address;
  HostIdentity host;
  std::string subnqn;
  uint16_t queue_id = 0;  // 0: admin
  uint16_t depth = 31;    // commands at the controller; the queue has one entry more
  Nanoseconds connect_timeout = kDefaultConnectTimeout;
  Nanoseconds command_timeout = kDefaultCommandTimeout;
  uint32_t keep_alive_ms = 0;  // admin queue
  bool retain = false;
  bool one_of_many = false;  // a command that fails because of the path is not repeated here
  std::shared_ptr<const auth::HostSecrets> secrets{};  // null: this host does not authenticate
  Nanoseconds reauthenticate{0};                       // the period; 0: never
};

struct QueueCounters {
  uint64_t commands = 0;
  uint64_t keys = 0;                  // registrations
  uint64_t remote_invalidations = 0;  // keys the controller ended, as asked
  uint64_t local_invalidations = 0;   // keys it did not end
  uint64_t in_capsule = 0;            // commands that needed no key for their data
  uint64_t resubmitted = 0;           // commands a lost connection gave back
  uint64_t retried = 0;               // commands the controller refused for now
  uint64_t authentications = 0;       // proofs that were accepted
  QueueCounters& operator+=(const QueueCounters& other);
};

class Queue final : private QpEvents {
 public:
  // Called when a connection was open and is lost without close(). Runs on the reactor, outside of
  // any call to the queue. The owner decides what to do and calls close().
  class Owner {
   public:
    virtual void on_lost(Queue& queue, const std::string& why) = 0;

   protected:
    ~Owner() = default;
  };

  static absl::StatusOr<std::unique_ptr<Queue>> create(const QueueOptions& options, Owner& owner);
  ~Queue();

  // Connects, and runs the Fabrics Connect command. NotFound, PermissionDenied, Unavailable and
  // InvalidArgument have the controller's reason. Waiting requests start on success.
  Async<absl::Status> open(uint16_t controller_id);
  // The result of Connect, after open().
  uint16_t controller_id() const { return controller_id_; }
  // Bytes of data that fit into a capsule, from Identify (I/O queues).
  void set_in_capsule_bytes(uint32_t bytes) { in_capsule_bytes_ = bytes; }
  // The meanings of a status' Command Retry Delay, from Identify.
  void set_retry_delays(const RetryDelays& delays) { retries_.set_delays(delays); }

  // Closes in good order. With retain, requests wait on; else they end with kAbortedByHost. `why`
  // is the reason that describe() returns for them, unless the connection is lost already.
  Async<> close(std::string why = {});
  // Ends what waits and what will come with kHostPathing: nobody will open it again.
  void give_up();
  // Ends every command from inside, with kAbortedByHost, and so will every one that comes; before
  // the end of what their done() use.
  void end();
  // Sends no further command until release() or the next open(); returns when none is at the
  // controller, or the connection is gone.
  Async<> hold();
  void release();
  // Drops the connection, as if the network had.
  void abort(std::string why);

  // Always taken; done() is never called from inside.
  void submit(Request& request);
  // A fused operation: nothing comes between the two commands, on this queue or at the controller.
  // Their data are the two halves of one range of bytes, which are the caller's again when both
  // commands have ended. Neither command is submitted again after a failure, or on another
  // connection, because the controller may have carried it out. Requires a depth of 2.
  void submit_fused(Request& first, Request& second);
  // For coroutines.
  class Execution;
  Execution execute(const Sqe& command, Sge data = {});

  bool ready() const { return state_ == State::kReady; }
  // A status that a command of this queue ended with, in words: kHostPathing and kAbortedByHost are
  // what ended the connection.
  std::string describe(Status status, bool fabrics = false) const;
  uint32_t outstanding() const { return outstanding_; }
  Reactor& reactor() const { return *options_.reactor; }
  const QueueOptions& options() const { return options_; }
  const QueueCounters& counters() const { return counters_; }

 private:
  enum class State : uint8_t { kDown, kConnecting, kJoining, kReady, kClosing, kGivenUp };
  struct Slot;
  struct Response;

  Queue(const QueueOptions& options, Owner& owner);
  absl::Status allocate();

  void on_connected(Qp& qp, const ConnectionInfo& info) override;
  void on_rejected(Qp& qp, std::span<const std::byte> private_data) override;
  void on_disconnected(Qp& qp, const Disconnect& why) override;

  Async<absl::Status> join(uint16_t controller_id);
  // authenticate.cc
  Async<absl::Status> authenticate();
  Async<absl::Status> exchange(auth::HostSide& side, load::Buffer& buffer);
  Async<absl::Status> send_auth(load::Buffer& buffer, std::span<const std::byte> message);
  Async<absl::Status> receive_auth(load::Buffer& buffer);
  Async<> authenticate_again();
  void begin_again();
  absl::Status post_responses();
  bool hopeless() const;

  bool fits_capsule(const Request& request) const;
  bool start(Request& request);
  bool start_pair(Request& first);
  void place(Slot& slot, Request& request, const SglDescriptor& sgl);
  void key_done(Slot& slot, LoanStatus status);
  void key_refused(LoanStatus status);
  void drop_place();
  void on_response(Response& response, const WorkCompletion& wc);
  bool end_key(Slot& slot, const WorkCompletion& wc);
  void part_done(Slot& slot, uint8_t part);
  void broken(std::string why);
  void retrieve(Slot& slot);
  void give_back(Request& request);
  void run_waiting();
  void retry_now();
  void fail(Request& request, Status status);
  void fail_waiting(Status status);
  void end_one();
  static bool joins(const Request& request);
  void tick();

  const QueueOptions options_;
  Owner& owner_;
  std::unique_ptr<Cq> cq_;
  std::unique_ptr<Qp> qp_;
  std::unique_ptr<load::Buffer> rings_;  // capsules, then responses
  std::unique_ptr<load::Buffer> connect_data_;
  std::unique_ptr<Lender> lender_;  // of qp_, or of the last one
  std::vector<std::unique_ptr<Slot>> slots_;
  load::LendingSlots<Slot> free_;
  std::vector<std::unique_ptr<Response>> responses_;
  Bound<Timer, &Queue::tick> ticker_{*this};
  Bound<Timer, &Queue::retry_now> retry_timer_{*this};
  Bound<Timer, &Queue::begin_again> again_timer_{*this};
  Retries retries_;
  RequestList waiting_;
  // Failed requests. They end one at a time, each from the loop: any of them may destroy the queue.
  RequestList failed_;
  Bound<Task, &Queue::end_one> ender_{*this};
  bool ender_posted_ = false;

  State state_ = State::kDown;
  Nanoseconds closing_since_{0};
  uint32_t outstanding_ = 0;
  uint32_t in_capsule_bytes_ = 0;
  uint16_t controller_id_ = kDynamicController;
  bool peer_ends_keys_ = false;  // with its responses, as asked
  bool registers_ = false;       // keys are made for the I/O
  bool held_ = false;
  bool authenticated_ = false;  // since the queue has joined
  bool broken_ = false;         // no response of this connection counts any more
  std::string why_;             // the last connection ended
  absl::Status refused_;        // what the private data of a rejection said
  Event changed_;               // connected or disconnected
  Event quiet_;                 // nothing is at the controller, while held
  QueueCounters counters_;
};

// The awaitable of one command.
class [[nodiscard]] Queue::Execution final : public Request {
 public:
  Execution(Queue& queue, const Sqe& sqe, Sge sge)
      : Request(to_method<&Execution::resume>), queue_(queue) {
    command = sqe;
    data = sge;
  }
  Execution& or_wait_forever() {
    never_late = true;
    return *this;
  }
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> caller) {
    caller_ = caller;
    queue_.submit(*this);
  }
  Outcome await_resume() const noexcept { return outcome_; }

 private:
  void resume(const Outcome& outcome) {
    outcome_ = outcome;
    caller_.resume();
  }
  Queue& queue_;
  Outcome outcome_;
  std::coroutine_handle<> caller_;
};

inline Queue::Execution Queue::execute(const Sqe& command, Sge data) {
  return Execution(*this, command, data);
}

}  // namespace mrpool::nvme::host
