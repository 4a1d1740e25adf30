// Pools and leases in C: ib_mr_pool.
#include "mrpool/mr_pool.h"

#include "transport/c/attributes.h"
#include "transport/c/handles.h"

using mrpool::Access, mrpool::MrPool, mrpool::PostStatus, mrpool::WorkRequest;
using mrpool::c::Borrowed, mrpool::c::failed, mrpool::c::guarded, mrpool::c::is_null,
    mrpool::c::object, mrpool::c::or_default;

int mrpool_mr_pool_init(mrpool_pd* pd, const mrpool_mr_pool_attr* attr, mrpool_mr_pool** pool) {
  return guarded([&] {
    if (pd == nullptr || pool == nullptr) return is_null("pd or pool");
    mrpool_mr_pool_attr given;
    if (const int error = mrpool::c::read(attr, given, "attr")) return error;
    if (given.type > MRPOOL_POOL_SG_GAPS) return failed(EINVAL, "attr->type: no such type of pool");
    if (given.at_least > MRPOOL_PRE_REGISTERED) {
      return failed(EINVAL, "attr->at_least: no such kind of registration");
    }
    mrpool::MrPoolOptions options;
    options.count = given.count;
    options.type = mrpool::MrPoolType(given.type);
    options.max_segments = or_default(given.max_segments, options.max_segments);
    options.access = Access::from_bits(or_default(given.access, options.access.bits()));
    options.cached_threads = or_default(given.cached_threads, options.cached_threads);
    if (given.at_least != 0) {
      options.at_least = mrpool::Registration(given.at_least - MRPOOL_FAST_REG);
    }
    auto made = MrPool::create(*object(pd), options);
    if (!made.ok()) return failed(made.status());
    *pool = mrpool::c::handle<mrpool_mr_pool>(std::move(*made));
    return 0;
  });
}

void mrpool_mr_pool_destroy(mrpool_mr_pool* pool) { delete object(pool); }

mrpool_lease* mrpool_mr_pool_get(mrpool_mr_pool* pool) {
  return reinterpret_cast<mrpool_lease*>(object(pool)->get().release());
}

void mrpool_mr_pool_put(mrpool_lease* lease) {
  if (lease == nullptr) return;
  MrPool::Lease::adopt(reinterpret_cast<MrPool::Entry*>(lease)).reset();
}

size_t mrpool_mr_pool_repair(mrpool_mr_pool* pool) { return object(pool)->repair(); }

int mrpool_mr_pool_query(const mrpool_mr_pool* pool, mrpool_mr_pool_stats* stats) {
  if (pool == nullptr) return is_null("pool");
  const mrpool::MrPoolStats now = object(pool)->stats();
  const mrpool_mr_pool_stats all{.size = 0,
                                 .mrs = now.size,
                                 .in_use = now.in_use,
                                 .high_water = now.high_water,
                                 .in_repair = now.in_repair,
                                 .gets = now.gets,
                                 .exhaustions = now.exhaustions,
                                 .waits = now.waits,
                                 .repairs = now.repairs,
                                 .wait_ns = now.wait_ns};
  return mrpool::c::write(stats, all, "stats");
}

size_t mrpool_map_mr_sg(mrpool_lease* lease, const mrpool_sge* sg_list, size_t num_sge) {
  return Borrowed(lease)->map(mrpool::c::sges(sg_list, num_sge));
}

int mrpool_mr_needs_reg(const mrpool_lease* lease) { return Borrowed(lease)->needs_registration(); }

int mrpool_mr_prepare_reg(mrpool_lease* lease, uint32_t access, mrpool_send_wr* wr) {
  WorkRequest request;
  const PostStatus prepared = Borrowed(lease)->prepare_register(Access::from_bits(access), request);
  if (prepared != PostStatus::kOk) return mrpool::c::post_error(prepared);
  if (request.mr == nullptr) return 1;
  *wr = mrpool_send_wr{};
  wr->opcode = MRPOOL_WR_REG_MR;
  wr->access = request.access.bits();
  wr->mr = lease;
  return 0;
}

void mrpool_mr_not_posted(mrpool_lease* lease) { Borrowed(lease)->not_posted(); }

void mrpool_mr_prepare_inv(mrpool_lease* lease, mrpool_send_wr* wr) {
  WorkRequest request;
  Borrowed(lease)->prepare_invalidate(request);
  *wr = mrpool_send_wr{};
  wr->opcode = MRPOOL_WR_LOCAL_INV;
  wr->rkey = request.rkey.value;
  wr->send_flags = MRPOOL_SEND_SIGNALED;
}

void mrpool_mr_invalidated(mrpool_lease* lease) { Borrowed(lease)->invalidated(); }

uint32_t mrpool_lease_lkey(const mrpool_lease* lease) { return Borrowed(lease)->mr().lkey().value; }
uint32_t mrpool_lease_rkey(const mrpool_lease* lease) { return Borrowed(lease)->mr().rkey().value; }
uint64_t mrpool_lease_remote_addr(const mrpool_lease* lease) {
  return Borrowed(lease)->mr().remote_addr().value;
}
uint64_t mrpool_lease_length(const mrpool_lease* lease) { return Borrowed(lease)->mr().length(); }
mrpool_sge mrpool_lease_sge(const mrpool_lease* lease) {
  const mrpool::Sge sge = Borrowed(lease)->mr().sge();
  return {sge.addr, sge.length, sge.lkey.value};
}
