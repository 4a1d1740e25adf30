// librdmacm's calls on an identifier.
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "transport/provider/cm.h"
#include "transport/provider/limits.h"

namespace mrpool::provider {
namespace {

// Runs `call` on the id under the lock, then waits for the outcome where the id is synchronous.
template <class Call>
int on_id(rdma_cm_id* abi, bool waits, const Call& call) {
  CmId* id = CmId::from(abi);
  if (id == nullptr) return cm_fail(EINVAL);
  {
    const Session session(id->engine());
    const int error = session.ok() ? call(*id) : EIO;
    if (error != 0) return cm_fail(error);
  }
  return waits ? cm_complete(*id) : 0;
}

void destroy_cqs(CmId& id) {
  if (!std::exchange(id.owns_cqs, false)) return;
  rdma_cm_id& abi = id.abi();
  ibv_destroy_cq(abi.send_cq);
  if (abi.recv_cq != abi.send_cq) ibv_destroy_cq(abi.recv_cq);
  ibv_destroy_comp_channel(abi.send_cq_channel);
  if (abi.recv_cq_channel != abi.send_cq_channel) ibv_destroy_comp_channel(abi.recv_cq_channel);
  abi.send_cq = abi.recv_cq = nullptr;
  abi.send_cq_channel = abi.recv_cq_channel = nullptr;
}

bool create_cq(CmId& id, uint32_t entries, ibv_comp_channel*& channel, ibv_cq*& cq) {
  channel = ibv_create_comp_channel(id.abi().verbs);
  if (channel == nullptr) return false;
  cq =
      ibv_create_cq(id.abi().verbs, static_cast<int>(std::max(entries, 1u)), &id.abi(), channel, 0);
  return cq != nullptr;
}

// The Cqs that a program leaves to librdmacm.
int create_cqs(CmId& id, ibv_qp_init_attr& attr) {
  rdma_cm_id& abi = id.abi();
  if (attr.send_cq == nullptr && attr.recv_cq == nullptr && abi.send_cq == nullptr) {
    id.owns_cqs = true;
    if (!create_cq(id, attr.cap.max_send_wr, abi.send_cq_channel, abi.send_cq) ||
        !create_cq(id, attr.cap.max_recv_wr, abi.recv_cq_channel, abi.recv_cq)) {
      return -1;
    }
  }
  if (attr.send_cq == nullptr) attr.send_cq = abi.send_cq;
  if (attr.recv_cq == nullptr) attr.recv_cq = abi.recv_cq;
  return 0;
}

int create_qp(CmId& id, ibv_pd* pd, ibv_qp_init_attr& attr) {
  rdma_cm_id& abi = id.abi();
  if (abi.qp != nullptr || abi.verbs == nullptr) return cm_fail(EINVAL);
  if (pd == nullptr) pd = abi.pd;
  if (attr.srq == nullptr) attr.srq = abi.srq;
  if (create_cqs(id, attr) != 0) return -1;
  ibv_qp* qp = ibv_create_qp(pd, &attr);
  if (qp == nullptr) return -1;
  ibv_qp_attr init{};
  init.qp_state = IBV_QPS_INIT;
  init.port_num = 1;
  ibv_modify_qp(qp, &init, IBV_QP_STATE | IBV_QP_PORT);
  abi.qp = qp;
  abi.pd = pd;
  return 0;
}

}  // namespace

ibv_context* cm_context() {
  static ibv_context* context = ibv_open_device(device_abi());
  return context;
}

ibv_pd* cm_pd() {
  static PdObject* const pd = [] {
    auto* made = new PdObject;
    made->handle.object = made;
    made->handle.abi.context = cm_context();
    if (made->handle.abi.context == nullptr) return made;
    made->engine = Engine::get();
    auto device_pd = made->engine->device().alloc_pd();
    if (device_pd.ok()) made->pd = *std::move(device_pd);
    made->handle.abi.handle = ContextObject::from(made->handle.abi.context)->file.add(*made);
    return made;
  }();
  return pd->pd == nullptr ? nullptr : &pd->handle.abi;
}

}  // namespace mrpool::provider

using mrpool::provider::cm_complete;
using mrpool::provider::cm_fail;
using mrpool::provider::CmChannel;
using mrpool::provider::CmId;
using mrpool::provider::Engine;
using mrpool::provider::on_id;
using mrpool::provider::Session;

