// A pool of fast-registration MRs: the kernel's ib_mr_pool with access flags, shared by all queue
// pairs and threads of a Pd.
//
// One I/O takes a lease, maps its bytes, registers them with exactly the rights it needs, hands out
// the key, has it invalidated, and returns the lease:
//
//   MrPool::Lease lease = pool->get();         // empty when exhausted
//   lease.map(segments);
//   WorkRequest reg;
//   lease.prepare_register(rights, reg);       // where lease.needs_registration(): post it in
//                                              // front of the request that uses the key
//   ... I/O; invalidated by the peer or by READ with invalidate (lease.invalidated() says so), or
//   lease.prepare_invalidate(inv);             // and lease.invalidated() from its completion
//   lease.reset();                             // or the destructor
//
// Of a pool of integrity MRs the lease is mapped with protection, and asked for the result between
// invalidated() and reset(): lease.check_integrity().
//
// A loop that does little else looks its thread's cache up once, and gets and puts through that:
//
//   MrPool::Local local(*pool);
//   MrPool::Lease lease = local.get();
//   local.put(std::move(lease));
//
// The life of an entry is free → leased → registered → invalidated → free; a step out of order is a
// bug of the program and aborts with a message, in every build. A lease dropped while its key may
// still be live is not recycled: the entry goes to the repair list, which re-creates the key off
// the data path (repair(); also run when get() finds the pool empty or somebody waits).
//
// Thread safety: shared objects: safe for get, put, cancel, stats, repair. A Lease belongs to one
// thread at a time and may be moved between threads. A Local is const: safe, and of use to the
// thread that made it. Not for signal handlers.
// Progress: get() and the return of a lease are lock-free and do not allocate. Exceptions, none of
// them on the path of an ordinary I/O: a thread's first use of a pool, while somebody waits,
// repair. Memory ordering: what a thread wrote before it returned a lease is visible to the thread
// that gets the same entry next. Exhaustion: get() returns an empty lease at once, and only if
// there was a moment during the call at which no entry was free: caches of other threads, running
// or ended, hide none. get(Waiter) is served first come, first served; while somebody waits, get()
// takes only what its thread's own cache still holds. Ownership: the pool must outlive its leases
// and be destroyed before its Pd. Destroying it with leases or waiters out is reported on stderr,
// in debug builds with the place each lease was taken, and aborts. How it works, and why it is
// right: docs/mr_pool.md.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "mrpool/device.h"
#include "mrpool/internal/free_list.h"
#include "mrpool/internal/thread_slots.h"
#include "mrpool/mr.h"
#include "mrpool/reactor.h"

namespace mrpool {

namespace internal {
class MrSupplier;
}

// Where a lease was taken: std::source_location as far as both compilers have it (clang 14 lacks
// the builtin that libstdc++'s needs).
struct SourceLocation {
  const char* file = "";
  unsigned line = 0;
  // The place of the call.
  static constexpr SourceLocation current(const char* file_in = __builtin_FILE(),
                                          unsigned line_in = __builtin_LINE()) {
    return {file_in, line_in};
  }
};

// What the MRs of a pool can be mapped to.
enum class MrPoolType : uint8_t {
  kFastReg,    // segments without gaps, as ib_map_mr_sg takes them
  kSgGaps,     // any segments; needs caps.sg_gaps
  kIntegrity,  // with protection information (docs/integrity.md); needs caps.max_integrity_blocks
};

// What a pool is made of.
struct MrPoolOptions {
  uint32_t count = 0;  // entries, below 2^24; all allocated at creation
  MrPoolType type = MrPoolType::kFastReg;
  uint32_t max_segments = 256;  // per entry
  // The ceiling: no registration through the pool may exceed it. Remote rights are asked for by
  // name.
  Access access = Access::kLocalWrite;
  // The least scope the pool's user accepts; creation fails with FailedPrecondition on a device
  // that only has less.
  Registration at_least = Registration::kPreRegistered;
  // Threads that get a cache of their own, about 1.3 KiB each, allocated at creation. Others share
  // a list and are served as correctly but slower.
  uint32_t cached_threads = 32;
  // Per entry; set for kIntegrity, and only then.
  IntegrityCapacity integrity{};
};

// Counters since creation. Each is exact when no call is under way; the set is not one snapshot.
struct MrPoolStats {
  uint32_t size = 0;
  uint32_t in_use = 0;  // leased, or granted to a waiter
  // How many different entries were ever leased. Entries are reused last in, first out, so with one
  // thread this is the peak of in_use; with several it is never below it.
  uint32_t high_water = 0;
  uint32_t in_repair = 0;    // neither free nor leased
  uint64_t gets = 0;         // leases given out
  uint64_t exhaustions = 0;  // get() that returned empty
  uint64_t waits = 0;        // get(Waiter) that had to wait
  uint64_t repairs = 0;      // keys re-created
};
// One line "NAME VALUE" for each.
std::string to_text(const MrPoolStats& stats);

// A pool of fast-registration MRs; the head of this header has its rules.
class MrPool {
 public:
  // The life of an entry.
  enum class State : uint8_t { kLeased, kInvalidated, kRegistered };

