#include "examples/engine/early_room.h"

#include <algorithm>

namespace mrpool::engine {
namespace {

RwLimits limits_of(DeviceContext& device) {
  RwLimits limits = device.limits();
  limits.max_operations = 1;
  limits.max_transfer = kEarlyBytes;
  limits.max_segments = 1;
  return limits;
}

}  // namespace

uint32_t EarlyRoom::send_wr(DeviceContext& device) {
  return rw_queue_needs(device.caps(), limits_of(device)).send_wr;
}

absl::StatusOr<std::unique_ptr<EarlyRoom>> EarlyRoom::create(DeviceContext& device, Qp& qp) {
  std::unique_ptr<EarlyRoom> room(new EarlyRoom());
  auto pages = Pages::create(kEarlyBytes);
  if (!pages.ok()) return pages.status();
  room->pages_ = *std::move(pages);
  auto mr = device.pd().reg_mr(room->pages_.memory(), device.sink_access());
  if (!mr.ok()) return mr.status();
  room->mr_ = *std::move(mr);
  const RwLimits limits = limits_of(device);
  const RwQueueNeeds needs = rw_queue_needs(device.caps(), limits);
  if (needs.pool_mrs != 0) {
    auto pool = MrPool::create(device.pd(), {.count = 1,
                                             .max_segments = std::max(needs.pool_segments, 1u),
                                             .access = device.local_access(needs.pool_access)});
    if (!pool.ok()) return pool.status();
    room->pool_ = *std::move(pool);
  }
  auto rw = RwContext::create(qp, room->pool_.get(), limits);
  if (!rw.ok()) return rw.status();
  room->rw_ = *std::move(rw);
  return room;
}

PostStatus EarlyRoom::read(RwOperation& operation, uint32_t offset, const RemoteBuffer& from) {
  if (from.length > kEarlyBytes || offset > kEarlyBytes - from.length) return PostStatus::kTooLong;
  const Sge sge{pages_.memory().data() + offset, uint32_t(from.length), mr_->lkey()};
  return rw_->start(operation, RwDirection::kRead, {&sge, 1}, from);
}

}  // namespace mrpool::engine
