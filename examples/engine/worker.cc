#include "examples/engine/worker.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "examples/base/peer_log.h"

namespace mrpool::nvmf_target {

Worker::Mailbox::Mailbox(Worker& w)
    : Task([](Task& self) { static_cast<Mailbox&>(self).worker.run_mail(); }), worker(w) {}

Worker::Ticker::Ticker(Worker& w)
    : Timer([](Timer& self) { static_cast<Ticker&>(self).worker.tick(); }), worker(w) {}

absl::StatusOr<std::unique_ptr<Worker>> Worker::create(uint32_t index, Reactor& reactor,
                                                       Target& target, AbortRouter& aborts,
                                                       const WorkerOptions& options) {
  auto buffers = BufferPool::create(options.staging_bytes);
  if (!buffers.ok()) return buffers.status();
  return std::unique_ptr<Worker>(
      new Worker(index, reactor, target, aborts, options, std::move(*buffers)));
}

Worker::Worker(uint32_t index, Reactor& reactor, Target& target, AbortRouter& aborts,
               const WorkerOptions& options, std::unique_ptr<BufferPool> buffers)
    : index_(index),
      reactor_(reactor),
      target_(target),
      aborts_(aborts),
      options_(options),
      buffers_(std::move(buffers)),
      mailbox_(*this),
      ticker_(*this) {}

Worker::~Worker() {
  queues_.clear();
  channels_.clear();
  devices_.clear();
}

void Worker::post(std::function<void()> call) {
  bool first = false;
  {
    const std::lock_guard lock(mail_mutex_);
    first = mail_.empty();
    mail_.push_back(std::move(call));
  }
  if (first) reactor_.post(mailbox_);
}

void Worker::run_mail() {
  std::deque<std::function<void()>> mail;
  {
    const std::lock_guard lock(mail_mutex_);
    mail.swap(mail_);
  }
  for (auto& call : mail) call();
}

absl::StatusOr<WorkerDevice*> Worker::device(DeviceContext& context) {
  if (const auto at = devices_.find(&context); at != devices_.end()) return &at->second;
  // One registration for all staging memory. A READ's sink that needs remote rights gets them
  // through the pool, for the length of the transfer, where the device can do that.
  auto mr = context.pd().reg_mr(buffers_->memory(), context.sink_access());
  if (!mr.ok()) return mr.status();
  WorkerDevice& device = devices_[&context];
  device.context = &context;
  device.staging = std::move(*mr);
  return &device;
}

absl::StatusOr<WorkerDevice::CompletionQueue*> Worker::take_cq(WorkerDevice& device,
                                                               uint32_t entries) {
  constexpr uint32_t kDepth = 16384;
  for (const auto& cq : device.cqs) {
    if (cq->depth - cq->used >= entries) return cq.get();
  }
  auto entry = std::make_unique<WorkerDevice::CompletionQueue>();
  entry->depth = std::max(kDepth, entries);
  auto cq = device.context->device().create_cq(reactor_, {.depth = entry->depth});
  if (!cq.ok()) return cq.status();
  entry->cq = std::move(*cq);
  device.cqs.push_back(std::move(entry));
  return device.cqs.back().get();
}

void Worker::accept(DeviceContext& context, std::unique_ptr<ConnectRequest> request,
                    const QueueRequest& wanted) {
  const auto refuse = [&](std::string_view why) {
    daemon::say_of_peers(absl::StrCat(request->info().peer, " queue ", wanted.queue_id,
                                      ": refused, ", std::string(why)));
    nvme::RdmaReject reject;
    reject.status = uint16_t(nvme::RdmaStatus::kNoResources);
    request->reject(nvme::bytes_of(reject));
  };
  if (stopping_) return refuse("the target is stopping");
  if (queues_.size() >= options_.max_queues) return refuse("there are too many connections");
  auto where = device(context);
  if (!where.ok()) return refuse(std::string(where.status().message()));
  const uint64_t id = next_queue_++;
  auto queue = std::make_unique<Queue>(*this, **where, id, wanted);
  const uint64_t memory = Queue::worst_memory(wanted.entries, options_.in_capsule);
  if (queue_memory_ + memory > options_.max_queue_memory) {
    return refuse("the memory for queues is used up");
  }
  if (absl::Status status = queue->open(*request, options_.in_capsule); !status.ok()) {
    return refuse(std::string(status.message()));
  }
  queue_memory_ += memory;
  queues_.emplace(id, std::move(queue));
  queue_count_.store(queues_.size(), std::memory_order_relaxed);
  if (!ticker_.armed()) ticker_.arm(reactor_, kTick);
}

Queue* Worker::find(uint64_t id) {
  const auto at = queues_.find(id);
  return at == queues_.end() ? nullptr : at->second.get();
}

void Worker::for_each_queue(const std::function<void(Queue&)>& each) {
  for (const auto& [id, queue] : queues_) each(*queue);
}

void Worker::stop(std::function<void()> drained) {
  stopping_ = true;
  drained_ = std::move(drained);
  for (const auto& [id, queue] : queues_) queue->drop("the target stops");
  sweep();
}

// Staging memory.

void Worker::wait_for_buffers(Command& command) {
  command.next_waiting = nullptr;
  (first_waiting_ == nullptr ? first_waiting_ : last_waiting_->next_waiting) = &command;
  last_waiting_ = &command;
}

bool Worker::forget_waiter(Command& command) {
  Command* before = nullptr;
  for (Command* c = first_waiting_; c != nullptr; before = c, c = c->next_waiting) {
    if (c != &command) continue;
    (before == nullptr ? first_waiting_ : before->next_waiting) = c->next_waiting;
    if (last_waiting_ == c) last_waiting_ = before;
    return true;
  }
  return false;
}

void Worker::put_buffers(Command& command) {
  buffers_->put({command.chunks.data(), command.chunk_count});
  command.chunk_count = 0;
  if (first_waiting_ != nullptr && !serving_) serve_waiting();
}

void Worker::serve_waiting() {
  serving_ = true;  // a command that fails at once gives its chunks back from inside
  while (first_waiting_ != nullptr) {
    Command& command = *first_waiting_;
    if (!buffers_->take({command.chunks.data(), command.chunk_count})) break;
    first_waiting_ = command.next_waiting;
    if (first_waiting_ == nullptr) last_waiting_ = nullptr;
    command.queue->buffers_ready(command);
  }
  serving_ = false;
}

// Channels.

ChannelSlot* Worker::channel(DeviceContext& device,
                             const std::shared_ptr<storage::Volume>& volume) {
  auto at = channels_.find(volume.get());
  if (at == channels_.end()) {
    auto channel = volume->open_channel(reactor_);
    if (!channel.ok()) {
      daemon::say_of_peers(absl::StrCat(volume->spec(), ": ", channel.status().message()));
      return nullptr;
    }
    at = channels_.try_emplace(volume.get()).first;
    at->second.volume = volume;
    at->second.channel = std::move(*channel);
  }
  if (!at->second.memory.contains(&device)) {
    at->second.memory[&device] = device.register_volume(*volume);
  }
  return &at->second;
}

void Worker::prune_channels() {
  std::erase_if(channels_, [](const auto& entry) {
    const ChannelSlot& slot = entry.second;
    return slot.uses == 0 && slot.handles == 0 && slot.channel->pending() == 0;
  });
}

// Life of queues.

void Worker::queue_finished() {
  if (std::exchange(sweep_posted_, true)) return;
  // Not now: the queue's own call is still on the stack.
  post([this] { sweep(); });
}

void Worker::sweep() {
  sweep_posted_ = false;
  for (auto at = queues_.begin(); at != queues_.end();) {
    if (at->second->finished()) {
      at->second->drained();
      queue_memory_ -= Queue::worst_memory(at->second->entries(), options_.in_capsule);
      at = queues_.erase(at);
    } else {
      ++at;
    }
  }
  queue_count_.store(queues_.size(), std::memory_order_relaxed);
  if (stopping_ && queues_.empty() && drained_ != nullptr) {
    ticker_.cancel();
    channels_.clear();
    std::exchange(drained_, nullptr)();
  }
}

void Worker::tick() {
  const Nanoseconds now = reactor_.now();
  for (const auto& [id, queue] : queues_) queue->tick(now);
  prune_channels();
  // Without connections there is nothing to look at.
  if (!queues_.empty() || !channels_.empty()) ticker_.arm(reactor_, kTick);
}

}  // namespace mrpool::nvmf_target
