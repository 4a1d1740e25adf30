#include "mrpool/keyed_pools.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"
#include "mrpool/internal/report.h"

namespace mrpool {

struct KeyedPools::Record {
  MrPoolKey key;
  std::unique_ptr<MrPool> pool;
  uint32_t open = 0;
  uint32_t size = 0;     // MRs, leased ones included
  uint32_t new_mrs = 0;  // made since the last age()
  uint64_t made = 0;
  uint64_t aged = 0;
  uint64_t yielded = 0;
  uint64_t dropped = 0;
};

absl::StatusOr<std::unique_ptr<KeyedPools>> KeyedPools::create(Pd& pd,
                                                               const KeyedPoolsOptions& options) {
  if (options.budget == 0 || options.batch == 0 || options.reserve == 0 ||
      options.reserve > options.budget) {
    return absl::InvalidArgumentError(
        absl::StrCat("a budget of ", options.budget, " MRs with a reserve of ", options.reserve,
                     " for each key, made ", options.batch,
                     " at a time: each must be at least 1, and the reserve not beyond the budget"));
  }
  return std::unique_ptr<KeyedPools>(new KeyedPools(pd, options));
}

KeyedPools::KeyedPools(Pd& pd, const KeyedPoolsOptions& options) : pd_(pd), options_(options) {}

KeyedPools::~KeyedPools() {
  for (const std::unique_ptr<Record>& record : records_) {
    if (record->open == 0) continue;
    internal::misuse("~KeyedPools", "KeyedPools", this,
                     absl::StrCat("has ", record->open, " Pools open").c_str());
  }
}

// ------------------------------------------------------------------------------- keys

absl::StatusOr<KeyedPools::Pool> KeyedPools::open(const MrPoolKey& asked) {
  MrPoolKey key = asked;
  const uint32_t most = pd_.caps().max_fast_reg_segments;
  // Others are refused by MrPool::create.
  if (key.max_segments <= most) key.max_segments = std::min(std::bit_ceil(key.max_segments), most);
  const std::lock_guard lock(mutex_);
  auto at = std::ranges::lower_bound(records_, key, {}, [](const auto& r) { return r->key; });
  if (at == records_.end() || (*at)->key != key) {
    absl::StatusOr<std::unique_ptr<MrPool>> pool =
        MrPool::create_hollow(pd_,
                              {.count = options_.budget,
                               .type = key.type,
                               .max_segments = asked.max_segments == 0 ? 0 : key.max_segments,
                               .access = key.access,
                               .at_least = options_.at_least,
                               .cached_threads = options_.cached_threads,
                               .integrity = key.integrity},
                              *this);
    if (!pool.ok()) return pool.status();
    auto record = std::make_unique<Record>();
    record->key = key;
    record->pool = *std::move(pool);
    at = records_.insert(at, std::move(record));
  }
  Record& record = **at;
  ++record.open;
  if (absl::Status status = fill_reserve(record); !status.ok()) {
    --record.open;  // age() removes what nobody uses
    return status;
  }
  return Pool(this, record.pool.get());
}

KeyedPools::Pool& KeyedPools::Pool::operator=(Pool&& other) noexcept {
  if (this == &other) return *this;
  close();
  home_ = std::exchange(other.home_, nullptr);
  pool_ = std::exchange(other.pool_, nullptr);
  return *this;
}

void KeyedPools::Pool::close() {
  if (home_ == nullptr) return;
  const std::lock_guard lock(home_->mutex_);
  --home_->record_of(*pool_).open;
  home_ = nullptr;
  pool_ = nullptr;
}

KeyedPools::Record& KeyedPools::record_of(const MrPool& pool) const {
  const auto at = std::ranges::find(records_, &pool, [](const auto& r) { return r->pool.get(); });
  if (at == records_.end()) {
    internal::misuse("KeyedPools", "MrPool", &pool, "belongs to others, or is gone");
  }
  return **at;
}

// ------------------------------------------------------------------------------- MRs

// Requires mutex_, as all below does.
absl::Status KeyedPools::make(Record& record, uint32_t count) {
  uint32_t made = 0;
  const absl::Status status = record.pool->fill(count, made);
  record.size += made;
  record.new_mrs += made;
  record.made += made;
  size_ += made;
  return status;
}

absl::Status KeyedPools::fill_reserve(Record& record) {
  if (record.size >= options_.reserve) return absl::OkStatus();
  const uint32_t wanted = options_.reserve - record.size;
  if (make_room(wanted, record) < wanted) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the budget of ", options_.budget, " MRs is in use: ", size_,
                     " are leased or the reserve of ", records_.size(),
                     " keys; raise KeyedPoolsOptions::budget"));
  }
  return make(record, wanted);
}

