// A worker: one reactor with its queues, staging memory and ways to the storage.
//
// Thread safety: the reactor's thread, except post() and the counters, from anywhere.
// Ownership: owns queues, staging memory and channels. Device contexts and the Target outlive it;
// destroy it on its reactor's thread, or when that loop will not run again.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "examples/engine/staging.h"
#include "examples/nvmf/target/command.h"
#include "examples/engine/device_context.h"
#include "examples/nvmf/target/queue.h"
#include "examples/nvmf/target/target.h"
#include "mrpool/reactor.h"

namespace mrpool::nvmf_target {

struct WorkerOptions {
  uint64_t staging_bytes = 32 << 20;
  uint32_t in_capsule = kDefaultInCapsule;
  uint32_t max_queues = 2048;              // of this worker
  uint64_t max_queue_memory = 2ull << 30;  // receive buffers and commands of all of them
  Nanoseconds stall_timeout = std::chrono::seconds(15);
  bool verbose = false;
};

// How an Abort finds its victim on another worker, and its answer the way back.
class AbortRouter {
 public:
  virtual void route_abort(QueueRef victim, uint16_t command_id, const AbortWaiter& waiter) = 0;
  virtual void route_answer(const AbortWaiter& waiter, bool aborted) = 0;

 protected:
  ~AbortRouter() = default;
};

class Worker {
 public:
  static absl::StatusOr<std::unique_ptr<Worker>> create(uint32_t index, Reactor& reactor,
                                                        Target& target, AbortRouter& aborts,
                                                        const WorkerOptions& options);
  ~Worker();

  // Runs `call` on the loop; for set-up and administration.
  void post(std::function<void()> call);

  // Accepts or rejects; the private data has been looked at.
  void accept(DeviceContext& device, std::unique_ptr<ConnectRequest> request,
              const QueueRequest& wanted);
  Queue* find(uint64_t id);
  void for_each_queue(const std::function<void(Queue&)>& each);
  // Drops every queue; `drained` runs once the last one is gone and the storage is idle.
  void stop(std::function<void()> drained);

  // For queues.
  uint32_t index() const { return index_; }
  Reactor& reactor() { return reactor_; }
  Target& target() { return target_; }
  AbortRouter& aborts() { return aborts_; }
  const WorkerOptions& options() const { return options_; }
  BufferPool& buffers() { return *buffers_; }
  // Waits for staging memory, in order.
  void wait_for_buffers(Command& command);
  bool forget_waiter(Command& command);
  bool buffers_awaited() const { return first_waiting_ != nullptr; }
  void put_buffers(Command& command);
  ChannelSlot* channel(DeviceContext& device, const std::shared_ptr<storage::Volume>& volume);
  absl::StatusOr<WorkerDevice::CompletionQueue*> take_cq(WorkerDevice& device, uint32_t entries);
  void queue_finished();

  size_t queue_count() const { return queue_count_.load(std::memory_order_relaxed); }

 private:
  struct Mailbox : Task {
    explicit Mailbox(Worker& w);
    Worker& worker;
  };
  struct Ticker : Timer {
    explicit Ticker(Worker& w);
    Worker& worker;
  };

  Worker(uint32_t index, Reactor& reactor, Target& target, AbortRouter& aborts,
         const WorkerOptions& options, std::unique_ptr<BufferPool> buffers);
  absl::StatusOr<WorkerDevice*> device(DeviceContext& context);
  void run_mail();
  void tick();
  void serve_waiting();
  void prune_channels();
  void sweep();

  const uint32_t index_;
  Reactor& reactor_;
  Target& target_;
  AbortRouter& aborts_;
  const WorkerOptions options_;
  const std::unique_ptr<BufferPool> buffers_;
  std::map<DeviceContext*, WorkerDevice> devices_;
  std::map<storage::Volume*, ChannelSlot> channels_;
  std::unordered_map<uint64_t, std::unique_ptr<Queue>> queues_;
  std::atomic<size_t> queue_count_{0};
  uint64_t next_queue_ = 1;
  uint64_t queue_memory_ = 0;
  Command* first_waiting_ = nullptr;
  Command* last_waiting_ = nullptr;
  bool serving_ = false;
  bool sweep_posted_ = false;
  bool stopping_ = false;
  std::function<void()> drained_;
  std::mutex mail_mutex_;
  std::deque<std::function<void()>> mail_;
  Mailbox mailbox_;
  Ticker ticker_;
};

}  // namespace mrpool::nvmf_target
