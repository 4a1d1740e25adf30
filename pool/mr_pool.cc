// MrPool: entries, their life cycle, waiters and repair, around the free list.
//
// Locks: `waiters_mutex` guards the queue of waiters and their phases. It is taken only by a get
// that begins to wait and while there are waiters. `repair_mutex` serializes repairs. A repair
// returns entries and so may take waiters_mutex while it holds repair_mutex; the opposite order
// does not occur.
//
// No waiter misses an entry. For a return, see FreeList, F4. For a repair: the end of a lease with
// a live key first raises `in_repair` and then reads has_waiters(); a get that waits first sets
// has_waiters() and then reads `in_repair`. All four accesses are sequentially consistent.
#include "mrpool/mr_pool.h"

#include <algorithm>
#include <chrono>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "mrpool/internal/probe.h"
#include "mrpool/internal/report.h"
#include "pool/mr_pool_impl.h"

namespace mrpool {

using internal::t_slots;
using Phase = MrPool::Entry::Phase;

namespace {

const char* name_of(Phase phase) {
  static constexpr const char* kNames[] = {
      "leased", "leased", "mapped", "invalidated", "registered", "under repair", "without an MR"};
  return kNames[size_t(phase)];
}

void set_phase(MrPool::Entry& entry, Phase phase) { entry.set(entry.pool(), phase); }

std::string leased_at([[maybe_unused]] const MrPool::Entry& entry) {
#ifndef NDEBUG
  return absl::StrCat(", leased at ", entry.where.file, ":", entry.where.line);
#else
  return "";
#endif
}

// The time on the clock of `home`, from any thread: a real loop's clock is the steady one.
Nanoseconds time_of(const Reactor& home) {
  if (home.in_thread()) return home.now();
  return std::chrono::steady_clock::now().time_since_epoch();
}

[[noreturn]] void broken_life_cycle(const MrPool::Entry& entry, const char* attempt) {
  internal::fatal(absl::StrCat(attempt, " of MR ", entry.index, ", which is ",
                               name_of(entry.phase()), leased_at(entry)));
}

absl::Status check_integrity(const DeviceCaps& caps, const MrPoolOptions& options) {
  const IntegrityCapacity& capacity = options.integrity;
  if (options.type != MrPoolType::kIntegrity) {
    if (capacity == IntegrityCapacity{}) return absl::OkStatus();
    return absl::InvalidArgumentError(
        "MrPoolOptions::integrity is for pools of MrPoolType::kIntegrity");
  }
  if (caps.max_integrity_blocks == 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        caps.name, " has no integrity MRs; make and check tuples with mrpool/integrity.h"));
  }
  if (capacity.blocks == 0 || capacity.blocks > caps.max_integrity_blocks) {
    return absl::InvalidArgumentError(absl::StrCat("integrity.blocks ", capacity.blocks, ": ",
                                                   caps.name, " registers 1 to ",
                                                   caps.max_integrity_blocks, " blocks at once"));
  }
  if (capacity.protection_segments > caps.max_fast_reg_segments) {
    return absl::InvalidArgumentError(
        absl::StrCat("integrity.protection_segments ", capacity.protection_segments, ": ",
                     caps.name, " registers up to ", caps.max_fast_reg_segments));
  }
  return absl::OkStatus();
}

absl::Status check(const DeviceCaps& caps, const MrPoolOptions& options, Granted& granted) {
  if (options.count == 0 || options.count >= internal::PoolFreeList::kMaxNodes) {
    return absl::InvalidArgumentError(absl::StrCat("a pool of ", options.count,
                                                   " MRs: count must be from 1 to ",
                                                   internal::PoolFreeList::kMaxNodes - 1));
  }
  // Before anything of that size is allocated.
  if (caps.registration == Registration::kFastReg && options.count > caps.max_mr) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "a pool of ", options.count, " MRs: ", caps.name, " has max_mr = ", caps.max_mr));
  }
  if (caps.registration > options.at_least) {
    return absl::FailedPreconditionError(absl::StrCat(
        caps.name, " offers ", std::string(to_string(caps.registration)), ", the pool asks for ",
        std::string(to_string(options.at_least)), " at least; lower MrPoolOptions::at_least"));
  }
  if (options.type == MrPoolType::kSgGaps && !caps.sg_gaps) {
    return absl::FailedPreconditionError(
        absl::StrCat(caps.name, " cannot register ranges with gaps; use MrPoolType::kFastReg"));
  }
  if (absl::Status status = check_integrity(caps, options); !status.ok()) return status;
  if (options.max_segments == 0 || options.max_segments > caps.max_fast_reg_segments) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_segments ", options.max_segments, ": ", caps.name, " registers 1 to ",
                     caps.max_fast_reg_segments, " segments at once"));
  }
  return grant(options.access, caps.access, granted);
}

}  // namespace

