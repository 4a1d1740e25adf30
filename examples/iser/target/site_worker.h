// The objects that the sessions of one worker share: its reactor, its mailbox for other threads,
// its channels to storage, its limits, its counters.
//
// Thread safety: the worker's thread. Any thread may call post() and run() and read the counters.
// Ownership: the site owns it; it outlives its sessions.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "examples/engine/mailbox.h"
#include "examples/engine/throttle.h"
#include "examples/iser/target/counters.h"
#include "examples/iser/target/unit.h"
#include "mrpool/reactor.h"

namespace mrpool::iser_target {

class SiteWorker {
 public:
  SiteWorker(uint32_t index, Reactor& reactor);
  ~SiteWorker();
  SiteWorker(const SiteWorker&) = delete;
  SiteWorker& operator=(const SiteWorker&) = delete;

  uint32_t index() const { return index_; }
  Reactor& reactor() { return reactor_; }

  // Runs `call` on the loop, in the order of posting.
  void post(std::function<void()> call) { mailbox_.post(std::move(call)); }
  // The same, but runs `call` directly on the worker's own thread.
  void run(std::function<void()> call);

  // Discards pending messages; false if there were none. For the shutdown, when no loop runs.
  bool discard_mail() { return mailbox_.discard(); }

  // The unit's storage; sessions share it, and it closes when the last one releases it.
  absl::StatusOr<std::shared_ptr<Store>> store(const std::shared_ptr<Unit>& unit);
  void visit_stores(const std::function<void(const storage::Volume&, storage::Channel&)>& each);

  // Store::change_marks.
  void change_marks(std::function<storage::Error()> change,
                    std::function<void(storage::Error)> done);

  engine::Throttles& throttles() { return throttles_; }

  Counters counters;
  // Runs a job where it may wait for a disk; by default here. Set it before there are connections.
  std::function<void(std::function<void()> job)> aside = [](const auto& job) { job(); };
  // Receives the trouble of a store that is being closed, on the worker's thread. Set it before
  // there are connections.
  std::function<void(const storage::Volume&, const storage::Trouble&)> trouble;

 private:
  const uint32_t index_;
  Reactor& reactor_;
  std::map<const Unit*, std::weak_ptr<Store>> stores_;
  engine::Throttles throttles_{reactor_};
  engine::Mailbox mailbox_;
};

}  // namespace mrpool::iser_target
