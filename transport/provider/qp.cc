// QPs as programs create, change and destroy them.
#include <algorithm>
#include <cerrno>

#include "transport/provider/limits.h"
#include "transport/provider/qp_object.h"
#include "transport/provider/verbs_table.h"

namespace mrpool::provider {
namespace {

int check_caps(const ibv_qp_cap& cap, const DeviceCaps& caps) {
  // One send is the provider's: it gives credits.
  if (cap.max_send_wr >= caps.max_qp_wr || cap.max_recv_wr > caps.max_qp_wr) return EINVAL;
  if (cap.max_send_sge > caps.max_sge || cap.max_recv_sge > caps.max_sge) return EINVAL;
  return cap.max_inline_data > kMaxInline ? EINVAL : 0;
}

ibv_qp* create(ibv_pd* pd_abi, ibv_qp_init_attr* attr) {
  PdObject* pd = Handle<ibv_pd, PdObject>::from(pd_abi);
  if (pd == nullptr || attr == nullptr) return fail_null(EINVAL);
  if (attr->qp_type != IBV_QPT_RC) return fail_null(EOPNOTSUPP);
  if (const int error = check_caps(attr->cap, pd->pd->caps()); error != 0) return fail_null(error);
  CqObject* send_cq = CqObject::from(attr->send_cq);
  CqObject* recv_cq = CqObject::from(attr->recv_cq);
  SrqObject* srq = Handle<ibv_srq, SrqObject>::from(attr->srq);
  if (send_cq == nullptr || recv_cq == nullptr) return fail_null(EINVAL);
  attr->cap.max_inline_data = std::max(attr->cap.max_inline_data, kMinInline);
  const Session session(*pd->engine);
  if (!session.ok()) return fail_null(EIO);
  auto qp = std::make_unique<QpObject>(*pd, send_cq, recv_cq, srq, *attr);
  if (const absl::Status status = qp->open(); !status.ok()) return fail_null(to_errno(status));
  ibv_qp& out = *qp->abi();
  out.qp_num = pd->engine->add_qp(*qp);
  if (out.qp_num == 0) return nullptr;
  out.handle = out.qp_num;
  out.context = pd_abi->context;
  out.qp_context = attr->qp_context;
  out.pd = pd_abi;
  out.send_cq = attr->send_cq;
  out.recv_cq = attr->recv_cq;
  out.srq = attr->srq;
  out.qp_type = attr->qp_type;
  ::pthread_mutex_init(&out.mutex, nullptr);
  ::pthread_cond_init(&out.cond, nullptr);
  fill_wr_functions(*qp->abi_ex());
  ++pd->users;
  ++send_cq->users;
  ++recv_cq->users;
  if (srq != nullptr) ++srq->users;
  if (Checker* checker = Checker::get()) [[unlikely]]
    checker->qp_made(out);
  return qp.release()->abi();
}

template <class Post, class Wr>
int post(ibv_qp* abi, Wr* wr, Wr** bad, const Post& to) {
  QpObject* qp = QpObject::from(abi);
  if (qp == nullptr) return fail(EINVAL);
  const Session session(qp->engine());
  if (!session.ok()) return fail(EIO);
  return to(*qp, wr, bad);
}

}  // namespace

int post_send(ibv_qp* abi, ibv_send_wr* wr, ibv_send_wr** bad) {
  return post(abi, wr, bad, [](QpObject& qp, auto* first, auto** refused) {
    return qp.post_send(first, refused);
  });
}

int post_recv(ibv_qp* abi, ibv_recv_wr* wr, ibv_recv_wr** bad) {
  return post(abi, wr, bad, [](QpObject& qp, auto* first, auto** refused) {
    return qp.post_recv(first, refused);
  });
}

ibv_qp* create_qp_ex(ibv_context* context, ibv_qp_init_attr_ex* attr) {
  if (context == nullptr || attr == nullptr) return fail_null(EINVAL);
  constexpr uint32_t kKnown =
      IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS | IBV_QP_INIT_ATTR_CREATE_FLAGS;
  constexpr uint64_t kOperations =
      IBV_QP_EX_WITH_RDMA_WRITE | IBV_QP_EX_WITH_SEND | IBV_QP_EX_WITH_RDMA_READ |
      IBV_QP_EX_WITH_SEND_WITH_INV | IBV_QP_EX_WITH_SEND_WITH_IMM |
      IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM | IBV_QP_EX_WITH_ATOMIC_CMP_AND_SWP |
      IBV_QP_EX_WITH_ATOMIC_FETCH_AND_ADD | IBV_QP_EX_WITH_BIND_MW | IBV_QP_EX_WITH_LOCAL_INV;
  if ((attr->comp_mask & IBV_QP_INIT_ATTR_PD) == 0) return fail_null(EINVAL);
  if ((attr->comp_mask & ~kKnown) != 0) return fail_null(EOPNOTSUPP);
  if ((attr->comp_mask & IBV_QP_INIT_ATTR_CREATE_FLAGS) != 0 && attr->create_flags != 0) {
    return fail_null(EOPNOTSUPP);
  }
  if ((attr->comp_mask & IBV_QP_INIT_ATTR_SEND_OPS_FLAGS) != 0 &&
      (attr->send_ops_flags & ~kOperations) != 0) {
    return fail_null(EOPNOTSUPP);
  }
  ibv_qp_init_attr plain{.qp_context = attr->qp_context,
                         .send_cq = attr->send_cq,
                         .recv_cq = attr->recv_cq,
                         .srq = attr->srq,
                         .cap = attr->cap,
                         .qp_type = attr->qp_type,
                         .sq_sig_all = attr->sq_sig_all};
  ibv_qp* qp = create(attr->pd, &plain);
  if (qp != nullptr) attr->cap = plain.cap;
  return qp;
}

}  // namespace mrpool::provider

