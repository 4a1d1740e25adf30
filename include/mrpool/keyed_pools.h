// MR pools that come and go by demand: the kernel's FRMR pools (Linux ce5df0b891ed), in userspace.
//
// What it is: one MrPool for each combination of what cannot change on an MR (its ceiling of access
// flags, its segments, its kind), for all threads and Qps of a Pd. The pools share a budget of MRs.
// A program asks for a pool by key and uses it as any MrPool: RwContext, Lender and async_get take
// it as it is.
//
//   auto pools = KeyedPools::create(*pd, {.budget = 4096}).value();
//   PoolAgeing ageing(*pools, reactor);                           // gives back what nobody uses
//
//   // For each connection, at its set-up:
//   KeyedPools::Pool pool = pools->open({.access = needs.pool_access,
//                                        .max_segments = needs.pool_segments,
//                                        .type = MrPoolType::kSgGaps}).value();
//   auto context = RwContext::create(*qp, pool.get(), limits).value();
//
// How pools grow and shrink:
//  - open() makes sure that the key's pool has KeyedPoolsOptions::reserve MRs, and as long as a
//    Pool of that key is open it never has fewer: who waits for an MR always gets one.
//  - A get() that finds no MR free makes `batch` more, within the budget. Where the budget is used
//    up, MRs that are free in other pools beyond their reserve make room. Else get() returns an
//    empty lease, and get(Waiter) waits in order, as in every MrPool.
//  - Every call of age() gives back what no lease has used since the call before. The kernel's
//    period is a minute.
//  - drop() takes an MR out of its pool that its user does not trust any more.
//  - A pool whose Pools are all closed gives back everything that is free at the next age(), and
//    goes when its last lease has ended.
//
// Thread safety: shared objects: safe, PoolAgeing and Pool apart (one thread at a time; Pools may
// be moved between threads). Progress: a get() that finds a free MR is MrPool's, lock-free and
// without heap; one that makes MRs takes a lock and allocates, and on verbs makes system calls.
// Ownership: KeyedPools outlives its Pools and is destroyed before its Pd. Leases end before the
// last Pool of their key closes, or before age() is called next, or stay out: their pool then waits
// for them. Destroying KeyedPools with leases out aborts with a message, as MrPool does.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/status/statusor.h"
#include "mrpool/callback.h"
#include "mrpool/device.h"
#include "mrpool/internal/mr_supplier.h"
#include "mrpool/mr_pool.h"
#include "mrpool/reactor.h"

namespace mrpool {

// What cannot change on an MR.
struct MrPoolKey {
  Access access = Access::kLocalWrite;  // the ceiling of its registrations
  uint32_t max_segments = 256;          // rounded up to a power of two, so that like sizes share
  MrPoolType type = MrPoolType::kFastReg;
  IntegrityCapacity integrity{};  // of kIntegrity; taken as it is
  friend auto operator<=>(const MrPoolKey&, const MrPoolKey&) = default;
};

// Bounds and habits of a set of pools.
struct KeyedPoolsOptions {
  uint32_t budget = 0;   // MRs of all pools together, 1 to 2^24 - 2
  uint32_t reserve = 1;  // MRs of a key that is open, at least 1
  uint32_t batch = 32;   // MRs that are made at once, at least 1
  // As in MrPoolOptions, for each pool.
  Registration at_least = Registration::kPreRegistered;
  uint32_t cached_threads = 32;
};

// What a set of pools counts.
struct KeyedPoolStats {
  MrPoolKey key;
  MrPoolStats mrs;       // size: those there are now; high_water: the most between two age()
  uint32_t open = 0;     // Pools
  uint64_t made = 0;     // MRs since the pool came, and what became of them
  uint64_t aged = 0;     // nobody had used them for a period
  uint64_t yielded = 0;  // given up for another key
  uint64_t dropped = 0;
};

// Pools by key, made on demand under one budget.
class KeyedPools final : private internal::MrSupplier {
 public:
  // A use of the pool of one key; the pool stays as long. Move-only.
  class Pool {
   public:
    Pool() = default;
    // `other` is empty afterwards.
    Pool(Pool&& other) noexcept : home_(other.home_), pool_(other.pool_) { other.home_ = nullptr; }
    Pool& operator=(Pool&& other) noexcept;
    ~Pool() { close(); }

    // Whether it has a pool.
    explicit operator bool() const { return home_ != nullptr; }
    // The pool; not of an empty object.
    MrPool* get() const { return pool_; }
    MrPool* operator->() const { return pool_; }
    MrPool& operator*() const { return *pool_; }
    // Gives the use of the pool back; nothing where there is none.
    void close();

   private:
    friend class KeyedPools;
    Pool(KeyedPools* home, MrPool* pool) : home_(home), pool_(pool) {}
    KeyedPools* home_ = nullptr;
    MrPool* pool_ = nullptr;
  };

  // InvalidArgument: a budget, reserve or batch of 0, or a reserve beyond the budget.
  static absl::StatusOr<std::unique_ptr<KeyedPools>> create(Pd& pd,
                                                            const KeyedPoolsOptions& options);
  ~KeyedPools();
  KeyedPools(const KeyedPools&) = delete;
  KeyedPools& operator=(const KeyedPools&) = delete;

  // The pool for `key`, which is made where there is none. Errors: as MrPool::create has them for
  // the key; ResourceExhausted: the budget is in use, by leases and by the reserves of other keys.
  absl::StatusOr<Pool> open(const MrPoolKey& key);

  // Ends `lease` and destroys its MR, whose key is dead on the device afterwards. For an MR that
  // behaved in a way its user cannot explain. No request that names its key may be under way. The
  // pool makes another one when it needs it. An empty lease: nothing happens.
  void drop(MrPool::Lease&& lease);

  // Gives back the MRs that no lease has used since the last call, beyond the reserves, and removes
  // pools that nobody uses. Returns how many MRs went. Takes locks; on verbs makes system calls.
  size_t age();

  // Every pool, by key.
  std::vector<KeyedPoolStats> stats() const;
  uint32_t size() const;  // MRs of all pools together
  // What it was created with.
  const KeyedPoolsOptions& options() const { return options_; }

 private:
  struct Record;

  KeyedPools(Pd& pd, const KeyedPoolsOptions& options);
  bool supply(MrPool& pool) override;
  Record& record_of(const MrPool& pool) const;
  absl::Status make(Record& record, uint32_t count);
  absl::Status fill_reserve(Record& record);
  uint32_t make_room(uint32_t wanted, const Record& taker);
  uint32_t give_back(Record& record, uint32_t count);

  Pd& pd_;
  const KeyedPoolsOptions options_;
  mutable std::mutex mutex_;  // guards all below; never taken with a lock of an MrPool held
  std::vector<std::unique_ptr<Record>> records_;  // in the order of their keys
  uint32_t size_ = 0;
};

// Calls KeyedPools::age() once a period, from the loop of `reactor`, whose thread makes and
// destroys it.
class PoolAgeing {
 public:
  static constexpr Nanoseconds kPeriod = std::chrono::minutes(1);

  // Ages `pools` each `period` on `reactor`'s loop, until it is destroyed there.
  PoolAgeing(KeyedPools& pools, Reactor& reactor, Nanoseconds period = kPeriod);

 private:
  void expired();

  KeyedPools& pools_;
  Reactor& reactor_;
  const Nanoseconds period_;
  Bound<Timer, &PoolAgeing::expired> timer_{*this};
};

}  // namespace mrpool
