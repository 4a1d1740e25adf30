// Shared receive queues.
#include <cerrno>

#include "transport/provider/checked_work.h"
#include "transport/provider/qp_object.h"
#include "transport/provider/verbs_table.h"

namespace mrpool::provider {

void SrqObject::completed(ReceiveEntry& entry, const WorkCompletion&) {
  entry.posted = false;
  free.push_back(&entry);
  if (limit == 0 || gone || entries.size() - free.size() >= limit) return;
  limit = 0;  // the event is given once for each time it is armed
  ibv_async_event event{};
  event.element.srq = &handle.abi;
  event.event_type = IBV_EVENT_SRQ_LIMIT_REACHED;
  ContextObject::from(handle.abi.context)->async.push(event);
}

namespace {

int post_one(SrqObject& srq, const ibv_recv_wr& wr) {
  if (srq.free.empty()) return ENOMEM;
  if (wr.num_sge < 0 || static_cast<uint32_t>(wr.num_sge) > srq.max_sge) return EINVAL;
  ReceiveEntry& entry = *srq.free.back();
  entry.sges.clear();
  entry.wr_id = wr.wr_id;
  for (int i = 0; i < wr.num_sge; ++i) {
    entry.sges.push_back(*srq.pd->translate(wr.sg_list[i], false));
  }
  const PostStatus status = srq.srq->post_recv({.completion = &entry, .sges = entry.sges});
  if (status != PostStatus::kOk) return status == PostStatus::kQueueFull ? ENOMEM : EINVAL;
  entry.posted = true;
  srq.free.pop_back();
  if (Checker::get() != nullptr) [[unlikely]]
    tell_posted(wr, entry, 0);
  return 0;
}

}  // namespace

int post_srq_recv(ibv_srq* abi, ibv_recv_wr* wr, ibv_recv_wr** bad) {
  SrqObject* srq = Handle<ibv_srq, SrqObject>::from(abi);
  if (srq == nullptr) return fail(EINVAL);
  const Session session(*srq->pd->engine);
  for (; wr != nullptr; wr = wr->next) {
    const int error = session.ok() ? post_one(*srq, *wr) : EIO;
    if (error == 0) continue;
    if (bad != nullptr) *bad = wr;
    return fail(error);
  }
  return 0;
}

ibv_srq* create_srq_ex(ibv_context* context, ibv_srq_init_attr_ex* attr) {
  if (context == nullptr || attr == nullptr) return fail_null(EINVAL);
  const bool basic =
      (attr->comp_mask & IBV_SRQ_INIT_ATTR_TYPE) == 0 || attr->srq_type == IBV_SRQT_BASIC;
  if (!basic || (attr->comp_mask & IBV_SRQ_INIT_ATTR_PD) == 0) return fail_null(EOPNOTSUPP);
  ibv_srq_init_attr plain{.srq_context = attr->srq_context, .attr = attr->attr};
  ibv_srq* srq = ibv_create_srq(attr->pd, &plain);
  if (srq != nullptr) attr->attr = plain.attr;
  return srq;
}

}  // namespace mrpool::provider

using mrpool::provider::fail;
using mrpool::provider::fail_null;
using mrpool::provider::Handle;
using mrpool::provider::PdObject;
using mrpool::provider::ReceiveEntry;
using mrpool::provider::Session;
using mrpool::provider::SrqObject;

extern "C" {

ibv_srq* ibv_create_srq(ibv_pd* abi, ibv_srq_init_attr* attr) {
  PdObject* pd = Handle<ibv_pd, PdObject>::from(abi);
  if (pd == nullptr || attr == nullptr) return fail_null(EINVAL);
  const mrpool::DeviceCaps& caps = pd->pd->caps();
  if (attr->attr.max_wr == 0 || attr->attr.max_wr > caps.max_qp_wr ||
      attr->attr.max_sge > caps.max_sge) {
    return fail_null(EINVAL);
  }
  const Session session(*pd->engine);
  if (!session.ok()) return fail_null(EIO);
  auto srq = std::make_unique<SrqObject>();
  srq->max_sge = std::max(attr->attr.max_sge, 1u);
  auto made = pd->pd->create_srq(pd->engine->reactor(),
                                 {.max_wr = attr->attr.max_wr, .max_sge = srq->max_sge});
  if (!made.ok()) return fail_null(mrpool::provider::to_errno(made.status()));
  srq->srq = *std::move(made);
  srq->pd = pd;
  srq->device_pd = pd->pd;
  srq->entries = std::vector<ReceiveEntry>(attr->attr.max_wr);
  for (ReceiveEntry& entry : srq->entries) {
    entry.srq = srq.get();
    entry.sges.reserve(srq->max_sge);
    srq->free.push_back(&entry);
  }
  srq->handle.object = srq.get();
  ibv_srq& out = srq->handle.abi;
  out.context = abi->context;
  out.pd = abi;
  out.srq_context = attr->srq_context;
  ::pthread_mutex_init(&out.mutex, nullptr);
  ::pthread_cond_init(&out.cond, nullptr);
  attr->attr.max_sge = srq->max_sge;
  ++pd->users;
  return mrpool::provider::told_made("SRQ", &srq.release()->handle.abi);
}

int ibv_modify_srq(ibv_srq* abi, ibv_srq_attr* attr, int mask) {
  SrqObject* srq = Handle<ibv_srq, SrqObject>::from(abi);
  if (srq == nullptr || attr == nullptr || (mask & ~(IBV_SRQ_LIMIT | IBV_SRQ_MAX_WR)) != 0) {
    return fail(EINVAL);
  }
  if ((mask & IBV_SRQ_MAX_WR) != 0) return fail(EOPNOTSUPP);
  const Session session(*srq->pd->engine);
  if (attr->srq_limit > srq->entries.size()) return fail(EINVAL);
  srq->limit = attr->srq_limit;
  return 0;
}

int ibv_query_srq(ibv_srq* abi, ibv_srq_attr* attr) {
  SrqObject* srq = Handle<ibv_srq, SrqObject>::from(abi);
  if (srq == nullptr || attr == nullptr) return fail(EINVAL);
  const Session session(*srq->pd->engine);
  *attr = {.max_wr = static_cast<uint32_t>(srq->entries.size()),
           .max_sge = srq->max_sge,
           .srq_limit = srq->limit};
  return 0;
}

int ibv_destroy_srq(ibv_srq* abi) {
  SrqObject* srq = Handle<ibv_srq, SrqObject>::from(abi);
  if (srq == nullptr) return fail(EINVAL);
  const Session session(*srq->pd->engine);
  if (!session.ok()) return fail(EIO);
  if (srq->users != 0) return fail(EBUSY);
  mrpool::provider::tell_ended(abi);
  srq->gone = true;
  mrpool::provider::ContextObject::from(abi->context)
      ->async.remove_if(
          [&](const ibv_async_event& each) {
            return each.event_type == IBV_EVENT_SRQ_LIMIT_REACHED && each.element.srq == abi;
          },
          [](const ibv_async_event&) {});
  srq->srq.reset();
  --srq->pd->users;
  ::pthread_cond_destroy(&abi->cond);
  ::pthread_mutex_destroy(&abi->mutex);
  delete srq;
  return 0;
}

}  // extern "C"
