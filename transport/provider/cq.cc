// Completion queues and the channels that report them.
#include <sched.h>

#include <algorithm>
#include <bit>
#include <cerrno>

#include "transport/provider/limits.h"
#include "transport/provider/objects.h"
#include "transport/provider/premature_access.h"
#include "transport/provider/qp_object.h"
#include "transport/provider/verbs_table.h"

namespace mrpool::provider {

ibv_wc_status to_ibv(WcStatus status) {
  switch (status) {
    case WcStatus::kSuccess:
      return IBV_WC_SUCCESS;
    case WcStatus::kLocalLength:
      return IBV_WC_LOC_LEN_ERR;
    case WcStatus::kLocalProtection:
      return IBV_WC_LOC_PROT_ERR;
    case WcStatus::kFlushed:
      return IBV_WC_WR_FLUSH_ERR;
    case WcStatus::kBind:
      return IBV_WC_MW_BIND_ERR;
    case WcStatus::kRemoteInvalidRequest:
      return IBV_WC_REM_INV_REQ_ERR;
    case WcStatus::kRemoteAccess:
      return IBV_WC_REM_ACCESS_ERR;
    case WcStatus::kRemoteOperation:
      return IBV_WC_REM_OP_ERR;
    case WcStatus::kTransport:
      return IBV_WC_RETRY_EXC_ERR;
    case WcStatus::kCancelled:  // never a Qp's
    case WcStatus::kIntegrity:
      break;
  }
  return IBV_WC_FATAL_ERR;
}

void CqObject::push(const ibv_wc& wc, bool solicited) {
  if (count == ring.size()) {
    std::vector<ibv_wc> bigger(std::bit_ceil(ring.size() * 2));
    for (size_t i = 0; i < count; ++i) bigger[i] = ring[(head + i) & (ring.size() - 1)];
    ring = std::move(bigger);
    head = 0;
  }
  ring[(head + count++) & (ring.size() - 1)] = wc;
  if (PrematureAccess* checked = PrematureAccess::get()) [[unlikely]]
    order.pushed(checked->take_reached());
  if (Checker* checker = Checker::get()) [[unlikely]] {
    checker->cq_pushed(&handle.abi, count, capacity(), wc.status == IBV_WC_SUCCESS);
  }
  Statistics& statistics = engine->statistics();
  statistics.cq_depth_high = std::max<uint64_t>(statistics.cq_depth_high, count);
  if (wc.status != IBV_WC_SUCCESS) ++statistics.failed;
  if (armed == Arm::kNo || channel == nullptr) return;
  if (armed == Arm::kSolicited && !solicited && wc.status == IBV_WC_SUCCESS) return;
  disarm();
  channel->events.push(abi());
}

int CqObject::pop(int entries, ibv_wc* wc) {
  int taken = 0;
  for (; taken < entries && count > 0; ++taken, --count) {
    wc[taken] = ring[head];
    head = (head + 1) & (ring.size() - 1);
  }
  if (PrematureAccess* checked = PrematureAccess::get()) [[unlikely]] {
    order.popped(static_cast<size_t>(taken), [&](const OrderedData& it) { checked->polled(it); });
  }
  if (Checker* checker = Checker::get()) [[unlikely]] {
    checker->cq_polled(&handle.abi, {wc, static_cast<size_t>(taken)});
  }
  if (!ending.empty()) [[unlikely]]
    for (QpObject* qp : std::vector(ending)) qp->announce_end_if_polled();
  return taken;
}

bool CqObject::holds_success(uint32_t qp_num) const {
  for (size_t i = 0; i < count; ++i) {
    const ibv_wc& wc = ring[(head + i) & (ring.size() - 1)];
    if (wc.qp_num == qp_num && wc.status == IBV_WC_SUCCESS) return true;
  }
  return false;
}

void CqObject::purge(uint32_t qp_num) {
  size_t kept = 0;
  for (size_t i = 0; i < count; ++i) {
    const ibv_wc wc = ring[(head + i) & (ring.size() - 1)];
    if (wc.qp_num != qp_num) ring[(head + kept++) & (ring.size() - 1)] = wc;
  }
  count = kept;
  if (PrematureAccess* checked = PrematureAccess::get()) [[unlikely]] {
    order.purged(count, [&](const OrderedData& it) { checked->polled(it); });
  }
}

void CqObject::arm(bool solicited_only) {
  if (armed == Arm::kNo) engine->count_armed(+1);
  if (armed != Arm::kAny) armed = solicited_only ? Arm::kSolicited : Arm::kAny;
}

void CqObject::disarm() {
  if (armed != Arm::kNo) engine->count_armed(-1);
  armed = Arm::kNo;
}

namespace {

// A peer on the same machine may wait for the processor on which the program polls in vain: after
// so many polls without a completion each further one offers it.
constexpr uint32_t kPatience = 256;
thread_local uint32_t polls_in_vain = 0;

}  // namespace

CqObject* make_cq(ibv_context* abi, uint32_t entries, void* cq_context, ibv_comp_channel* channel,
                  uint32_t vector) {
  ContextObject* context = ContextObject::from(abi);
  if (context == nullptr || entries == 0 || entries > kMaxCqEntries ||
      vector >= static_cast<uint32_t>(abi->num_comp_vectors)) {
    return fail_null(EINVAL);
  }
  const Session session(context->engine);
  if (!session.ok()) return fail_null(EIO);
  auto* cq = new CqObject;
  cq->engine = &context->engine;
  cq->channel = Handle<ibv_comp_channel, ChannelObject>::from(channel);
  cq->ring.resize(std::bit_ceil(size_t{entries}));
  cq->handle.object = cq;
  ibv_cq& out = *cq->abi();
  out.context = abi;
  out.channel = channel;
  out.cq_context = cq_context;
  out.cqe = static_cast<int>(entries);
  ::pthread_mutex_init(&out.mutex, nullptr);
  ::pthread_cond_init(&out.cond, nullptr);
  if (channel != nullptr) ++channel->refcnt;
  told_made("CQ", &out);
  return cq;
}

int poll_cq(ibv_cq* abi, int entries, ibv_wc* wc) {
  CqObject* cq = CqObject::from(abi);
  if (cq == nullptr || entries < 0 || (wc == nullptr && entries > 0)) return -EINVAL;
  if (polls_in_vain > kPatience) ::sched_yield();
  const Session session(*cq->engine);
  if (!session.ok()) return -EIO;
  if (cq->count == 0) cq->engine->drive();
  const int taken = cq->pop(entries, wc);
  cq->engine->count_poll(taken == 0);
  polls_in_vain = taken > 0 ? 0 : polls_in_vain + 1;
  return taken;
}

int req_notify_cq(ibv_cq* abi, int solicited_only) {
  CqObject* cq = CqObject::from(abi);
  if (cq == nullptr) return fail(EINVAL);
  const Session session(*cq->engine);
  if (!session.ok()) return fail(EIO);
  cq->arm(solicited_only != 0);
  return 0;
}

}  // namespace mrpool::provider

