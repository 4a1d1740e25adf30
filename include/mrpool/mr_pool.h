// A pool of fast-registration MRs: the kernel's ib_mr_pool with access flags, shared by all queue
// pairs and threads of a Pd.
//
// One I/O takes a lease, maps its bytes, registers them with exactly the rights it needs, and sends
// the key to the peer. At its end the key is invalidated and the lease returned:
//
//   MrPool::Lease lease = pool->get();         // empty when exhausted
//   lease.map(segments);
//   WorkRequest reg;
//   lease.prepare_register(rights, reg);       // where lease.needs_registration(): post it before
//                                              // the request that uses the key
//   ... I/O; then, after the peer or a READ with invalidate has invalidated the key:
//   lease.invalidated();
//   ... or, where neither has: post this, and call invalidated() from its completion
//   lease.prepare_invalidate(inv);
//   lease.reset();                             // or the destructor
//
// A lease of a pool of integrity MRs is mapped with protection. lease.check_integrity() has the
// result; call it between invalidated() and reset().
//
// A tight loop can look up its thread's cache once, and get and put through a Local:
//
//   MrPool::Local local(*pool);
//   MrPool::Lease lease = local.get();
//   local.put(std::move(lease));
//
// The life of an entry is free → leased → mapped → registered → invalidated → free. A step out of
// order is a bug of the program and aborts with a message, in every build. An entry whose lease
// ends while its key may be live does not become free: it goes to the repair list. repair()
// re-creates its key, off the data path. The pool also repairs when get() finds it empty and when
// there are waiters. Until its repair the peer can still use the key and access the memory. Before
// you reuse or free the memory, end the key by an invalidation or with its Qp, or call repair().
//
// Thread safety: any thread may call get, put, cancel, stats and repair. A Lease belongs to one
// thread at a time and may be moved between threads. A Local may be used by any thread, and is fast
// in the thread that made it. Not for signal handlers.
// Progress: get() and the return of a lease are lock-free and do not allocate. There are three
// exceptions, none on the path of an ordinary I/O: a thread's first use of a pool, calls while
// there are waiters, and repair.
// Memory ordering: what a thread wrote before it returned a lease is visible to the thread that
// gets the same entry next. Exhaustion: get() returns an empty lease only if, at some instant
// during the call, every entry was in use. Entries cached by other threads count as free and are
// found. Waiters are served in order of arrival; while there are waiters, get() takes only entries
// from its own thread's cache. Ownership: the pool must outlive its leases and be destroyed before
// its Pd. Destroying it with leases or waiters is reported on stderr and aborts; in debug builds
// the report has the place where each lease was taken. How it works, and the proof that it is
// correct: docs/internals/mr_pool.md.
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
  kIntegrity,  // with protection information (docs/reference/integrity.md); needs
               // caps.max_integrity_blocks
};

// The parameters of a pool.
struct MrPoolOptions {
  uint32_t count = 0;  // entries, 1 to 2^24 - 2; all allocated at creation
  MrPoolType type = MrPoolType::kFastReg;
  uint32_t max_segments = 256;  // per entry; 1 to caps.max_fast_reg_segments
  // The ceiling: no registration through the pool may exceed it. The default has no remote rights.
  Access access = Access::kLocalWrite;
  // The least scope the pool's user accepts; creation fails with FailedPrecondition on a device
  // that only has less.
  Registration at_least = Registration::kPreRegistered;
  // The number of threads that get their own cache, about 1.3 KiB each, allocated at creation. All
  // other threads share a list, which is slower.
  uint32_t cached_threads = 32;
  // Per entry; set for kIntegrity, and only then.
  IntegrityCapacity integrity{};
};

// Counters since creation. Each is exact when no call is under way; the set is not one snapshot.
struct MrPoolStats {
  uint32_t size = 0;
  uint32_t in_use = 0;  // leased, or granted to a waiter
  // The number of different entries that were ever leased. Entries are reused last in, first out,
  // so with one thread this is the peak of in_use; with several it is at least that.
  uint32_t high_water = 0;
  uint32_t in_repair = 0;    // neither free nor leased
  uint64_t gets = 0;         // leases that get() returned or waiters received
  uint64_t exhaustions = 0;  // get() that returned empty
  uint64_t waits = 0;        // get(Waiter) that had to wait
  uint64_t repairs = 0;      // keys re-created
  uint64_t wait_ns = 0;      // of the waits that ended, until `ready` ran or cancel()
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

    // False: the lease is empty. All calls but this one and reset() abort with a message on an
    // empty lease.
    explicit operator bool() const { return entry_ != nullptr; }
    // Returns the entry to the pool, or to the repair list when its key may be live: the peer can
    // then use the key until repair.
    void reset();

    // The MR.
    FastMr& mr() const;
    // The state of the entry.
    State state() const;

