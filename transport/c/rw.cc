// rw contexts in C: rdma_rw.
#include "mrpool/rw.h"

#include <new>

#include "transport/c/attributes.h"
#include "transport/c/handles.h"
#include "transport/c/work.h"

using mrpool::RwContext, mrpool::RwDirection, mrpool::RwLimits, mrpool::RwOperation,
    mrpool::WcStatus, mrpool::WorkRequest;
using mrpool::c::failed, mrpool::c::guarded, mrpool::c::is_null, mrpool::c::object,
    mrpool::c::or_default;

namespace {

// The part of a mrpool_rw_ctx after its function, at the first place that suits the alignment of
// the operation.
struct Transfer {
  Transfer(mrpool_rw_ctx& ctx, mrpool_rw& rw_in) : self(&ctx), rw(&rw_in) {}
  static void done(RwOperation& operation, WcStatus status);

  RwOperation operation{&Transfer::done};
  mrpool_rw_ctx* self;
  mrpool_rw* rw;
  mrpool::SegmentIterator local;
  mrpool::RemoteBuffer remote;
  RwDirection direction = RwDirection::kRead;
  WorkRequest last;
};
constexpr size_t kPlace = 16;
static_assert(alignof(mrpool_rw_ctx) >= alignof(Transfer) && kPlace % alignof(Transfer) == 0);
static_assert(kPlace >= offsetof(mrpool_rw_ctx, opaque));
// Half of the room is for versions to come.
static_assert(kPlace + sizeof(Transfer) <= sizeof(mrpool_rw_ctx));

void* place(mrpool_rw_ctx* ctx) { return reinterpret_cast<char*>(ctx) + kPlace; }
Transfer& transfer(mrpool_rw_ctx* ctx) { return *std::launder(static_cast<Transfer*>(place(ctx))); }
const Transfer& transfer(const mrpool_rw_ctx* ctx) {
  return transfer(const_cast<mrpool_rw_ctx*>(ctx));
}

void Transfer::done(RwOperation& operation, WcStatus status) {
  static_assert(offsetof(Transfer, operation) == 0);
  mrpool_rw_ctx* const ctx = reinterpret_cast<Transfer*>(&operation)->self;
  ctx->done(ctx, int(status));
}

int limits(const mrpool_rw_attr* attr, RwLimits& limits) {
  mrpool_rw_attr given{};
  if (attr != nullptr) {
    if (const int error = mrpool::c::read(attr, given, "attr")) return error;
  }
  limits.max_operations = or_default(given.max_operations, limits.max_operations);
  limits.max_transfer = or_default(given.max_transfer, limits.max_transfer);
  limits.max_segments = or_default(given.max_segments, limits.max_segments);
  limits.force_mr = given.force_mr != 0;
  return 0;
}

}  // namespace

int mrpool_rw_query_needs(const mrpool_device* device, const mrpool_rw_attr* attr,
                          mrpool_rw_needs* needs) {
  if (device == nullptr) return is_null("device");
  RwLimits wanted;
  if (const int error = limits(attr, wanted)) return error;
  const mrpool::RwQueueNeeds all = rw_queue_needs(device->device->caps(), wanted);
  return mrpool::c::write(needs,
                          mrpool_rw_needs{.size = 0,
                                          .send_wr = all.send_wr,
                                          .send_sge = all.send_sge,
                                          .pool_mrs = all.pool_mrs,
                                          .pool_segments = all.pool_segments,
                                          .pool_access = all.pool_access.bits(),
                                          .sink_access = all.sink_access.bits()},
                          "needs");
}

int mrpool_rw_create(mrpool_qp* qp, mrpool_mr_pool* pool, const mrpool_rw_attr* attr,
                     mrpool_rw** rw) {
  return guarded([&] {
    if (qp == nullptr || rw == nullptr) return is_null("qp or rw");
    RwLimits wanted;
    if (const int error = limits(attr, wanted)) return error;
    auto made = RwContext::create(*qp->qp, object(pool), wanted);
    if (!made.ok()) return failed(made.status());
    *rw = new mrpool_rw{std::move(*made), qp};
    return 0;
  });
}

void mrpool_rw_destroy(mrpool_rw* rw) { delete rw; }
void mrpool_rw_stop(mrpool_rw* rw) { rw->context->stop(); }

int mrpool_rw_ctx_init(mrpool_rw_ctx* ctx, mrpool_rw* rw, const mrpool_sge* sg_list,
                       uint32_t num_sge, uint64_t offset, uint64_t remote_addr, uint32_t rkey,
                       uint64_t length, mrpool_rw_direction direction) {
  if (ctx == nullptr || rw == nullptr) return -EINVAL;
  if (direction != MRPOOL_RW_READ && direction != MRPOOL_RW_WRITE) return -EINVAL;
  auto& made = *new (place(ctx)) Transfer(*ctx, *rw);
  made.local = mrpool::SegmentIterator(mrpool::c::sges(sg_list, num_sge), offset);
  made.remote = {{remote_addr}, length, {rkey}};
  made.direction = direction == MRPOOL_RW_READ ? RwDirection::kRead : RwDirection::kWrite;
  if (made.local.extent(length).bytes == length) return 0;
  mrpool_rw_ctx_destroy(ctx);
  return -EINVAL;
}

int mrpool_rw_ctx_post(mrpool_rw_ctx* ctx, const mrpool_send_wr* last) {
  if (ctx == nullptr) return -EINVAL;
  Transfer& it = transfer(ctx);
  const WorkRequest* behind = nullptr;
  if (last != nullptr) {
    const auto made = mrpool::c::make_request(*last, *it.rw->qp, &it.last);
    if (made != mrpool::PostStatus::kOk) return mrpool::c::post_error(made);
    behind = &it.last;
  }
  return mrpool::c::post_error(
      it.rw->context->start(it.operation, it.direction, it.local, it.remote, behind));
}

int mrpool_rw_ctx_last_posted(const mrpool_rw_ctx* ctx) {
  return transfer(ctx).operation.last_posted();
}

int mrpool_rw_ctx_cancel(mrpool_rw_ctx* ctx) {
  Transfer& it = transfer(ctx);
  return it.rw->context->cancel(it.operation);
}

void mrpool_rw_ctx_destroy(mrpool_rw_ctx* ctx) {
  if (ctx != nullptr) transfer(ctx).~Transfer();
}
