// Lends the server 64 bytes of memory for one round, in C: the server reads the question out of
// them and writes its answer into them. The key is leased for that, and dead when the answer is
// there.
#include "hello.h"

struct client {
  struct mrpool_reactor* reactor;
  struct mrpool_device* device;
  struct mrpool_pd* pd;
  struct mrpool_cq* cq;
  struct mrpool_mr_pool* pool;
  struct mrpool_qp* qp;
  struct mrpool_mr* mr;
  struct mrpool_lease* lease;
  struct mrpool_cqe answered;
  struct mrpool_cqe invalidated;
  struct slot slot;
};

static const uint32_t lent_rights =
    MRPOOL_ACCESS_LOCAL_WRITE | MRPOOL_ACCESS_REMOTE_READ | MRPOOL_ACCESS_REMOTE_WRITE;

// The key is dead: the text is ours again.
static void returned(struct client* client) {
  mrpool_mr_invalidated(client->lease);
  mrpool_mr_pool_put(client->lease);
  client->lease = NULL;
  printf("the server says: %.64s\n", client->slot.text);
  mrpool_disconnect_qp(client->qp);
}

static void on_invalidated(struct mrpool_cqe* cqe, const struct mrpool_wc* wc) {
  require_done(wc->status, "the invalidation");
  returned((struct client*)((char*)cqe - offsetof(struct client, invalidated)));
}

static void on_answered(struct mrpool_cqe* cqe, const struct mrpool_wc* wc) {
  struct client* client = (struct client*)((char*)cqe - offsetof(struct client, answered));
  require_done(wc->status, "the answer");
  if (wc->invalidated) {
    returned(client);
    return;
  }
  struct mrpool_send_wr inv;
  mrpool_mr_prepare_inv(client->lease, &inv);
  inv.cqe = &client->invalidated;
  require(mrpool_post_send(wc->qp, &inv, NULL), "the invalidation");
}

// A key for the text with exactly these rights, registered in one chain with the message.
static void on_connected(struct mrpool_qp* qp, void* context,
                         const struct mrpool_connection* info) {
  struct client* client = context;
  (void)info;
  const uint32_t lkey = mrpool_mr_lkey(client->mr);
  const struct mrpool_sge text = {client->slot.text, sizeof client->slot.text, lkey};
  const struct mrpool_sge message = {&client->slot, MESSAGE_BYTES, lkey};
  struct mrpool_send_wr reg;
  struct mrpool_send_wr tell = {
      .opcode = MRPOOL_WR_SEND, .sg_list = &message, .num_sge = 1, .cqe = NULL};
  const struct mrpool_recv_wr answer = {.cqe = &client->answered};

  client->lease = mrpool_mr_pool_get(client->pool);
  mrpool_map_mr_sg(client->lease, &text, 1);
  const int registers = mrpool_mr_prepare_reg(client->lease, lent_rights, &reg);
  require(registers, "the registration");
  client->slot.addr = mrpool_lease_remote_addr(client->lease);
  client->slot.length = mrpool_lease_length(client->lease);
  client->slot.rkey = mrpool_lease_rkey(client->lease);
  reg.next = &tell;
  require(mrpool_post_recv(qp, &answer, NULL), "the receive");
  require(mrpool_post_send(qp, registers == 0 ? &reg : &tell, NULL), "the message");
}

static void on_disconnected(struct mrpool_qp* qp, void* context,
                            const struct mrpool_disconnect* why) {
  struct client* client = context;
  (void)qp;
  if (why->reason != MRPOOL_DISCONNECT_LOCAL) {
    fprintf(stderr, "hello_client_c: disconnected: %s\n", why->detail);
    exit(1);
  }
  mrpool_reactor_stop(client->reactor);
}

static void set_up(struct client* client, const char* address) {
  struct mrpool_device_attr device = {.size = sizeof device};
  struct mrpool_mr_pool_attr pool = {.size = sizeof pool, .count = 1, .access = lent_rights};
  require(mrpool_reactor_create(NULL, &client->reactor), "the reactor");
  require(mrpool_device_open(address, &client->device), address);
  require(mrpool_device_query(client->device, &device), address);
  require(mrpool_pd_alloc(client->device, &client->pd), "the Pd");
  require(mrpool_cq_create(client->device, client->reactor, 256, &client->cq), "the Cq");
  require(mrpool_mr_pool_init(client->pd, &pool, &client->pool), "the pool");
  require(mrpool_reg_mr(client->pd, &client->slot, sizeof client->slot,
                        mrpool_base_access(client->device, lent_rights), &client->mr),
          "the Mr");
  // Of a memory window's end this side may never hear: there the server is not asked to end the
  // key.
  client->slot.end_key = device.send_with_inv && device.registration == MRPOOL_FAST_REG;
  snprintf(client->slot.text, sizeof client->slot.text, "is anybody there?");
}

static void tear_down(struct client* client) {
  mrpool_qp_destroy(client->qp);
  mrpool_dereg_mr(client->mr);
  mrpool_mr_pool_destroy(client->pool);
  mrpool_cq_destroy(client->cq);
  mrpool_pd_dealloc(client->pd);
  mrpool_device_close(client->device);
  mrpool_reactor_destroy(client->reactor);
}

int main(int argc, char** argv) {
  const char* address = argc > 1 ? argv[1] : "uiwarp://127.0.0.1:4711";
  struct client client = {.answered = {.done = on_answered},
                          .invalidated = {.done = on_invalidated}};
  const struct mrpool_qp_events events = {
      .size = sizeof events, .connected = on_connected, .disconnected = on_disconnected};
  struct mrpool_qp_attr qp = {.size = sizeof qp, .events = &events, .context = &client};
  set_up(&client, address);
  qp.send_cq = qp.recv_cq = client.cq;
  require(mrpool_connect(client.device, address, client.pd, &qp, &client.qp), address);
  mrpool_reactor_run(client.reactor);
  tear_down(&client);
  return 0;
}
