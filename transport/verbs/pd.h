// Protection domains and what is registered in them.
//
// Three kinds of key: a base region (Mr), a type-2 memory window over part of one (FastMr on
// devices that have windows), and the base region's own key (FastMr elsewhere).
//
// Thread safety: registration from any thread; region_of() from any thread without locks.
// Ownership: VerbsPd shares the device; regions and windows borrow the Pd.
#pragma once

#include <infiniband/verbs.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <unordered_set>

#include "mrpool/device.h"
#include "transport/verbs/mr_table.h"

namespace mrpool::verbs {

class VerbsDevice;
class VerbsPd;
class WindowMr;

class VerbsMr final : public Mr {
 public:
  VerbsMr(VerbsPd& pd, ibv_mr* mr, std::span<std::byte> memory, const Granted& granted);
  ~VerbsMr() override;

  ibv_mr* get() const { return mr_; }
  bool covers(const Sge& sge) const {
    const auto start = uintptr_t(memory_.data());
    const auto addr = uintptr_t(sge.addr);
    return addr >= start && addr - start <= memory_.size() &&
           sge.length <= memory_.size() - (addr - start);
  }
  bool allows(Access access) const { return has(granted_.requested, access); }

 private:
  VerbsPd& pd_;
  ibv_mr* mr_;
};

// What a FastMr has in common on both kinds of device: one contiguous range of one base region.
class VerbsFastMr : public FastMr {
 public:
  size_t map(std::span<const Sge> segments) override;
  Sge sge() const override { return {addr_, uint32_t(length_), lkey_}; }
  VerbsPd& pd() const { return pd_; }
  VerbsMr* base() const { return base_; }
  std::byte* addr() const { return addr_; }
  Access ceiling() const { return ceiling_; }

 protected:
  VerbsFastMr(VerbsPd& pd, Access ceiling) : pd_(pd), ceiling_(ceiling) {}
  virtual void mapped() = 0;

  VerbsPd& pd_;
  VerbsMr* base_ = nullptr;
  std::byte* addr_ = nullptr;

 private:
  const Access ceiling_;
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

// No registration of its own: hands out the base region's key.
class BaseKeyMr final : public VerbsFastMr {
 public:
  BaseKeyMr(VerbsPd& pd, Access ceiling) : VerbsFastMr(pd, ceiling) {}

  void advance_key() override {}
  bool needs_registration() const override { return false; }
  absl::Status renew() override { return absl::OkStatus(); }

 private:
  void mapped() override;
};

class VerbsPd final : public Pd {
 public:
  static absl::StatusOr<std::unique_ptr<VerbsPd>> create(std::shared_ptr<VerbsDevice> device);
  VerbsPd(std::shared_ptr<VerbsDevice> device, ibv_pd* pd);
  ~VerbsPd() override;

  absl::StatusOr<std::unique_ptr<Mr>> reg_mr(std::span<std::byte> memory, Access access) override;
  absl::StatusOr<std::unique_ptr<FastMr>> alloc_fast_mr(const FastMrOptions& options) override;
  absl::StatusOr<std::unique_ptr<Srq>> create_srq(Reactor& reactor,
                                                  const SrqOptions& options) override;
  const DeviceCaps& caps() const override;

  ibv_pd* get() const { return pd_; }
  VerbsDevice& device() const { return *device_; }
  VerbsMr* region_of(Lkey lkey) const { return regions_.find(lkey.value); }
  // The window with this key, whatever its key part.
  WindowMr* window_of(Rkey rkey) const { return windows_.find(rkey.value >> 8); }

  // Unbinds what is still bound to a queue pair or a region that is about to be destroyed.
  void release_windows(uint32_t owner);
  void release_windows(const VerbsMr& base);

 private:
  friend class VerbsMr;
  friend class WindowMr;

  const std::shared_ptr<VerbsDevice> device_;
  ibv_pd* const pd_;
  std::mutex mutex_;  // changes of the tables, and re-creation of windows
  MrTable<VerbsMr> regions_;
  MrTable<WindowMr> windows_;  // by the part of the key that stays
  std::unordered_set<WindowMr*> all_windows_;
};

}  // namespace mrpool::verbs