    // FastMr::map on this entry: returns how many of `segments`, from the first, the MR maps; 0:
    // none. Requires the key not to be live.
    size_t map(std::span<const Sge> segments);
    // FastMr::map_integrity on this entry, of a pool of kIntegrity. Requires the key not to be
    // live.
    PostStatus map(IntegrityFlow flow, std::span<const Sge> data, std::span<const Sge> protection,
                   const IntegrityAttributes& attributes);
    // FastMr::check_integrity on this entry. Requires the key not to be live: after invalidated().
    IntegrityReport check_integrity();
    // Fills `wr` with the registration of the mapped memory under a new key, unsignalled, and marks
    // the key live. The request must be posted, or not_posted() called. Requires a map() of this
    // lease that mapped something.
    // kAccessDenied: `access` exceeds the pool's ceiling, or is forbidden; MrPool::denied() returns
    // the flags. Nothing changed.
    // Where needs_registration() is false, `wr` is not changed and must not be posted. The key is
    // the base Mr's and does not count as live.
    PostStatus prepare_register(Access access, WorkRequest& wr);
    // Whether prepare_register() fills a request that must be posted.
    bool needs_registration() const { return mr().needs_registration(); }
    // The request that prepare_register() filled was not posted: its key is dead.
    void not_posted();
    // Fills `wr` with the local invalidation; call invalidated() from its completion. `wr` has no
    // completion yet and is signalled.
    void prepare_invalidate(WorkRequest& wr) const;
    // Reports that the key is dead: the peer's SEND, a READ with invalidate or a kLocalInv has
    // invalidated it.
    void invalidated();

    // For interfaces that pass leases as pointers (transport/c). release() returns the entry
    // without ending the lease, and empties this object. adopt() makes a lease of the entry again.
    [[nodiscard]] Entry* release() {
      Entry* const entry = entry_;
      entry_ = nullptr;
      return entry;
    }
    // `entry` must come from release().
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

  // One thread's cache of the pool, looked up when the Local is made instead of in each call. A
  // Local holds no entries: other threads can still take those in the cache. Locals and plain calls
  // may be mixed, and a lease from either may be returned by either. A call notices where the cache
  // is not the calling thread's (another thread, a thread that ends, more threads than
  // cached_threads); it then does what the plain call does. The pool must outlive the Local.
  class Local {
   public:
    // Looks the calling thread's cache up.
    explicit Local(MrPool& pool)
        : pool_(&pool), slot_(pool.this_threads_slot()), slot_id_(pool.slot_id_) {}

    // As MrPool::get().
    Lease get(SourceLocation where = SourceLocation::current()) const;
    // Ends `lease`, which may be empty or of another pool.
    void put(Lease&& lease) const noexcept;

   private:
    bool here() const;

    MrPool* pool_;
    internal::PoolSlot* slot_;  // of the thread that made this; null when it had none
    uint32_t slot_id_;
  };

  // An asynchronous get. Embed it. It must exist until `ready` ran or cancel() returned; destroying
  // it earlier aborts with a message. It may be used again after that, also from inside `ready`.
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
    Nanoseconds since_{};  // when it began to wait; zero where it had no need to
    Phase phase_ = Phase::kIdle;
  };

  // FailedPrecondition: the device has no MRs of that type, or only a lesser scope.
  // InvalidArgument: options that contradict each other or exceed the device's caps, refused flags.
  // ResourceExhausted: the device has no room for so many MRs. After an error nothing of the pool
  // remains.
  static absl::StatusOr<std::unique_ptr<MrPool>> create(Pd& pd, const MrPoolOptions& options);
  ~MrPool();
  MrPool(const MrPool&) = delete;
  MrPool& operator=(const MrPool&) = delete;

  // Takes a free entry. Returns an empty lease when every entry is in use.
  Lease get(SourceLocation where = SourceLocation::current());
  // Adds `waiter` at the end of the queue; its `ready` runs when it is given an entry.
  void get(Waiter& waiter, SourceLocation where = SourceLocation::current());
  // Cancels a get, on the thread of the waiter's home. It is final: when cancel() has returned,
  // `ready` does not run for this get, and the waiter may be destroyed or used again.
  //
  //   the waiter                              returns   `ready`             the MR
  //   waits for an MR                         true      does not run        it had none
  //   was given one, `ready` has not run yet  true      does not run        is free again
  //   is idle: `ready` ran, or no get()       false     ran, or never will  the caller's lease
  //   runs `ready` now (a call from inside)   false     runs                the caller's lease
  bool cancel(Waiter& waiter);

  // Re-creates keys on the repair list; returns how many entries became free. Takes locks and, on
  // verbs, system calls. Entries whose renewal fails stay on the list for the next call.
  size_t repair();

  // The current statistics. Any thread.
  MrPoolStats stats() const;
  // The options that the pool was created with.
  const MrPoolOptions& options() const;
  // How the device has granted MrPoolOptions::access: the flags that registrations may have, and
  // the optional flags that the device ignores.
  const Granted& granted() const;
  // The flags because of which prepare_register(access) returns kAccessDenied: those beyond the
  // ceiling, those that are forbidden, and kDisableRelaxedOrdering where the ceiling has it and
  // `access` does not. kNone: the registration is allowed.
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
  void count_wait(Waiter& waiter);

  // For KeyedPools, which calls these one at a time. It adds and removes MRs: the pool starts
  // without any and has at most `options.count`.
  friend class KeyedPools;
  static absl::StatusOr<std::unique_ptr<MrPool>> create_hollow(Pd& pd, const MrPoolOptions& options,
                                                               internal::MrSupplier& supplier);
  // Makes up to `count` MRs and sets `made` to their number. An error is that of the first failure.
  absl::Status fill(uint32_t count, uint32_t& made);
  // Destroys up to `count` free MRs, none while there are waiters; returns how many.
  uint32_t thin_out(uint32_t count);
  // The number of free MRs that no lease has used since the last call.
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
