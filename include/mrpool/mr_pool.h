// A pool of fast-registration MRs: the kernel's ib_mr_pool with access flags, shared by all queue
// pairs and threads of a Pd.
//
// One I/O takes a lease, maps its bytes, registers them with exactly the rights it needs, hands out
// the key, has it invalidated, and returns the lease:
//
//   MrPool::Lease lease = pool->get();          // empty when exhausted
//   lease.map(segments);
//   WorkRequest reg;
//   lease.prepare_register(rights, reg);        // post it in front of the request that uses the
//   key
//   ... I/O; invalidated by the peer (lease.invalidated()), by READ with invalidate, or by
//   lease.prepare_invalidate(inv);
//   lease.reset();                              // or the destructor
//
// The life of an entry is free → leased → registered → invalidated → free. A lease dropped while
// its key may still be live is not recycled: the entry goes to the repair list, which re-creates
// the key off the data path (repair(), run by get() when the pool is empty, or by a call of yours).
//
// Thread safety: shared objects: safe for get, put, stats, repair. A Lease belongs to one thread at
// a time and may be moved between threads.
// Memory ordering: what a thread wrote before it returned a lease is visible to the thread that
// gets the same entry next. Exhaustion: get() returns an empty lease at once; get(Waiter) is served
// first come, first served. Every entry is reachable from every thread at any time: caches never
// hide one. Ownership: the pool must outlive its leases and be destroyed before its Pd. Destroying
// it with leases out is reported on stderr, in debug builds with the place each was taken, and
// aborts.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <source_location>
#include <span>

#include "absl/status/statusor.h"
#include "mrpool/device.h"
#include "mrpool/mr.h"

namespace mrpool {

enum class MrPoolType : uint8_t {
  kFastReg,  // segments without gaps, as ib_map_mr_sg takes them
  kSgGaps,   // any segments; needs caps.sg_gaps
};

struct MrPoolOptions {
  uint32_t count = 0;  // entries; all allocated at creation
  MrPoolType type = MrPoolType::kFastReg;
  uint32_t max_segments = 256;  // per entry
  // The ceiling: no registration through the pool may exceed it. Remote rights are asked for by
  // name.
  Access access = Access::kLocalWrite;
  // The least scope the pool's user accepts; creation fails with FailedPrecondition on a device
  // that only has less.
  Registration at_least = Registration::kPreRegistered;
};

// Counters since creation; each is exact, the set is not one snapshot.
struct MrPoolStats {
  uint32_t size = 0;
  uint32_t in_use = 0;
  uint32_t high_water = 0;
  uint32_t in_repair = 0;
  uint64_t gets = 0;
  uint64_t exhaustions = 0;  // get() that returned empty
  uint64_t waits = 0;        // asynchronous gets that had to wait
  uint64_t repairs = 0;
};

class MrPool {
 public:
  struct Entry;  // one per MR; defined in pool/

  enum class State : uint8_t { kFree, kLeased, kRegistered, kInvalidated, kRepair };

  class Lease {
   public:
    Lease() = default;
    Lease(Lease&& other) noexcept : entry_(other.entry_) { other.entry_ = nullptr; }
    Lease& operator=(Lease&& other) noexcept {
      if (this != &other) {
        reset();
        entry_ = other.entry_;
        other.entry_ = nullptr;
      }
      return *this;
    }
    ~Lease() { reset(); }

    explicit operator bool() const { return entry_ != nullptr; }
    void reset() {
      if (entry_ != nullptr) release();
    }

    FastMr& mr() const;
    State state() const;

    // FastMr::map on this entry. Requires the key not to be live.
    size_t map(std::span<const Sge> segments);
    // Fills `wr` with the registration of the mapped memory, unsignalled, and marks the key live: a
    // request that is prepared must be posted, or aborted with `not_posted`. `access` beyond the
    // pool's ceiling: kAccessDenied. Where needs_registration() is false nothing is to be posted.
    PostStatus prepare_register(Access access, WorkRequest& wr);
    bool needs_registration() const;
    void not_posted();
    // Fills `wr` with the local invalidation; call invalidated() from its completion.
    void prepare_invalidate(WorkRequest& wr) const;
    // The key is dead: the peer's SEND, a READ with invalidate or a kLocalInv has ended it.
    void invalidated();

   private:
    friend class MrPool;
    explicit Lease(Entry* entry) : entry_(entry) {}
    void release();
    Entry* entry_ = nullptr;
  };

  // An asynchronous get. Embed it; it must stay until `ready` ran or cancel() returned true.
  class Waiter {
   public:
    using Ready = void (*)(Waiter& self, Lease lease);
    // `ready` runs on `home`'s thread, never from inside get(Waiter&).
    Waiter(Reactor& home, Ready ready);
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;

   private:
    friend class MrPool;
    Task task_;
    Reactor* home_;
    Ready ready_;
    Waiter* next_ = nullptr;
    Waiter* prev_ = nullptr;
    Entry* granted_ = nullptr;
    MrPool* pool_ = nullptr;
  };

  static absl::StatusOr<std::unique_ptr<MrPool>> create(Pd& pd, const MrPoolOptions& options);
  ~MrPool();
  MrPool(const MrPool&) = delete;
  MrPool& operator=(const MrPool&) = delete;

  // An entry, or an empty lease when every one is out.
  Lease get(std::source_location where = std::source_location::current());
  // Queues `waiter` behind those already waiting; `ready` runs once an entry is its.
  void get(Waiter& waiter, std::source_location where = std::source_location::current());
  // True: `waiter` is forgotten and `ready` will not run. False: it was served; `ready` runs.
  // From the waiter's home thread.
  bool cancel(Waiter& waiter);

  // Re-creates keys on the repair list; returns how many entries became free. Takes locks and, on
  // verbs, system calls.
  size_t repair();

  MrPoolStats stats() const;
  const MrPoolOptions& options() const;
  Pd& pd() const;

  class Impl;

 private:
  explicit MrPool(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mrpool
