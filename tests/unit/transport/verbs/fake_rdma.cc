#include "tests/unit/transport/verbs/fake_rdma.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

// The headers make macros of these, so that the optional access flags reach the library.
#undef ibv_query_port

namespace mrpool::verbs::testing {
namespace {

FakeRdma* current = nullptr;

int fail(int error) {
  errno = error;
  return -1;
}

int post_send(ibv_qp*, ibv_send_wr* wr, ibv_send_wr** bad) {
  FakeRdma& rdma = FakeRdma::get();
  size_t count = 0;
  for (const ibv_send_wr* each = wr; each != nullptr; each = each->next) ++count;
  const PostAnswer answer = rdma.answer ? rdma.answer(count) : PostAnswer{count, 0, false};
  for (size_t i = 0; i < answer.taken; ++i, wr = wr->next) {
    rdma.sends.push_back({*wr, {wr->sg_list, wr->sg_list + wr->num_sge}});
  }
  if (answer.names_bad) *bad = wr;
  return answer.error;
}

int post_recv(ibv_qp*, ibv_recv_wr*, ibv_recv_wr**) { return 0; }

int poll_cq(ibv_cq*, int entries, ibv_wc* wc) {
  FakeRdma& rdma = FakeRdma::get();
  int count = 0;
  for (; count < entries && !rdma.completions.empty(); ++count) {
    wc[count] = rdma.completions.front();
    rdma.completions.pop_front();
  }
  return count;
}

}  // namespace

FakeRdma::FakeRdma() {
  current = this;
  std::memcpy(device.name, "fake0", sizeof("fake0"));
  device.transport_type = IBV_TRANSPORT_IWARP;
  context.device = &device;
  context.ops.post_send = post_send;
  context.ops.post_recv = post_recv;
  context.ops.poll_cq = poll_cq;
  context.ops.req_notify_cq = [](ibv_cq*, int) { return 0; };
  attributes.max_qp = attributes.max_mr = attributes.max_qp_wr = attributes.max_cqe = 1024;
  attributes.max_sge = 6;
  attributes.max_sge_rd = 1;
  attributes.max_qp_init_rd_atom = attributes.max_qp_rd_atom = 16;
}

FakeRdma::~FakeRdma() { current = nullptr; }

FakeRdma& FakeRdma::get() { return *current; }

rdma_cm_id* FakeRdma::new_id(rdma_event_channel* channel, void* handler) {
  last_id = new rdma_cm_id{};
  last_id->verbs = &context;
  last_id->channel = channel;
  last_id->context = handler;
  last_id->qp_type = IBV_QPT_RC;
  last_id->route.addr.src_addr.sa_family = AF_INET;
  last_id->route.addr.dst_addr.sa_family = AF_INET;
  return last_id;
}

void FakeRdma::raise(rdma_cm_id* id, rdma_cm_event_type type, rdma_cm_id* listener) {
  auto* event = new rdma_cm_event{};
  event->id = id;
  event->listen_id = listener;
  event->event = type;
  event->param.conn.initiator_depth = event->param.conn.responder_resources = 16;
  events.push_back(event);
}

void FakeRdma::complete(uint64_t wr_id, ibv_wc_status status) {
  ibv_wc wc{};
  wc.wr_id = wr_id;
  wc.status = status;
  completions.push_back(wc);
}

}  // namespace mrpool::verbs::testing

using mrpool::verbs::testing::FakeRdma;

