#include "examples/iser/target/staging.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "mrpool/rw.h"

namespace mrpool::iser_target {

void Staging::Unmap::operator()(std::byte* memory) const { ::munmap(memory, size); }

Staging::Serve::Serve(Staging& staging)
    : mrpool::Task([](mrpool::Task& self) {
        auto& serve = static_cast<Serve&>(self);
        serve.posted = false;
        serve.owner.serve();
      }),
      owner(staging) {}

Staging::Staging(Reactor& reactor, Ready ready)
    : reactor_(reactor), ready_(ready), memory_(nullptr, Unmap{0}), serve_task_(*this) {}

Staging::~Staging() = default;

absl::StatusOr<std::unique_ptr<Staging>> Staging::create(Reactor& reactor, Pd& pd, uint64_t bytes,
                                                         Ready ready) {
  if (bytes < kMinStaging || bytes > kMaxStaging) {
    return absl::InvalidArgumentError(
        absl::StrCat(bytes, " bytes of staging memory are not ", kMinStaging, " to ", kMaxStaging));
  }
  const size_t chunks = bytes / kChunk;
  const size_t size = chunks * kChunk;
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        absl::StrCat(size, " bytes of staging memory: ", strerror(errno)));
  }
  std::unique_ptr<Staging> staging(new Staging(reactor, ready));
  staging->memory_ = {static_cast<std::byte*>(memory), Unmap{size}};
  const Access access = rw_queue_needs(pd.caps(), {}).sink_access;
  absl::StatusOr<std::unique_ptr<Mr>> mr = pd.reg_mr({staging->memory_.get(), size}, access);
  if (!mr.ok()) return mr.status();
  staging->mr_ = *std::move(mr);
  staging->total_ = chunks;
  staging->free_.resize(chunks);
  for (size_t i = 0; i < chunks; ++i) staging->free_[i] = uint16_t(chunks - 1 - i);
  return staging;
}

bool Staging::grant(Task& task) {
  const size_t needed = (task.staged + kChunk - 1) / kChunk;
  if (free_.size() < needed) return false;
  for (size_t i = 0; i < needed; ++i) {
    task.chunks[i] = free_.back();
    free_.pop_back();
  }
  task.chunk_count = uint32_t(needed);
  return true;
}

bool Staging::take(Task& task, uint64_t bytes) {
  task.staged = bytes;
  if (first_ == nullptr && grant(task)) return true;
  task.next_waiting = nullptr;
  (last_ != nullptr ? last_->next_waiting : first_) = &task;
  last_ = &task;
  ++waiting_;
  return false;
}

void Staging::put(Task& task) {
  // The one used last is the next one used: its lines are still in the cache.
  for (uint32_t i = task.chunk_count; i-- > 0;) free_.push_back(task.chunks[i]);
  task.chunk_count = 0;
  if (first_ != nullptr && !serve_task_.posted) {
    serve_task_.posted = true;
    reactor_.post(serve_task_);
  }
}

void Staging::cancel(Task& task) {
  Task* before = nullptr;
  for (Task* at = first_; at != nullptr; before = at, at = at->next_waiting) {
    if (at != &task) continue;
    (before != nullptr ? before->next_waiting : first_) = at->next_waiting;
    if (last_ == at) last_ = before;
    --waiting_;
    // Those behind it may fit now.
    if (first_ != nullptr && !serve_task_.posted) {
      serve_task_.posted = true;
      reactor_.post(serve_task_);
    }
    return;
  }
}

void Staging::serve() {
  while (first_ != nullptr && grant(*first_)) {
    Task& task = *first_;
    first_ = task.next_waiting;
    if (first_ == nullptr) last_ = nullptr;
    --waiting_;
    ready_(task);
  }
}

std::span<std::byte> Staging::chunk(uint16_t index) const {
  return {memory_.get() + size_t{index} * kChunk, kChunk};
}

size_t Staging::sges(const Task& task, uint64_t offset, uint64_t length, std::span<Sge> out) const {
  size_t count = 0;
  size_t chunk_index = offset / kChunk;
  uint64_t skip = offset % kChunk;
  while (length != 0) {
    const uint64_t n = std::min<uint64_t>(length, kChunk - skip);
    out[count++] = mr_->sge(size_t{task.chunks[chunk_index++]} * kChunk + skip, uint32_t(n));
    length -= n;
    skip = 0;
  }
  return count;
}

}  // namespace mrpool::iser_target
