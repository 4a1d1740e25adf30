// librdmacm's calls in one step: rdma_getaddrinfo, rdma_create_ep, rdma_get_request.
#include <netdb.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "transport/provider/cm.h"

namespace mrpool::provider {
namespace {

constexpr int kResolveTime = 2000;  // milliseconds, as librdmacm

sockaddr* copy_of(const sockaddr* address, socklen_t bytes) {
  if (address == nullptr || bytes == 0) return nullptr;
  auto* copy = static_cast<sockaddr*>(std::malloc(bytes));
  if (copy != nullptr) std::memcpy(copy, address, bytes);
  return copy;
}

addrinfo socket_hints(const rdma_addrinfo& hints) {
  addrinfo out{};
  out.ai_socktype = SOCK_STREAM;
  if ((hints.ai_flags & RAI_PASSIVE) != 0) out.ai_flags |= AI_PASSIVE;
  if ((hints.ai_flags & RAI_NUMERICHOST) != 0) out.ai_flags |= AI_NUMERICHOST;
  if ((hints.ai_flags & RAI_FAMILY) != 0) out.ai_family = hints.ai_family;
  return out;
}

int from_hints(const rdma_addrinfo& hints, rdma_addrinfo** res) {
  auto* out = static_cast<rdma_addrinfo*>(std::calloc(1, sizeof(rdma_addrinfo)));
  if (out == nullptr) return cm_fail(ENOMEM);
  out->ai_flags = hints.ai_flags;
  out->ai_family = hints.ai_family;
  out->ai_qp_type = hints.ai_qp_type != 0 ? hints.ai_qp_type : int{IBV_QPT_RC};
  out->ai_port_space = hints.ai_port_space != 0 ? hints.ai_port_space : int{RDMA_PS_TCP};
  out->ai_src_addr = copy_of(hints.ai_src_addr, hints.ai_src_len);
  out->ai_src_len = out->ai_src_addr == nullptr ? 0 : hints.ai_src_len;
  out->ai_dst_addr = copy_of(hints.ai_dst_addr, hints.ai_dst_len);
  out->ai_dst_len = out->ai_dst_addr == nullptr ? 0 : hints.ai_dst_len;
  *res = out;
  return 0;
}

int active(rdma_cm_id* id, const rdma_addrinfo& res, ibv_pd* pd, ibv_qp_init_attr* attr) {
  if (rdma_resolve_addr(id, res.ai_src_addr, res.ai_dst_addr, kResolveTime) != 0) return -1;
  if (rdma_resolve_route(id, kResolveTime) != 0) return -1;
  if (attr == nullptr) return 0;
  attr->qp_type = IBV_QPT_RC;
  return rdma_create_qp(id, pd, attr);
}

}  // namespace
}  // namespace mrpool::provider

using mrpool::provider::cm_fail;
using mrpool::provider::CmId;

extern "C" {

int rdma_getaddrinfo(const char* node, const char* service, const rdma_addrinfo* hints_in,
                     rdma_addrinfo** res) {
  const bool named = node != nullptr || service != nullptr;
  if (res == nullptr || (!named && hints_in == nullptr)) return cm_fail(EINVAL);
  const rdma_addrinfo none{};
  const rdma_addrinfo& hints = hints_in != nullptr ? *hints_in : none;
  // Without a name the addresses are those of the hints.
  if (!named) return mrpool::provider::from_hints(hints, res);
  const addrinfo wanted = mrpool::provider::socket_hints(hints);
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(node, service, &wanted, &found); error != 0) return error;
  auto* out = static_cast<rdma_addrinfo*>(std::calloc(1, sizeof(rdma_addrinfo)));
  if (out == nullptr) {
    ::freeaddrinfo(found);
    return cm_fail(ENOMEM);
  }
  out->ai_flags = hints.ai_flags;
  out->ai_family = found->ai_family;
  out->ai_qp_type = hints.ai_qp_type != 0 ? hints.ai_qp_type : int{IBV_QPT_RC};
  out->ai_port_space = hints.ai_port_space != 0 ? hints.ai_port_space : int{RDMA_PS_TCP};
  sockaddr* const address = mrpool::provider::copy_of(found->ai_addr, found->ai_addrlen);
  if ((hints.ai_flags & RAI_PASSIVE) != 0) {
    out->ai_src_addr = address;
    out->ai_src_len = found->ai_addrlen;
  } else {
    out->ai_dst_addr = address;
    out->ai_dst_len = found->ai_addrlen;
    out->ai_src_addr = mrpool::provider::copy_of(hints.ai_src_addr, hints.ai_src_len);
    out->ai_src_len = out->ai_src_addr == nullptr ? 0 : hints.ai_src_len;
  }
  ::freeaddrinfo(found);
  *res = out;
  return 0;
}

void rdma_freeaddrinfo(rdma_addrinfo* res) {
  while (res != nullptr) {
    rdma_addrinfo* const next = res->ai_next;
    std::free(res->ai_src_addr);
    std::free(res->ai_dst_addr);
    std::free(res);
    res = next;
  }
}

int rdma_create_ep(rdma_cm_id** out, rdma_addrinfo* res, ibv_pd* pd, ibv_qp_init_attr* attr) {
  if (out == nullptr || res == nullptr) return cm_fail(EINVAL);
  if (res->ai_qp_type != IBV_QPT_RC) return cm_fail(EOPNOTSUPP);
  rdma_cm_id* id = nullptr;
  const auto space = static_cast<rdma_port_space>(res->ai_port_space);
  if (rdma_create_id(nullptr, &id, nullptr, space) != 0) return -1;
  if ((res->ai_flags & RAI_PASSIVE) != 0) {
    if (rdma_bind_addr(id, res->ai_src_addr) == 0) {
      if (attr != nullptr) {
        attr->qp_type = IBV_QPT_RC;
        CmId::from(id)->qp_attr = *attr;
      }
      if (pd != nullptr) id->pd = pd;
      *out = id;
      return 0;
    }
  } else if (mrpool::provider::active(id, *res, pd, attr) == 0) {
    *out = id;
    return 0;
  }
  const int error = errno;
  rdma_destroy_ep(id);
  return cm_fail(error);
}

void rdma_destroy_ep(rdma_cm_id* id) {
  if (id == nullptr) return;
  rdma_destroy_qp(id);
  rdma_destroy_srq(id);
  rdma_destroy_id(id);
}

int rdma_get_request(rdma_cm_id* listener_abi, rdma_cm_id** out) {
  CmId* listener = CmId::from(listener_abi);
  if (listener == nullptr || out == nullptr || !listener->synchronous()) return cm_fail(EINVAL);
  mrpool::provider::cm_forget_event(*listener);
  rdma_cm_event* event = nullptr;
  if (rdma_get_cm_event(listener_abi->channel, &event) != 0) return -1;
  if (event->event != RDMA_CM_EVENT_CONNECT_REQUEST || event->status != 0) {
    rdma_ack_cm_event(event);
    return cm_fail(EINVAL);
  }
  rdma_cm_id* id = event->id;
  if (listener->qp_attr.has_value()) {
    ibv_qp_init_attr attr = *listener->qp_attr;
    if (rdma_create_qp(id, listener_abi->pd, &attr) != 0) {
      const int error = errno;
      rdma_ack_cm_event(event);
      rdma_destroy_id(id);
      return cm_fail(error);
    }
  }
  *out = id;
  id->event = event;
  return 0;
}

}  // extern "C"
