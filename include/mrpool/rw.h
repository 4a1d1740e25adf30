// RDMA READ and WRITE between a local scatter list and a peer's buffer: the kernel's rdma_rw.
//
// An RwContext belongs to one Qp. start() splits the transfer by the device's limits and the peer's
// READ credits, leases MRs where the device or `force_mr` requires them, and posts. done() runs
// once, when every byte has been transferred and every key is dead. When send-queue slots,
// READ credits or MRs run out, operations wait; they do not fail and do not spin. That holds as
// well when the caller's own requests fill the send queue. Operations of one direction start in
// order; a WRITE may overtake a READ that waits for nothing but credits.
//
// A READ's success means that the data is in local memory. A WRITE's success means that the local
// memory is the caller's again, not that the peer has the data. `last`, or a later SEND, notifies
// the peer (mrpool/work.h).
//
// An operation has no deadline of its own. Arm a Timer that calls cancel(); when that returns false
// and done() does not come, the peer does not answer: Qp::abort() ends the wait.
//
// No step of an operation waits for anything while it holds an MR, so any transfer gets through a
// pool of one.
//
// Thread safety: the Qp's reactor thread.
// Ownership: context and operation are the caller's. An operation must stay, with its scatter
// list's memory, until done() ran; from inside done() it may be destroyed or started again. Call
// stop() from the Qp's on_disconnected, or destroy the context there: after either, every operation
// has been called. From inside the done() of its last operation, too, the context may be destroyed.
// Starting an operation that is under way, and destroying one, aborts with a message.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "mrpool/device.h"
#include "mrpool/mr_pool.h"
#include "mrpool/qp.h"
#include "mrpool/segments.h"

namespace mrpool {

// Which way the bytes go.
enum class RwDirection : uint8_t {
  kRead,   // the peer's buffer → local memory
  kWrite,  // local memory → the peer's buffer
};

// What a context must be able to carry at once.
struct RwLimits {
  uint32_t max_operations = 128;    // in flight at once; further ones wait. 0 counts as 1
  uint32_t max_transfer = 1 << 20;  // bytes of one operation
  uint32_t max_segments = 16;       // local segments of one operation
  bool force_mr = false;            // register local memory even where the device needs no MR
  bool integrity = false;           // operations may move ProtectedBuffers
};

// What a Qp must be created with to carry the limits.
struct RwQueueNeeds {
  uint32_t send_wr = 0;        // to add to QpOptions::max_send_wr; the context takes no more
  uint32_t send_sge = 0;       // at least this many
  uint32_t pool_mrs = 0;       // MRs for every operation at once; fewer make operations wait
  uint32_t pool_segments = 0;  // per MR; fewer make operations take more MRs
  Access pool_access = Access::kNone;  // the ceiling a pool for this context needs
  // With RwLimits::integrity, of a second pool: MRs for every protected operation at once, and its
  // ceiling.
  uint32_t integrity_mrs = 0;
  Access integrity_access = Access::kNone;
  // The access for Pd::reg_mr of memory that READs fill: more than local write where a
  // READ's sink needs remote write and the device has no short-lived key to give it to.
  Access sink_access = Access::kLocalWrite;
};
// Pure; the sums of `limits` on a device with `caps`.
RwQueueNeeds rw_queue_needs(const DeviceCaps& caps, const RwLimits& limits);

// What one transfer of `bytes` in `segments` local segments takes at worst, on a context with
// `limits`. A READ does not hold all of it at once where the peer grants fewer READs.
struct RwTransferNeeds {
  uint64_t requests = 0;       // READs or WRITEs
  uint64_t work_requests = 0;  // send-queue slots: registrations and invalidations too
  uint64_t mrs = 0;            // 0 where the device needs none
};
// Pure; the worst case of one transfer.
RwTransferNeeds rw_transfer_needs(const DeviceCaps& caps, const RwLimits& limits,
                                  RwDirection direction, uint64_t bytes, uint32_t segments);

// Local memory with protection information (docs/reference/integrity.md).
struct ProtectedBuffer {
  std::span<const Sge> data{};        // whole blocks
  std::span<const Sge> protection{};  // where attributes.memory is protected: a tuple for each
  IntegrityAttributes attributes{};
};

// One transfer, until its done() has run; its owner keeps it.
class RwOperation {
 public:
  // `status` is the first failure; kSuccess when all is done.
  using Done = void (*)(RwOperation& self, WcStatus status);
  // An operation that is not under way.
  explicit RwOperation(Done done);
  ~RwOperation();
  RwOperation(const RwOperation&) = delete;
  RwOperation& operator=(const RwOperation&) = delete;

