// The edges of the ABI that no stock program walks: null pointers, refused flags, orderings, what a
// device without a feature answers, fork, two QPs of one process that meet by their numbers. Run by
// mrpool-run; prints each line that does not hold and ends with 1 when there is one.
#include <arpa/inet.h>
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <poll.h>
#include <rdma/rdma_cma.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "probe.h"

namespace {

char memory[8192];

void null_pointers() {
  EXPECT_REFUSED(ibv_open_device(nullptr), ENODEV);
  EXPECT_REFUSED(ibv_alloc_pd(nullptr), EINVAL);
  EXPECT_REFUSED((ibv_reg_mr)(nullptr, memory, sizeof memory, 0), EINVAL);
  EXPECT_REFUSED((ibv_reg_mr)(pd, nullptr, sizeof memory, 0), EINVAL);
  EXPECT_REFUSED(ibv_create_cq(nullptr, 1, nullptr, nullptr, 0), EINVAL);
  EXPECT_REFUSED(ibv_create_qp(pd, nullptr), EINVAL);
  EXPECT_REFUSED(ibv_create_srq(pd, nullptr), EINVAL);
  EXPECT(ibv_close_device(nullptr) == EINVAL);
  EXPECT(ibv_dealloc_pd(nullptr) == EINVAL);
  EXPECT(ibv_dereg_mr(nullptr) == EINVAL);
  EXPECT(ibv_destroy_cq(nullptr) == EINVAL);
  EXPECT(ibv_destroy_qp(nullptr) == EINVAL);
  EXPECT(ibv_destroy_srq(nullptr) == EINVAL);
  EXPECT(ibv_modify_qp(nullptr, nullptr, 0) == EINVAL);
  EXPECT(ibv_query_device(context, nullptr) == EINVAL);
  EXPECT(ibv_get_cq_event(nullptr, nullptr, nullptr) == -1);
  EXPECT(rdma_create_id(nullptr, nullptr, nullptr, RDMA_PS_TCP) == -1);
  EXPECT(rdma_connect(nullptr, nullptr) == -1);
  EXPECT(rdma_get_cm_event(nullptr, nullptr) == -1);
  EXPECT(rdma_destroy_id(nullptr) == -1);
  ibv_ack_cq_events(nullptr, 1);
  rdma_destroy_ep(nullptr);
  rdma_destroy_qp(nullptr);
  rdma_destroy_event_channel(nullptr);
}

int registers(unsigned int flags) {
  ibv_mr* mr =
      ibv_reg_mr_iova2(pd, memory, sizeof memory, reinterpret_cast<uintptr_t>(memory), flags);
  if (mr == nullptr) return errno;
  ibv_dereg_mr(mr);
  return 0;
}

void access_flags() {
  EXPECT(registers(0) == 0);
  EXPECT(registers(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ) == 0);
  EXPECT(registers(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_RELAXED_ORDERING) == 0);
  // Optional flags that nobody knows are ignored.
  EXPECT(registers(IBV_ACCESS_LOCAL_WRITE | 1u << 29) == 0);
  EXPECT(registers(IBV_ACCESS_REMOTE_WRITE) == EINVAL);
  EXPECT(registers(1u << 15) == EINVAL);
  EXPECT(registers(1u << 30) == EINVAL);
  EXPECT(registers(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_ATOMIC) == 0);
  EXPECT(registers(IBV_ACCESS_ON_DEMAND) == EOPNOTSUPP);
}

void absent_features() {
  ibv_cq* cq = ibv_create_cq(context, 4, nullptr, nullptr, 0);
  ibv_qp_init_attr attr = {.send_cq = cq, .recv_cq = cq, .qp_type = IBV_QPT_UD};
  attr.cap.max_send_wr = attr.cap.max_recv_wr = 4;
  attr.cap.max_send_sge = attr.cap.max_recv_sge = 1;
  EXPECT_REFUSED(ibv_create_qp(pd, &attr), EOPNOTSUPP);
  ibv_cq_init_attr_ex cq_attr = {.cqe = 4, .wc_flags = IBV_WC_EX_WITH_COMPLETION_TIMESTAMP};
  EXPECT_REFUSED(ibv_create_cq_ex(context, &cq_attr), EOPNOTSUPP);
  ibv_ah_attr ah = {.port_num = 1};
  EXPECT_REFUSED(ibv_create_ah(pd, &ah), EOPNOTSUPP);
  rdma_cm_id* id;
  EXPECT_REFUSED(rdma_create_id(nullptr, &id, nullptr, RDMA_PS_UDP) == 0, EOPNOTSUPP);
  ibv_destroy_cq(cq);
}

void resize() {
  ibv_cq* cq = ibv_create_cq(context, 3, nullptr, nullptr, 0);
  EXPECT(ibv_resize_cq(cq, 7) == 0 && cq->cqe >= 7);
  EXPECT(ibv_resize_cq(cq, 1) == 0 && cq->cqe >= 1);
  EXPECT(ibv_resize_cq(cq, 0) == EINVAL);
  EXPECT(ibv_destroy_cq(cq) == 0);
}

// A window stays the Pd's until it is given back; it is bound to regions that allow it, of its Pd.
void windows() {
  EXPECT_REFUSED(ibv_alloc_mw(pd, static_cast<ibv_mw_type>(3)), EINVAL);
  ibv_mw* mw = ibv_alloc_mw(pd, IBV_MW_TYPE_1);
  ibv_mr* mr = ibv_reg_mr(pd, memory, sizeof memory, IBV_ACCESS_LOCAL_WRITE);
  ibv_cq* cq = ibv_create_cq(context, 4, nullptr, nullptr, 0);
  ibv_qp_init_attr attr = {.send_cq = cq, .recv_cq = cq, .qp_type = IBV_QPT_RC};
  attr.cap = {.max_send_wr = 1, .max_recv_wr = 1, .max_send_sge = 1, .max_recv_sge = 1};
  ibv_qp* qp = ibv_create_qp(pd, &attr);
  EXPECT(mw != nullptr && mr != nullptr && qp != nullptr);
  ibv_mw_bind bind = {.bind_info = {.mr = mr,
                                    .addr = reinterpret_cast<uintptr_t>(memory),
                                    .length = 8,
                                    .mw_access_flags = IBV_ACCESS_REMOTE_READ}};
  EXPECT(ibv_bind_mw(qp, mw, &bind) == EINVAL);  // not connected, and no right to bind
  EXPECT(ibv_destroy_qp(qp) == 0);
  EXPECT(ibv_destroy_cq(cq) == 0);
  EXPECT(ibv_dereg_mr(mr) == 0);
  EXPECT(ibv_dealloc_mw(mw) == 0);
}

constexpr uint32_t kImmediate = 0x01020304;

int post_inline(ibv_qp* qp, const char* text, enum ibv_wr_opcode opcode) {
  ibv_sge sge = {.addr = reinterpret_cast<uintptr_t>(text),
                 .length = static_cast<uint32_t>(std::strlen(text))};
  ibv_send_wr wr = {.wr_id = 7, .sg_list = &sge, .num_sge = 1, .opcode = opcode};
  wr.send_flags = IBV_SEND_INLINE;
  wr.imm_data = htonl(kImmediate);
  ibv_send_wr* bad = nullptr;
  return ibv_post_send(qp, &wr, &bad);
}

void post_receive(ibv_qp* qp, const ibv_mr* mr) {
  ibv_sge sge = {
      .addr = reinterpret_cast<uintptr_t>(memory), .length = sizeof memory, .lkey = mr->lkey};
  ibv_recv_wr wr = {.wr_id = 9, .sg_list = &sge, .num_sge = 1};
  ibv_recv_wr* bad = nullptr;
  EXPECT(ibv_post_recv(qp, &wr, &bad) == 0);
}

// The first to get to RTR sends before the other is there, and without a receive posted: the SEND
// waits for both.
void two_ends() {
  ibv_comp_channel* channel = ibv_create_comp_channel(context);
  ibv_mr* mr = ibv_reg_mr(pd, memory, sizeof memory, IBV_ACCESS_LOCAL_WRITE);
  End a = make_end(pd);
  End b = make_end(pd, channel);
  meet(a.qp, b.qp->qp_num);
  EXPECT(post_inline(a.qp, "early", IBV_WR_SEND) == 0);
  EXPECT(post_inline(a.qp, "tso", IBV_WR_TSO) == EOPNOTSUPP);
  EXPECT(ibv_req_notify_cq(b.cq, 0) == 0);
  meet(b.qp, a.qp->qp_num);
  pollfd readable = {.fd = channel->fd, .events = POLLIN};
  EXPECT(poll(&readable, 1, 50) == 0);
  post_receive(b.qp, mr);
  EXPECT(next(a.cq).status == IBV_WC_SUCCESS);
  EXPECT(poll(&readable, 1, 5000) == 1);
  ibv_cq* cq = nullptr;
  void* cq_context;
  EXPECT(ibv_get_cq_event(channel, &cq, &cq_context) == 0 && cq == b.cq);
  ibv_ack_cq_events(cq, 1);
  const ibv_wc wc = next(b.cq);
  EXPECT(wc.status == IBV_WC_SUCCESS && wc.wr_id == 9 && wc.byte_len == 5);
  EXPECT((wc.wc_flags & IBV_WC_WITH_IMM) == 0);
  EXPECT(std::memcmp(memory, "early", 5) == 0);
  post_receive(b.qp, mr);
  EXPECT(post_inline(a.qp, "numbered", IBV_WR_SEND_WITH_IMM) == 0);
  const ibv_wc numbered = next(b.cq);
  EXPECT(numbered.status == IBV_WC_SUCCESS && numbered.opcode == IBV_WC_RECV);
  EXPECT((numbered.wc_flags & IBV_WC_WITH_IMM) != 0 && ntohl(numbered.imm_data) == kImmediate);
  EXPECT(next(a.cq).status == IBV_WC_SUCCESS);
  EXPECT(fcntl(channel->fd, F_SETFL, O_NONBLOCK) == 0);
  EXPECT(ibv_get_cq_event(channel, &cq, &cq_context) == -1 && errno == EAGAIN);

  // A peer that is gone does not answer; InfiniBand has no other word for it.
  EXPECT(ibv_destroy_qp(b.qp) == 0);
  EXPECT(ibv_dealloc_pd(pd) == EBUSY);
  if (post_inline(a.qp, "late", IBV_WR_SEND) == 0) {
    EXPECT(next(a.cq).status == IBV_WC_RETRY_EXC_ERR);
  }
  EXPECT(ibv_destroy_qp(a.qp) == 0);
  EXPECT(ibv_destroy_cq(a.cq) == 0);
  EXPECT(ibv_destroy_cq(b.cq) == 0);
  EXPECT(ibv_dereg_mr(mr) == 0);
  EXPECT(ibv_destroy_comp_channel(channel) == 0);
}

// Without a name the addresses are those of the hints; libfabric asks so.
void addresses_of_hints() {
  sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(7)};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  rdma_addrinfo hints = {.ai_port_space = RDMA_PS_TCP,
                         .ai_dst_len = sizeof to,
                         .ai_dst_addr = reinterpret_cast<sockaddr*>(&to)};
  rdma_addrinfo* found = nullptr;
  EXPECT(rdma_getaddrinfo(nullptr, nullptr, &hints, &found) == 0);
  EXPECT(found->ai_dst_len == sizeof to && found->ai_src_addr == nullptr);
  EXPECT(std::memcmp(found->ai_dst_addr, &to, sizeof to) == 0);
  rdma_freeaddrinfo(found);
  EXPECT_REFUSED(rdma_getaddrinfo(nullptr, nullptr, nullptr, &found) == 0, EINVAL);
}

