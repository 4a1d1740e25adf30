// A host's session with one subsystem: a controller and its I/O queues, kept together and, when
// asked to, brought back after a loss.
//
// Every I/O queue lives on a reactor of its own choice; the controller on the session's. When any
// connection is lost all of them are closed, for they are one controller's. With `reconnect` the
// session then tries again until `loss_timeout`; commands that were under way wait meanwhile and
// are submitted again. A write that is repeated carries the same bytes, so a verification that
// expects either its old or its new content, and the new one once it was acknowledged, stays sound.
//
// Thread safety: everything on the session's reactor, but for the queues' submit(), which belongs
// to each queue's. The reactors of the queues must run while connect() or disconnect() is under
// way. Ownership: the caller owns the session and the reactors, which outlive it.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "examples/nvmf/host/controller.h"
#include "examples/nvmf/host/limits.h"

namespace mrpool::nvme::host {

struct SessionOptions {
  Address address;
  std::string subnqn;
  HostIdentity host;
  uint16_t depth = 32;  // outstanding commands per I/O queue
  Nanoseconds keep_alive = kDefaultKeepAlive;
  Nanoseconds connect_timeout = kDefaultConnectTimeout;
  Nanoseconds command_timeout = kDefaultCommandTimeout;
  std::shared_ptr<const auth::HostSecrets> secrets{};  // null: this host does not authenticate
  Nanoseconds reauthenticate{0};                       // 0: never
  bool reconnect = false;
  // Commands come back from a lost connection, and from path errors: another path takes them.
  bool one_of_many = false;
  Nanoseconds reconnect_delay = kDefaultReconnectDelay;
  Nanoseconds loss_timeout = kDefaultLossTimeout;
};

// MRs that a session's commands need at once: one per command of every queue, and the admin
// queue's.
uint32_t session_mrs(const SessionOptions& options, uint32_t queues);

class Session final : private Controller::Owner, private Queue::Owner {
 public:
  struct News {
    // All run on the session's reactor.
    virtual void on_event(const std::string& text) = 0;  // for people
    // The session is over: lost without `reconnect`, not to be had again in time, given up, or its
    // namespace is another one (Aborted).
    virtual void on_over(const absl::Status& why) = 0;
    // Lost; or established again.
    virtual void on_connection(bool /*up*/) {}
    // The controller reports an Asymmetric Namespace Access change.
    virtual void on_access_changed() {}

   protected:
    ~News() = default;
  };

  static absl::StatusOr<std::unique_ptr<Session>> create(Device& device, Pd& pd, MrPool& pool,
                                                         Reactor& reactor,
                                                         const SessionOptions& options, News& news);
  // After disconnect(), which a session that was connected needs in any case, on_over() included.
  ~Session();

  // Opens the controller only: for Identify and the like, and to learn the limits.
  Async<absl::Status> connect();
  // Whether the controller, which is connected, has queues of this depth. InvalidArgument names
  // what to ask for.
  absl::Status check_depth() const;
  // Opens one I/O queue per reactor; `reactors` must stay until it returns. ResourceExhausted when
  // the controller grants fewer.
  Async<absl::Status> open_queues(std::span<Reactor* const> reactors);
  Async<> disconnect();
  // Compares the namespace from now on, after each reconnection before anything is submitted again,
  // and after each event. Another one, or one of another shape, ends the session. While it looks no
  // command is at the controller: after the answer the controller executes commands on the
  // namespace that is there now.
  void pin(const NamespaceInfo& ns) { pinned_ = ns; }
  // Ends the session at once, and all commands with it.
  void give_up(const std::string& why);

  Controller& controller() { return *controller_; }
  size_t queues() const { return io_.size(); }
  Queue& queue(size_t index);
  uint32_t reconnects() const { return reconnects_; }
  // Why the session has ended permanently; null while it has not, or when disconnect() ended it.
  const std::optional<absl::Status>& ended() const { return ended_; }
  // Why commands fail: the end of the session, or another namespace in the place of the pinned one,
  // which is looked at. OK: neither.
  Async<absl::Status> cause();
  // Sum over all queues; exact once they are closed.
  QueueCounters counters() const;

 private:
  struct IoQueue;

  Session(Device& device, Pd& pd, MrPool& pool, Reactor& reactor, const SessionOptions& options,
          News& news);
  QueueOptions queue_options(Reactor& reactor, uint16_t id, uint16_t depth) const;

  void on_controller_lost(Controller& controller, const std::string& why) override;
  void on_async_event(Controller& controller, const AsyncEvent& event) override;
  void on_lost(Queue& queue, const std::string& why) override;
  void lost(const std::string& why);

  Async<absl::Status> open_all();
  Async<> close_all(std::string why);
  Async<> recover(std::string why);
  Async<> finish(absl::Status why);
  void end(absl::Status why);
  Async<absl::Status> check_pinned();
  Async<> look_again();
  Async<bool> hold_queues(uint32_t round);
  Async<> release_queues(uint32_t round);
  // Nothing has happened to the connections since round `round`.
  bool still_in(uint32_t round) const { return round == reconnects_ && !recovering_ && !leaving_; }
  Async<> give_up_queues();
  Async<> destroy_queues();

  Device& device_;
  Pd& pd_;
  MrPool& pool_;
  Reactor& reactor_;
  const SessionOptions options_;
  News& news_;
  std::unique_ptr<Controller> controller_;
  std::vector<std::unique_ptr<IoQueue>> io_;
  bool recovering_ = false;
  bool lost_again_ = false;  // while recovering
  bool leaving_ = false;
  bool giving_up_ = false;
  std::optional<NamespaceInfo> pinned_;
  bool looking_ = false;  // at the pinned namespace, after an event
  bool changed_ = false;  // there was another event meanwhile
  Event recovered_;       // recover() has ended
  uint32_t reconnects_ = 0;
  std::optional<absl::Status> ended_;
  QueueCounters counters_;  // of destroyed queues
};

}  // namespace mrpool::nvme::host
