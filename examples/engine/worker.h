// A worker: one reactor with its links, staging memory and ways to storage.
//
// Thread safety: the reactor's thread, except mailbox(), link_count() and index(), from anywhere.
// Ownership: owns links, staging memory and channels. Device contexts and the protocol outlive it;
// destroy it on its reactor's thread, or when that loop will not run again.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>

#include "absl/status/statusor.h"
#include "examples/engine/channels.h"
#include "examples/engine/device_context.h"
#include "examples/engine/mailbox.h"
#include "examples/engine/options.h"
#include "examples/engine/protocol.h"
#include "examples/engine/qp_link.h"
#include "examples/engine/staging.h"
#include "examples/engine/worker_device.h"
#include "mrpool/reactor.h"

namespace mrpool::engine {

class Worker {
 public:
  static absl::StatusOr<std::unique_ptr<Worker>> create(uint32_t index, Reactor& reactor,
                                                        Protocol& protocol, const Options& options);
  ~Worker();

  // Accepts or rejects a request that the protocol has accepted.
  void accept(DeviceContext& device, std::unique_ptr<ConnectRequest> request,
              const Verdict& verdict);
  // The session of the link with that id, or null.
  Session* find(uint64_t id);
  void for_each_link(const std::function<void(QpLink&)>& each);
  // Stops every session; `drained` runs once the last link is gone and the storage is idle.
  void stop(std::function<void()> drained);

  uint32_t index() const { return index_; }
  Reactor& reactor() { return reactor_; }
  const Options& options() const { return options_; }
  Mailbox& mailbox() { return mailbox_; }
  Staging& staging() { return *staging_; }
  const Staging& staging() const { return *staging_; }
  Channels& channels() { return channels_; }
  size_t link_count() const { return link_count_.load(std::memory_order_relaxed); }
  uint64_t accepted() const { return accepted_.load(std::memory_order_relaxed); }
  uint64_t refused() const { return refused_.load(std::memory_order_relaxed); }

  // For links: one has finished. It is destroyed from the loop.
  void link_finished();

 private:
  struct Ticker : Timer {
    explicit Ticker(Worker& owner);
    Worker& worker;
  };

  Worker(uint32_t index, Reactor& reactor, Protocol& protocol, const Options& options,
         std::unique_ptr<Staging> staging);
  absl::StatusOr<WorkerDevice*> device(DeviceContext& context);
  absl::Status admit(DeviceContext& context, ConnectRequest& request, const Verdict& verdict);
  void tick();
  void sweep();

  const uint32_t index_;
  Reactor& reactor_;
  Protocol& protocol_;
  const Options options_;
  const std::unique_ptr<Staging> staging_;
  std::map<DeviceContext*, std::unique_ptr<WorkerDevice>> devices_;
  Channels channels_;
  std::unordered_map<uint64_t, std::unique_ptr<QpLink>> links_;
  std::atomic<size_t> link_count_{0};
  std::atomic<uint64_t> accepted_{0};
  std::atomic<uint64_t> refused_{0};
  uint64_t next_link_ = 1;
  uint64_t link_memory_ = 0;
  bool sweep_posted_ = false;
  bool stopping_ = false;
  Nanoseconds stop_began_{};
  std::function<void()> drained_;
  Mailbox mailbox_;
  Ticker ticker_;
};

}  // namespace mrpool::engine
