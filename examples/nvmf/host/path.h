// One of several paths to a namespace: a session with a controller, and what the controller reports
// about the path (ANA).
//
// The state is read from the log page after each connection, each event about it, and each command
// that failed because of the path. While it is unknown no command is sent there.
//
// Thread safety: everything on the session's reactor, but state(), over() and suspect(), which any
// thread may call. Ownership: the caller owns it, and ends it by disconnect().
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "examples/nvmf/host/ana_log.h"
#include "examples/nvmf/host/async.h"
#include "examples/nvmf/host/session.h"
#include "mrpool/callback.h"

namespace mrpool::nvme::host {

enum class PathPolicy : uint8_t { kRoundRobin, kQueueDepth };

class Path final : private Session::News {
 public:
  // What the program learns, on the session's reactor.
  struct News {
    virtual void on_event(const std::string& text) = 0;
    virtual void on_over(const absl::Status& why) = 0;

   protected:
    ~News() = default;
  };

  // `nsid`: the namespace whose state counts. `one_of_many`: commands that fail because of the path
  // come back, so that another one may take them.
  static absl::StatusOr<std::unique_ptr<Path>> create(Device& device, Pd& pd, MrPool& pool,
                                                      Reactor& reactor,
                                                      const SessionOptions& options, uint32_t nsid,
                                                      bool one_of_many, News& news);
  ~Path();

  Session& session() { return *session_; }
  const std::string& name() const { return name_; }
  Async<absl::Status> connect();
  Async<> disconnect();

  // Relaxed: a command to a path that has just become inaccessible ends with a path error.
  AnaState state() const { return state_.load(std::memory_order_relaxed); }
  // The session has ended permanently.
  bool over() const { return over_.load(std::memory_order_relaxed); }
  // A command failed because of the path: its state is unknown until it was read again.
  void suspect();

 private:
  Path(Reactor& reactor, std::string name, uint32_t nsid, bool one_of_many, News& news)
      : reactor_(reactor),
        name_(std::move(name)),
        nsid_(nsid),
        one_of_many_(one_of_many),
        news_(news) {}
  void on_event(const std::string& text) override;
  void on_over(const absl::Status& why) override;
  void on_connection(bool up) override;
  void on_access_changed() override { look(); }
  void look();
  Async<> look_again();
  Async<> read_state();

  Reactor& reactor_;
  const std::string name_;
  const uint32_t nsid_;
  const bool one_of_many_;
  News& news_;
  std::unique_ptr<Session> session_;
  std::atomic<AnaState> state_{AnaState::kChange};
  std::atomic<bool> over_{false};
  // A Task is posted once; pairs with the release in look(): what it did is seen by the next post.
  std::atomic<bool> look_posted_{false};
  Bound<Task, &Path::look> look_call_{*this};
  bool connected_ = false;
  bool looking_ = false;
  bool look_once_more_ = false;
  bool leaving_ = false;
  Event looked_;
};

}  // namespace mrpool::nvme::host