bool KeyedPools::supply(MrPool& pool) {
  const std::lock_guard lock(mutex_);
  Record& record = record_of(pool);
  const uint32_t before = record.size;
  // What the device refuses is heard of in open(); here the MRs that there are serve in turn.
  (void)make(record, make_room(options_.batch, record));
  return record.size > before;
}

// Room in the budget for up to `wanted` MRs, made by destroying free ones of other keys.
uint32_t KeyedPools::make_room(uint32_t wanted, const Record& taker) {
  for (const std::unique_ptr<Record>& record : records_) {
    const uint32_t room = options_.budget - size_;
    if (room >= wanted) break;
    if (record.get() == &taker) continue;
    record->yielded += give_back(*record, wanted - room);
  }
  return std::min(wanted, options_.budget - size_);
}

// Destroys up to `count` free MRs beyond the reserve.
uint32_t KeyedPools::give_back(Record& record, uint32_t count) {
  const uint32_t floor = record.open > 0 ? options_.reserve : 0;
  const uint32_t surplus = record.size - std::min(record.size, floor);
  const uint32_t gone = record.pool->thin_out(std::min(count, surplus));
  record.size -= gone;
  record.new_mrs -= std::min(record.new_mrs, gone);
  size_ -= gone;
  return gone;
}

void KeyedPools::drop(MrPool::Lease&& lease) {
  if (!lease) return;
  const std::lock_guard lock(mutex_);
  Record& record = record_of(MrPool::home_of(lease));
  MrPool::destroy(std::move(lease));
  --record.size;
  --size_;
  ++record.dropped;
  // So that those who wait get one; where the device refuses, age() tries again.
  if (record.open > 0) (void)fill_reserve(record);
}

// ------------------------------------------------------------------------------- ageing

size_t KeyedPools::age() {
  const std::lock_guard lock(mutex_);
  size_t gone = 0;
  for (const std::unique_ptr<Record>& record : records_) {
    MrPool& pool = *record->pool;
    pool.repair();
    const uint32_t unused = pool.count_unused();
    // The new ones have not had a whole period.
    const uint32_t old = unused - std::min(unused, record->new_mrs);
    const uint32_t aged = give_back(*record, record->open > 0 ? old : record->size);
    record->new_mrs = 0;
    record->aged += aged;
    gone += aged;
  }
  std::erase_if(records_, [](const auto& r) { return r->open == 0 && r->size == 0; });
  // What others gave back may be what some have waited for.
  for (const std::unique_ptr<Record>& record : records_) {
    if (record->open > 0) (void)fill_reserve(*record);
    if (record->pool->wanted()) (void)make(*record, make_room(options_.batch, *record));
  }
  return gone;
}

std::vector<KeyedPoolStats> KeyedPools::stats() const {
  const std::lock_guard lock(mutex_);
  std::vector<KeyedPoolStats> all;
  for (const std::unique_ptr<Record>& record : records_) {
    all.push_back({.key = record->key,
                   .mrs = record->pool->stats(),
                   .open = record->open,
                   .made = record->made,
                   .aged = record->aged,
                   .yielded = record->yielded,
                   .dropped = record->dropped});
  }
  return all;
}

uint32_t KeyedPools::size() const {
  const std::lock_guard lock(mutex_);
  return size_;
}

PoolAgeing::PoolAgeing(KeyedPools& pools, Reactor& reactor, Nanoseconds period)
    : pools_(pools), reactor_(reactor), period_(period) {
  timer_.arm(reactor_, period_);
}

void PoolAgeing::expired() {
  pools_.age();
  timer_.arm(reactor_, period_);
}

}  // namespace mrpool