  struct Entry;
  class Local;

  // One MR of the pool, until it is reset or destroyed; may be empty.
  class Lease {
   public:
    Lease() = default;
    // `other` is empty afterwards.
    Lease(Lease&& other) noexcept : entry_(other.entry_) { other.entry_ = nullptr; }
    [[gnu::always_inline]] Lease& operator=(Lease&& other) noexcept {
      Entry* const taken = other.entry_;
      other.entry_ = nullptr;  // first: it may be this one
      reset();
      entry_ = taken;
      return *this;
    }
    [[gnu::always_inline]] ~Lease() { reset(); }

    // All calls but this one and reset() require a lease that is not empty: an empty one aborts
    // with a message.
    explicit operator bool() const { return entry_ != nullptr; }
    // Returns the entry to the pool, or to the repair list when its key may be live.
    void reset();

    // The MR.
    FastMr& mr() const;
    // Where the entry is in its life.
    State state() const;

    // FastMr::map on this entry. Requires the key not to be live.
    size_t map(std::span<const Sge> segments);
    // FastMr::map_integrity on this entry, of a pool of kIntegrity. Requires the key not to be
    // live.
    PostStatus map(IntegrityFlow flow, std::span<const Sge> data, std::span<const Sge> protection,
                   const IntegrityAttributes& attributes);
    // FastMr::check_integrity on this entry. Requires the key not to be live: after invalidated().
    IntegrityReport check_integrity();
    // Fills `wr` with the registration of the mapped memory under a new key, unsignalled, and marks
    // the key live: a request that is prepared must be posted, or taken back with not_posted().
    // kAccessDenied: `access` exceeds the pool's ceiling, or is forbidden (MrPool::denied() says
    // which flags); nothing changed. Where
    // needs_registration() is false there is nothing to post: `wr` is not touched and the key,
    // which is the base Mr's, does not count as live.
    PostStatus prepare_register(Access access, WorkRequest& wr);
    // Whether prepare_register() fills a request that has to be posted.
    bool needs_registration() const { return mr().needs_registration(); }
    // The request that prepare_register() filled was not posted: its key is dead.
    void not_posted();
    // Fills `wr` with the local invalidation; call invalidated() from its completion. `wr` has no
    // completion yet and is signalled.
    void prepare_invalidate(WorkRequest& wr) const;
    // The key is dead: the peer's SEND, a READ with invalidate or a kLocalInv has ended it.
    void invalidated();

    // For interfaces that hand leases out as pointers (transport/c): gives the entry away without
    // ending the lease, which is empty afterwards, and makes a lease of it again.
    [[nodiscard]] Entry* release() {
      Entry* const entry = entry_;
      entry_ = nullptr;
      return entry;
    }
    // Of an entry that release() gave.
    static Lease adopt(Entry* entry) { return Lease(entry); }

   private:
    friend class MrPool;
    friend class Local;
    explicit Lease(Entry* entry) : entry_(entry) {}
    Entry& entry() const {
      if (entry_ == nullptr) [[unlikely]]
        report_empty();
      return *entry_;
    }
    [[noreturn]] void report_empty() const;
    Entry* entry_ = nullptr;
  };

  // The pool as one thread sees it: its cache, looked up when the Local is made instead of in each
  // call. It holds nothing: entries in the cache stay in every thread's reach, any number of Locals
  // and plain calls may be mixed, and a lease from either may end either way. Where the cache is
  // not the calling thread's (another thread, a thread that is ending, more threads than
  // cached_threads) each call notices and does what the plain one does, at its price. The pool must
  // outlive it.
  class Local {
   public:
    // Looks the calling thread's cache up.
    explicit Local(MrPool& pool)
        : pool_(&pool), slot_(pool.this_threads_slot()), slot_id_(pool.slot_id_) {}

    // As MrPool::get().
    Lease get(SourceLocation where = SourceLocation::current()) const;
    // Ends `lease`, which may be empty, and of any pool.
    void put(Lease&& lease) const noexcept;

   private:
    bool here() const;

    MrPool* pool_;
    internal::PoolSlot* slot_;  // the thread's that made this; nobody's when it had none
    uint32_t slot_id_;
  };

  // An asynchronous get. Embed it; it must stay until `ready` ran or cancel() returned, and aborts
  // with a message where it does not. May be used
  // again from then on, from inside `ready` too.
  class Waiter : private Task {
   public:
    // `lease` is not empty.
    using Ready = void (*)(Waiter& self, Lease lease);
    // `ready` runs on `home`'s thread, never from inside get(Waiter&).
    Waiter(Reactor& home, Ready ready) : Task(&Waiter::run), home_(&home), ready_(ready) {}
    ~Waiter() {
      if (phase_ != Phase::kIdle) [[unlikely]]
        report_waiting();
    }

