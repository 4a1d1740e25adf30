#include "transport/verbs/access_flags.h"

#include <infiniband/verbs.h>

namespace mrpool::verbs {
namespace {

static_assert(uint32_t(Access::kLocalWrite) == IBV_ACCESS_LOCAL_WRITE);
static_assert(uint32_t(Access::kRemoteWrite) == IBV_ACCESS_REMOTE_WRITE);
static_assert(uint32_t(Access::kRemoteRead) == IBV_ACCESS_REMOTE_READ);
static_assert(uint32_t(Access::kRemoteAtomic) == IBV_ACCESS_REMOTE_ATOMIC);
static_assert(uint32_t(Access::kMwBind) == IBV_ACCESS_MW_BIND);
static_assert(uint32_t(Access::kZeroBased) == IBV_ACCESS_ZERO_BASED);
static_assert(uint32_t(Access::kOnDemand) == IBV_ACCESS_ON_DEMAND);
static_assert(uint32_t(Access::kHugePages) == IBV_ACCESS_HUGETLB);
static_assert(uint32_t(kOptionalAccessRange) == IBV_ACCESS_OPTIONAL_RANGE);

// The same bit with the opposite meaning.
constexpr uint32_t kInverted = IBV_ACCESS_RELAXED_ORDERING;
static_assert(uint32_t(Access::kDisableRelaxedOrdering) == kInverted);
static_assert((kInverted & IBV_ACCESS_OPTIONAL_RANGE) == kInverted);

}  // namespace

uint32_t to_ibv_access(Access access) { return uint32_t(access) ^ kInverted; }

Access from_ibv_access(uint32_t ibv_access) { return Access(ibv_access ^ kInverted); }

}  // namespace mrpool::verbs
