#include "ends.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void check(int ok, const char* what) {
  if (ok) return;
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  _Exit(2);
}

int is_wrong(int argc, char** argv) {
  check(argc == 2, "usage: PROGRAM wrong|right");
  return strcmp(argv[1], "wrong") == 0;
}

static void open_end(struct pair* pair, struct end* end, int cqe) {
  end->cq = ibv_create_cq(pair->context, cqe, NULL, NULL, 0);
  check(end->cq != NULL, "ibv_create_cq");
  struct ibv_qp_init_attr init = {
      .send_cq = end->cq,
      .recv_cq = end->cq,
      .cap = {.max_send_wr = kDepth, .max_recv_wr = kDepth, .max_send_sge = 1, .max_recv_sge = 1},
      .qp_type = IBV_QPT_RC,
  };
  end->qp = ibv_create_qp(pair->pd, &init);
  check(end->qp != NULL, "ibv_create_qp");
  struct ibv_qp_attr attr = {
      .qp_state = IBV_QPS_INIT,
      .port_num = 1,
      .qp_access_flags =
          IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC,
  };
  check(ibv_modify_qp(end->qp, &attr,
                      IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS) == 0,
        "ibv_modify_qp to INIT");
}

static void connect_end(struct end* end, uint32_t peer, union ibv_gid gid) {
  struct ibv_qp_attr ready = {
      .qp_state = IBV_QPS_RTR,
      .path_mtu = IBV_MTU_1024,
      .dest_qp_num = peer,
      .max_dest_rd_atomic = 8,
      .min_rnr_timer = 12,
      .ah_attr = {.is_global = 1, .grh = {.dgid = gid, .hop_limit = 1}, .port_num = 1},
  };
  check(ibv_modify_qp(end->qp, &ready,
                      IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                          IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER) == 0,
        "ibv_modify_qp to RTR");
  struct ibv_qp_attr go = {
      .qp_state = IBV_QPS_RTS, .max_rd_atomic = 8, .timeout = 14, .retry_cnt = 7, .rnr_retry = 7};
  check(ibv_modify_qp(end->qp, &go,
                      IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                          IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC) == 0,
        "ibv_modify_qp to RTS");
}

void open_pair(struct pair* pair, int cqe) {
  struct ibv_device** list = ibv_get_device_list(NULL);
  check(list != NULL && list[0] != NULL, "ibv_get_device_list");
  pair->context = ibv_open_device(list[0]);
  check(pair->context != NULL, "ibv_open_device");
  ibv_free_device_list(list);
  pair->pd = ibv_alloc_pd(pair->context);
  check(pair->pd != NULL, "ibv_alloc_pd");
  open_end(pair, &pair->a, cqe);
  open_end(pair, &pair->b, cqe);
  union ibv_gid gid;
  check(ibv_query_gid(pair->context, 1, 0, &gid) == 0, "ibv_query_gid");
  connect_end(&pair->a, pair->b.qp->qp_num, gid);
  connect_end(&pair->b, pair->a.qp->qp_num, gid);
}

void close_ends(struct pair* pair) {
  check(ibv_destroy_qp(pair->a.qp) == 0, "ibv_destroy_qp");
  check(ibv_destroy_qp(pair->b.qp) == 0, "ibv_destroy_qp");
  check(ibv_destroy_cq(pair->a.cq) == 0, "ibv_destroy_cq");
  check(ibv_destroy_cq(pair->b.cq) == 0, "ibv_destroy_cq");
}

void close_device(struct pair* pair) {
  check(ibv_dealloc_pd(pair->pd) == 0, "ibv_dealloc_pd");
  check(ibv_close_device(pair->context) == 0, "ibv_close_device");
}

void close_pair(struct pair* pair) {
  close_ends(pair);
  close_device(pair);
}

char* new_buffer(size_t bytes) {
  void* buffer = NULL;
  check(posix_memalign(&buffer, 4096, bytes) == 0, "posix_memalign");
  memset(buffer, 0, bytes);
  return buffer;
}

