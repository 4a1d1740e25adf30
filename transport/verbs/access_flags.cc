// The access flags of mrpool/access.h are those of libibverbs, bit for bit but one: checked here,
// where both are known. to_ibv() and from_ibv() of that header translate.
#include <infiniband/verbs.h>

#include "mrpool/access.h"

namespace mrpool::verbs {

// Plain numbers without relaxed ordering, which to_ibv() asks for unless it is disabled.
constexpr uint32_t strict(Access access) {
  return to_ibv(access | Access::kDisableRelaxedOrdering);
}

static_assert(strict(Access::kLocalWrite) == IBV_ACCESS_LOCAL_WRITE);
static_assert(strict(Access::kRemoteWrite) == IBV_ACCESS_REMOTE_WRITE);
static_assert(strict(Access::kRemoteRead) == IBV_ACCESS_REMOTE_READ);
static_assert(strict(Access::kRemoteAtomic) == IBV_ACCESS_REMOTE_ATOMIC);
static_assert(strict(Access::kMwBind) == IBV_ACCESS_MW_BIND);
static_assert(strict(Access::kZeroBased) == IBV_ACCESS_ZERO_BASED);
static_assert(strict(Access::kOnDemand) == IBV_ACCESS_ON_DEMAND);
static_assert(strict(Access::kHugePages) == IBV_ACCESS_HUGETLB);
static_assert(kOptionalAccessRange.bits() == IBV_ACCESS_OPTIONAL_RANGE);
// IBV_ACCESS_FLUSH_GLOBAL and IBV_ACCESS_FLUSH_PERSISTENT, which libibverbs has since version 45.
static_assert(strict(Access::kFlushGlobal) == 1u << 8);
static_assert(strict(Access::kFlushPersistent) == 1u << 9);

// The same bit with the opposite meaning.
static_assert(Access::kDisableRelaxedOrdering.bits() == IBV_ACCESS_RELAXED_ORDERING);
static_assert(to_ibv(Access::kNone) == IBV_ACCESS_RELAXED_ORDERING);
static_assert(from_ibv(0) == Access::kDisableRelaxedOrdering);
static_assert(from_ibv(IBV_ACCESS_RELAXED_ORDERING) == Access::kNone);

}  // namespace mrpool::verbs