MrPool::MrPool(std::unique_ptr<Impl> impl)
    : impl_(std::move(impl)),
      free_(impl_->nodes.data(), uint32_t(impl_->nodes.size()),
            internal::heavy_fence_available() ? impl_->options.cached_threads : 0) {
  slot_id_ = internal::register_list(free_);
  for (Entry& entry : impl_->entries) entry.set(this, Phase::kFresh);
}

absl::StatusOr<std::unique_ptr<MrPool>> MrPool::create(Pd& pd, const MrPoolOptions& options) {
  Granted granted;
  if (absl::Status status = check(pd.caps(), options, granted); !status.ok()) return status;
  auto impl = std::make_unique<Impl>(pd, options);
  impl->granted = granted;
  impl->entries = std::vector<Entry>(options.count);
  impl->nodes.reserve(options.count);
  const FastMrOptions mr_options = impl->mr_options();
  for (Entry& entry : impl->entries) {
    auto mr = pd.alloc_fast_mr(mr_options);
    if (!mr.ok()) {  // what was made goes with `impl`
      return absl::Status(mr.status().code(),
                          absl::StrCat("MR ", impl->nodes.size() + 1, " of ", options.count,
                                       " for a pool: ", mr.status().message()));
    }
    entry.mr = *std::move(mr);
    impl->nodes.push_back(&entry);
  }
  return std::unique_ptr<MrPool>(new MrPool(std::move(impl)));
}

absl::StatusOr<std::unique_ptr<MrPool>> MrPool::create_hollow(Pd& pd, const MrPoolOptions& options,
                                                              internal::MrSupplier& supplier) {
  Granted granted;
  if (absl::Status status = check(pd.caps(), options, granted); !status.ok()) return status;
  auto impl = std::make_unique<Impl>(pd, options);
  impl->granted = granted;
  impl->supplier = &supplier;
  impl->entries = std::vector<Entry>(options.count);
  impl->nodes.reserve(options.count);
  impl->hollow.reserve(options.count);
  for (Entry& entry : impl->entries) impl->nodes.push_back(&entry);
  std::unique_ptr<MrPool> pool(new MrPool(std::move(impl)));
  // With a slot of its own this thread empties whole magazines at a time.
  internal::PoolSlot* const slot = Impl::slot_of(*pool);
  while (auto* const entry = static_cast<Entry*>(pool->free_.take(slot))) pool->hollow_out(*entry);
  return pool;
}

MrPool::~MrPool() {
  internal::unregister_list(slot_id_, reinterpret_cast<uintptr_t>(this));
  std::vector<bool> free(impl_->entries.size());
  free_.for_each_free([&](const auto* node) { free[node->index] = true; });
  uint32_t leaked = 0;
  for (const Entry& entry : impl_->entries) {
    if (free[entry.index] || entry.phase() == Phase::kRepair) continue;
    if (entry.phase() == Phase::kHollow) continue;
    ++leaked;
    internal::report(
        absl::StrCat("MR ", entry.index, " is still ", name_of(entry.phase()), leased_at(entry)));
  }
  if (leaked == 0 && impl_->first_waiter == nullptr) return;
  internal::fatal(absl::StrCat("pool destroyed with ", leaked, " of ", impl_->entries.size(),
                               " MRs leased",
                               impl_->first_waiter != nullptr ? " and waiters queued" : ""));
}

// ------------------------------------------------------------------------------- get and put

// Takes the entry to where its next lease begins. False: it went to repair.
bool MrPool::end_lease(Entry& entry) {
  switch (entry.phase()) {
    case Phase::kLeased:
      return true;
    case Phase::kFresh:
    case Phase::kMapped:
    case Phase::kInvalidated:
      set_phase(entry, Phase::kLeased);
      return true;
    default:
      entry.pool()->put_live(entry);
      return false;
  }
}

// The calling thread's slot, if it has one, for its next calls to find in t_recent.
internal::PoolSlot* MrPool::recall_slot() const {
  internal::PoolSlot* const slot = t_slots[slot_id_];
  if (slot != nullptr) {
    internal::t_recent.slot = slot;
    internal::t_recent.pool.store(reinterpret_cast<uintptr_t>(this), std::memory_order_relaxed);
  }
  return slot;
}

