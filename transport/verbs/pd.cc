#include "transport/verbs/pd.h"

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "transport/verbs/access_flags.h"
#include "transport/verbs/device.h"
#include "transport/verbs/errors.h"
#include "transport/verbs/srq.h"

namespace mrpool::verbs {

VerbsMr::VerbsMr(VerbsPd& pd, ibv_mr* mr, std::span<std::byte> memory, const Granted& granted)
    : pd_(pd), mr_(mr) {
  memory_ = memory;
  lkey_ = Lkey{mr->lkey};
  rkey_ = Rkey{mr->rkey};
  remote_addr_ = RemoteAddr{uintptr_t(memory.data())};
  granted_ = granted;
  const std::lock_guard lock(pd_.mutex_);
  pd_.regions_.insert(mr->lkey, this);
}

VerbsMr::~VerbsMr() {
  {
    const std::lock_guard lock(pd_.mutex_);
    pd_.regions_.erase(mr_->lkey);
  }
  pd_.release_windows(*this);
  if (ibv_dereg_mr(mr_) != 0) die("a region cannot be deregistered");
}

size_t VerbsFastMr::map(std::span<const Sge> segments) {
  base_ = nullptr;
  length_ = 0;
  if (segments.empty()) return 0;
  const Sge& first = segments.front();
  VerbsMr* base = pd_.region_of(first.lkey);
  if (base == nullptr) return 0;
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
  const std::lock_guard lock(pd_.mutex_);
  pd_.all_windows_.erase(this);
  pd_.windows_.erase(window_->rkey >> 8);
  if (ibv_dealloc_mw(window_) != 0) die("a memory window cannot be freed");
}

absl::Status WindowMr::renew() {
  const std::lock_guard lock(pd_.mutex_);
  return recycle();
}

absl::Status WindowMr::recycle() {
  // The new one first: a window that cannot be replaced stays what it is.
  ibv_mw* fresh = ibv_alloc_mw(pd_.get(), IBV_MW_TYPE_2);
  if (fresh == nullptr) {
    if (errno != ENOMEM && errno != EAGAIN) {
      return errno_status(errno, "allocating a memory window", pd_.caps().name);
    }
    return absl::ResourceExhaustedError(
        absl::StrCat("no more memory windows on ", pd_.caps().name,
                     ", which has max_mw = ", pd_.device().attributes().max_mw));
  }
  if (window_ != nullptr) {
    pd_.windows_.erase(window_->rkey >> 8);
    if (ibv_dealloc_mw(window_) != 0) die("a memory window cannot be freed");
  }
  window_ = fresh;
  owner_.store(0, std::memory_order_relaxed);
  rkey_ = Rkey{ibv_inc_rkey(fresh->rkey)};  // a window refuses the key it has
  pd_.windows_.insert(fresh->rkey >> 8, this);
  return absl::OkStatus();
}

void BaseKeyMr::mapped() {
  lkey_ = base_->lkey();
  rkey_ = base_->rkey();
}

absl::StatusOr<std::unique_ptr<VerbsPd>> VerbsPd::create(std::shared_ptr<VerbsDevice> device) {
  ibv_pd* pd = ibv_alloc_pd(device->context());
  if (pd == nullptr) {
    return errno_status(errno, "allocating a protection domain", device->caps().name);
  }
  return std::make_unique<VerbsPd>(std::move(device), pd);
}

VerbsPd::VerbsPd(std::shared_ptr<VerbsDevice> device, ibv_pd* pd)
    : device_(std::move(device)), pd_(pd) {}

VerbsPd::~VerbsPd() {
  if (ibv_dealloc_pd(pd_) != 0) die("a Pd was destroyed before what was made from it");
}

const DeviceCaps& VerbsPd::caps() const { return device_->caps(); }

absl::StatusOr<std::unique_ptr<Mr>> VerbsPd::reg_mr(std::span<std::byte> memory, Access access) {
  Granted granted;
  if (absl::Status status = grant(access, caps().access, granted); !status.ok()) return status;
  if (memory.empty()) return absl::InvalidArgumentError("an Mr needs at least one byte of memory");
  uint32_t flags = to_ibv_access(access);
  // So that windows of the pool can be bound to it; gives no right by itself.
  if (caps().registration == Registration::kMemoryWindow) flags |= IBV_ACCESS_MW_BIND;
  ibv_mr* mr = ibv_reg_mr(pd_, memory.data(), memory.size(), flags);
  if (mr == nullptr) return registration_status(errno, memory.size(), caps().name);
  return std::make_unique<VerbsMr>(*this, mr, memory, granted);
}

absl::StatusOr<std::unique_ptr<FastMr>> VerbsPd::alloc_fast_mr(const FastMrOptions& options) {
  Granted granted;
  if (absl::Status status = grant(options.ceiling, caps().access, granted); !status.ok()) {
    return status;
  }
  if (options.sg_gaps) {
    return absl::InvalidArgumentError(
        absl::StrCat(caps().name, " cannot map ranges with gaps (caps().sg_gaps is false)"));
  }
  if (options.max_segments == 0 || options.max_segments > caps().max_fast_reg_segments) {
    return absl::InvalidArgumentError(absl::StrCat("max_segments is ", options.max_segments,
                                                   "; an MR of ", caps().name, " maps 1 to ",
                                                   caps().max_fast_reg_segments));
  }
  if (caps().registration == Registration::kPreRegistered) {
    return std::make_unique<BaseKeyMr>(*this, options.ceiling);
  }
  absl::StatusOr<std::unique_ptr<WindowMr>> window = WindowMr::create(*this, options.ceiling);
  if (!window.ok()) return window.status();
  return std::unique_ptr<FastMr>(*std::move(window));
}

void VerbsPd::release_windows(uint32_t owner) {
  const std::lock_guard lock(mutex_);
  for (WindowMr* window : all_windows_) {
    if (window->owner() == owner && !window->recycle().ok()) die("a bound window cannot be freed");
  }
}

void VerbsPd::release_windows(const VerbsMr& base) {
  const std::lock_guard lock(mutex_);
  for (WindowMr* window : all_windows_) {
    if (window->owner() != 0 && window->base() == &base && !window->recycle().ok()) {
      die("a bound window cannot be freed");
    }
  }
}

absl::StatusOr<std::unique_ptr<Srq>> VerbsPd::create_srq(Reactor& reactor,
                                                         const SrqOptions& options) {
  return VerbsSrq::create(*this, reactor, options);
}

}  // namespace mrpool::verbs
