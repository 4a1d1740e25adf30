#include "transport/verbs/requests.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstddef>

#include "transport/verbs/fast_mr.h"
#include "transport/verbs/pd.h"

namespace mrpool::verbs {
namespace {

// An Sge is an ibv_sge under another name, so lists go down without a copy.
static_assert(sizeof(Sge) == sizeof(ibv_sge));
static_assert(offsetof(Sge, addr) == offsetof(ibv_sge, addr));
static_assert(offsetof(Sge, length) == offsetof(ibv_sge, length));
static_assert(offsetof(Sge, lkey) == offsetof(ibv_sge, lkey));
static_assert(sizeof(std::byte*) == sizeof(ibv_sge::addr));

ibv_sge* to_ibv(std::span<const Sge> sges) {
  return reinterpret_cast<ibv_sge*>(const_cast<Sge*>(sges.data()));
}

// Every range inside a live region with the right; `total` is their sum.
PostStatus check_sges(const VerbsPd& pd, std::span<const Sge> sges, uint32_t max_sge, Access right,
                      uint64_t& total) {
  if (sges.size() > max_sge) return PostStatus::kTooManySges;
  total = 0;
  for (const Sge& sge : sges) {
    total += sge.length;
    if (sge.length == 0) continue;
    const VerbsMr* region = pd.region_of(sge.lkey);
    if (region == nullptr || !region->covers(sge) || !region->allows(right)) {
      return PostStatus::kBadSge;
    }
  }
  return PostStatus::kOk;
}

PostStatus check_registration(const VerbsPd& pd, const WorkRequest& request) {
  // Every FastMr of a Pd of this device is a window: windows are what it has.
  if (request.mr == nullptr || request.mr->pd() != &pd) return PostStatus::kBadKey;
  const auto* window = static_cast<const WindowMr*>(request.mr);
  if (window->base() == nullptr) return PostStatus::kBadKey;
  if (any(window->denied(request.access))) return PostStatus::kAccessDenied;
  return PostStatus::kOk;
}

}  // namespace

PostStatus check_recv(const VerbsPd& pd, const RecvRequest& request, uint32_t max_sge) {
  uint64_t total;
  return check_sges(pd, request.sges, max_sge, Access::kLocalWrite, total);
}

PostStatus check_send(const VerbsPd& pd, const WorkRequest& request, uint32_t max_sge,
                      uint32_t& length) {
  length = 0;
  const DeviceCaps& caps = pd.caps();
  uint32_t limit = max_sge;
  Access right = Access::kNone;
  switch (request.opcode) {
    case Opcode::kSend:
    case Opcode::kRdmaWrite:
      break;
    case Opcode::kSendWithInv:
      if (!caps.send_with_inv) return PostStatus::kUnsupported;
      break;
    case Opcode::kSendWithImm:
    case Opcode::kRdmaWriteWithImm:
      if (!caps.immediate_data) return PostStatus::kUnsupported;
      break;
    case Opcode::kCompareSwap:
    case Opcode::kFetchAdd:
      if (caps.atomics == AtomicScope::kNone) return PostStatus::kUnsupported;
      if (request.sges.size() != 1 || request.sges[0].length != sizeof(uint64_t) ||
          request.remote_addr.value % sizeof(uint64_t) != 0) {
        return PostStatus::kBadAtomic;
      }
      right = Access::kLocalWrite;
      break;
    case Opcode::kRdmaRead:
      right = local_access_for(BufferRole::kReadSink, caps.read_sink_needs_remote_write);
      limit = std::min(limit, caps.max_read_sge);
      break;
    case Opcode::kRegMr:
      if (caps.registration != Registration::kMemoryWindow) return PostStatus::kUnsupported;
      return check_registration(pd, request);
    case Opcode::kLocalInv:
      if (caps.registration != Registration::kMemoryWindow) return PostStatus::kUnsupported;
      // Only a window that is alive under this very key: a device may end the queue pair over it.
      if (const WindowMr* window = pd.window_of(request.rkey);
          window == nullptr || window->rkey() != request.rkey || window->owner() == 0) {
        return PostStatus::kBadKey;
      }
      return PostStatus::kOk;
    case Opcode::kRdmaReadWithInv:
    case Opcode::kRecv:
    case Opcode::kRecvWithImm:
    case Opcode::kRecvRdmaWithImm:
      return PostStatus::kUnsupported;
  }
  uint64_t total;
  if (const PostStatus status = check_sges(pd, request.sges, limit, right, total);
      status != PostStatus::kOk) {
    return status;
  }
  if (total > caps.max_message) return PostStatus::kTooLong;
  length = uint32_t(total);
  return PostStatus::kOk;
}

ibv_recv_wr to_ibv(const RecvRequest& request) {
  ibv_recv_wr wr{};
  wr.sg_list = to_ibv(request.sges);
  wr.num_sge = int(request.sges.size());
  return wr;
}

ibv_send_wr to_ibv(const WorkRequest& request) {
  ibv_send_wr wr{};
  wr.sg_list = to_ibv(request.sges);
  wr.num_sge = int(request.sges.size());
  if (request.signalled) wr.send_flags |= IBV_SEND_SIGNALED;
  if (request.solicited) wr.send_flags |= IBV_SEND_SOLICITED;
  if (request.fence) wr.send_flags |= IBV_SEND_FENCE;
  switch (request.opcode) {
    case Opcode::kSend:
      wr.opcode = IBV_WR_SEND;
      break;
    case Opcode::kSendWithInv:
      wr.opcode = IBV_WR_SEND_WITH_INV;
      wr.invalidate_rkey = request.rkey.value;
      // siw's library looks for the key here; others do not look here for a SEND.
      wr.wr.rdma.rkey = request.rkey.value;
      break;
    case Opcode::kSendWithImm:
      wr.opcode = IBV_WR_SEND_WITH_IMM;
      wr.imm_data = htonl(request.imm);
      break;
    case Opcode::kRdmaWriteWithImm:
      wr.opcode = IBV_WR_RDMA_WRITE_WITH_IMM;
      wr.imm_data = htonl(request.imm);
      wr.wr.rdma.remote_addr = request.remote_addr.value;
      wr.wr.rdma.rkey = request.rkey.value;
      break;
    case Opcode::kCompareSwap:
    case Opcode::kFetchAdd:
      wr.opcode = request.opcode == Opcode::kFetchAdd ? IBV_WR_ATOMIC_FETCH_AND_ADD
                                                      : IBV_WR_ATOMIC_CMP_AND_SWP;
      wr.wr.atomic.remote_addr = request.remote_addr.value;
      wr.wr.atomic.rkey = request.rkey.value;
      wr.wr.atomic.compare_add = request.compare_add;
      wr.wr.atomic.swap = request.swap;
      break;
    case Opcode::kRdmaWrite:
    case Opcode::kRdmaRead:
      wr.opcode = request.opcode == Opcode::kRdmaWrite ? IBV_WR_RDMA_WRITE : IBV_WR_RDMA_READ;
      wr.wr.rdma.remote_addr = request.remote_addr.value;
      wr.wr.rdma.rkey = request.rkey.value;
      break;
    case Opcode::kRegMr: {
      const auto& window = static_cast<const WindowMr&>(*request.mr);
      wr.opcode = IBV_WR_BIND_MW;
      wr.bind_mw.mw = window.get();
      wr.bind_mw.rkey = window.rkey().value;
      wr.bind_mw.bind_info.mr = window.base()->get();
      wr.bind_mw.bind_info.addr = uintptr_t(window.addr());
      wr.bind_mw.bind_info.length = window.length();
      wr.bind_mw.bind_info.mw_access_flags =
          mrpool::to_ibv(request.access & kRemoteRights) & ~IBV_ACCESS_OPTIONAL_RANGE;
      wr.sg_list = nullptr;
      wr.num_sge = 0;
      break;
    }
    case Opcode::kLocalInv:
      wr.opcode = IBV_WR_LOCAL_INV;
      wr.invalidate_rkey = request.rkey.value;
      wr.sg_list = nullptr;
      wr.num_sge = 0;
      break;
    case Opcode::kRdmaReadWithInv:
    case Opcode::kRecv:
    case Opcode::kRecvWithImm:
    case Opcode::kRecvRdmaWithImm:
      break;  // check_send refuses them
  }
  return wr;
}

}  // namespace mrpool::verbs