using mrpool::checker::Checker;
using mrpool::provider::ChannelObject;
using mrpool::provider::ContextObject;
using mrpool::provider::CqObject;
using mrpool::provider::fail;
using mrpool::provider::fail_null;
using mrpool::provider::Handle;
using mrpool::provider::Session;

extern "C" {

ibv_comp_channel* ibv_create_comp_channel(ibv_context* abi) {
  ContextObject* context = ContextObject::from(abi);
  if (context == nullptr) return fail_null(EINVAL);
  auto* channel = new ChannelObject;
  channel->handle = {.abi = {.context = abi, .fd = channel->events.fd(), .refcnt = 0},
                     .object = channel};
  channel->engine = &context->engine;
  if (channel->handle.abi.fd < 0) {
    delete channel;
    return fail_null(EMFILE);
  }
  return mrpool::provider::told_made("completion channel", &channel->handle.abi);
}

int ibv_destroy_comp_channel(ibv_comp_channel* abi) {
  ChannelObject* channel = Handle<ibv_comp_channel, ChannelObject>::from(abi);
  if (channel == nullptr) return fail(EINVAL);
  const Session session(*channel->engine);
  if (abi->refcnt != 0) return fail(EBUSY);
  mrpool::provider::tell_ended(abi);
  delete channel;
  return 0;
}

ibv_cq* ibv_create_cq(ibv_context* context, int entries, void* cq_context,
                      ibv_comp_channel* channel, int vector) {
  if (entries < 0 || vector < 0) return fail_null(EINVAL);
  CqObject* cq = mrpool::provider::make_cq(context, static_cast<uint32_t>(entries), cq_context,
                                           channel, static_cast<uint32_t>(vector));
  return cq == nullptr ? nullptr : cq->abi();
}

int ibv_resize_cq(ibv_cq* abi, int entries) {
  CqObject* cq = CqObject::from(abi);
  if (cq == nullptr || entries <= 0 ||
      entries > static_cast<int>(mrpool::provider::kMaxCqEntries)) {
    return fail(EINVAL);
  }
  const Session session(*cq->engine);
  if (static_cast<size_t>(entries) < cq->count) return fail(EINVAL);
  abi->cqe = entries;  // the ring grows by itself
  return 0;
}

int ibv_destroy_cq(ibv_cq* abi) {
  CqObject* cq = CqObject::from(abi);
  if (cq == nullptr) return fail(EINVAL);
  {
    const Session session(*cq->engine);
    if (!session.ok()) return fail(EIO);
    if (cq->users != 0) return fail(EBUSY);
    if (Checker* checker = Checker::get()) [[unlikely]]
      checker->cq_ended(abi);
    cq->disarm();
    if (cq->channel != nullptr) {
      cq->channel->events.remove_if([&](ibv_cq* each) { return each == abi; }, [](ibv_cq*) {});
      --abi->channel->refcnt;
    }
  }
  // As libibverbs: the program acknowledges what it took.
  ::pthread_mutex_lock(&abi->mutex);
  while (abi->comp_events_completed != cq->events_taken) {
    ::pthread_cond_wait(&abi->cond, &abi->mutex);
  }
  ::pthread_mutex_unlock(&abi->mutex);
  ::pthread_cond_destroy(&abi->cond);
  ::pthread_mutex_destroy(&abi->mutex);
  delete cq;
  return 0;
}

int ibv_get_cq_event(ibv_comp_channel* abi, ibv_cq** cq, void** cq_context) {
  ChannelObject* channel = Handle<ibv_comp_channel, ChannelObject>::from(abi);
  if (channel == nullptr || cq == nullptr || cq_context == nullptr) {
    errno = EINVAL;
    return -1;
  }
  for (;;) {
    if (mrpool::provider::wait_for_event(abi->fd) != 0) return -1;
    const Session session(*channel->engine);
    const auto taken = channel->events.take();
    if (!taken.has_value()) continue;
    *cq = *taken;
    *cq_context = (*taken)->cq_context;
    ++CqObject::from(*taken)->events_taken;
    return 0;
  }
}

void ibv_ack_cq_events(ibv_cq* abi, unsigned int count) {
  if (abi == nullptr) return;
  ::pthread_mutex_lock(&abi->mutex);
  abi->comp_events_completed += count;
  ::pthread_cond_signal(&abi->cond);
  ::pthread_mutex_unlock(&abi->mutex);
}

}  // extern "C"
