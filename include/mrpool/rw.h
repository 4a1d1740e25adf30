// RDMA READ and WRITE between a local scatter list and a peer's buffer: the kernel's rdma_rw.
//
// An RwContext belongs to one Qp. start() plans the transfer (splits to the device's limits and the
// peer's READ credits), leases MRs where this device or `force_mr` needs them, posts, and calls
// done() once when every byte is where it belongs and every key is dead. When send-queue slots,
// credits or MRs run out, operations wait in order; they do not fail and do not spin.
//
// Thread safety: the Qp's reactor thread.
// Ownership: context and operation are the caller's; an operation must stay, with its scatter
// list's memory, until done() ran. Destroy the context after the Qp's on_disconnected: by then
// every operation has been called.
#pragma once

#include <cstdint>
#include <span>

#include "mrpool/device.h"
#include "mrpool/mr_pool.h"
#include "mrpool/qp.h"

namespace mrpool {

enum class RwDirection : uint8_t {
  kRead,   // the peer's buffer → local memory
  kWrite,  // local memory → the peer's buffer
};

struct RwLimits {
  uint32_t max_operations = 128;    // in flight at once; further ones wait
  uint32_t max_transfer = 1 << 20;  // bytes of one operation
  uint32_t max_segments = 16;       // local segments of one operation
  bool force_mr = false;            // register local memory even where the device needs no MR
};

// What a Qp must be created with to carry the limits. The sums are spelled out in rw.cc.
struct RwQueueNeeds {
  uint32_t send_wr = 0;   // to add to QpOptions::max_send_wr
  uint32_t send_sge = 0;  // at least this many
  uint32_t pool_mrs = 0;  // MRs for every operation at once; fewer make operations wait
  Access pool_access = Access::kNone;  // the ceiling a pool for this context needs
};
RwQueueNeeds rw_queue_needs(const DeviceCaps& caps, const RwLimits& limits);

class RwOperation {
 public:
  // `status` is the first failure; kSuccess when all is done.
  using Done = void (*)(RwOperation& self, WcStatus status);
  explicit RwOperation(Done done);
  ~RwOperation();
  RwOperation(const RwOperation&) = delete;
  RwOperation& operator=(const RwOperation&) = delete;

  struct State;

 private:
  friend class RwContext;
  Done done_;
  // Room for the operation's own bookkeeping, so that starting one allocates nothing.
  alignas(16) unsigned char storage_[512];
};

class RwContext {
 public:
  // `pool` may be null where rw_queue_needs says pool_mrs == 0. FailedPrecondition otherwise.
  static absl::StatusOr<std::unique_ptr<RwContext>> create(Qp& qp, MrPool* pool,
                                                           const RwLimits& limits);
  ~RwContext();

  // Starts or queues the transfer of `remote.length` bytes. `local` is copied. `last`, for writes,
  // is posted right behind the data in the same batch (a response SEND) and completes by itself;
  // it and its Sges must stay until done(). kTooLong, kTooManySges: beyond the limits; nothing
  // was started.
  PostStatus start(RwOperation& operation, RwDirection direction, std::span<const Sge> local,
                   const RemoteBuffer& remote, const WorkRequest* last = nullptr);

  uint32_t in_flight() const;
  uint32_t waiting() const;

  class Impl;

 private:
  explicit RwContext(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mrpool