using mrpool::checker::Checker;
using mrpool::provider::CqObject;
using mrpool::provider::fail;
using mrpool::provider::Handle;
using mrpool::provider::PdObject;
using mrpool::provider::QpObject;
using mrpool::provider::Session;
using mrpool::provider::SrqObject;

extern "C" {

ibv_qp* ibv_create_qp(ibv_pd* pd, ibv_qp_init_attr* attr) {
  return mrpool::provider::create(pd, attr);
}

ibv_qp_ex* ibv_qp_to_qp_ex(ibv_qp* qp) { return reinterpret_cast<ibv_qp_ex*>(qp); }

int ibv_modify_qp(ibv_qp* abi, ibv_qp_attr* attr, int mask) {
  QpObject* qp = QpObject::from(abi);
  if (qp == nullptr || attr == nullptr) return fail(EINVAL);
  const Session session(qp->engine());
  if (!session.ok()) return fail(EIO);
  const int error = qp->modify(*attr, mask);
  return error == 0 ? 0 : fail(error);
}

int ibv_query_qp(ibv_qp* abi, ibv_qp_attr* attr, int, ibv_qp_init_attr* init) {
  QpObject* qp = QpObject::from(abi);
  if (qp == nullptr || attr == nullptr || init == nullptr) return fail(EINVAL);
  const Session session(qp->engine());
  *attr = qp->attributes();
  *init = qp->init_attributes();
  attr->cap = init->cap;
  return 0;
}

int ibv_destroy_qp(ibv_qp* abi) {
  QpObject* qp = QpObject::from(abi);
  if (qp == nullptr) return fail(EINVAL);
  {
    const Session session(qp->engine());
    if (!session.ok()) return fail(EIO);
    if (Checker* checker = Checker::get()) [[unlikely]]
      checker->qp_ended(*abi);
    qp->close();
    mrpool::provider::ContextObject::from(abi->context)
        ->async.remove_if(
            [&](const ibv_async_event& each) {
              return each.event_type == IBV_EVENT_QP_LAST_WQE_REACHED && each.element.qp == abi;
            },
            [](const ibv_async_event&) {});
    qp->engine().remove_qp(abi->qp_num);
    --qp->pd().users;  // an imported one may have ended by now
    --CqObject::from(abi->send_cq)->users;
    --CqObject::from(abi->recv_cq)->users;
    if (abi->srq != nullptr) --Handle<ibv_srq, SrqObject>::from(abi->srq)->users;
    ::pthread_cond_destroy(&abi->cond);
    ::pthread_mutex_destroy(&abi->mutex);
    delete qp;
  }
  return 0;
}

}  // extern "C"