extern "C" {

int rdma_create_id(rdma_event_channel* channel_abi, rdma_cm_id** out, void* context,
                   rdma_port_space space) {
  if (out == nullptr) return cm_fail(EINVAL);
  if (space != RDMA_PS_TCP && space != RDMA_PS_IB) return cm_fail(EOPNOTSUPP);
  // Opened here, without the engine's lock.
  if (mrpool::provider::cm_pd() == nullptr) return -1;
  const bool synchronous = channel_abi == nullptr;
  CmChannel* channel = CmChannel::from(channel_abi);
  if (synchronous) {
    Engine* engine = Engine::get();
    if (engine == nullptr) return -1;
    channel = CmChannel::create(*engine);
  }
  *out = &(new CmId(*channel->engine, *channel, synchronous, context, space))->abi();
  return 0;
}

int rdma_destroy_id(rdma_cm_id* abi) {
  CmId* id = CmId::from(abi);
  if (id == nullptr) return cm_fail(EINVAL);
  mrpool::provider::cm_forget_event(*id);
  for (;;) {
    {
      const Session session(id->engine());
      if (!session.ok()) return cm_fail(EIO);
      id->drop_events();
      if (id->acknowledged()) {
        CmChannel* own = id->synchronous() ? &id->channel() : nullptr;
        delete id;
        delete own;
        return 0;
      }
    }
    ::usleep(100);  // another thread still holds an event of the id
  }
}

int rdma_bind_addr(rdma_cm_id* id, sockaddr* address) {
  if (address == nullptr) return cm_fail(EINVAL);
  return on_id(id, false, [&](CmId& each) { return each.bind(*address); });
}

int rdma_resolve_addr(rdma_cm_id* id, sockaddr* source, sockaddr* target, int) {
  if (target == nullptr) return cm_fail(EINVAL);
  return on_id(id, true, [&](CmId& each) { return each.resolve(source, *target); });
}

int rdma_resolve_route(rdma_cm_id* id, int) {
  return on_id(id, true, [](CmId& each) {
    if (each.abi().verbs == nullptr) return EINVAL;
    each.push(RDMA_CM_EVENT_ROUTE_RESOLVED);
    return 0;
  });
}

int rdma_listen(rdma_cm_id* id, int) {
  return on_id(id, false, [](CmId& each) { return each.listen(); });
}

int rdma_connect(rdma_cm_id* id, rdma_conn_param* param) {
  return on_id(id, true, [&](CmId& each) { return each.connect(param); });
}

int rdma_accept(rdma_cm_id* id, rdma_conn_param* param) {
  return on_id(id, true, [&](CmId& each) { return each.accept(param); });
}

int rdma_establish(rdma_cm_id* id) {
  return on_id(id, false, [](CmId&) { return 0; });
}

int rdma_reject(rdma_cm_id* id, const void* data, uint8_t bytes) {
  return on_id(id, false, [&](CmId& each) {
    return each.reject({static_cast<const std::byte*>(data), data == nullptr ? 0u : bytes});
  });
}

int rdma_disconnect(rdma_cm_id* id) {
  bool waits = false;
  const int result = on_id(id, false, [&](CmId& each) { return each.disconnect(waits); });
  return result == 0 && waits ? cm_complete(*CmId::from(id)) : result;
}

int rdma_notify(rdma_cm_id* id, ibv_event_type) {
  return on_id(id, false, [](CmId&) { return 0; });
}

int rdma_create_qp(rdma_cm_id* abi, ibv_pd* pd, ibv_qp_init_attr* attr) {
  CmId* id = CmId::from(abi);
  if (id == nullptr || attr == nullptr) return cm_fail(EINVAL);
  return mrpool::provider::create_qp(*id, pd, *attr);
}

int rdma_create_qp_ex(rdma_cm_id* abi, ibv_qp_init_attr_ex* attr) {
  CmId* id = CmId::from(abi);
  if (id == nullptr || attr == nullptr) return cm_fail(EINVAL);
  ibv_qp_init_attr plain{.qp_context = attr->qp_context,
                         .send_cq = attr->send_cq,
                         .recv_cq = attr->recv_cq,
                         .srq = attr->srq,
                         .cap = attr->cap,
                         .qp_type = attr->qp_type,
                         .sq_sig_all = attr->sq_sig_all};
  const bool has_pd = (attr->comp_mask & IBV_QP_INIT_ATTR_PD) != 0;
  if (mrpool::provider::create_qp(*id, has_pd ? attr->pd : nullptr, plain) != 0) return -1;
  attr->cap = plain.cap;
  return 0;
}

void rdma_destroy_qp(rdma_cm_id* abi) {
  CmId* id = CmId::from(abi);
  if (id == nullptr || abi->qp == nullptr) return;
  ibv_destroy_qp(abi->qp);
  abi->qp = nullptr;
  mrpool::provider::destroy_cqs(*id);
}

int rdma_create_srq(rdma_cm_id* abi, ibv_pd* pd, ibv_srq_init_attr* attr) {
  if (abi == nullptr || attr == nullptr) return cm_fail(EINVAL);
  ibv_srq* srq = ibv_create_srq(pd != nullptr ? pd : abi->pd, attr);
  if (srq == nullptr) return -1;
  abi->srq = srq;
  if (pd != nullptr) abi->pd = pd;
  return 0;
}

int rdma_create_srq_ex(rdma_cm_id* abi, ibv_srq_init_attr_ex* attr) {
  if (abi == nullptr || attr == nullptr) return cm_fail(EINVAL);
  const bool basic =
      (attr->comp_mask & IBV_SRQ_INIT_ATTR_TYPE) == 0 || attr->srq_type == IBV_SRQT_BASIC;
  if (!basic) return cm_fail(EOPNOTSUPP);
  ibv_srq_init_attr plain{.srq_context = attr->srq_context, .attr = attr->attr};
  const bool has_pd = (attr->comp_mask & IBV_SRQ_INIT_ATTR_PD) != 0;
  return rdma_create_srq(abi, has_pd ? attr->pd : nullptr, &plain);
}

void rdma_destroy_srq(rdma_cm_id* abi) {
  if (abi == nullptr || abi->srq == nullptr) return;
  ibv_destroy_srq(abi->srq);
  abi->srq = nullptr;
}

int rdma_init_qp_attr(rdma_cm_id* id, ibv_qp_attr* attr, int* mask) {
  if (attr == nullptr || mask == nullptr) return cm_fail(EINVAL);
  return on_id(id, false, [&](CmId&) {
    *mask = IBV_QP_STATE;
    attr->port_num = 1;
    if (attr->qp_state == IBV_QPS_INIT) *mask |= IBV_QP_PORT;
    return 0;
  });
}

__be16 rdma_get_src_port(rdma_cm_id* id) {
  return id == nullptr ? __be16{0} : htons(mrpool::provider::port_of(id->route.addr.src_addr));
}

__be16 rdma_get_dst_port(rdma_cm_id* id) {
  return id == nullptr ? __be16{0} : htons(mrpool::provider::port_of(id->route.addr.dst_addr));
}

ibv_context** rdma_get_devices(int* count) {
  auto** list = static_cast<ibv_context**>(std::calloc(2, sizeof(ibv_context*)));
  if (list == nullptr) return nullptr;
  list[0] = mrpool::provider::cm_context();
  if (count != nullptr) *count = list[0] == nullptr ? 0 : 1;
  return list;
}

void rdma_free_devices(ibv_context** list) { std::free(list); }

int rdma_set_option(rdma_cm_id* id, int level, int name, void* value, size_t bytes) {
  // Hints for a fabric and for the kernel's port table; TCP needs none of them.
  const bool known =
      level == RDMA_OPTION_ID && name >= RDMA_OPTION_ID_TOS && name <= RDMA_OPTION_ID_ACK_TIMEOUT;
  return on_id(id, false, [&](CmId& each) {
    // A program may look for this one in its QP.
    if (known && name == RDMA_OPTION_ID_ACK_TIMEOUT) {
      if (value == nullptr || bytes != sizeof(uint8_t)) return EINVAL;
      each.ack_timeout = *static_cast<uint8_t*>(value);
    }
    return known ? 0 : ENOSYS;
  });
}

int rdma_join_multicast(rdma_cm_id*, sockaddr*, void*) { return cm_fail(EOPNOTSUPP); }
int rdma_join_multicast_ex(rdma_cm_id*, rdma_cm_join_mc_attr_ex*, void*) {
  return cm_fail(EOPNOTSUPP);
}
int rdma_leave_multicast(rdma_cm_id*, sockaddr*) { return cm_fail(EOPNOTSUPP); }
int rdma_set_local_ece(rdma_cm_id*, ibv_ece*) { return cm_fail(EOPNOTSUPP); }
int rdma_get_remote_ece(rdma_cm_id*, ibv_ece*) { return cm_fail(EOPNOTSUPP); }
int rdma_reject_ece(rdma_cm_id*, const void*, uint8_t) { return cm_fail(EOPNOTSUPP); }

}  // extern "C"
