// A worker: one reactor with its links, staging memory and channels to storage.
//
// Thread safety: the reactor's thread. Any thread may call mailbox(), link_count() and index().
// Ownership: owns links, staging memory and channels. Device contexts and the protocol outlive it;
// destroy it on its reactor's thread, or when that loop will not run again.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "absl/status/statusor.h"
#include "examples/engine/channels.h"
#include "examples/engine/device_context.h"
#include "examples/engine/io_accounts.h"
#include "examples/engine/list.h"
#include "examples/engine/mailbox.h"
#include "examples/engine/options.h"
#include "examples/engine/protocol.h"
#include "examples/engine/qp_link.h"
#include "examples/engine/rise_report.h"
#include "examples/engine/staging.h"
#include "examples/engine/stores.h"
#include "examples/engine/worker_device.h"
#include "mrpool/callback.h"
#include "mrpool/reactor.h"

namespace mrpool::engine {

class Worker {
 public:
  static absl::StatusOr<std::unique_ptr<Worker>> create(uint32_t index, Reactor& reactor,
                                                        Protocol& protocol, const Options& options,
                                                        Stores& stores, IoAccounts& accounts);
  ~Worker();

  // Accepts or rejects a request that the protocol has accepted. If the worker is full, it drops
  // the oldest stranger, or else the oldest guest.
  void accept(DeviceContext& device, std::unique_ptr<ConnectRequest> request,
              const Verdict& verdict);
  // The session of the link with that id; null if it does not exist.
  Session* find(uint64_t id);
  // Stops every session; `drained` runs once the last link is gone and the storage is idle.
  void stop(std::function<void()> drained);

  uint32_t index() const { return index_; }
  Reactor& reactor() { return reactor_; }
  const Options& options() const { return options_; }
  Mailbox& mailbox() { return mailbox_; }
  Staging& staging() { return *staging_; }
  const Staging& staging() const { return *staging_; }
  Channels& channels() { return channels_; }
  IoAccounts& accounts() { return accounts_; }
  size_t link_count() const { return link_count_.load(std::memory_order_relaxed); }
  uint64_t accepted() const { return accepted_.load(std::memory_order_relaxed); }
  uint64_t refused() const { return refused_.load(std::memory_order_relaxed); }
  uint64_t evicted() const { return evicted_.load(std::memory_order_relaxed); }

  // Records the trouble of a store that is being closed, since its last check.
  void note_trouble(const storage::Volume& store, const storage::Trouble& trouble);

  // Links call it when they have finished. The loop then destroys them.
  void link_finished();
  // Links call it: see Link::admit().
  bool admit(QpLink& link, Standing standing, std::string_view host);

 private:
  Worker(uint32_t index, Reactor& reactor, Protocol& protocol, const Options& options,
         Stores& stores, IoAccounts& accounts, std::unique_ptr<Staging> staging);
  absl::StatusOr<WorkerDevice*> device(DeviceContext& context);
  absl::Status open(DeviceContext& context, ConnectRequest& request, const Verdict& verdict);
  absl::Status make_room(uint64_t memory);
  // Why another connection that may use `memory` bytes is refused; empty: there is room.
  std::string_view lack(uint64_t memory) const;
  QpLink* least_standing();
  void tick();
  void look_at_stores(Nanoseconds now);
  void look_at_limits(Nanoseconds now);
  void sweep();
  void forget(const QpLink& link);

  const uint32_t index_;
  Reactor& reactor_;
  Protocol& protocol_;
  const Options options_;
  const uint32_t most_links_;
  Stores& stores_;
  IoAccounts& accounts_;
  const std::unique_ptr<Staging> staging_;
  std::map<DeviceContext*, std::unique_ptr<WorkerDevice>> devices_;
  Channels channels_;
  std::unordered_map<uint64_t, std::unique_ptr<QpLink>> links_;
  // Links that may be dropped to make room, the oldest first.
  List<QpLink> strangers_;
  List<QpLink> guests_;
  // The number and the memory of links that are being dropped.
  size_t evicting_ = 0;
  uint64_t evicting_memory_ = 0;
  std::map<std::string, uint32_t, std::less<>> members_;  // connections, by host
  std::atomic<size_t> link_count_{0};
  std::atomic<uint64_t> accepted_{0};
  std::atomic<uint64_t> refused_{0};
  std::atomic<uint64_t> evicted_{0};
  uint64_t next_link_ = 1;
  uint64_t link_memory_ = 0;
  bool sweep_posted_ = false;
  bool stopping_ = false;
  Nanoseconds stop_began_{};
  RiseReport staging_waits_{kLimitReport};
  RiseReport mr_exhaustions_{kLimitReport};
  std::function<void()> drained_;
  Mailbox mailbox_;
  Bound<Timer, &Worker::tick> ticker_{*this};
};

}  // namespace mrpool::engine