internal::PoolSlot* MrPool::this_threads_slot() const {
  static constinit internal::PoolSlot nobodys;  // in no thread's table, so Local::here() is false
  internal::PoolSlot* const slot = Impl::slot_of(*this);
  return slot != nullptr ? slot : &nobodys;
}

// A get through a Local whose slot is not the calling thread's. Not inlined, and without the
// address of the Local, which can so live in registers.
MrPool::Entry* MrPool::get_elsewhere(SourceLocation where) { return take(where); }

// A lease whose entry is not as its get gave it (registered, invalidated, or its first), or whose
// pool this thread did not use last.
void MrPool::put_elsewhere(Entry& entry) {
  if (!end_lease(entry)) return;
  internal::PoolSlot* const slot = entry.pool()->recall_slot();
  if (slot == nullptr) return put_slow(entry);
  put_into(*slot, entry);
}

MrPool::Entry* MrPool::get_slow(SourceLocation where) {
  // Those who wait come first.
  for (bool repaired = false, supplied = false; !free_.has_waiters();) {
    internal::PoolSlot* const slot = Impl::slot_of(*this);
    if (auto* entry = static_cast<Entry*>(free_.take(slot))) {
      begin_lease(*entry, where);
      return entry;
    }
    if (!repaired && impl_->in_repair.load(std::memory_order_relaxed) > 0) {
      repaired = true;
      repair();  // waits for one under way: then its entries are there
    } else if (!supplied && impl_->supplier != nullptr) {
      supplied = true;
      impl_->supplier->supply(*this);
    } else {
      break;
    }
  }
  impl_->exhaustions.fetch_add(1, std::memory_order_relaxed);
  return nullptr;
}

void MrPool::put_slow(Entry& entry) {
  MrPool& pool = *entry.pool();
  pool.free_.give(Impl::slot_of(pool), &entry);
  if (pool.free_.has_waiters()) pool.serve_waiters();
}

void MrPool::answer_attention(internal::PoolSlot& slot) {
  if (free_.check_waiters(slot)) serve_waiters();
}

// ------------------------------------------------------------------------------- waiters

void MrPool::get(Waiter& waiter, SourceLocation where) {
  bool first;
  {
    const std::lock_guard lock(impl_->waiters_mutex);
    if (waiter.phase_ != Waiter::Phase::kIdle) {
      internal::misuse("MrPool::get", "Waiter", &waiter, "waits already");
    }
    waiter.phase_ = Waiter::Phase::kQueued;
    waiter.pool_ = this;
    waiter.where_ = where;
    waiter.next_ = nullptr;
    waiter.prev_ = impl_->last_waiter;
    first = impl_->last_waiter == nullptr;
    (first ? impl_->first_waiter : impl_->last_waiter->next_) = &waiter;
    impl_->last_waiter = &waiter;
    if (first) free_.set_has_waiters(true);
    // The first one waits only where its search finds nothing.
    waiter.since_ = first ? Nanoseconds::zero() : time_of(*waiter.home_);
  }
  // A thread that gets only this way works from a cache too.
  internal::PoolSlot* const slot = Impl::slot_of(*this);
  // Not the first waiter: the first one's search below, or a later return, serves this one.
  if (first) free_.heavy_fence(slot);  // F4
  if (!first || !serve_waiters(&waiter)) impl_->waits.fetch_add(1, std::memory_order_relaxed);
  // From here on `waiter` may be gone.
  if (impl_->in_repair.load(std::memory_order_seq_cst) > 0) repair();
  if (first && impl_->supplier != nullptr && free_.has_waiters()) impl_->supplier->supply(*this);
}

// Hands free entries to those who wait, in order, until one of the two runs out. True when
// `newcomer` got one.
bool MrPool::serve_waiters(const Waiter* newcomer) {
  bool served = false;
  const std::lock_guard lock(impl_->waiters_mutex);
  while (Waiter* const waiter = impl_->first_waiter) {
    auto* const entry = static_cast<Entry*>(free_.take(t_slots[slot_id_]));
    if (entry == nullptr) {
      if (waiter == newcomer) waiter->since_ = time_of(*waiter->home_);
      break;
    }
    begin_lease(*entry, waiter->where_);
    unlink(*waiter);
    waiter->phase_ = Waiter::Phase::kGranted;
    waiter->granted_ = entry;
    served |= waiter == newcomer;
    // Under the lock, so that the loop runs them in the order in which they came.
    waiter->home_->post(*waiter);
  }
  return served;
}

