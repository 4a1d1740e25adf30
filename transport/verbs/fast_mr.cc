#include "transport/verbs/fast_mr.h"

#include <cerrno>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "transport/verbs/device.h"
#include "transport/verbs/errors.h"
#include "transport/verbs/pd.h"

namespace mrpool::verbs {

VerbsFastMr::VerbsFastMr(VerbsPd& pd, Access ceiling)
    : home_(pd), ceiling_(ceiling), counted_(pd.counters()) {
  pd_ = &pd;
}

Access VerbsFastMr::denied(Access access) const {
  Access refused = forbidden(access) | (mandatory(access) & ~home_.caps().access.known) |
                   beyond_ceiling(access, ceiling_);
  if (base_ == nullptr) return refused;
  // A window gives no right that its base region lacks for its owner.
  if (!base_->allows(Access::kLocalWrite)) {
    refused |= access & (Access::kRemoteWrite | Access::kRemoteAtomic);
  }
  // Nor is it stricter than its base region.
  if (!base_->allows(Access::kDisableRelaxedOrdering)) {
    refused |= access & Access::kDisableRelaxedOrdering;
  }
  return refused;
}

size_t VerbsFastMr::map(std::span<const Sge> segments) {
  base_ = nullptr;
  length_ = 0;
  if (segments.empty()) return 0;
  const Sge& first = segments.front();
  VerbsMr* base = home_.region_of(first.lkey);
  if (base == nullptr) return 0;
  // Neither a window nor the region's own key is stricter than the region.
  if (any(ceiling_ & Access::kDisableRelaxedOrdering) &&
      !base->allows(Access::kDisableRelaxedOrdering)) {
    return 0;
  }
  // One range: segments that follow each other in memory are one.
  uint64_t length = 0;
  size_t taken = 0;
  for (const Sge& segment : segments) {
    if (segment.lkey != first.lkey || segment.addr != first.addr + length) break;
    if (!base->covers(segment) || length + segment.length > UINT32_MAX) break;
    length += segment.length;
    ++taken;
  }
  if (taken == 0) return 0;
  base_ = base;
  addr_ = first.addr;
  length_ = length;
  remote_addr_ = RemoteAddr{uintptr_t(first.addr)};
  mapped();
  return taken;
}

absl::StatusOr<std::unique_ptr<WindowMr>> WindowMr::create(VerbsPd& pd, Access ceiling) {
  auto window = std::make_unique<WindowMr>(pd, ceiling);
  const std::lock_guard lock(pd.mutex_);
  if (absl::Status status = window->recycle(); !status.ok()) return status;
  pd.all_windows_.insert(window.get());
  return window;
}

WindowMr::~WindowMr() {
  if (window_ == nullptr) return;
  const std::lock_guard lock(home_.mutex_);
  home_.all_windows_.erase(this);
  home_.windows_.erase(window_->rkey >> 8);
  if (ibv_dealloc_mw(window_) != 0) die("a memory window cannot be freed");
}

absl::Status WindowMr::renew() {
  const std::lock_guard lock(home_.mutex_);
  return recycle();
}

absl::Status WindowMr::recycle() {
  // The new one first: a window that cannot be replaced stays what it is.
  ibv_mw* fresh = ibv_alloc_mw(home_.get(), IBV_MW_TYPE_2);
  if (fresh == nullptr) {
    if (errno != ENOMEM && errno != EAGAIN) {
      return errno_status(errno, "allocating a memory window", home_.caps().name);
    }
    return absl::ResourceExhaustedError(
        absl::StrCat("no more memory windows on ", home_.caps().name,
                     ", which has max_mw = ", home_.device().attributes().max_mw));
  }
  if (window_ != nullptr) {
    home_.windows_.erase(window_->rkey >> 8);
    if (ibv_dealloc_mw(window_) != 0) die("a memory window cannot be freed");
  }
  window_ = fresh;
  owner_.store(0, std::memory_order_relaxed);
  rkey_ = Rkey{ibv_inc_rkey(fresh->rkey)};  // a window refuses the key it has
  home_.windows_.insert(fresh->rkey >> 8, this);
  return absl::OkStatus();
}

void BaseKeyMr::mapped() {
  lkey_ = base_->lkey();
  rkey_ = base_->rkey();
}

}  // namespace mrpool::verbs
