#include "examples/engine/device_context.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "examples/base/log.h"

namespace mrpool::engine {

DeviceContext::DeviceContext(std::shared_ptr<Device> device, const Options& options)
    : device_(std::move(device)), relaxed_ordering_(options.relaxed_ordering) {
  limits_.max_operations = kMaxOperations;
  limits_.max_transfer = kMaxTransfer;
  limits_.max_segments = chunks_for(kMaxTransfer) + 1;  // one more if it starts inside a chunk
  limits_.force_mr = options.force_mr;
}

absl::StatusOr<std::unique_ptr<DeviceContext>> DeviceContext::create(std::shared_ptr<Device> device,
                                                                     const Options& options) {
  std::unique_ptr<DeviceContext> context(new DeviceContext(std::move(device), options));
  auto pd = context->device_->alloc_pd();
  if (!pd.ok()) return pd.status();
  context->pd_ = std::move(*pd);
  const RwQueueNeeds needs = rw_queue_needs(context->caps(), context->limits_);
  if (needs.pool_mrs == 0) return context;
  MrPoolOptions pool;
  pool.count = std::clamp<uint32_t>(options.mrs, 1, std::max(context->caps().max_mr, 1u));
  pool.max_segments = std::max(needs.pool_segments, 1u);
  pool.access = context->local_access(needs.pool_access);
  auto created = MrPool::create(*context->pd_, pool);
  if (!created.ok()) return created.status();
  context->pool_ = std::move(*created);
  return context;
}

Access DeviceContext::local_access(Access rights) const {
  return relaxed_ordering_ ? rights : rights | Access::kDisableRelaxedOrdering;
}

Access DeviceContext::sink_access() const {
  return local_access(rw_queue_needs(caps(), limits_).sink_access);
}

std::shared_ptr<Mr> DeviceContext::register_volume(storage::Volume& volume) {
  if (volume.memory().empty()) return nullptr;
  const std::lock_guard lock(mutex_);
  std::erase_if(volumes_, [](const auto& entry) { return entry.second.expired(); });
  if (const auto at = volumes_.find(&volume); at != volumes_.end()) {
    if (auto mr = at->second.lock(); mr != nullptr) return mr;
  }
  auto mr = pd_->reg_mr(volume.memory(), local_access(Access::kNone));
  if (!mr.ok()) {
    base::log({.event = base::Event::kReadsCopied,
               .store = volume.spec(),
               .message = absl::StrCat(
                   volume.spec(), ": reads are copied, because its memory cannot be registered: ",
                   mr.status().message())});
    return nullptr;
  }
  std::shared_ptr<Mr> shared = std::move(*mr);
  volumes_[&volume] = shared;
  return shared;
}

}  // namespace mrpool::engine