void MrPool::unlink(Waiter& waiter) {
  (waiter.prev_ != nullptr ? waiter.prev_->next_ : impl_->first_waiter) = waiter.next_;
  (waiter.next_ != nullptr ? waiter.next_->prev_ : impl_->last_waiter) = waiter.prev_;
  if (impl_->first_waiter == nullptr) free_.set_has_waiters(false);
}

void MrPool::Waiter::run(Task& task) {
  auto& self = static_cast<Waiter&>(task);
  Entry* entry;
  {
    const std::lock_guard lock(self.pool_->impl_->waiters_mutex);
    entry = std::exchange(self.granted_, nullptr);
    self.phase_ = Phase::kIdle;
    self.pool_->count_wait(self);
  }
  self.ready_(self, Lease(entry));
}

bool MrPool::cancel(Waiter& waiter) {
  Lease returned;  // goes back after the lock
  const std::lock_guard lock(impl_->waiters_mutex);
  switch (waiter.phase_) {
    case Waiter::Phase::kIdle:
      return false;
    case Waiter::Phase::kQueued:
      unlink(waiter);
      break;
    case Waiter::Phase::kGranted:
      returned = Lease(std::exchange(waiter.granted_, nullptr));
      waiter.home_->cancel(waiter);
      break;
  }
  waiter.phase_ = Waiter::Phase::kIdle;
  count_wait(waiter);
  return true;
}

// `waiter` ends its wait, if it had to; on its home's thread.
void MrPool::count_wait(Waiter& waiter) {
  const Nanoseconds since = std::exchange(waiter.since_, Nanoseconds::zero());
  if (since == Nanoseconds::zero()) return;
  // The home's clock may be that of the round in which it began.
  const Nanoseconds took = std::max(waiter.home_->now() - since, Nanoseconds::zero());
  impl_->wait_ns.fetch_add(uint64_t(took.count()), std::memory_order_relaxed);
}

// ------------------------------------------------------------------------------- repair

void MrPool::put_live(Entry& entry) {
  if (entry.phase() != Phase::kRegistered) broken_life_cycle(entry, "return");
  set_phase(entry, Phase::kRepair);
  impl_->put_to_repair.fetch_add(1, std::memory_order_relaxed);
  impl_->broken.push(
      entry.index, [this](uint32_t i) -> auto& { return impl_->link(i); });
  impl_->in_repair.fetch_add(1, std::memory_order_seq_cst);
  if (free_.has_waiters()) repair();  // nobody else may come to do it
}

size_t MrPool::repair() {
  const auto link = [this](uint32_t i) -> auto& { return impl_->link(i); };
  std::vector<Entry*> failed;
  size_t renewed = 0;
  const std::lock_guard lock(impl_->repair_mutex);
  for (;;) {
    const uint32_t index = impl_->broken.pop(link);
    if (index == impl_->broken.kNil) break;
    Entry& entry = impl_->entries[index];
    if (!entry.mr->renew().ok()) {
      failed.push_back(&entry);
      continue;
    }
    impl_->in_repair.fetch_sub(1, std::memory_order_relaxed);
    impl_->repairs.fetch_add(1, std::memory_order_relaxed);
    ++renewed;
    set_phase(entry, Phase::kInvalidated);
    put(entry);
  }
  for (Entry* entry : failed) impl_->broken.push(entry->index, link);
  return renewed;
}

// ------------------------------------------------------------------------------- leases

void MrPool::Lease::report_empty() const {
  internal::misuse("MrPool::Lease", "lease", this, "is empty: the pool was exhausted, or it ended");
}

void MrPool::Waiter::report_waiting() const {
  internal::misuse("~Waiter", "MrPool::Waiter", this, "still waits for an MR: cancel() it first");
}

size_t MrPool::Lease::map(std::span<const Sge> segments) {
  if (state() == State::kRegistered) broken_life_cycle(*entry_, "mapping");
  const size_t mapped = entry_->mr->map(segments);
  set_phase(*entry_, mapped > 0 ? Phase::kMapped : Phase::kLeased);
  return mapped;
}