void fork_works() {
  ibv_cq* cq = ibv_create_cq(context, 4, nullptr, nullptr, 0);
  const pid_t child = fork();
  if (child == 0) {
    ibv_wc wc;
    // The parent's objects are dead here; new ones work.
    if (ibv_poll_cq(cq, 1, &wc) >= 0) std::exit(2);
    int count = 0;
    ibv_device** list = ibv_get_device_list(&count);
    ibv_context* own = ibv_open_device(list[0]);
    std::exit(own != nullptr && ibv_alloc_pd(own) != nullptr ? 0 : 3);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  ibv_wc wc;
  EXPECT(ibv_poll_cq(cq, 1, &wc) == 0);
  EXPECT(ibv_destroy_cq(cq) == 0);
}

sockaddr_in closed_port() {
  sockaddr_in address = {.sin_family = AF_INET};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof address;
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  EXPECT(bind(fd, reinterpret_cast<sockaddr*>(&address), bytes) == 0);
  EXPECT(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &bytes) == 0);
  close(fd);
  return address;
}

int status_of(rdma_event_channel* channel, rdma_cm_event_type wanted) {
  rdma_cm_event* event = nullptr;
  EXPECT(rdma_get_cm_event(channel, &event) == 0 && event->event == wanted);
  const int status = event->status;
  rdma_ack_cm_event(event);
  return status;
}