  // Transfers that touch up to this many segments have them copied by start(); of longer ones the
  // scatter list must stay until done().
  static constexpr size_t kInlineSegments = 24;

  // From inside done(): whether start()'s `last` was posted. Its own completion runs, before or
  // after this done(), if and only if it was.
  bool last_posted() const;

  // From inside done(), of a protected operation: the first block that is wrong, where the status
  // is kIntegrity.
  std::optional<IntegrityError> integrity_error() const;

  struct State;

 private:
  friend class RwContext;
  Done done_;
  // Room for the operation's own bookkeeping, so that starting one allocates nothing.
  alignas(16) unsigned char storage_[544];
};

// Moves scatter lists over one Qp; the head of this header has its rules.
class RwContext {
 public:
  static constexpr uint32_t kMaxSegments = 1 << 20;
  // The Qp need not be connected yet.
  // FailedPrecondition: `pool` is null, or its ceiling is too low, where rw_queue_needs asks for
  // MRs; or it is another Pd's. `force_mr` on a device that has only memory windows. The Qp's
  // max_send_wr or max_send_sge is less than rw_queue_needs returns.
  // InvalidArgument: limits.max_segments exceeds kMaxSegments.
  // `integrity`: a pool of kIntegrity, with limits.integrity and only then. FailedPrecondition: it
  // is missing, too narrow, of another kind or Pd, or the device has no integrity MRs.
  static absl::StatusOr<std::unique_ptr<RwContext>> create(Qp& qp, MrPool* pool,
                                                           const RwLimits& limits,
                                                           MrPool* integrity = nullptr);
  ~RwContext();

  // Starts or queues the transfer of `remote.length` bytes; 0 bytes succeed. `local` may be longer:
  // its first remote.length bytes are used, but limits count all of its segments. For writes,
  // `last` may be a request, such as a response SEND, that is posted directly after the data in the
  // same batch. It has its own completion. It and its Sges must stay until done(). The caller must
  // count its send-queue slot. Anything but kOk: nothing was started.
  //   kTooLong, kTooManySges  beyond the limits
  //   kBadSge                 `local` is shorter than `remote`, or has an empty segment
  //   kUnsupported            `last` with a read, or a read from a peer that serves none
  //   kQueueFull              the Qp was created without a slot for `last`
  //   others                  as Qp::post_send
  PostStatus start(RwOperation& operation, RwDirection direction, std::span<const Sge> local,
                   const RemoteBuffer& remote, const WorkRequest* last = nullptr);

  // The same from or to the next `remote.length` bytes of a list, from the iterator's place on.
  // Limits count only the segments that these bytes touch; kBadSge: the list has fewer bytes; empty
  // segments are skipped. Write std::span(array) to pass an array to the overload above.
  PostStatus start(RwOperation& operation, RwDirection direction, const SegmentIterator& local,
                   const RemoteBuffer& remote, const WorkRequest* last = nullptr);

  // The same with protection, through one MR of the integrity pool: remote.length counts the bytes
  // on the wire. `local`, its lists included, must stay until done(). When the data has arrived and
  // a check has failed, done() has kIntegrity. There is no `last`: the response to the peer depends
  // on the checks.
  //   kUnsupported            no integrity pool, or a read from a peer that serves none
  //   kTooLong, kTooManySges  beyond RwLimits::max_transfer, or more than an MR of the pool maps
  //   kBadIntegrity           attributes that are not valid, lists of another length than they
  //                           require, or a remote.length that is not that of the blocks on the
  //                           wire
  //   kBadSge                 an empty segment
  PostStatus start(RwOperation& operation, RwDirection direction, const ProtectedBuffer& local,
                   const RemoteBuffer& remote);

  // Posts no further request of `operation`. True: it had posted none, done() does not run, and the
  // operation is the caller's again. False: what it has posted goes on and done() runs when that
  // has ended, with kCancelled unless all of it had been posted; or the operation is not under way.
  bool cancel(RwOperation& operation);

  // The Qp is disconnected: operations that wait are done with kFlushed before this returns, later
  // ones are refused with kNotConnected.
  void stop();

  uint32_t in_flight() const;  // operations with requests posted
  uint32_t waiting() const;    // operations with requests still to post
  // The Qp that it moves data over.
  Qp& qp() const;

  class Impl;

 private:
  explicit RwContext(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mrpool
