// FastMr of verbs, in two kinds: a type-2 memory window over part of a base region on devices that
// have windows, and the base region's own key elsewhere.
//
// Thread safety: as FastMr in mrpool/mr.h: one owner at a time. Ownership: borrows the Pd.
#pragma once

#include <infiniband/verbs.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "mrpool/mr.h"
#include "transport/verbs/mr.h"

namespace mrpool::verbs {

class VerbsPd;

// What a FastMr has in common on both kinds of device: one contiguous range of one base region.
class VerbsFastMr : public FastMr {
 public:
  size_t map(std::span<const Sge> segments) override;
  Sge sge() const override { return {addr_, uint32_t(length_), lkey_}; }
  VerbsMr* base() const { return base_; }
  std::byte* addr() const { return addr_; }
  Access ceiling() const { return ceiling_; }
  // The flags because of which a registration of the mapped range is kAccessDenied.
  Access denied(Access access) const;

 protected:
  VerbsFastMr(VerbsPd& pd, Access ceiling);
  virtual void mapped() = 0;

  VerbsPd& home_;
  VerbsMr* base_ = nullptr;
  std::byte* addr_ = nullptr;

 private:
  const Access ceiling_;
  const CountedFastMr counted_;
};

// A type-2 window: bound to the mapped range by kRegMr, dead after kLocalInv or the peer's SEND.
//
// A bound window holds on to its queue pair and its base region inside the device: soft RoCE waits
// 50 s for it when either goes. So the Pd finds the windows that are still bound to what is about
// to be destroyed and recycles them, which is renew() from the other side.
class WindowMr final : public VerbsFastMr {
 public:
  static absl::StatusOr<std::unique_ptr<WindowMr>> create(VerbsPd& pd, Access ceiling);
  WindowMr(VerbsPd& pd, Access ceiling) : VerbsFastMr(pd, ceiling) {}
  ~WindowMr() override;

  void advance_key() override { rkey_.value = ibv_inc_rkey(rkey_.value); }
  bool needs_registration() const override { return true; }
  absl::Status renew() override;

  ibv_mw* get() const { return window_; }
  // A request that binds it to its current key is on its way to the queue pair `owner` ...
  void claim(uint32_t owner) { owner_.store(owner, std::memory_order_relaxed); }
  // ... and was taken.
  void bound() { window_->rkey = rkey_.value; }  // the provider finds the window by it
  void invalidated() { owner_.store(0, std::memory_order_relaxed); }
  uint32_t owner() const { return owner_.load(std::memory_order_relaxed); }

 private:
  friend class VerbsPd;
  void mapped() override {}
  absl::Status recycle();  // under the Pd's mutex

  ibv_mw* window_ = nullptr;
  // Whose it is while it is bound. Written by the reactor of that queue pair, which is also the one
  // that compares it when the queue pair goes; 0 otherwise.
  std::atomic<uint32_t> owner_{0};
};

// Has no registration of its own: its key is the base region's.
class BaseKeyMr final : public VerbsFastMr {
 public:
  BaseKeyMr(VerbsPd& pd, Access ceiling) : VerbsFastMr(pd, ceiling) {}

  void advance_key() override {}
  bool needs_registration() const override { return false; }
  absl::Status renew() override { return absl::OkStatus(); }

 private:
  void mapped() override;
};

}  // namespace mrpool::verbs