// NOLINTBEGIN(readability-identifier-naming): the libraries' names
extern "C" {

int ibv_query_device(ibv_context*, ibv_device_attr* attr) {
  *attr = FakeRdma::get().attributes;
  return 0;
}
int ibv_query_port(ibv_context*, uint8_t, _compat_ibv_port_attr* attr) {
  reinterpret_cast<ibv_port_attr*>(attr)->max_msg_sz = 1u << 30;
  return 0;
}
ibv_pd* ibv_alloc_pd(ibv_context* context) { return new ibv_pd{context, 0}; }
int ibv_dealloc_pd(ibv_pd* pd) {
  delete pd;
  return 0;
}
ibv_mr* ibv_reg_mr_iova2(ibv_pd* pd, void* addr, size_t length, uint64_t, unsigned int) {
  static uint32_t keys = 0;
  keys += 0x100;
  return new ibv_mr{pd->context, pd, addr, length, 0, keys, keys};
}
int ibv_dereg_mr(ibv_mr* mr) {
  delete mr;
  return 0;
}
ibv_comp_channel* ibv_create_comp_channel(ibv_context* context) {
  return new ibv_comp_channel{context, eventfd(0, 0), 0};
}
int ibv_destroy_comp_channel(ibv_comp_channel* channel) {
  close(channel->fd);
  delete channel;
  return 0;
}
ibv_cq* ibv_create_cq(ibv_context* context, int, void*, ibv_comp_channel*, int) {
  auto* cq = new ibv_cq{};
  cq->context = context;
  return cq;
}
int ibv_destroy_cq(ibv_cq* cq) {
  delete cq;
  return 0;
}

rdma_event_channel* rdma_create_event_channel(void) {
  auto* channel = new rdma_event_channel{eventfd(0, 0)};
  FakeRdma::get().channels.insert(channel);
  return channel;
}
void rdma_destroy_event_channel(rdma_event_channel* channel) {
  FakeRdma::get().channels.erase(channel);
  close(channel->fd);
  delete channel;
}
int rdma_create_id(rdma_event_channel* channel, rdma_cm_id** id, void* context, rdma_port_space) {
  *id = FakeRdma::get().new_id(channel, context);
  return 0;
}
int rdma_destroy_id(rdma_cm_id* id) {
  delete id;
  return 0;
}
int rdma_bind_addr(rdma_cm_id*, sockaddr*) { return 0; }
int rdma_listen(rdma_cm_id*, int) { return 0; }
int rdma_resolve_addr(rdma_cm_id*, sockaddr*, sockaddr*, int) { return 0; }
int rdma_resolve_route(rdma_cm_id*, int) { return 0; }
int rdma_connect(rdma_cm_id*, rdma_conn_param*) { return 0; }
int rdma_accept(rdma_cm_id*, rdma_conn_param*) { return 0; }
int rdma_disconnect(rdma_cm_id*) { return 0; }
int rdma_reject(rdma_cm_id* id, const void*, uint8_t) {
  FakeRdma& rdma = FakeRdma::get();
  ++rdma.rejected;
  if (!rdma.channels.contains(id->channel)) rdma.used_a_dead_channel = true;
  return 0;
}
int rdma_migrate_id(rdma_cm_id* id, rdma_event_channel* channel) {
  id->channel = channel;
  return 0;
}
int rdma_create_qp(rdma_cm_id* id, ibv_pd* pd, ibv_qp_init_attr* attr) {
  FakeRdma& rdma = FakeRdma::get();
  if (rdma.create_qp_error != 0) return mrpool::verbs::testing::fail(rdma.create_qp_error);
  static uint32_t numbers = 0;
  rdma.qp_attributes = *attr;
  id->qp = new ibv_qp{};
  id->qp->context = &rdma.context;
  id->qp->pd = pd;
  id->qp->qp_num = ++numbers;
  return 0;
}
void rdma_destroy_qp(rdma_cm_id* id) {
  if (FakeRdma::get().on_destroy_qp) FakeRdma::get().on_destroy_qp();
  delete id->qp;
  id->qp = nullptr;
}
int rdma_get_cm_event(rdma_event_channel* channel, rdma_cm_event** event) {
  FakeRdma& rdma = FakeRdma::get();
  if (rdma.events.empty()) return mrpool::verbs::testing::fail(EAGAIN);
  rdma_cm_event* const next = rdma.events.front();
  const rdma_cm_id* const at = next->listen_id != nullptr ? next->listen_id : next->id;
  if (at->channel != channel) return mrpool::verbs::testing::fail(EAGAIN);
  rdma.events.pop_front();
  *event = next;
  return 0;
}
int rdma_ack_cm_event(rdma_cm_event* event) {
  FakeRdma& rdma = FakeRdma::get();
  if (rdma.on_ack) rdma.on_ack(*event);
  delete event;
  return 0;
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming)
