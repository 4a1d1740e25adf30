// What every subcommand of mrpool-nvmf starts with: the options that name a target, and the objects
// a session needs.
//
// Thread safety: the main thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/base/command_line.h"
#include "examples/load/interrupt.h"
#include "examples/nvmf/host/limits.h"
#include "examples/nvmf/host/path.h"

namespace mrpool::nvme::host {

struct HostOptions {
  std::string address;
  std::vector<std::string> paths;  // further addresses of the subsystem
  PathPolicy path_policy = PathPolicy::kRoundRobin;
  std::string subnqn;
  std::string host_nqn;
  uint32_t nsid = 1;
  std::string dhchap_secret;       // a path, or "credential:NAME"
  std::string dhchap_ctrl_secret;  // likewise
  Nanoseconds reauthenticate{0};
  bool spin = false;
  bool reconnect = false;
  Nanoseconds reconnect_delay = kDefaultReconnectDelay;
  Nanoseconds loss_timeout = kDefaultLossTimeout;
  Nanoseconds keep_alive = kDefaultKeepAlive;
  Nanoseconds connect_timeout = kDefaultConnectTimeout;
  Nanoseconds timeout = kDefaultCommandTimeout;
};

// Which of the options a subcommand takes.
enum class HostOptionSet : uint8_t { kAddressOnly, kSubsystem, kNamespace, kLoad };
// Declares the address and these options.
void add_options(base::CommandLine& command, HostOptions& options, HostOptionSet set);

class Host final : private Path::News {
 public:
  // Opens the device and makes a pool for `queues` I/O queues of `depth`. Nothing is sent yet.
  static absl::StatusOr<std::unique_ptr<Host>> create(const HostOptions& options, uint32_t queues,
                                                      uint16_t depth);
  ~Host();

  // Runs the loop until `work` has returned.
  template <typename T>
  T run(Async<T> work);
  // What `work` does when it is interrupted (load/interrupt.h). Until this is called, and with
  // kGiveUp, the session is given up.
  void on_interrupt(std::function<void(load::Interrupt::Step)> call) {
    on_interrupt_ = std::move(call);
  }
  // Called when all sessions have ended permanently, Session::ended().
  void on_over(std::function<void(const absl::Status&)> call) { over_call_ = std::move(call); }

  Reactor& reactor() { return *reactor_; }
  Pd& pd() { return *pd_; }
  MrPool& pool() { return *pool_; }
  // The first path's, which most commands use alone.
  Session& session() { return paths_.front()->session(); }
  const std::vector<std::unique_ptr<Path>>& paths() const { return paths_; }
  // For the threads that do I/O; the main thread never spins.
  ReactorOptions job_reactor() const;

 private:
  Host() = default;
  absl::Status make_paths(const SessionOptions& session, const std::vector<Address>& addresses,
                          uint32_t queues);
  void on_event(const std::string& text) override;
  void on_over(const absl::Status& why) override;
  void tell(load::Interrupt::Step step);

  HostOptions options_;
  std::unique_ptr<Reactor> reactor_;
  std::shared_ptr<Device> device_;
  std::unique_ptr<Pd> pd_;
  std::unique_ptr<MrPool> pool_;
  std::vector<std::unique_ptr<Path>> paths_;
  std::function<void(load::Interrupt::Step)> on_interrupt_;
  std::optional<load::Interrupt> interrupt_;
  std::function<void(const absl::Status&)> over_call_;
};

template <typename T>
T Host::run(Async<T> work) {
  std::optional<T> result;
  bool done = false;
  auto finish = [](Host& host, Async<T>& inner, std::optional<T>& out, bool& flag) -> Async<> {
    out.emplace(co_await inner);
    co_await on(*host.reactor_);
    flag = true;
    host.reactor_->stop();
  };
  spawn(finish(*this, work, result, done));
  interrupt_->run_until(done);
  return *std::move(result);
}

}  // namespace mrpool::nvme::host