   private:
    friend class MrPool;
    enum class Phase : uint8_t { kIdle, kQueued, kGranted };
    static void run(Task& task);
    [[noreturn]] void report_waiting() const;

    Reactor* home_;
    Ready ready_;
    MrPool* pool_ = nullptr;
    Waiter* next_ = nullptr;
    Waiter* prev_ = nullptr;
    Entry* granted_ = nullptr;
    SourceLocation where_;
    Phase phase_ = Phase::kIdle;
  };

  // FailedPrecondition: the device has no MRs of that type, or only a lesser scope.
  // InvalidArgument: options that contradict each other, refused flags. ResourceExhausted: the
  // device's limits. Nothing is left behind.
  static absl::StatusOr<std::unique_ptr<MrPool>> create(Pd& pd, const MrPoolOptions& options);
  ~MrPool();
  MrPool(const MrPool&) = delete;
  MrPool& operator=(const MrPool&) = delete;

  // An entry, or an empty lease when every one is out.
  Lease get(SourceLocation where = SourceLocation::current());
  // Queues `waiter` behind those already waiting; `ready` runs once an entry is its.
  void get(Waiter& waiter, SourceLocation where = SourceLocation::current());
  // Takes a get back, on the thread of the waiter's home. It is final: when cancel() returns,
  // `ready` will not run any more for this get, and the waiter may be destroyed or used again.
  //
  //   the waiter                              returns   `ready`             the MR
  //   waits for an MR                         true      does not run        none was its
  //   was given one, `ready` has not run yet  true      does not run        is free again
  //   is idle: `ready` ran, or no get()       false     ran, or never will  the caller's lease
  //   runs `ready` now (a call from inside)   false     runs                the caller's lease
  bool cancel(Waiter& waiter);

  // Re-creates keys on the repair list; returns how many entries became free. Takes locks and, on
  // verbs, system calls. Entries whose renewal fails stay on the list for the next call.
  size_t repair();

  // What the pool holds and has counted. Any thread; the numbers are not of one moment.
  MrPoolStats stats() const;
  // What it was created with.
  const MrPoolOptions& options() const;
  // What became of MrPoolOptions::access on this device: the flags that its registrations may have,
  // and optional ones that the device ignores.
  const Granted& granted() const;
  // The flags because of which a registration with `access` is kAccessDenied: beyond the ceiling,
  // or forbidden; kDisableRelaxedOrdering when the ceiling has it and `access` does not. kNone:
  // none.
  Access denied(Access access) const;
  // The Pd of its MRs.
  Pd& pd() const;

  class Impl;

 private:
  friend class Impl;
  explicit MrPool(std::unique_ptr<Impl> impl);
  Entry* take(SourceLocation where);
  Entry* take_from(internal::PoolSlot& slot, SourceLocation where);
  Entry* get_elsewhere(SourceLocation where);
  static void put(Entry& entry);
  static void put_into(internal::PoolSlot& slot, Entry& entry);
  static void put_elsewhere(Entry& entry);
  static void put_slow(Entry& entry);
  internal::PoolSlot* recall_slot() const;
  internal::PoolSlot* this_threads_slot() const;
  static bool end_lease(Entry& entry);
  void put_live(Entry& entry);
  static void begin_lease(Entry& entry, SourceLocation where);
  Entry* get_slow(SourceLocation where);
  void answer_attention(internal::PoolSlot& slot);
  bool serve_waiters(const Waiter* newcomer = nullptr);
  void unlink(Waiter& waiter);

  // Of KeyedPools, which calls them one at a time: MRs that come and go. `options.count` is the
  // most there can be; the pool starts without any.
  friend class KeyedPools;
  static absl::StatusOr<std::unique_ptr<MrPool>> create_hollow(Pd& pd, const MrPoolOptions& options,
                                                               internal::MrSupplier& supplier);
  // Makes up to `count` MRs; `made` tells how many. An error is that of the first that failed.
  absl::Status fill(uint32_t count, uint32_t& made);
  // Destroys up to `count` free MRs, none while somebody waits; returns how many.
  uint32_t thin_out(uint32_t count);
  // How many free MRs no lease has used since the last call.
  uint32_t count_unused();
  bool wanted() const { return free_.has_waiters(); }
  // The pool that `lease`, which is not empty, belongs to.
  static MrPool& home_of(const Lease& lease);
  // Ends it and destroys its MR.
  static void destroy(Lease&& lease);
  void hollow_out(Entry& entry);

  uint32_t slot_id_;  // its place in internal::t_slots
  std::unique_ptr<Impl> impl_;
  internal::PoolFreeList free_;
};

}  // namespace mrpool

#include "mrpool/internal/mr_pool_inline.h"