PostStatus MrPool::Lease::map(IntegrityFlow flow, std::span<const Sge> data,
                              std::span<const Sge> protection,
                              const IntegrityAttributes& attributes) {
  if (state() == State::kRegistered) broken_life_cycle(*entry_, "mapping");
  const PostStatus status = entry_->mr->map_integrity(flow, data, protection, attributes);
  set_phase(*entry_, status == PostStatus::kOk ? Phase::kMapped : Phase::kLeased);
  return status;
}

IntegrityReport MrPool::Lease::check_integrity() {
  if (state() == State::kRegistered) broken_life_cycle(*entry_, "integrity check");
  return entry_->mr->check_integrity();
}

PostStatus MrPool::Lease::prepare_register(Access access, WorkRequest& wr) {
  if (state() == State::kRegistered) broken_life_cycle(*entry_, "second registration");
  // What the MR is mapped to may be of a lease before.
  if (entry_->phase() != Phase::kMapped && entry_->phase() != Phase::kInvalidated) {
    broken_life_cycle(*entry_, "registration without map()");
  }
  if (!within_ceiling(access, entry_->pool()->options().access) || !validate(access).ok()) {
    return PostStatus::kAccessDenied;
  }
  if (!needs_registration()) return PostStatus::kOk;
  entry_->mr->advance_key();
  entry_->before_register = entry_->phase();
  set_phase(*entry_, Phase::kRegistered);
  MRPOOL_PROBE2(mr_register, entry_->mr.get(), access.bits());
  wr = WorkRequest{};
  wr.opcode = Opcode::kRegMr;
  wr.signalled = false;
  wr.mr = entry_->mr.get();
  wr.access = access;
  return PostStatus::kOk;
}

void MrPool::Lease::not_posted() {
  if (!needs_registration()) return;
  if (state() != State::kRegistered) broken_life_cycle(*entry_, "not_posted()");
  set_phase(*entry_, entry_->before_register);
}

void MrPool::Lease::prepare_invalidate(WorkRequest& wr) const {
  if (state() != State::kRegistered) broken_life_cycle(*entry_, "invalidation");
  wr = WorkRequest{};
  wr.opcode = Opcode::kLocalInv;
  wr.rkey = entry_->mr->rkey();
}

void MrPool::Lease::invalidated() {
  if (!needs_registration()) return;
  if (state() != State::kRegistered) broken_life_cycle(*entry_, "invalidated()");
  MRPOOL_PROBE1(mr_invalidate, entry_->mr.get());
  set_phase(*entry_, Phase::kInvalidated);
}

// ------------------------------------------------------------------------------- accounting

MrPoolStats MrPool::stats() const {
  MrPoolStats stats;
  stats.size =
      uint32_t(impl_->entries.size()) - impl_->hollow_count.load(std::memory_order_relaxed);
  stats.in_repair = impl_->in_repair.load(std::memory_order_relaxed);
  uint32_t idle = stats.in_repair;
  uint32_t fresh = 0;
  free_.for_each_free([&](const internal::PoolFreeList::Node* node) {
    ++idle;
    fresh += static_cast<const Entry*>(node)->phase() == Phase::kFresh ? 1 : 0;
  });
  // While others get and put, an entry may be met twice.
  stats.in_use = stats.size - std::min(idle, stats.size);
  stats.high_water = std::max(stats.size - std::min(fresh, stats.size),
                              impl_->high_water.load(std::memory_order_relaxed));
  stats.exhaustions = impl_->exhaustions.load(std::memory_order_relaxed);
  stats.waits = impl_->waits.load(std::memory_order_relaxed);
  stats.repairs = impl_->repairs.load(std::memory_order_relaxed);
  stats.wait_ns = impl_->wait_ns.load(std::memory_order_relaxed);
  // What was leased came back, one way or the other, or is still out. Repairs put a second time,
  // and entries that got an MR were put without a get.
  const uint64_t returned = free_.puts() - stats.repairs -
                            impl_->filled.load(std::memory_order_relaxed) +
                            impl_->put_to_repair.load(std::memory_order_relaxed) +
                            impl_->dropped.load(std::memory_order_relaxed);
  stats.gets = returned + stats.in_use;
  return stats;
}

const MrPoolOptions& MrPool::options() const { return impl_->options; }
const Granted& MrPool::granted() const { return impl_->granted; }
Access MrPool::denied(Access access) const {
  return forbidden(access) | beyond_ceiling(access, impl_->options.access);
}
Pd& MrPool::pd() const { return impl_->pd; }

}  // namespace mrpool
