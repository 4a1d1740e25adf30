// Serves one client, in C: fetches its question by RDMA READ, writes the answer by RDMA WRITE, and
// ends the key with the message that is posted after it.
#include "hello.h"

struct server {
  struct mrpool_reactor* reactor;
  struct mrpool_device* device;
  struct mrpool_pd* pd;
  struct mrpool_cq* cq;
  struct mrpool_mr_pool* pool;
  struct mrpool_listener* listener;
  struct mrpool_qp* qp;
  struct mrpool_rw* rw;
  struct mrpool_mr* mr;
  struct mrpool_rw_attr limits;
  struct mrpool_rw_needs needs;
  struct mrpool_cqe asked;
  struct mrpool_cqe told;
  struct mrpool_rw_ctx transfer;
  struct mrpool_sge text;
  struct slot slot;
};

static struct server* server_of(struct mrpool_rw_ctx* ctx) {
  return (struct server*)((char*)ctx - offsetof(struct server, transfer));
}

static void on_told(struct mrpool_cqe* cqe, const struct mrpool_wc* wc) {
  (void)cqe;
  require_done(wc->status, "the message");
}

static void start(struct server* server, enum mrpool_rw_direction direction,
                  const struct mrpool_send_wr* last) {
  require(mrpool_rw_ctx_init(&server->transfer, server->rw, &server->text, 1, 0, server->slot.addr,
                             server->slot.rkey, server->slot.length, direction),
          "the transfer");
  require(mrpool_rw_ctx_post(&server->transfer, last), "the transfer");
}

static void on_written(struct mrpool_rw_ctx* ctx, int status) {
  require_done(status, "the WRITE");
  mrpool_rw_ctx_destroy(ctx);
}

static void on_read(struct mrpool_rw_ctx* ctx, int status) {
  struct server* server = server_of(ctx);
  struct mrpool_device_attr device = {.size = sizeof device};
  const struct mrpool_send_wr last = {
      .opcode = server->slot.end_key ? MRPOOL_WR_SEND_WITH_INV : MRPOOL_WR_SEND,
      .rkey = server->slot.rkey,
      .send_flags = MRPOOL_SEND_SIGNALED,
      .cqe = &server->told};
  require_done(status, "the READ");
  mrpool_rw_ctx_destroy(ctx);
  printf("the client asks: %.64s\n", server->slot.text);
  require(mrpool_device_query(server->device, &device), "the device");
  snprintf(server->slot.text, sizeof server->slot.text, "hello from %s, in C", device.name);
  ctx->done = on_written;
  start(server, MRPOOL_RW_WRITE, &last);
}

static void on_asked(struct mrpool_cqe* cqe, const struct mrpool_wc* wc) {
  struct server* server = (struct server*)((char*)cqe - offsetof(struct server, asked));
  require_done(wc->status, "the question");
  if (wc->byte_len != MESSAGE_BYTES || server->slot.length > sizeof server->slot.text) {
    fprintf(stderr, "hello_server_c: the client does not speak this protocol\n");
    exit(1);
  }
  server->transfer.done = on_read;
  start(server, MRPOOL_RW_READ, NULL);
}

static void on_disconnected(struct mrpool_qp* qp, void* context,
                            const struct mrpool_disconnect* why) {
  struct server* server = context;
  (void)qp;
  (void)why;
  mrpool_rw_stop(server->rw);
  mrpool_reactor_stop(server->reactor);
}

static void on_connect_request(void* context, struct mrpool_connect_request* request,
                               const struct mrpool_connection* info) {
  static const struct mrpool_qp_events events = {.size = sizeof events,
                                                 .disconnected = on_disconnected};
  struct server* server = context;
  const struct mrpool_qp_attr qp = {.size = sizeof qp,
                                    .send_cq = server->cq,
                                    .recv_cq = server->cq,
                                    .events = &events,
                                    .context = server,
                                    .max_send_wr = server->needs.send_wr + 1,
                                    .max_send_sge = server->needs.send_sge};
  const struct mrpool_sge message = {&server->slot, MESSAGE_BYTES, mrpool_mr_lkey(server->mr)};
  const struct mrpool_recv_wr question = {.cqe = &server->asked, .sg_list = &message, .num_sge = 1};
  (void)info;
  if (server->qp != NULL) {
    mrpool_reject(request, NULL, 0);
    return;
  }
  require(mrpool_accept(request, server->pd, &qp, &server->qp), "the connection");
  require(mrpool_rw_create(server->qp, server->pool, &server->limits, &server->rw),
          "the rw context");
  require(mrpool_post_recv(server->qp, &question, NULL), "the receive");
}

static void set_up(struct server* server, const char* address) {
  static const struct mrpool_listen_events events = {.size = sizeof events,
                                                     .connect_request = on_connect_request};
  server->limits = (struct mrpool_rw_attr){.size = sizeof server->limits, .max_operations = 1};
  server->needs.size = sizeof server->needs;
  require(mrpool_reactor_create(NULL, &server->reactor), "the reactor");
  require(mrpool_device_open(address, &server->device), address);
  require(mrpool_rw_query_needs(server->device, &server->limits, &server->needs), address);
  require(mrpool_pd_alloc(server->device, &server->pd), "the Pd");
  require(mrpool_cq_create(server->device, server->reactor, 256, &server->cq), "the Cq");
  require(mrpool_reg_mr(server->pd, &server->slot, sizeof server->slot, server->needs.sink_access,
                        &server->mr),
          "the Mr");
  const struct mrpool_mr_pool_attr pool = {
      .size = sizeof pool,
      .count = server->needs.pool_mrs ? server->needs.pool_mrs : 1,
      .access = server->needs.pool_access};
  require(mrpool_mr_pool_init(server->pd, &pool, &server->pool), "the pool");
  server->text =
      (struct mrpool_sge){server->slot.text, sizeof server->slot.text, mrpool_mr_lkey(server->mr)};
  require(
      mrpool_listen(server->device, server->reactor, address, &events, server, &server->listener),
      address);
}

static void tear_down(struct server* server) {
  mrpool_rw_destroy(server->rw);
  mrpool_qp_destroy(server->qp);
  mrpool_listener_destroy(server->listener);
  mrpool_mr_pool_destroy(server->pool);
  mrpool_dereg_mr(server->mr);
  mrpool_cq_destroy(server->cq);
  mrpool_pd_dealloc(server->pd);
  mrpool_device_close(server->device);
  mrpool_reactor_destroy(server->reactor);
}

int main(int argc, char** argv) {
  const char* address = argc > 1 ? argv[1] : "uiwarp://127.0.0.1:4711";
  static struct server server = {.asked = {.done = on_asked}, .told = {.done = on_told}};
  set_up(&server, address);
  printf("listening on port %d\n", mrpool_listener_port(server.listener));
  fflush(stdout);
  mrpool_reactor_run(server.reactor);
  tear_down(&server);
  return 0;
}