// As on RoCE: the connection manager of the peer knows no such service.
void nobody_listens() {
  sockaddr_in address = closed_port();
  rdma_event_channel* channel = rdma_create_event_channel();
  rdma_cm_id* id = nullptr;
  EXPECT(rdma_create_id(channel, &id, nullptr, RDMA_PS_TCP) == 0);
  EXPECT(rdma_resolve_addr(id, nullptr, reinterpret_cast<sockaddr*>(&address), 1000) == 0);
  EXPECT(status_of(channel, RDMA_CM_EVENT_ADDR_RESOLVED) == 0);
  EXPECT(rdma_resolve_route(id, 1000) == 0);
  EXPECT(status_of(channel, RDMA_CM_EVENT_ROUTE_RESOLVED) == 0);
  ibv_cq* cq = ibv_create_cq(id->verbs, 4, nullptr, nullptr, 0);
  ibv_qp_init_attr attr = {.send_cq = cq, .recv_cq = cq, .qp_type = IBV_QPT_RC};
  attr.cap = {.max_send_wr = 1, .max_recv_wr = 1, .max_send_sge = 1, .max_recv_sge = 1};
  EXPECT(rdma_create_qp(id, nullptr, &attr) == 0);
  rdma_conn_param param = {};
  EXPECT(rdma_connect(id, &param) == 0);
  EXPECT(status_of(channel, RDMA_CM_EVENT_REJECTED) == 8);
  rdma_destroy_qp(id);
  EXPECT(ibv_destroy_cq(cq) == 0);
  EXPECT(rdma_destroy_id(id) == 0);
  rdma_destroy_event_channel(channel);
}

}  // namespace

int main() {
  open_device();
  null_pointers();
  access_flags();
  absent_features();
  resize();
  windows();
  two_ends();
  nobody_listens();
  addresses_of_hints();
  fork_works();
  close_device();
  return failures != 0;
}