struct ibv_mr* register_buffer(struct pair* pair, void* buffer, size_t bytes, int rights) {
  struct ibv_mr* mr = ibv_reg_mr(pair->pd, buffer, bytes, IBV_ACCESS_LOCAL_WRITE | rights);
  check(mr != NULL, "ibv_reg_mr");
  return mr;
}

static struct ibv_send_wr* fill(struct request* request, struct ibv_mr* mr, uint64_t wr_id) {
  memset(request, 0, sizeof *request);
  request->sge = (struct ibv_sge){
      .addr = (uintptr_t)mr->addr, .length = (uint32_t)mr->length, .lkey = mr->lkey};
  request->send.wr_id = wr_id;
  request->send.sg_list = &request->sge;
  request->send.num_sge = 1;
  request->send.opcode = IBV_WR_SEND;
  request->send.send_flags = IBV_SEND_SIGNALED;
  return &request->send;
}

struct ibv_send_wr* send_of(struct request* request, struct ibv_mr* mr, uint64_t wr_id) {
  return fill(request, mr, wr_id);
}

static struct ibv_send_wr* rdma_of(struct request* request, struct ibv_mr* mr,
                                   enum ibv_wr_opcode opcode, uint32_t rkey, uint64_t remote,
                                   uint64_t wr_id) {
  fill(request, mr, wr_id);
  request->send.opcode = opcode;
  request->send.wr.rdma.rkey = rkey;
  request->send.wr.rdma.remote_addr = remote;
  return &request->send;
}

struct ibv_send_wr* write_of(struct request* request, struct ibv_mr* from, uint32_t rkey,
                             uint64_t to, uint64_t wr_id) {
  return rdma_of(request, from, IBV_WR_RDMA_WRITE, rkey, to, wr_id);
}

struct ibv_send_wr* read_of(struct request* request, struct ibv_mr* to, uint32_t rkey,
                            uint64_t from, uint64_t wr_id) {
  return rdma_of(request, to, IBV_WR_RDMA_READ, rkey, from, wr_id);
}

struct ibv_recv_wr* receive_of(struct request* request, struct ibv_mr* mr, uint64_t wr_id) {
  fill(request, mr, wr_id);
  request->receive.wr_id = wr_id;
  request->receive.sg_list = &request->sge;
  request->receive.num_sge = 1;
  return &request->receive;
}

void open_message(struct message* message) {
  open_pair(&message->pair, kDepth);
  message->from = new_buffer(kBytes);
  message->to = new_buffer(kBytes);
  message->source = register_buffer(&message->pair, message->from, kBytes, 0);
  message->target = register_buffer(&message->pair, message->to, kBytes, 0);
  send_of(&message->send, message->source, 2);
  receive_of(&message->receive, message->target, 1);
}

void free_message(struct message* message) {
  free(message->from);
  free(message->to);
}

void close_message(struct message* message) {
  check(ibv_dereg_mr(message->source) == 0, "ibv_dereg_mr");
  check(ibv_dereg_mr(message->target) == 0, "ibv_dereg_mr");
  free_message(message);
  close_pair(&message->pair);
}

void post_message_receive(struct message* message) {
  struct ibv_recv_wr* bad;
  check(ibv_post_recv(message->pair.b.qp, &message->receive.receive, &bad) == 0, "ibv_post_recv");
}

void post_message_send(struct message* message) {
  struct ibv_send_wr* bad;
  check(ibv_post_send(message->pair.a.qp, &message->send.send, &bad) == 0, "ibv_post_send");
}

struct ibv_wc wait_for_any(struct ibv_cq* cq) {
  struct ibv_wc wc;
  int count = 0;
  while (count == 0) count = ibv_poll_cq(cq, 1, &wc);
  check(count == 1, "ibv_poll_cq");
  return wc;
}

void wait_for(struct ibv_cq* cq) {
  const struct ibv_wc wc = wait_for_any(cq);
  check(wc.status == IBV_WC_SUCCESS, ibv_wc_status_str(wc.status));
}
