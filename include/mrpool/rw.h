// RDMA READ and WRITE between a local scatter list and a peer's buffer: the kernel's rdma_rw.
//
// An RwContext belongs to one Qp. start() plans the transfer (splits to the device's limits and the
// peer's READ credits), leases MRs where this device or `force_mr` needs them, posts, and calls
// done() once when every byte is where it belongs and every key is dead. When send-queue slots,
// READ credits or MRs run out, operations wait; they do not fail and do not spin. Operations of one
// direction start in order; a WRITE may overtake a READ that waits for nothing but credits.
//
// No step of an operation waits for anything while it holds an MR, so any transfer gets through a
// pool of one.
//
// Thread safety: the Qp's reactor thread.
// Ownership: context and operation are the caller's. An operation must stay, with its scatter
// list's memory, until done() ran; from inside done() it may be destroyed or started again. Call
// stop() from the Qp's on_disconnected, or destroy the context there: after either, every operation
// has been called. Not from inside a done().
#pragma once

#include <cstdint>
#include <memory>
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
  uint32_t max_operations = 128;    // in flight at once, at least 1; further ones wait
  uint32_t max_transfer = 1 << 20;  // bytes of one operation
  uint32_t max_segments = 16;       // local segments of one operation
  bool force_mr = false;            // register local memory even where the device needs no MR
};

// What a Qp must be created with to carry the limits. The sums are spelled out in rw.cc.
struct RwQueueNeeds {
  uint32_t send_wr = 0;        // to add to QpOptions::max_send_wr; the context takes no more
  uint32_t send_sge = 0;       // at least this many
  uint32_t pool_mrs = 0;       // MRs for every operation at once; fewer make operations wait
  uint32_t pool_segments = 0;  // per MR; fewer make operations take more MRs
  Access pool_access = Access::kNone;  // the ceiling a pool for this context needs
  // What the registration of memory that READs fill must allow: more than local write where a
  // READ's sink needs remote write and the device has no short-lived key to give it to.
  Access sink_access = Access::kLocalWrite;
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

  // Scatter lists up to this long are copied by start(); longer ones must stay until done().
  static constexpr size_t kInlineSegments = 24;

  // From inside done(): whether start()'s `last` was posted. Its own completion runs, before or
  // after this done(), if and only if it was.
  bool last_posted() const;

  struct State;

 private:
  friend class RwContext;
  Done done_;
  // Room for the operation's own bookkeeping, so that starting one allocates nothing.
  alignas(16) unsigned char storage_[512];
};

class RwContext {
 public:
  // FailedPrecondition: `pool` is null or too narrow (its ceiling) where rw_queue_needs asks for
  // MRs, is another Pd's, or `force_mr` on a device that has only memory windows.
  static absl::StatusOr<std::unique_ptr<RwContext>> create(Qp& qp, MrPool* pool,
                                                           const RwLimits& limits);
  ~RwContext();

  // Starts or queues the transfer of `remote.length` bytes. `last`, for writes, is posted right
  // behind the data in the same batch (a response SEND) and completes by itself; it and its Sges
  // must stay until done(), and its send-queue slot is the caller's to count.
  // Anything but kOk: nothing was started. kTooLong, kTooManySges: beyond the limits. kBadSge:
  // `local` is shorter than `remote`, or has an empty segment. kUnsupported: `last` with a read, or
  // a read on a connection whose peer serves none. Else what the Qp's post said.
  PostStatus start(RwOperation& operation, RwDirection direction, std::span<const Sge> local,
                   const RemoteBuffer& remote, const WorkRequest* last = nullptr);

  // The Qp is disconnected: operations that wait are done with kFlushed before this returns, later
  // ones are refused with kNotConnected.
  void stop();

  uint32_t in_flight() const;  // operations with requests posted
  uint32_t waiting() const;    // operations with requests still to post

  class Impl;

 private:
  explicit RwContext(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mrpool
